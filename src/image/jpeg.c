/* JPEG, through libjpeg-turbo; its metadata by walking the markers.
 *
 * libjpeg reports errors by longjmp: as in png.c, what must survive lies in a struct outside the
 * jump. Its warnings are the only sign of a truncated or damaged file, so all but the harmless ones
 * fail. A progressive file may ask for the whole picture to be refined again and again; the number
 * of scans is limited.
 *
 *     FF D8, then segments: FF marker, u16 length n (counts itself), n - 2 bytes
 *     FF DA starts the pixels, FF D9 ends the file
 *     APP1 (FF E1): "Exif\0\0" + TIFF block, or "http://ns.adobe.com/xap/1.0/\0" + XMP packet */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/codec.h"
#include "image/embed.h"

enum {
    FULL_CHROMA_QUALITY = 90, /* from here colour is kept at full resolution: 4:4:4 */
    OUTPUT_STEP_BYTES = 64 * 1024,
    MAX_SCANS = 100, /* a progressive file has about 10 */
    MAX_SEGMENT_BYTES = 65533,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    MARKER_TEM = 0x01,
    MARKER_RST0 = 0xd0,
    MARKER_APP1 = 0xe1,
    MARKER_FILL = 0xff,
};
static const char exif_id[] = "Exif\0";                      /* with the literal's NUL: 6 bytes */
static const char xmp_id[] = "http://ns.adobe.com/xap/1.0/"; /* with the literal's NUL: 29 bytes */

typedef struct jpeg_guard {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf jump;
    tt_err *err;
    tt_status status;
} jpeg_guard;

_Noreturn static void give_up(j_common_ptr cinfo, tt_status status) {
    jpeg_guard *guard = (jpeg_guard *)cinfo->err;
    guard->status = status;
    longjmp(guard->jump, 1);
}

/* libjpeg's message codes live in jerror.h, whose macros use functions that are banned here. Its
 * message texts have not changed since 1994 and serve as well. */
static bool message_has(j_common_ptr cinfo, const char *words) {
    int code = cinfo->err->msg_code;
    bool is_known = code > 0 && code <= cinfo->err->last_jpeg_message;
    return is_known && strstr(cinfo->err->jpeg_message_table[code], words) != NULL;
}

_Noreturn static void on_error(j_common_ptr cinfo) {
    jpeg_guard *guard = (jpeg_guard *)cinfo->err;
    char message[JMSG_LENGTH_MAX];
    guard->base.format_message(cinfo, message);
    tt_status code = message_has(cinfo, "Insufficient memory") ? TT_E_NOMEM : TT_E_FORMAT;
    give_up(cinfo, tt_fail(guard->err, code, "%s", message));
}

/* level < 0: a warning, after which libjpeg would invent pixels and go on. */
static void on_message(j_common_ptr cinfo, int level) {
    bool is_harmless = message_has(cinfo, "extraneous bytes before marker") ||
                       message_has(cinfo, "unknown JFIF revision") ||
                       message_has(cinfo, "Unknown Adobe color transform");
    if (level < 0 && !is_harmless) on_error(cinfo);
}

static void on_output(j_common_ptr cinfo) {
    (void)cinfo;
}

static struct jpeg_error_mgr *guard_init(jpeg_guard *guard, tt_err *err) {
    *guard = (jpeg_guard){.err = err};
    jpeg_std_error(&guard->base);
    guard->base.error_exit = on_error;
    guard->base.emit_message = on_message;
    guard->base.output_message = on_output;
    return &guard->base;
}

/* Writing -------------------------------------------------------------------------------------- */

typedef struct jpeg_writer {
    struct jpeg_compress_struct cinfo;
    struct jpeg_destination_mgr destination;
    jpeg_guard guard;
    const tt_image *picture;
    int quality;
    const tt_buf *exif, *xmp; /* contents of APP1 segments; empty: none */
    tt_buf *out;
} jpeg_writer;

static void more_room(j_compress_ptr cinfo) {
    jpeg_writer *w = cinfo->client_data;
    tt_status status = tt_buf_reserve(w->out, OUTPUT_STEP_BYTES, w->guard.err);
    if (status != TT_OK) give_up((j_common_ptr)cinfo, status);
    w->destination.next_output_byte = (JOCTET *)w->out->data + w->out->size;
    w->destination.free_in_buffer = OUTPUT_STEP_BYTES;
}

