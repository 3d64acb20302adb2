/* PNG pixels, through libpng.
 *
 * Written with level 1, the Paeth filter alone and run-length matching: 7 times faster than
 * libpng's defaults for 1-5 % more bytes, and safe on flat art (reference measurements: 45 against
 * 323 ms for a megapixel). libpng reports errors by longjmp. Each direction therefore keeps all it
 * knows in one struct outside the jump, and the function that calls setjmp does nothing else, so no
 * local variable can be lost. Metadata is read in png_text.c without libpng. */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/codec.h"

enum {
    COMPRESSION_LEVEL = 1,
    RLE_STRATEGY = 3, /* zlib's Z_RLE */
    BITS = 8,
    /* signature, then IHDR: u32 length, "IHDR", u32 width, u32 height */
    IHDR_TYPE_AT = 12,
    IHDR_WIDTH_AT = 16,
    IHDR_HEIGHT_AT = 20,
    IHDR_END = 24,
};

/* What the callbacks share with the code that calls libpng. */
typedef struct png_session {
    png_structp png;
    png_infop info;
    tt_err *err;
    tt_status status; /* of the failure that made libpng jump */
    bool is_out_of_memory;

    const tt_image *picture; /* writing */
    const tt_image_text *text;
    tt_buf *out;

    const uint8_t *bytes; /* reading */
    size_t size, at;
    tt_image *decoded;
    bool has_alpha;
} png_session;

static void on_error(png_structp png, png_const_charp message) {
    png_session *s = png_get_error_ptr(png);
    if (s->status == TT_OK && s->is_out_of_memory)
        s->status = tt_fail_nomem(s->err, "libpng", sizeof(void *));
    else if (s->status == TT_OK)
        s->status = tt_fail(s->err, TT_E_FORMAT, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
    png_session *s = png_get_mem_ptr(png);
    void *p = tt_alloc(size);
    if (!p) s->is_out_of_memory = true;
    return p;
}

static void release(png_structp png, png_voidp p) {
    (void)png;
    tt_free(p);
}

static tt_status no_session(png_session *s) {
    return s->status != TT_OK ? s->status : tt_fail_nomem(s->err, "libpng", sizeof(png_session));
}

/* Writing -------------------------------------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep bytes, size_t n) {
    png_session *s = png_get_io_ptr(png);
    s->status = tt_buf_append(s->out, bytes, n, s->err);
    if (s->status != TT_OK) png_error(png, "write");
}

static void flush_nothing(png_structp png) {
    (void)png;
}

static bool is_ascii(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80) return false;
    return true;
}

/* libpng copies the text; the keyword is one of ours. */
static void put_text(png_session *s, const char *keyword, const char *text, bool international) {
    if (!text) return;
    png_text chunk = {.compression =
                          international ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE,
                      .key = (png_charp)keyword,
                      .text = (png_charp)text,
                      .lang = (png_charp) "",
                      .lang_key = (png_charp) ""};
    if (international)
        chunk.itxt_length = strlen(text);
    else
        chunk.text_length = strlen(text);
    png_set_text(s->png, s->info, &chunk, 1);
}

static void write_picture(png_session *s) {
    const tt_image *p = s->picture;
    png_set_write_fn(s->png, s, write_bytes, flush_nothing);
    png_set_IHDR(s->png, s->info, (png_uint_32)p->width, (png_uint_32)p->height, BITS,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(s->png, COMPRESSION_LEVEL);
    png_set_compression_strategy(s->png, RLE_STRATEGY);
    png_set_filter(s->png, PNG_FILTER_TYPE_BASE, PNG_FILTER_PAETH);
    const char *parameters = s->text->parameters;
    put_text(s, "parameters", parameters, parameters && !is_ascii(parameters));
    put_text(s, "tintype", s->text->json, true);
    png_write_info(s->png, s->info);
    size_t stride = (size_t)p->width * TT__RGB_CHANNELS;
    for (int y = 0; y < p->height; y++) png_write_row(s->png, p->rgb + (size_t)y * stride);
    png_write_end(s->png, NULL);
}

static tt_status write_guarded(png_session *s) {
    if (setjmp(png_jmpbuf(s->png))) return s->status;
    write_picture(s);
    return TT_OK;
}

static tt_status png_encode(const tt_image *image, const tt_image_encode_options *options,
                            tt_buf *out, tt_err *err) {
    png_session s = {.err = err, .picture = image, .text = &options->text, .out = out};
    s.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning, &s, allocate,
                                      release);
    if (!s.png) return no_session(&s);
    s.info = png_create_info_struct(s.png);
    tt_status status = s.info ? write_guarded(&s) : no_session(&s);
    png_destroy_write_struct(&s.png, &s.info);
    return status;
}

/* Reading -------------------------------------------------------------------------------------- */

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    png_session *s = png_get_io_ptr(png);
    if (n > s->size - s->at) {
        s->status = tt_fail_at(s->err, TT_E_FORMAT, (int64_t)s->size,
                               "the file ends too early: %zu bytes, more are needed", s->size);
        png_error(png, "read");
    }
    memcpy(to, s->bytes + s->at, n);
    s->at += n;
}

