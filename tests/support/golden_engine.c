/* Opening engines on test models and asking them for the pictures that expected/pictures.json lists. */
#include "support/golden_engine.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden_data.h"
#include "support/psnr.h"

enum { COLOURS = 3 };
enum { N_THREADS = 1 }; /* several on shared cores cost more than they give: barriers wait */

tt_engine *tt_golden_engine(const tt_golden_engine_options *options) {
    static const char shipped[] = TT_SOURCE_DIR "/models/tintype-tiny.safetensors";
    tt_golden_path path;
    tt_engine *engine;
    tt_err err;
    if (!options->model)
        memcpy(path.text, shipped, sizeof shipped);
    else if (tt_golden_model(options->model, options->layout, &path, &err))
        fail_msg("%s", err.message);
    tt_engine_options o;
    tt_engine_options_defaults(&o);
    o.model_path = path.text;
    o.precision = options->precision;
    if (o.precision != TT_PRECISION_INT8) o.vae_precision = o.precision; /* else its own choice */
    o.device = options->device;
    o.prediction = options->prediction;
    o.n_threads = options->n_threads ? options->n_threads : N_THREADS;
    if (tt_engine_open(&o, &engine, &err)) fail_msg("%s", err.message);
    return engine;
}

tt_request tt_golden_request(json_object *row) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = tt_golden_string(row, "prompt");
    r.negative_prompt = tt_golden_string(row, "negative");
    r.prompt_syntax = "plain"; /* what diffusers reads */
    r.sampler = tt_golden_string(row, "sampler");
    r.schedule = tt_golden_string(row, "schedule");
    r.steps = tt_golden_int(row, "steps");
    r.guidance = (float)tt_golden_number(row, "guidance");
    r.guidance_rescale = (float)tt_golden_number(row, "rescale");
    r.seed = (uint64_t)tt_golden_number(row, "seed");
    r.width = tt_golden_int(row, "width");
    r.height = tt_golden_int(row, "height");
    r.count = 1;
    return r;
}

tt_result tt_golden_generate(tt_engine *engine, const tt_request *request) {
    tt_result result;
    tt_err err;
    if (tt_engine_generate(engine, request, &result, &err)) fail_msg("%s", err.message);
    assert_int_equal(result.n_pictures, request->count);
    return result;
}

static size_t picture_bytes(const tt_picture *p) {
    return (size_t)p->width * (size_t)p->height * COLOURS;
}

void tt_golden_same_picture(const tt_picture *a, const tt_picture *b, const char *what) {
    if (a->width != b->width || a->height != b->height)
        fail_msg("%s: %dx%d against %dx%d", what, a->width, a->height, b->width, b->height);
    if (memcmp(a->rgb, b->rgb, picture_bytes(a)) != 0)
        fail_msg("%s: %.1f dB apart, expected the same bytes", what, tt_golden_picture_psnr(a, b));
}

double tt_golden_picture_psnr(const tt_picture *a, const tt_picture *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    return tt_psnr_u8(a->rgb, b->rgb, picture_bytes(a));
}

bool tt_golden_picture_is_near(const char *folder, json_object *row, const tt_picture *found) {
    const char *id = tt_golden_string(row, "id");
    tt_npy expected = tt_golden_array("expected/%s/%s.npy", folder, id);
    assert_int_equal(expected.shape[0], found->height);
    assert_int_equal(expected.shape[1], found->width);
    double psnr = tt_psnr_u8(found->rgb, expected.data, expected.count);
    bool is_near = psnr > TT_GOLDEN_SMALLEST_PSNR;
    print_message("%-30s %5.1f dB%s\n", id, psnr, is_near ? "" : " <- too low");
    tt_npy_release(&expected);
    return is_near;
}
