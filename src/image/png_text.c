/* The texts of a PNG, by walking its chunks (PNG 1.2, sections 3 and 4.2.3), not by decoding it:
 *
 *     signature (8 bytes), then chunks:
 *     u32 length n, 4 bytes type, n bytes data, u32 CRC-32 of type and data
 *
 *     tEXt  keyword \0 Latin-1 text
 *     zTXt  keyword \0 method (0) zlib stream of Latin-1 text
 *     iTXt  keyword \0 is_compressed method (0) language \0 translated keyword \0
 *           UTF-8 text (or a zlib stream of it)
 *
 * Only the keywords "parameters" and "tintype" are looked at, and only their CRCs are checked.
 * Unpacking stops at TT_MAX_IMAGE_TEXT_BYTES, so a small chunk cannot become gigabytes. Several
 * programs write UTF-8 into tEXt against the specification: text that is valid UTF-8 is taken as
 * that, anything else as Latin-1. */
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/codec.h"
#include "image/embed.h"

enum {
    SIGNATURE_BYTES = 8,
    CHUNK_HEADER_BYTES = 8, /* length and type */
    CHUNK_FRAME_BYTES = 12, /* and CRC */
    MAX_KEYWORD_BYTES = 79,
    INFLATE_STEP_BYTES = 16 * 1024,
};

typedef struct chunk {
    const uint8_t *type; /* 4 bytes, borrowed from the file, followed by the data */
    const uint8_t *data;
    size_t size;
} chunk;

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static tt_status next_chunk(const uint8_t *bytes, size_t size, size_t *at, chunk *out,
                            tt_err *err) {
    size_t left = size - *at;
    size_t n = left >= CHUNK_FRAME_BYTES ? get_u32(bytes + *at) : 0;
    if (left < CHUNK_FRAME_BYTES || n > left - CHUNK_FRAME_BYTES)
        return tt_fail_at(err, TT_E_FORMAT, (int64_t)*at,
                          "the file ends too early: a chunk at byte %zu does not fit in %zu bytes",
                          *at, size);
    *out = (chunk){bytes + *at + 4, bytes + *at + CHUNK_HEADER_BYTES, n};
    *at += CHUNK_FRAME_BYTES + n;
    return TT_OK;
}

static bool is_type(const chunk *c, const char *type) {
    return memcmp(c->type, type, 4) == 0;
}

static voidpf zlib_alloc(voidpf opaque, uInt n, uInt size) {
    (void)opaque;
    return tt_alloc((size_t)n * size);
}

static void zlib_free(voidpf opaque, voidpf p) {
    (void)opaque;
    tt_free(p);
}

static tt_status inflate_all(z_stream *z, tt_buf *out, tt_err *err) {
    for (int result = Z_OK; result != Z_STREAM_END;) {
        size_t room = out->limit_bytes - out->size;
        if (room > INFLATE_STEP_BYTES) room = INFLATE_STEP_BYTES;
        if (room == 0)
            return tt_fail(err, TT_E_FORMAT, "the compressed text unpacks to more than %zu bytes",
                           TT_MAX_IMAGE_TEXT_BYTES);
        TT_TRY(tt_buf_reserve(out, room, err));
        z->next_out = (Bytef *)out->data + out->size;
        z->avail_out = (uInt)room;
        result = inflate(z, Z_NO_FLUSH);
        out->size += room - z->avail_out;
        if (result == Z_MEM_ERROR) return tt_fail_nomem(err, "zlib", INFLATE_STEP_BYTES);
        if (result != Z_OK && result != Z_STREAM_END)
            return tt_fail(err, TT_E_FORMAT, "the compressed text is broken: %s", zError(result));
    }
    return TT_OK;
}

static tt_status unpack(const uint8_t *bytes, size_t n, tt_buf *out, tt_err *err) {
    z_stream z = {.zalloc = zlib_alloc,
                  .zfree = zlib_free,
                  .next_in = (z_const Bytef *)bytes,
                  .avail_in = (uInt)n};
    int result = inflateInit(&z);
    if (result != Z_OK) return tt_fail_nomem(err, "zlib", INFLATE_STEP_BYTES);
    tt_status status = inflate_all(&z, out, err);
    inflateEnd(&z);
    return status;
}

