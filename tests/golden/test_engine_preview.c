/* Previews through a tiny decoder: their size, their colours, and that looking changes nothing. What a tiny decoder makes of latents is
 * tested in test_tiny_decoder.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/counter.h"
#include "support/golden_engine.h"
#include "support/safetensors_writer.h"

enum { SIDE = 64, STEPS = 3, N_BYTES = SIDE * SIDE * 3, WIDTH = 8, LATENTS = 4 };

static char folder[] = "/tmp/tt-preview-XXXXXX", file[64];

static int begin(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(file, sizeof file, "%s/taesdxl_decoder.safetensors", folder);
    return 0;
}

static int end(void **state) {
    (void)state;
    unlink(file);
    return rmdir(folder);
}

static void add_conv(st_writer *w, const char *name, int64_t out, int64_t in, float scale,
                     const float *bias) {
    const int64_t shape[] = {out, in, 3, 3};
    char full[64];
    size_t count = (size_t)(out * in * 9);
    float *values = tt_alloc(count * sizeof *values);
    if (scale > 0) tt_counter_fill(name, scale, 0, values, count);
    snprintf(full, sizeof full, "%s.weight", name);
    st_add_f32(w, full, TT_F32, 4, shape, values);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) st_add_f32(w, full, TT_F32, 1, &out, bias);
    tt_free(values);
}

/* TAESD's sequence: convolution, blocks, and three times doubling, convolution, blocks; then three colours. */
static void write_decoder(float scale, const float colours[3]) {
    static const float none[WIDTH] = {0};
    static const int places[] = {3, 4, 5, 8, 9, 10, 13, 14, 15, 18};
    st_writer w;
    st_begin(&w);
    add_conv(&w, "1", WIDTH, LATENTS, scale, none);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int k = 0; k < 5; k += 2) {
            char name[32];
            snprintf(name, sizeof name, "%d.conv.%d", places[i], k);
            add_conv(&w, name, WIDTH, WIDTH, scale, none);
        }
    add_conv(&w, "7", WIDTH, WIDTH, scale, NULL);
    add_conv(&w, "12", WIDTH, WIDTH, scale, NULL);
    add_conv(&w, "17", WIDTH, WIDTH, scale, NULL);
    add_conv(&w, "19", 3, WIDTH, scale, colours);
    st_save(&w, file);
}

typedef struct seen {
    int n;
    uint8_t first[N_BYTES], last[N_BYTES];
} seen;

static bool look(void *context, const tt_progress *p) {
    seen *s = context;
    if (p->step == 0) return true;
    assert_non_null(p->preview);
    assert_int_equal(p->preview_width, SIDE);
    assert_int_equal(p->preview_height, SIDE);
    memcpy(s->n++ ? s->last : s->first, p->preview, N_BYTES);
    return true;
}

static tt_result generate(tt_precision precision, seen *s) {
    tt_engine *engine;
    tt_err err;
    tt_engine_options options;
    tt_engine_options_defaults(&options);
    options.model_path = TT_SOURCE_DIR "/models/tintype-tiny.safetensors";
    options.precision = precision;
    options.n_threads = 1;
    options.preview_decoder_path = s ? file : NULL;
    if (tt_engine_open(&options, &engine, &err)) fail_msg("%s", err.message);
    tt_request r;
    tt_request_defaults(engine, &r);
    r.prompt = "a lighthouse on the sea at sunset";
    r.width = r.height = SIDE;
    r.steps = STEPS;
    r.want_preview = s != NULL;
    r.progress = s ? look : NULL;
    r.progress_context = s;
    tt_result result = tt_golden_generate(engine, &r);
    tt_engine_close(engine);
    return result;
}

static void previews_are_full_size_in_the_decoder_s_colours(void **state) {
    (void)state;
    static seen s;
    const float colours[] = {0.25f, 0.5f, 0.75f};
    write_decoder(0, colours); /* which says the same of all latents */
    tt_result result = generate(TT_PRECISION_F32, &s);
    assert_int_equal(s.n, STEPS);
    for (int i = 0; i < N_BYTES; i++) assert_int_equal(s.last[i], (int)(colours[i % 3] * 255));
    tt_result_release(&result);
}

static void looking_changes_nothing(void **state) {
    (void)state;
    static const float dark[3] = {0};
    static const tt_precision precisions[] = {TT_PRECISION_F32, TT_PRECISION_BF16};
    write_decoder(0.4f, dark);
    for (int i = 0; i < 2; i++) {
        static seen s;
        s.n = 0;
        tt_result with = generate(precisions[i], &s), without = generate(precisions[i], NULL);
        tt_golden_same_picture(&with.pictures[0], &without.pictures[0], "with previews");
        assert_memory_not_equal(s.first, s.last, N_BYTES);
        tt_result_release(&with);
        tt_result_release(&without);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(previews_are_full_size_in_the_decoder_s_colours),
        cmocka_unit_test(looking_changes_nothing),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
