/* Pictures to test with, how far two are apart, and running a call with every allocation failing in
 * turn. */
#ifndef TESTS_UNIT_IMAGE_PICTURES_H
#define TESTS_UNIT_IMAGE_PICTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/image.h"

enum { CUT_STEP = 97, MAX_ALLOCATIONS = 2000 };
#define OUT_LIMIT_BYTES (64 * TT_MIB)

static inline tt_image blank_picture(int width, int height) {
    tt_image image = {tt_alloc((size_t)width * (size_t)height * 3), width, height};
    assert_non_null(image.rgb);
    return image;
}

/* Waves: what a lossy codec should be good at. */
static inline tt_image smooth_picture(int width, int height) {
    tt_image image = blank_picture(width, height);
    uint8_t *p = image.rgb;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *p++ = (uint8_t)lrint(127.5 + 100 * sin(x * 0.021 + c) * cos(y * 0.017 - c * 0.5));
    return image;
}

/* Noise, the same each time: what a lossless codec cannot squeeze. */
static inline tt_image noise_picture(int width, int height) {
    tt_image image = blank_picture(width, height);
    uint32_t state = 7;
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++) {
        state = state * 1664525u + 1013904223u;
        image.rgb[i] = (uint8_t)(state >> 24);
    }
    return image;
}

static inline double psnr(const tt_image *a, const tt_image *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    size_t n = (size_t)a->width * (size_t)a->height * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - b->rgb[i];
        sum += d * d;
    }
    return sum == 0 ? INFINITY : 10 * log10(255.0 * 255.0 * (double)n / sum);
}

static inline void assert_same_picture(const tt_image *a, const tt_image *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(a->rgb, b->rgb, (size_t)a->width * (size_t)a->height * 3);
}

/* The encoded picture; the caller releases it. */
static inline tt_buf encoded(const tt_image *image, const tt_image_encode_options *options) {
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    if (tt_image_encode(image, options, &out, &err) != TT_OK) fail_msg("encode: %s", err.message);
    return out;
}

static inline tt_image decoded(const void *bytes, size_t size) {
    tt_image image;
    tt_err err = {0};
    if (tt_image_decode(bytes, size, &image, &err) != TT_OK) fail_msg("decode: %s", err.message);
    return image;
}

static inline tt_image_metadata texts_of(const void *bytes, size_t size) {
    tt_image_metadata metadata;
    tt_err err = {0};
    if (tt_image_read_text(bytes, size, &metadata, &err) != TT_OK)
        fail_msg("read: %s", err.message);
    return metadata;
}

/* An exact copy, so that AddressSanitizer sees the first byte read beyond it. */
static inline uint8_t *exact_copy(const void *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size) memcpy(copy, bytes, size);
    return copy;
}

static inline tt_status try_decode(const void *bytes, size_t size, tt_err *err) {
    uint8_t *copy = exact_copy(bytes, size);
    tt_image image;
    tt_status status = tt_image_decode(copy, size, &image, err);
    if (status != TT_OK) assert_null(image.rgb);
    tt_image_release(&image);
    free(copy);
    return status;
}

static inline tt_status try_read_text(const void *bytes, size_t size, tt_err *err) {
    uint8_t *copy = exact_copy(bytes, size);
    tt_image_metadata metadata;
    tt_status status = tt_image_read_text(copy, size, &metadata, err);
    if (status != TT_OK) assert_null(metadata.parameters);
    tt_image_metadata_release(&metadata);
    free(copy);
    return status;
}

/* Every shorter file, in steps, must fail with a sentence in all three readers that need the whole
 * of it. */
static inline void assert_cuts_fail(const tt_buf *file) {
    for (size_t size = 0; size < file->size; size += CUT_STEP) {
        tt_err err = {0};
        assert_int_not_equal(try_decode(file->data, size, &err), TT_OK);
        assert_int_not_equal(err.message[0], '\0');
        assert_int_not_equal(try_read_text(file->data, size, &err), TT_OK);
    }
    for (size_t missing = 1; missing <= 4; missing++) { /* the last bytes matter too */
        assert_int_not_equal(try_decode(file->data, file->size - missing, NULL), TT_OK);
        assert_int_not_equal(try_read_text(file->data, file->size - missing, NULL), TT_OK);
    }
}

/* Encodes, decodes and reads texts with the Nth allocation failing, for every N that is reached:
 * each failure is TT_E_NOMEM, nothing leaks (AddressSanitizer looks), and outputs are as before. */
static inline void assert_survives_no_memory(const tt_image *image,
                                             const tt_image_encode_options *options) {
    tt_buf file = encoded(image, options);
    tt_buf out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    for (int step = 0; step < 3; step++) {
        tt_status status = TT_E_NOMEM;
        int n = 0;
        for (; n < MAX_ALLOCATIONS && status != TT_OK; n++) {
            tt_image back;
            tt_image_metadata texts;
            tt_alloc_fail_after(n);
            if (step == 0) status = tt_image_encode(image, options, &out, NULL);
            if (step == 1) status = tt_image_decode(file.data, file.size, &back, NULL);
            if (step == 2) status = tt_image_read_text(file.data, file.size, &texts, NULL);
            tt_alloc_fail_after(-1);
            if (step == 1) tt_image_release(&back);
            if (step == 2) tt_image_metadata_release(&texts);
            if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
            if (step == 0) assert_int_equal(out.size, status == TT_OK ? file.size : 0);
        }
        assert_int_equal(status, TT_OK);
        if (step < 2) assert_true(n > 1); /* something was allocated, so something failed */
    }
    tt_buf_release(&out);
    tt_buf_release(&file);
}

#endif