/* `n` bytes of chunk data after the keyword become UTF-8 in `text`. */
static tt_status plain_text(const uint8_t *p, size_t n, bool compressed, tt_buf *text,
                            tt_err *err) {
    if (!compressed && n > TT_MAX_IMAGE_TEXT_BYTES)
        return tt_fail(err, TT_E_FORMAT, "a text of %zu bytes, the limit is %zu", n,
                       TT_MAX_IMAGE_TEXT_BYTES);
    if (!compressed) return tt__utf8_from_either(text, p, n, err);
    tt_buf raw;
    tt_buf_init(&raw, TT_MAX_IMAGE_TEXT_BYTES + 1); /* one more tells "just full" from "too much" */
    tt_status status = unpack(p, n, &raw, err);
    if (status == TT_OK)
        status = tt__utf8_from_either(text, (const uint8_t *)raw.data, raw.size, err);
    tt_buf_release(&raw);
    return status;
}

/* Steps over the fields between an iTXt's keyword and its text. */
static bool skip_itxt_fields(const uint8_t **p, size_t *n, bool *compressed) {
    if (*n < 2 || (*p)[1] != 0) return false;
    *compressed = (*p)[0] != 0;
    *p += 2, *n -= 2;
    for (int field = 0; field < 2; field++) { /* language, translated keyword */
        const uint8_t *end = memchr(*p, '\0', *n);
        if (!end) return false;
        *n -= (size_t)(end - *p) + 1;
        *p = end + 1;
    }
    return true;
}

static tt_status decode_text(const chunk *c, const uint8_t *p, size_t n, tt_buf *text,
                             tt_err *err) {
    bool compressed = is_type(c, "zTXt");
    if (crc32(crc32(0, c->type, 4), c->data, (uInt)c->size) != get_u32(c->data + c->size))
        return tt_fail(err, TT_E_FORMAT, "the checksum is wrong");
    if (is_type(c, "iTXt") && !skip_itxt_fields(&p, &n, &compressed))
        return tt_fail(err, TT_E_FORMAT, "its fields are broken");
    if (is_type(c, "zTXt")) {
        if (n < 1 || p[0] != 0) return tt_fail(err, TT_E_FORMAT, "an unknown compression method");
        p++, n--;
    }
    return plain_text(p, n, compressed, text, err);
}

static char **slot_for(tt_image_metadata *out, const uint8_t *keyword) {
    if (!strcmp((const char *)keyword, "parameters")) return &out->parameters;
    return strcmp((const char *)keyword, "tintype") ? NULL : &out->json;
}

static tt_status keep_text(const chunk *c, tt_image_metadata *out, tt_err *err) {
    const uint8_t *end =
        memchr(c->data, '\0', c->size < MAX_KEYWORD_BYTES + 1 ? c->size : MAX_KEYWORD_BYTES + 1);
    char **slot = end ? slot_for(out, c->data) : NULL;
    if (!slot || *slot) return TT_OK;
    size_t n = c->size - (size_t)(end + 1 - c->data);
    tt_buf text;
    tt_buf_init(&text, TT_MAX_IMAGE_TEXT_BYTES);
    tt_status status = decode_text(c, end + 1, n, &text, err);
    if (status == TT_OK) return tt__text_keep(slot, &text, (const char *)c->data, err);
    tt_buf_release(&text);
    return tt_fail_prefix(err, status, "text \"%s\"", (const char *)c->data);
}

tt_status tt__png_read_text(const uint8_t *bytes, size_t size, tt_image_metadata *out,
                            tt_err *err) {
    chunk c;
    for (size_t at = SIGNATURE_BYTES;;) {
        TT_TRY(next_chunk(bytes, size, &at, &c, err));
        if (is_type(&c, "IEND")) return TT_OK;
        if (is_type(&c, "tEXt") || is_type(&c, "zTXt") || is_type(&c, "iTXt"))
            TT_TRY(keep_text(&c, out, err));
    }
}

bool tt__png_find_exif(const uint8_t *bytes, size_t size, const uint8_t **block, size_t *n) {
    chunk c;
    size_t at = SIGNATURE_BYTES;
    while (next_chunk(bytes, size, &at, &c, NULL) == TT_OK && !is_type(&c, "IEND"))
        if (is_type(&c, "eXIf")) {
            *block = c.data;
            *n = c.size;
            return true;
        }
    return false;
}
