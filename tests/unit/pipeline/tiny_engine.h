/* The shipped model in f32, opened once for all tests of a file, and the request they vary. */
#ifndef TT_TESTS_PIPELINE_TINY_ENGINE_H
#define TT_TESTS_PIPELINE_TINY_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tintype/engine.h"

#define MODEL TT_SOURCE_DIR "/models/tintype-tiny.safetensors"
#define WORDS "a lighthouse on the sea at sunset"

enum { SIDE = 64, N_BYTES = SIDE * SIDE * 3 };

static tt_engine *engine;
static tt_err err;

static inline void ok(tt_status status) {
    if (status != TT_OK) print_error("%s\n", err.message);
    assert_int_equal(status, TT_OK);
}

static inline tt_engine_options tiny_options(void) {
    tt_engine_options options;
    tt_engine_options_defaults(&options);
    options.model_path = MODEL;
    options.precision = TT_PRECISION_F32;
    options.n_threads = 1;
    return options;
}

static inline tt_status open_tiny(tt_engine **out) {
    const tt_engine_options options = tiny_options();
    return tt_engine_open(&options, out, &err);
}

/* Of a group of tests. */
static inline int begin(void **state) {
    (void)state;
    return open_tiny(&engine) == TT_OK ? 0 : -1;
}

static inline int end(void **state) {
    (void)state;
    tt_engine_close(engine);
    return 0;
}

static inline tt_request tiny_request(int steps) {
    tt_request r;
    tt_request_defaults(engine, &r);
    r.prompt = WORDS;
    r.width = r.height = SIDE;
    r.steps = steps;
    r.seed = 5;
    return r;
}

static inline tt_result generate(const tt_request *r) {
    tt_result result;
    ok(tt_engine_generate(engine, r, &result, &err));
    return result;
}

#endif
