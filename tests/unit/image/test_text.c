/* The texts inside the files: where they are, byte by byte, and what readers make of broken and
 * foreign ones. */
#include "unit/image/pictures.h"

#include <zlib.h>

#define EMOJI_CAT "a cat \xf0\x9f\x90\xb1, \xe7\x8c\xab \xc3\xa9\nNegative prompt: dog\nSteps: 4"

static tt_buf file_with(tt_image_format format, const char *parameters, const char *json) {
    tt_image image = smooth_picture(9, 7);
    tt_image_encode_options options = {.format = format, .text = {parameters, json}};
    tt_buf file = encoded(&image, &options);
    tt_image_release(&image);
    return file;
}

static void assert_text(const char *found, const char *expected) {
    if (!expected)
        assert_null(found);
    else if (!found)
        fail_msg("no text, expected %s", expected);
    else
        assert_string_equal(found, expected);
}

static void texts_come_back_from_every_format(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"a cat\nSteps: 4", "{\"seed\": 1}"},
        {EMOJI_CAT, "{\"prompt\": \"\xf0\x9f\x90\xb1 <b>&amp; ]]> \xc3\xa9\"}"},
        {"", ""},
        {NULL, "{}"},
        {"only", NULL},
        {NULL, NULL},
        {"tab\tcr\r\nx", "{\n\t\"a\":\r\n 1}"}};
    for (int format = TT_IMAGE_PNG; format <= TT_IMAGE_WEBP; format++)
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            tt_buf file = file_with((tt_image_format)format, texts[i][0], texts[i][1]);
            tt_image_metadata found = texts_of(file.data, file.size);
            assert_text(found.parameters, texts[i][0]);
            assert_text(found.json, texts[i][1]);
            tt_image_metadata_release(&found);
            tt_buf_release(&file);
        }
}

static char *long_text(size_t size) {
    char *text = tt_alloc(size + 1);
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + i % 26);
    return text;
}

static void a_text_of_the_full_limit_fits_png_and_webp(void **state) {
    (void)state;
    char *text = long_text(TT_MAX_IMAGE_TEXT_BYTES);
    for (int k = 0; k < 2; k++) {
        tt_buf file = file_with(k ? TT_IMAGE_WEBP : TT_IMAGE_PNG, text, text);
        tt_image_metadata found = texts_of(file.data, file.size);
        assert_text(found.parameters, text);
        assert_text(found.json, text);
        tt_image_metadata_release(&found);
        tt_buf_release(&file);
    }
    tt_free(text);
}

static void jpeg_says_when_a_text_outgrows_its_segment(void **state) {
    (void)state;
    tt_image image = smooth_picture(9, 7);
    char *text = long_text(40000);
    tt_image_encode_options options = {.format = TT_IMAGE_JPEG, .text = {.parameters = text}};
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_image_encode(&image, &options, &out, &err), TT_E_INVALID);
    assert_string_equal(err.message, "JPEG: the parameters text needs a segment of 80058 bytes, "
                                     "the format allows 65533");
    text[32700] = '\0';
    assert_int_equal(tt_image_encode(&image, &options, &out, &err), TT_OK);
    tt_buf_release(&out);
    tt_free(text);
    tt_image_release(&image);
}

/* PNG ------------------------------------------------------------------------------------------ */

enum { IHDR_END = 33, IEND_BYTES = 12 };