/* Whatever the file has becomes 8-bit RGB or RGBA. */
static void set_conversions(png_session *s) {
    bool has_key = png_get_valid(s->png, s->info, PNG_INFO_tRNS) != 0;
    png_set_expand(s->png); /* palettes, small greys, colour keys */
    png_set_scale_16(s->png);
    png_set_gray_to_rgb(s->png);
    s->has_alpha = has_key || (png_get_color_type(s->png, s->info) & PNG_COLOR_MASK_ALPHA) != 0;
}

static void read_picture(png_session *s) {
    png_set_read_fn(s->png, s, read_bytes);
    /* Ancillary chunks (profiles, texts, times) are skipped unread: less code meets hostile bytes.
     */
    png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(s->png, s->info);
    set_conversions(s);
    int n_passes = png_set_interlace_handling(s->png);
    png_uint_32 width = png_get_image_width(s->png, s->info);
    png_uint_32 height = png_get_image_height(s->png, s->info);
    int n_channels = s->has_alpha ? TT__RGBA_CHANNELS : TT__RGB_CHANNELS;
    s->status = tt__image_alloc(s->decoded, width, height, n_channels, s->err);
    if (s->status != TT_OK) png_error(s->png, "size");
    png_read_update_info(s->png, s->info);
    size_t stride = (size_t)width * (size_t)n_channels;
    if (png_get_rowbytes(s->png, s->info) != stride)
        png_error(s->png, "rows of an unexpected size");
    for (int pass = 0; pass < n_passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(s->png, s->decoded->rgb + y * stride, NULL);
    png_read_end(s->png, NULL);
}

static tt_status read_guarded(png_session *s) {
    if (setjmp(png_jmpbuf(s->png))) return s->status;
    read_picture(s);
    return TT_OK;
}

static tt_status png_decode(const uint8_t *bytes, size_t size, tt_image *out, uint8_t **alpha,
                            tt_err *err) {
    png_session s = {.err = err, .bytes = bytes, .size = size, .decoded = out};
    s.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning, &s, allocate,
                                     release);
    if (!s.png) return no_session(&s);
    s.info = png_create_info_struct(s.png);
    tt_status status = s.info ? read_guarded(&s) : no_session(&s);
    png_destroy_read_struct(&s.png, &s.info, NULL);
    return status == TT_OK && s.has_alpha ? tt__image_flatten(out, alpha, err) : status;
}

static tt_status png_probe(const uint8_t *bytes, size_t size, tt_image_info *out, tt_err *err) {
    if (size < IHDR_END || memcmp(bytes + IHDR_TYPE_AT, "IHDR", 4) != 0)
        return tt_fail(err, TT_E_FORMAT, "the first chunk is not a whole IHDR");
    uint32_t width = png_get_uint_32(bytes + IHDR_WIDTH_AT),
             height = png_get_uint_32(bytes + IHDR_HEIGHT_AT);
    if (width < 1 || height < 1 || width > PNG_UINT_31_MAX || height > PNG_UINT_31_MAX)
        return tt_fail(err, TT_E_FORMAT, "a picture of %u x %u pixels", width, height);
    out->width = (int)width;
    out->height = (int)height;
    return TT_OK;
}

const tt__codec tt__png_codec = {png_encode, png_probe, png_decode, tt__png_read_text,
                                 tt__png_find_exif};