/* libjpeg calls it when the room is full, whatever free_in_buffer says. */
static boolean on_full(j_compress_ptr cinfo) {
    jpeg_writer *w = cinfo->client_data;
    w->out->size += OUTPUT_STEP_BYTES;
    more_room(cinfo);
    return TRUE;
}

static void on_end(j_compress_ptr cinfo) {
    jpeg_writer *w = cinfo->client_data;
    w->out->size += OUTPUT_STEP_BYTES - w->destination.free_in_buffer;
    w->out->data[w->out->size] = '\0';
}

static void configure(jpeg_writer *w) {
    struct jpeg_compress_struct *c = &w->cinfo;
    c->image_width = (JDIMENSION)w->picture->width;
    c->image_height = (JDIMENSION)w->picture->height;
    c->input_components = TT__RGB_CHANNELS;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, w->quality, TRUE);
    int chroma_step = w->quality >= FULL_CHROMA_QUALITY ? 1 : 2;
    c->comp_info[0].h_samp_factor = chroma_step;
    c->comp_info[0].v_samp_factor = chroma_step;
}

static void write_segment(jpeg_writer *w, const tt_buf *segment) {
    if (segment->size)
        jpeg_write_marker(&w->cinfo, MARKER_APP1, (const JOCTET *)segment->data,
                          (unsigned)segment->size);
}

static void write_picture(jpeg_writer *w) {
    w->cinfo.client_data = w;
    w->destination = (struct jpeg_destination_mgr){
        .init_destination = more_room, .empty_output_buffer = on_full, .term_destination = on_end};
    w->cinfo.dest = &w->destination;
    configure(w);
    jpeg_start_compress(&w->cinfo, TRUE);
    write_segment(w, w->exif);
    write_segment(w, w->xmp);
    size_t stride = (size_t)w->picture->width * TT__RGB_CHANNELS;
    while (w->cinfo.next_scanline < w->cinfo.image_height) {
        JSAMPROW row = w->picture->rgb + w->cinfo.next_scanline * stride;
        jpeg_write_scanlines(&w->cinfo, &row, 1);
    }
    jpeg_finish_compress(&w->cinfo);
}

static tt_status write_guarded(jpeg_writer *w) {
    if (setjmp(w->guard.jump)) return w->guard.status;
    jpeg_create_compress(&w->cinfo);
    write_picture(w);
    return TT_OK;
}

static tt_status check_segment(const char *what, const tt_buf *segment, tt_err *err) {
    if (segment->size <= MAX_SEGMENT_BYTES) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "the %s text needs a segment of %zu bytes, the format allows %d", what,
                   segment->size, MAX_SEGMENT_BYTES);
}

static tt_status make_segments(const tt_image_text *text, tt_buf *exif, tt_buf *xmp, tt_err *err) {
    if (text->parameters) {
        TT_TRY(tt_buf_append(exif, exif_id, sizeof exif_id, err));
        TT_TRY(tt__exif_write(exif, text->parameters, err));
    }
    if (text->json) {
        TT_TRY(tt_buf_append(xmp, xmp_id, sizeof xmp_id, err));
        TT_TRY(tt__xmp_write(xmp, text->json, err));
    }
    TT_TRY(check_segment("parameters", exif, err));
    return check_segment("json", xmp, err);
}

static tt_status jpeg_encode(const tt_image *image, const tt_image_encode_options *options,
                             tt_buf *out, tt_err *err) {
    tt_buf exif, xmp;
    tt_buf_init(&exif, TT__EMBED_MAX_BYTES);
    tt_buf_init(&xmp, TT__EMBED_MAX_BYTES);
    tt_status status = make_segments(&options->text, &exif, &xmp, err);
    if (status == TT_OK) {
        jpeg_writer w = {
            .picture = image, .quality = options->quality, .exif = &exif, .xmp = &xmp, .out = out};
        w.cinfo.err = guard_init(&w.guard, err);
        status = write_guarded(&w);
        jpeg_destroy_compress(&w.cinfo);
    }
    tt_buf_release(&exif);
    tt_buf_release(&xmp);
    return status;
}

/* Reading -------------------------------------------------------------------------------------- */