static uint32_t u32be(const void *bytes) {
    const uint8_t *p = bytes;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The data of the nth chunk of a type, or NULL; every CRC on the way must be right. */
static const char *png_chunk(const tt_buf *file, const char *type, int nth, size_t *size) {
    *size = 0;
    for (size_t at = 8; at < file->size; at += 12 + *size) {
        *size = u32be(file->data + at);
        uLong crc = crc32(0, (const Bytef *)file->data + at + 4, (uInt)*size + 4);
        assert_int_equal(crc, u32be(file->data + at + 8 + *size));
        if (!memcmp(file->data + at + 4, type, 4) && nth-- == 0) return file->data + at + 8;
    }
    return NULL;
}

static void png_keeps_ascii_in_text_and_the_rest_in_itxt(void **state) {
    (void)state;
    size_t size;
    tt_buf file = file_with(TT_IMAGE_PNG, "a cat\nSteps: 4", "{}");
    const char *data = png_chunk(&file, "tEXt", 0, &size);
    assert_non_null(data);
    assert_int_equal(size, sizeof "parameters" + strlen("a cat\nSteps: 4"));
    assert_memory_equal(data, "parameters\0a cat\nSteps: 4", size);
    data = png_chunk(&file, "iTXt", 0, &size);
    assert_non_null(data);
    assert_int_equal(size, sizeof "tintype" + 4 + 2);
    assert_memory_equal(data, "tintype\0\0\0\0\0{}", size);
    tt_buf_release(&file);
    file = file_with(TT_IMAGE_PNG, EMOJI_CAT, NULL);
    assert_null(png_chunk(&file, "tEXt", 0, &size));
    data = png_chunk(&file, "iTXt", 0, &size);
    assert_non_null(data);
    assert_int_equal(size, sizeof "parameters" + 4 + strlen(EMOJI_CAT));
    assert_memory_equal(data, "parameters\0\0\0\0\0" EMOJI_CAT, size);
    tt_buf_release(&file);
}

static void put_u32be(tt_buf *out, uint32_t v) {
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    assert_int_equal(tt_buf_append(out, bytes, 4, NULL), TT_OK);
}

static void put_png_chunk(tt_buf *out, const char *type, const void *data, size_t size) {
    put_u32be(out, (uint32_t)size);
    size_t start = out->size;
    assert_int_equal(tt_buf_append(out, type, 4, NULL), TT_OK);
    assert_int_equal(tt_buf_append(out, data, size, NULL), TT_OK);
    put_u32be(out, (uint32_t)crc32(0, (const Bytef *)out->data + start, (uInt)size + 4));
}

/* A small PNG with one chunk more, before the pixels. */
static tt_buf png_with_chunk(const char *type, const void *data, size_t size) {
    tt_buf plain = file_with(TT_IMAGE_PNG, NULL, NULL), out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_buf_append(&out, plain.data, IHDR_END, NULL), TT_OK);
    put_png_chunk(&out, type, data, size);
    assert_int_equal(tt_buf_append(&out, plain.data + IHDR_END, plain.size - IHDR_END, NULL),
                     TT_OK);
    tt_buf_release(&plain);
    return out;
}

static void expect_png_text(const char *type, const void *data, size_t size, const char *expected) {
    tt_buf file = png_with_chunk(type, data, size);
    tt_image_metadata found = texts_of(file.data, file.size);
    assert_text(found.parameters, expected);
    tt_image_metadata_release(&found);
    tt_buf_release(&file);
}

static void expect_png_failure(const char *type, const void *data, size_t size,
                               const char *message) {
    tt_buf file = png_with_chunk(type, data, size);
    tt_err err = {0};
    assert_int_equal(try_read_text(file.data, file.size, &err), TT_E_FORMAT);
    assert_string_equal(err.message, message);
    tt_buf_release(&file);
}

#define BYTES(literal) literal, sizeof(literal) - 1

static void latin_1_and_utf_8_in_text_chunks_are_both_understood(void **state) {
    (void)state;
    expect_png_text("tEXt", BYTES("parameters\0caf\xe9"), "caf\xc3\xa9");
    expect_png_text("tEXt", BYTES("parameters\0caf\xc3\xa9"), "caf\xc3\xa9");
    expect_png_text("tEXt", BYTES("parameters\0"), "");
    expect_png_text("tEXt", BYTES("Software\0x"), NULL);
    expect_png_text("tEXt", BYTES("parameters"), NULL); /* no separator: not a text chunk at all */
    expect_png_text("iTXt", BYTES("parameters\0\0\0en\0Parameter\0\xc3\xa9"), "\xc3\xa9");
}

/* "keyword\0" + fields + a zlib stream of `size` times 'a'. */
static tt_buf packed_text(const char *head, size_t head_size, size_t size) {
    char *text = malloc(size);
    memset(text, 'a', size);
    uLongf packed_size = compressBound(size);
    tt_buf out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_buf_append(&out, head, head_size, NULL), TT_OK);
    assert_int_equal(tt_buf_reserve(&out, packed_size, NULL), TT_OK);
    assert_int_equal(
        compress((Bytef *)out.data + out.size, &packed_size, (const Bytef *)text, size), Z_OK);
    out.size += packed_size;
    free(text);
    return out;
}

