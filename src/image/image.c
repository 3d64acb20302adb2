/* The front of the room: formats by name, magic and path, the checks all codecs share, and the
 * dispatch to them. One table holds what differs between formats: a new one is a row and a file. */
#include "image/image.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "image/codec.h"
#include "image/embed.h"

typedef struct format_row {
    const char *name, *label;
    const char *extensions[2];
    int max_side;        /* pixels: PNG: libpng's default limit; JPEG: libjpeg's; WebP: 14 bits */
    int default_quality; /* 0: the format has none */
    const tt__codec *codec;
} format_row;

static const format_row formats[] = {
    [TT_IMAGE_PNG] = {"png", "PNG", {"png", "png"}, 1000000, 0, &tt__png_codec},
    [TT_IMAGE_JPEG] = {"jpeg", "JPEG", {"jpg", "jpeg"}, 65500, 92, &tt__jpeg_codec},
    [TT_IMAGE_WEBP] = {"webp", "WebP", {"webp", "webp"}, 16383, 90, &tt__webp_codec},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0], MAX_QUALITY = 100 };

const char *tt_image_format_name(tt_image_format format) {
    return formats[format].name;
}

static bool find_extension(const char *text, tt_image_format *out) {
    for (int i = 0; i < N_FORMATS; i++)
        if (!strcasecmp(text, formats[i].extensions[0]) ||
            !strcasecmp(text, formats[i].extensions[1])) {
            *out = (tt_image_format)i;
            return true;
        }
    return false;
}

tt_status tt_image_format_from_name(const char *name, tt_image_format *out, tt_err *err) {
    if (find_extension(name, out)) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "image format \"%s\" is unknown: expected png, jpg, jpeg or webp", name);
}

tt_status tt_image_format_from_path(const char *path, tt_image_format *out, tt_err *err) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    *out = TT_IMAGE_PNG;
    if (!dot || dot == name || dot[1] == '\0')
        return TT_OK; /* ".png" is a hidden file, not a type */
    if (find_extension(dot + 1, out)) return TT_OK;
    return tt_fail(
        err, TT_E_INVALID,
        "%s: the extension \"%s\" names no image format: expected .png, .jpg, .jpeg or .webp", name,
        dot);
}

void tt_image_release(tt_image *image) {
    tt_free(image->rgb);
    *image = (tt_image){0};
}

void tt_image_metadata_release(tt_image_metadata *metadata) {
    tt_free(metadata->parameters);
    tt_free(metadata->json);
    *metadata = (tt_image_metadata){0};
}

tt_status tt__image_alloc(tt_image *out, int64_t width, int64_t height, int n_channels,
                          tt_err *err) {
    int64_t n_pixels;
    if (width < 1 || height < 1)
        return tt_fail(err, TT_E_FORMAT, "picture of %lld x %lld pixels: both must be at least 1",
                       (long long)width, (long long)height);
    if (!tt_mul_i64(width, height, &n_pixels) || (uint64_t)n_pixels > TT_MAX_IMAGE_PIXELS)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "picture of %lld x %lld pixels: the limit is %zu pixels in all",
                       (long long)width, (long long)height, TT_MAX_IMAGE_PIXELS);
    size_t size = (size_t)n_pixels * (size_t)n_channels;
    *out = (tt_image){.rgb = tt_alloc(size), .width = (int)width, .height = (int)height};
    return out->rgb ? TT_OK : tt_fail_nomem(err, "picture", size);
}

/* c over white with coverage a, rounded: exact at both ends. */
static uint8_t over_white(unsigned c, unsigned a) {
    return (uint8_t)((c * a + UINT8_MAX * (UINT8_MAX - a) + UINT8_MAX / 2) / UINT8_MAX);
}

static void drop_alpha(const tt_image *image, size_t n, uint8_t *alpha) {
    const uint8_t *from = image->rgb;
    uint8_t *to = image->rgb;
    for (size_t i = 0; i < n; i++, from += TT__RGBA_CHANNELS, to += TT__RGB_CHANNELS) {
        unsigned a = from[3];
        for (int c = 0; c < TT__RGB_CHANNELS; c++) to[c] = alpha ? from[c] : over_white(from[c], a);
        if (alpha) alpha[i] = (uint8_t)a;
    }
}

tt_status tt__image_flatten(tt_image *image, uint8_t **alpha, tt_err *err) {
    size_t n = (size_t)image->width * (size_t)image->height;
    if (alpha) {
        *alpha = tt_alloc(n);
        if (!*alpha) return tt_fail_nomem(err, "the transparency", n);
    }
    drop_alpha(image, n, alpha ? *alpha : NULL);
    uint8_t *smaller = tt_realloc(image->rgb, n * TT__RGB_CHANNELS);
    if (smaller) image->rgb = smaller; /* else the larger block serves as well */
    return TT_OK;
}

static tt_status check_picture(const tt_image *image, const format_row *row, tt_err *err) {
    if (image->width < 1 || image->height < 1)
        return tt_fail(err, TT_E_INVALID, "picture of %d x %d pixels: both must be at least 1",
                       image->width, image->height);
    if (image->width > row->max_side || image->height > row->max_side)
        return tt_fail(err, TT_E_INVALID, "picture of %d x %d pixels: %s holds at most %d per side",
                       image->width, image->height, row->label, row->max_side);
    if ((size_t)image->width * (size_t)image->height > TT_MAX_IMAGE_PIXELS)
        return tt_fail(err, TT_E_INVALID,
                       "picture of %d x %d pixels: the limit is %zu pixels in all", image->width,
                       image->height, TT_MAX_IMAGE_PIXELS);
    return TT_OK;
}