typedef struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_progress_mgr progress;
    jpeg_guard guard;
    const uint8_t *bytes;
    size_t size;
    tt_image_info *info; /* one of the two: */
    tt_image *out;
} jpeg_reader;

static void check_scans(j_common_ptr common) {
    j_decompress_ptr cinfo = (j_decompress_ptr)common;
    jpeg_guard *guard = (jpeg_guard *)cinfo->err;
    if (cinfo->input_scan_number > MAX_SCANS)
        give_up(common, tt_fail(guard->err, TT_E_UNSUPPORTED, "more than %d scans", MAX_SCANS));
}

static void read_header(jpeg_reader *r) {
    r->progress.progress_monitor = check_scans;
    r->cinfo.progress = &r->progress;
    jpeg_mem_src(&r->cinfo, r->bytes, (unsigned long)r->size);
    jpeg_read_header(&r->cinfo, TRUE);
}

/* What libjpeg makes of the file's colours: RGB, or the CMYK that printers' files hold. */
static int choose_colours(jpeg_reader *r) {
    J_COLOR_SPACE space = r->cinfo.jpeg_color_space;
    bool is_cmyk = space == JCS_CMYK || space == JCS_YCCK;
    if (!is_cmyk && space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB)
        give_up((j_common_ptr)&r->cinfo,
                tt_fail(r->guard.err, TT_E_UNSUPPORTED,
                        "its colours are unknown (%d components), expected RGB, grey or CMYK: "
                        "convert the file first",
                        r->cinfo.num_components));
    r->cinfo.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    return is_cmyk ? TT__CMYK_CHANNELS : TT__RGB_CHANNELS;
}

/* CMYK to RGB in place, without a profile, as most programs do: light = (1 - ink)(1 - black).
 * Adobe's programs store 255 - ink, and say so by their marker. */
static void mix_inks(tt_image *image, bool is_inverted) {
    size_t n = (size_t)image->width * (size_t)image->height;
    unsigned flip = is_inverted ? 0 : UINT8_MAX;
    const uint8_t *from = image->rgb;
    uint8_t *to = image->rgb;
    for (size_t i = 0; i < n; i++, from += TT__CMYK_CHANNELS, to += TT__RGB_CHANNELS) {
        unsigned light = from[3] ^ flip;
        for (int c = 0; c < TT__RGB_CHANNELS; c++)
            to[c] = (uint8_t)(((from[c] ^ flip) * light + UINT8_MAX / 2) / UINT8_MAX);
    }
    uint8_t *smaller = tt_realloc(image->rgb, n * TT__RGB_CHANNELS);
    if (smaller) image->rgb = smaller;
}

static void read_picture(jpeg_reader *r) {
    read_header(r);
    int n_channels = choose_colours(r);
    tt_status status = tt__image_alloc(r->out, r->cinfo.image_width, r->cinfo.image_height,
                                       n_channels, r->guard.err);
    if (status != TT_OK) give_up((j_common_ptr)&r->cinfo, status);
    jpeg_start_decompress(&r->cinfo);
    size_t stride = (size_t)r->out->width * (size_t)n_channels;
    while (r->cinfo.output_scanline < r->cinfo.output_height) {
        JSAMPROW row = r->out->rgb + r->cinfo.output_scanline * stride;
        jpeg_read_scanlines(&r->cinfo, &row, 1);
    }
    jpeg_finish_decompress(&r->cinfo);
    if (n_channels == TT__CMYK_CHANNELS) mix_inks(r->out, r->cinfo.saw_Adobe_marker);
}

static tt_status read_guarded(jpeg_reader *r) {
    if (setjmp(r->guard.jump)) return r->guard.status;
    jpeg_create_decompress(&r->cinfo);
    if (r->out) {
        read_picture(r);
        return TT_OK;
    }
    read_header(r);
    r->info->width = (int)r->cinfo.image_width;
    r->info->height = (int)r->cinfo.image_height;
    return TT_OK;
}

static tt_status run_reader(jpeg_reader *r, tt_err *err) {
    r->cinfo.err = guard_init(&r->guard, err);
    tt_status status = read_guarded(r);
    jpeg_destroy_decompress(&r->cinfo);
    return status;
}