static void compressed_texts_are_unpacked(void **state) {
    (void)state;
    tt_buf ztxt = packed_text(BYTES("parameters\0\0"), 5),
           itxt = packed_text(BYTES("parameters\0\1\0\0\0"), 5);
    expect_png_text("zTXt", ztxt.data, ztxt.size, "aaaaa");
    expect_png_text("iTXt", itxt.data, itxt.size, "aaaaa");
    expect_png_failure("zTXt", ztxt.data, ztxt.size - 5,
                       "PNG: text \"parameters\": the compressed text is broken: buffer error");
    ztxt.data[ztxt.size - 1] ^= 1;
    expect_png_failure("zTXt", ztxt.data, ztxt.size,
                       "PNG: text \"parameters\": the compressed text is broken: data error");
    tt_buf_release(&ztxt);
    tt_buf_release(&itxt);
}

static void a_text_bomb_stops_at_the_limit(void **state) {
    (void)state;
    char *full = long_text(TT_MAX_IMAGE_TEXT_BYTES);
    memset(full, 'a', TT_MAX_IMAGE_TEXT_BYTES);
    tt_buf fits = packed_text(BYTES("parameters\0\0"), TT_MAX_IMAGE_TEXT_BYTES);
    expect_png_text("zTXt", fits.data, fits.size, full);
    tt_buf bomb = packed_text(BYTES("parameters\0\0"), 32 * TT_MIB);
    assert_true(bomb.size < 64 * TT_KIB);
    expect_png_failure(
        "zTXt", bomb.data, bomb.size,
        "PNG: text \"parameters\": the compressed text unpacks to more than 1048576 bytes");
    tt_buf_release(&fits);
    tt_buf_release(&bomb);
    tt_free(full);
}

static void unpacking_survives_running_out_of_memory(void **state) {
    (void)state;
    tt_buf packed = packed_text(BYTES("parameters\0\0"), 100 * TT_KIB);
    tt_buf file = png_with_chunk("zTXt", packed.data, packed.size);
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < MAX_ALLOCATIONS; n++) {
        tt_alloc_fail_after(n);
        status = try_read_text(file.data, file.size, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
    }
    assert_true(n > 4);
    tt_buf_release(&packed);
    tt_buf_release(&file);
}

static void broken_text_chunks_fail_with_their_reason(void **state) {
    (void)state;
    expect_png_failure("zTXt", BYTES("parameters\0\1x"),
                       "PNG: text \"parameters\": an unknown compression method");
    expect_png_failure("zTXt", BYTES("parameters\0"),
                       "PNG: text \"parameters\": an unknown compression method");
    expect_png_failure("iTXt", BYTES("parameters\0\0"),
                       "PNG: text \"parameters\": its fields are broken");
    expect_png_failure("iTXt", BYTES("parameters\0\0\0en\0x"),
                       "PNG: text \"parameters\": its fields are broken");
    expect_png_failure("tEXt", BYTES("parameters\0a\0b"),
                       "PNG: parameters: the text has a NUL byte inside");
    tt_buf file = png_with_chunk("tEXt", BYTES("parameters\0a"));
    file.data[IHDR_END + 8 + 11] = 'b';
    tt_err err = {0};
    assert_int_equal(try_read_text(file.data, file.size, &err), TT_E_FORMAT);
    assert_string_equal(err.message, "PNG: text \"parameters\": the checksum is wrong");
    tt_buf_release(&file);
}

static void the_first_of_two_texts_wins(void **state) {
    (void)state;
    tt_buf plain = file_with(TT_IMAGE_PNG, NULL, NULL), file;
    tt_buf_init(&file, OUT_LIMIT_BYTES);
    tt_buf_append(&file, plain.data, IHDR_END, NULL);
    put_png_chunk(&file, "tEXt", BYTES("parameters\0first"));
    put_png_chunk(&file, "tEXt", BYTES("parameters\0second"));
    tt_buf_append(&file, plain.data + IHDR_END, plain.size - IHDR_END, NULL);
    tt_image_metadata found = texts_of(file.data, file.size);
    assert_text(found.parameters, "first");
    tt_image_metadata_release(&found);
    tt_buf_release(&plain);
    tt_buf_release(&file);
}

