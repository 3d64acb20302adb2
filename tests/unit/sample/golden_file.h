/* Reading the little-endian records that tools/golden/samplers.py writes. Test programs only: a
 * short or missing file fails the test at once. */
#ifndef TESTS_UNIT_SAMPLE_GOLDEN_FILE_H
#define TESTS_UNIT_SAMPLE_GOLDEN_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

enum { GOLDEN_NAME = 16, GOLDEN_LIMIT = 4 << 20 };

typedef struct golden_file {
    tt_buf bytes;
    size_t at;
} golden_file;

static inline void golden_open(golden_file *g, const char *name) {
    char path[1024];
    tt_err err;
    tt_buf_init(&g->bytes, GOLDEN_LIMIT);
    g->at = 0;
    assert_int_equal(
        tt_path_join(path, sizeof path, TT_SOURCE_DIR "/tests/golden/data", name, &err), TT_OK);
    if (tt_file_read(path, &g->bytes, &err) != TT_OK) fail_msg("%s", err.message);
}

static inline void golden_close(golden_file *g) {
    assert_int_equal(g->at, g->bytes.size);
    tt_buf_release(&g->bytes);
}

static inline void golden_take(golden_file *g, void *out, size_t size) {
    assert_true(g->bytes.size - g->at >= size);
    memcpy(out, g->bytes.data + g->at, size);
    g->at += size;
}

static inline uint32_t golden_u32(golden_file *g) {
    uint32_t value;
    golden_take(g, &value, sizeof value);
    return value;
}

static inline float golden_f32(golden_file *g) {
    float value;
    golden_take(g, &value, sizeof value);
    return value;
}

#endif