static tt_status check_text(const char *what, const char *text, tt_err *err) {
    if (!text) return TT_OK;
    size_t size = strlen(text), bad_at = 0;
    if (size > TT_MAX_IMAGE_TEXT_BYTES)
        return tt_fail(err, TT_E_INVALID, "%s text for the picture has %zu bytes, the limit is %zu",
                       what, size, TT_MAX_IMAGE_TEXT_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at,
                          "%s text for the picture is not valid UTF-8 at byte %zu", what, bad_at);
    return TT_OK;
}

/* XMP is XML 1.0, which has no way to say most control characters; JSON text needs none of them. */
static tt_status check_json_text(const char *json, tt_err *err) {
    TT_TRY(check_text("json", json, err));
    for (size_t i = 0; json && json[i]; i++)
        if ((unsigned char)json[i] < ' ' && !strchr("\t\n\r", json[i]))
            return tt_fail_at(err, TT_E_INVALID, (int64_t)i,
                              "json text for the picture has a control character at byte %zu", i);
    return TT_OK;
}

static tt_status check_options(const tt_image_encode_options *options, tt_err *err) {
    if ((unsigned)options->format >= N_FORMATS)
        return tt_fail(err, TT_E_INVALID, "image format number %d is unknown",
                       (int)options->format);
    if (options->quality < 0 || options->quality > MAX_QUALITY)
        return tt_fail(err, TT_E_INVALID,
                       "image quality is %d, expected 1 to %d (or 0: the default)",
                       options->quality, MAX_QUALITY);
    if (options->lossless && options->format == TT_IMAGE_JPEG)
        return tt_fail(err, TT_E_INVALID, "JPEG cannot be lossless: use PNG or WebP");
    TT_TRY(check_text("parameters", options->text.parameters, err));
    return check_json_text(options->text.json, err);
}

tt_status tt_image_encode(const tt_image *image, const tt_image_encode_options *options,
                          tt_buf *out, tt_err *err) {
    TT_TRY(check_options(options, err));
    const format_row *row = &formats[options->format];
    TT_TRY(check_picture(image, row, err));
    tt_image_encode_options chosen = *options;
    if (chosen.quality == 0) chosen.quality = row->default_quality;
    size_t size_before = out->size;
    tt_status status = row->codec->encode(image, &chosen, out, err);
    if (status == TT_OK) return TT_OK;
    out->size = size_before;
    if (out->data) out->data[size_before] = '\0';
    return tt_fail_prefix(err, status, "%s", row->label);
}

static tt_status sniff(const uint8_t *p, size_t size, const format_row **row, tt_err *err) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'},
                         jpeg[] = {0xff, 0xd8, 0xff};
    enum { RIFF_TYPE_AT = 8, MAGIC_BYTES = 4 };
    *row = NULL;
    if (size >= sizeof png && !memcmp(p, png, sizeof png)) *row = &formats[TT_IMAGE_PNG];
    if (size >= sizeof jpeg && !memcmp(p, jpeg, sizeof jpeg)) *row = &formats[TT_IMAGE_JPEG];
    if (size >= RIFF_TYPE_AT + MAGIC_BYTES && !memcmp(p, "RIFF", MAGIC_BYTES) &&
        !memcmp(p + RIFF_TYPE_AT, "WEBP", MAGIC_BYTES))
        *row = &formats[TT_IMAGE_WEBP];
    if (*row) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "these %zu bytes are no picture we know: expected PNG, JPEG or WebP", size);
}

tt_status tt_image_probe(const void *bytes, size_t size, tt_image_info *out, tt_err *err) {
    const format_row *row;
    *out = (tt_image_info){0};
    TT_TRY(sniff(bytes, size, &row, err));
    out->format = (tt_image_format)(row - formats);
    tt_status status = row->codec->probe(bytes, size, out, err);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", row->label);
}

tt_status tt__image_decode(const void *bytes, size_t size, tt_image *out, uint8_t **alpha,
                           tt_err *err) {
    const format_row *row;
    *out = (tt_image){0};
    if (alpha) *alpha = NULL;
    TT_TRY(sniff(bytes, size, &row, err));
    tt_status status = row->codec->decode(bytes, size, out, alpha, err);
    if (status == TT_OK) return TT_OK;
    tt_image_release(out);
    return tt_fail_prefix(err, status, "%s", row->label);
}

tt_status tt_image_decode(const void *bytes, size_t size, tt_image *out, tt_err *err) {
    return tt__image_decode(bytes, size, out, NULL, err);
}

int tt__image_orientation(const uint8_t *bytes, size_t size) {
    const format_row *row;
    const uint8_t *block;
    size_t n;
    bool found =
        sniff(bytes, size, &row, NULL) == TT_OK && row->codec->find_exif(bytes, size, &block, &n);
    return found ? tt__exif_orientation(block, n) : 1;
}

tt_status tt_image_read_text(const void *bytes, size_t size, tt_image_metadata *out, tt_err *err) {
    const format_row *row;
    *out = (tt_image_metadata){0};
    TT_TRY(sniff(bytes, size, &row, err));
    tt_status status = row->codec->read_text(bytes, size, out, err);
    if (status == TT_OK) return TT_OK;
    tt_image_metadata_release(out);
    return tt_fail_prefix(err, status, "%s", row->label);
}