static void a_text_after_the_pixels_is_found(void **state) {
    (void)state;
    tt_buf file = file_with(TT_IMAGE_PNG, NULL, NULL);
    file.size -= IEND_BYTES;
    put_png_chunk(&file, "tEXt", BYTES("parameters\0late"));
    put_png_chunk(&file, "IEND", "", 0);
    tt_image_metadata found = texts_of(file.data, file.size);
    assert_text(found.parameters, "late");
    tt_image_metadata_release(&found);
    tt_buf_release(&file);
}

/* Exif ----------------------------------------------------------------------------------------- */

static const char exif_of_hi[] = "MM\0*\0\0\0\x08"
                                 "\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0"
                                 "\0\x01\x92\x86\0\x07\0\0\0\x0c\0\0\0\x2c\0\0\0\0"
                                 "UNICODE\0\0h\0i";

static void jpeg_keeps_parameters_in_a_big_endian_user_comment(void **state) {
    (void)state;
    tt_buf file = file_with(TT_IMAGE_JPEG, "hi", NULL);
    /* FF D8, APP0 (18 bytes), then APP1: FF E1, length, "Exif\0\0", the TIFF block */
    const uint8_t *app1 = (const uint8_t *)file.data + 20;
    const size_t exif_size = sizeof exif_of_hi - 1;
    assert_int_equal(app1[0] << 8 | app1[1], 0xffe1);
    assert_int_equal(app1[2] << 8 | app1[3], 2 + 6 + exif_size);
    assert_memory_equal(app1 + 4, "Exif\0\0", 6);
    assert_memory_equal(app1 + 10, exif_of_hi, exif_size);
    tt_buf_release(&file);
}

/* The chunk of a WebP file, or NULL. */
static const char *webp_chunk(const tt_buf *file, const char *id, size_t *size) {
    *size = 0;
    const uint8_t *p = (const uint8_t *)file->data;
    for (size_t at = 12; at + 8 <= file->size; at += 8 + *size + (*size & 1)) {
        *size =
            p[at + 4] | (size_t)p[at + 5] << 8 | (size_t)p[at + 6] << 16 | (size_t)p[at + 7] << 24;
        if (!memcmp(p + at, id, 4)) return file->data + at + 8;
    }
    return NULL;
}

static void webp_keeps_texts_in_chunks_its_header_announces(void **state) {
    (void)state;
    tt_buf file = file_with(TT_IMAGE_WEBP, "hi", "{}");
    size_t size;
    const char *extended = webp_chunk(&file, "VP8X", &size);
    assert_non_null(extended);
    assert_int_equal(extended[0] & 0x0c, 0x0c); /* has EXIF, has XMP */
    const char *exif = webp_chunk(&file, "EXIF", &size);
    assert_non_null(exif);
    assert_int_equal(size, sizeof exif_of_hi - 1);
    assert_memory_equal(exif, exif_of_hi, size);
    const char *xmp = webp_chunk(&file, "XMP ", &size);
    assert_non_null(xmp);
    assert_non_null(memmem(xmp, size, BYTES("<tintype:json>{}</tintype:json>")));
    tt_buf_release(&file);
}

static void put_segment(tt_buf *out, const char *head, size_t head_size, const void *data,
                        size_t size) {
    size_t n = 2 + head_size + size;
    const uint8_t start[] = {0xff, 0xe1, (uint8_t)(n >> 8), (uint8_t)n};
    tt_buf_append(out, start, sizeof start, NULL);
    tt_buf_append(out, head, head_size, NULL);
    tt_buf_append(out, data, size, NULL);
}

/* The shortest file the reader takes: start, one APP1, end. */
static tt_status read_segment(const char *head, size_t head_size, const void *data, size_t size,
                              tt_image_metadata *found, tt_err *err) {
    tt_buf file;
    tt_buf_init(&file, OUT_LIMIT_BYTES);
    tt_buf_append(&file, "\xff\xd8", 2, NULL);
    put_segment(&file, head, head_size, data, size);
    tt_buf_append(&file, "\xff\xff\xd9", 3, NULL); /* a padded marker */
    uint8_t *copy = exact_copy(file.data, file.size);
    tt_status status = tt_image_read_text(copy, file.size, found, err);
    free(copy);
    tt_buf_release(&file);
    return status;
}