static tt_status jpeg_probe(const uint8_t *bytes, size_t size, tt_image_info *out, tt_err *err) {
    jpeg_reader r = {.bytes = bytes, .size = size, .info = out};
    return run_reader(&r, err);
}

static tt_status jpeg_decode(const uint8_t *bytes, size_t size, tt_image *out, uint8_t **alpha,
                             tt_err *err) {
    (void)alpha; /* JPEG has none */
    jpeg_reader r = {.bytes = bytes, .size = size, .out = out};
    return run_reader(&r, err);
}

/* Texts ---------------------------------------------------------------------------------------- */

typedef struct segment {
    unsigned marker;
    const uint8_t *data; /* after the length */
    size_t size;
} segment;

static bool has_no_length(unsigned marker) {
    return marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_EOI);
}

static tt_status next_segment(const uint8_t *bytes, size_t size, size_t *at, segment *out,
                              tt_err *err) {
    size_t p = *at;
    if (p < size && bytes[p] != MARKER_FILL)
        return tt_fail_at(err, TT_E_FORMAT, (int64_t)p, "no marker at byte %zu, where one must be",
                          p);
    while (p < size && bytes[p] == MARKER_FILL) p++; /* a marker may be padded with FF */
    size_t left = size - p;                          /* marker, length, data */
    *out = (segment){.marker = left ? bytes[p] : 0};
    if (left && has_no_length(out->marker)) {
        *at = p + 1;
        return TT_OK;
    }
    size_t n = left >= 3 ? (size_t)bytes[p + 1] << 8 | bytes[p + 2] : 0;
    if (n < 2 || n > left - 1)
        return tt_fail_at(
            err, TT_E_FORMAT, (int64_t)p,
            "the file ends too early: a segment at byte %zu does not fit in %zu bytes", p, size);
    out->data = bytes + p + 3;
    out->size = n - 2;
    *at = p + 1 + n;
    return TT_OK;
}

static bool starts_with(const segment *s, const char *id, size_t n) {
    return s->size >= n && memcmp(s->data, id, n) == 0;
}

static tt_status keep_texts(const segment *s, tt_image_metadata *out, tt_err *err) {
    if (starts_with(s, exif_id, sizeof exif_id))
        return tt__exif_read(s->data + sizeof exif_id, s->size - sizeof exif_id, &out->parameters,
                             err);
    if (starts_with(s, xmp_id, sizeof xmp_id))
        return tt__xmp_read(s->data + sizeof xmp_id, s->size - sizeof xmp_id, &out->json, err);
    return TT_OK;
}

/* The pixels are not walked, only their end is looked for: what follows the last marker is of no
 * interest. */
static tt_status require_end(const uint8_t *bytes, size_t size, size_t at, tt_err *err) {
    static const uint8_t end[] = {MARKER_FILL, MARKER_EOI};
    if (memmem(bytes + at, size - at, end, sizeof end)) return TT_OK;
    return tt_fail_at(err, TT_E_FORMAT, (int64_t)size,
                      "the file ends too early: no end marker in %zu bytes", size);
}

static tt_status jpeg_read_text(const uint8_t *bytes, size_t size, tt_image_metadata *out,
                                tt_err *err) {
    segment s;
    size_t at = 2; /* after FF D8 */
    for (;;) {
        TT_TRY(next_segment(bytes, size, &at, &s, err));
        if (s.marker == MARKER_EOI) return TT_OK;
        if (s.marker == MARKER_SOS) return require_end(bytes, size, at, err);
        if (s.marker == MARKER_APP1) TT_TRY(keep_texts(&s, out, err));
    }
}

static bool jpeg_find_exif(const uint8_t *bytes, size_t size, const uint8_t **block, size_t *n) {
    segment s;
    size_t at = 2;
    while (next_segment(bytes, size, &at, &s, NULL) == TT_OK && s.marker != MARKER_EOI &&
           s.marker != MARKER_SOS)
        if (s.marker == MARKER_APP1 && starts_with(&s, exif_id, sizeof exif_id)) {
            *block = s.data + sizeof exif_id;
            *n = s.size - sizeof exif_id;
            return true;
        }
    return false;
}

const tt__codec tt__jpeg_codec = {jpeg_encode, jpeg_probe, jpeg_decode, jpeg_read_text,
                                  jpeg_find_exif};