static void expect_exif(const void *tiff, size_t size, const char *expected) {
    tt_image_metadata found;
    tt_err err = {0};
    if (read_segment(BYTES("Exif\0\0"), tiff, size, &found, &err) != TT_OK)
        fail_msg("%s", err.message);
    assert_text(found.parameters, expected);
    tt_image_metadata_release(&found);
}

static void expect_exif_failure(const void *tiff, size_t size, const char *message) {
    tt_image_metadata found;
    tt_err err = {0};
    assert_int_equal(read_segment(BYTES("Exif\0\0"), tiff, size, &found, &err), TT_E_FORMAT);
    assert_string_equal(err.message, message);
}

/* Little-endian, two entries, the wanted one second; 12 bytes of comment follow. */
#define LITTLE_ENDIAN_EXIF                                                               \
    "II*\0\x08\0\0\0"                                                                    \
    "\x02\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\x69\x87\x04\0\x01\0\0\0\x26\0\0\0\0\0\0\0" \
    "\x01\0\x86\x92\x07\0\x0c\0\0\0\x38\0\0\0\0\0\0\0"

enum { COMMENT_TYPE_AT = 42 };

static void comments_of_other_programs_are_understood(void **state) {
    (void)state;
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0h\0i\0"), "hi"); /* in the file's byte order */
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0\0h\0i"), "hi"); /* big-endian all the same */
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0\xfe\xff\0i"), "i");
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0\xff\xfei\0"), "i");
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0\x3d\xd8\x31\xdc"),
                "\xf0\x9f\x90\xb1"); /* a surrogate pair */
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0\x3d\xd8i\0"),
                "\xef\xbf\xbdi"); /* half of one */
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "ASCII\0\0\0cat\0"), "cat");
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "\0\0\0\0\0\0\0\0\xc3\xa9\xc3\xa9"), "\xc3\xa9\xc3\xa9");
    expect_exif(BYTES(LITTLE_ENDIAN_EXIF "bare caption"), "bare caption"); /* no character set */
    expect_exif(BYTES("II*\0\x08\0\0\0\0\0\0\0\0\0"), NULL);               /* an empty directory */
    char of_type_byte[] = LITTLE_ENDIAN_EXIF "UNICODE\0\0h\0i";
    of_type_byte[COMMENT_TYPE_AT] = 1;
    expect_exif(of_type_byte, sizeof of_type_byte - 1, "hi");
    of_type_byte[COMMENT_TYPE_AT] = 5; /* rational numbers are no text */
    expect_exif(of_type_byte, sizeof of_type_byte - 1, NULL);
}

static void broken_exif_fails_with_its_reason(void **state) {
    (void)state;
    expect_exif_failure(BYTES("II*\0"), "JPEG: Exif: 4 bytes, expected at least 8");
    expect_exif_failure(BYTES("XX*\0\0\0\0\0"), "JPEG: Exif: it does not begin with a TIFF header");
    expect_exif_failure(BYTES("II*\0\xff\xff\xff\xff"),
                        "JPEG: Exif: a directory at byte 4294967295 of 8");
    expect_exif_failure(
        BYTES("II*\0\x08\0\0\0\xff\xff"),
        "JPEG: Exif: a directory at byte 8 has 65535 entries, too many for 10 bytes");
    expect_exif_failure(BYTES(LITTLE_ENDIAN_EXIF "UNICODE\0h\0i"),
                        "JPEG: Exif: a comment of 12 bytes at byte 56 of 67");
}

static void every_cut_and_every_changed_byte_of_exif_is_survived(void **state) {
    (void)state;
    char tiff[] = LITTLE_ENDIAN_EXIF "UNICODE\0h\0i\0";
    for (size_t size = 0; size < sizeof tiff; size++) {
        tt_image_metadata found;
        read_segment(BYTES("Exif\0\0"), tiff, size, &found, NULL);
        tt_image_metadata_release(&found);
    }
    for (size_t at = 0; at < sizeof tiff - 1; at++)
        for (int change = 1; change < 256; change = change * 2 + 1) {
            tt_image_metadata found;
            tiff[at] ^= (char)change;
            read_segment(BYTES("Exif\0\0"), tiff, sizeof tiff - 1, &found, NULL);
            tiff[at] ^= (char)change;
            tt_image_metadata_release(&found);
        }
}

/* XMP ------------------------------------------------------------------------------------------ */

#define XMP_ID "http://ns.adobe.com/xap/1.0/\0"

static void expect_xmp(const char *packet, const char *expected) {
    tt_image_metadata found;
    tt_err err = {0};
    if (read_segment(BYTES(XMP_ID), packet, strlen(packet), &found, &err) != TT_OK)
        fail_msg("%s", err.message);
    assert_text(found.json, expected);
    tt_image_metadata_release(&found);
}

static void both_forms_of_an_xmp_property_are_read(void **state) {
    (void)state;
    expect_xmp("<r xmlns:tintype=\"u\"><tintype:json>{&quot;a&quot;:1}</tintype:json>",
               "{\"a\":1}");
    expect_xmp("<r tintype:json=\"{&quot;a&quot;:'x'}\"/>", "{\"a\":'x'}");
    expect_xmp("<r tintype:json='{\"a\":1}'/>", "{\"a\":1}");
    expect_xmp("<tintype:json>&#x1F431;&#233;&#xA;&lt;&gt;&amp;&apos;</tintype:json>",
               "\xf0\x9f\x90\xb1\xc3\xa9\n<>&'");
    expect_xmp("<tintype:json2>no</tintype:json2> tintype:json", NULL);
    expect_xmp("<x:xmpmeta/>", NULL);
}

static void bad_character_references_fail(void **state) {
    (void)state;
    static const char *const bad[] = {
        "&",        "&;",         "&nbsp;",         "&#;",   "&#x;",  "&#0;",
        "&#xD800;", "&#x110000;", "&#99999999999;", "&#1g;", "&#xg;", "&lt"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char packet[64];
        snprintf(packet, sizeof packet, "<tintype:json>%s</tintype:json>", bad[i]);
        tt_image_metadata found;
        tt_err err = {0};
        assert_int_equal(read_segment(BYTES(XMP_ID), packet, strlen(packet), &found, &err),
                         TT_E_FORMAT);
        assert_string_equal(err.message, "JPEG: XMP: a bad character reference in tintype:json");
    }
}

static void a_jpeg_without_an_end_fails(void **state) {
    (void)state;
    tt_err err = {0};
    assert_int_equal(try_read_text(BYTES("\xff\xd8\xff"), &err), TT_E_FORMAT);
    assert_int_equal(try_read_text(BYTES("\xff\xd8\xff\xe1\0\1"), &err),
                     TT_E_FORMAT); /* a length below its own size */
    assert_int_equal(try_read_text(BYTES("\xff\xd8\xff\xe1\0\2x"), &err), TT_E_FORMAT);
    assert_string_equal(err.message, "JPEG: no marker at byte 6, where one must be");
    assert_int_equal(try_read_text(BYTES("\xff\xd8\xff\xda\0\2....\xff"), &err), TT_E_FORMAT);
    assert_string_equal(err.message, "JPEG: the file ends too early: no end marker in 11 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back_from_every_format),
        cmocka_unit_test(a_text_of_the_full_limit_fits_png_and_webp),
        cmocka_unit_test(jpeg_says_when_a_text_outgrows_its_segment),
        cmocka_unit_test(png_keeps_ascii_in_text_and_the_rest_in_itxt),
        cmocka_unit_test(latin_1_and_utf_8_in_text_chunks_are_both_understood),
        cmocka_unit_test(compressed_texts_are_unpacked),
        cmocka_unit_test(a_text_bomb_stops_at_the_limit),
        cmocka_unit_test(unpacking_survives_running_out_of_memory),
        cmocka_unit_test(broken_text_chunks_fail_with_their_reason),
        cmocka_unit_test(the_first_of_two_texts_wins),
        cmocka_unit_test(a_text_after_the_pixels_is_found),
        cmocka_unit_test(jpeg_keeps_parameters_in_a_big_endian_user_comment),
        cmocka_unit_test(webp_keeps_texts_in_chunks_its_header_announces),
        cmocka_unit_test(comments_of_other_programs_are_understood),
        cmocka_unit_test(broken_exif_fails_with_its_reason),
        cmocka_unit_test(every_cut_and_every_changed_byte_of_exif_is_survived),
        cmocka_unit_test(both_forms_of_an_xmp_property_are_read),
        cmocka_unit_test(bad_character_references_fail),
        cmocka_unit_test(a_jpeg_without_an_end_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
