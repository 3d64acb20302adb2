/* One forward pass of the UNet against diffusers, two rows at once: relative error below 1e-3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/counter.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/psnr.h"
#include "unet/unet.h"

#define LARGEST_RELATIVE_ERROR 1e-3

enum { ROWS = 2, TOKENS = 77, CHANNELS = 4 };

typedef struct inputs {
    float *sample, *context, *pooled; /* owned; sample is [n, h, w, c] */
    tt_unet_condition condition;
    int64_t h, w;
    float timestep;
} inputs;

static float *given(json_object *c, const char *what, size_t count) {
    char name[64];
    snprintf(name, sizeof name, "unet/%d/%s", tt_golden_int(c, "number"), what);
    float *values = tt_alloc(count * sizeof *values);
    tt_counter_fill(name, (float)tt_golden_number(c, "scale"), 0, values, count);
    return values;
}

static inputs make_inputs(json_object *c) {
    inputs in = {.h = tt_golden_int(c, "height"), .w = tt_golden_int(c, "width")};
    size_t context_width = (size_t)tt_golden_int(c, "context_width");
    size_t pooled_width = (size_t)tt_golden_int(c, "pooled_width");
    size_t count = (size_t)(ROWS * CHANNELS * in.h * in.w);
    float *nchw = given(c, "sample", count);
    in.sample = tt_alloc(count * sizeof *in.sample);
    tt_golden_to_nhwc(nchw, in.sample, ROWS, CHANNELS, in.h, in.w);
    tt_free(nchw);
    in.context = given(c, "context", ROWS * TOKENS * context_width);
    in.pooled = given(c, "pooled", ROWS * pooled_width);
    in.timestep = (float)tt_golden_number(c, "timestep");
    in.condition = (tt_unet_condition){
        .n = ROWS, .tokens = TOKENS, .context = in.context, .pooled = in.pooled};
    json_object *sizes = NULL;
    json_object_object_get_ex(c, "sizes", &sizes);
    for (size_t i = 0; i < TT_UNET_SIZE_IDS; i++)
        in.condition.size_ids[i] =
            (float)json_object_get_double(json_object_array_get_idx(sizes, i));
    return in;
}

static void release_inputs(inputs *in) {
    tt_free(in->sample);
    tt_free(in->context);
    tt_free(in->pooled);
}

/* Once in rehearsal, once for real. */
static void forward(const tt_golden_network *n, tt_unet *unet, const inputs *in, float *out) {
    tt_err err;
    tt_ops_plan_begin(n->ops);
    TT_GOLDEN_OK(tt_unet_begin(unet, &in->condition, &err), err);
    TT_GOLDEN_OK(tt_unet_forward(unet, in->sample, in->h, in->w, in->timestep, out, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n->ops, &err), err);
    TT_GOLDEN_OK(tt_unet_begin(unet, &in->condition, &err), err);
    TT_GOLDEN_OK(tt_unet_forward(unet, in->sample, in->h, in->w, in->timestep, out, &err), err);
    tt_unet_end(unet);
}

static void check_case(const tt_golden_network *n, tt_unet *unet, json_object *c,
                       const tt_golden_setup *setup) {
    inputs in = make_inputs(c);
    size_t count = (size_t)(ROWS * CHANNELS * in.h * in.w);
    float *out = tt_alloc(count * sizeof *out), *nchw = tt_alloc(count * sizeof *nchw);
    assert_int_equal(tt_unet_context_width(unet), tt_golden_int(c, "context_width"));
    assert_int_equal(tt_unet_pooled_width(unet), tt_golden_int(c, "pooled_width"));
    forward(n, unet, &in, out);
    tt_golden_to_nchw(out, nchw, ROWS, CHANNELS, in.h, in.w);
    tt_npy expected =
        tt_golden_array("expected/unet/%s-%d.npy", setup->model, tt_golden_int(c, "number"));
    assert_int_equal(expected.count, count);
    double error = tt_relative_error(nchw, expected.data, count);
    print_message("%s: %ldx%ld: relative error %.2g\n", tt_golden_setup_text(setup), (long)in.w,
                  (long)in.h, error);
    if (!(error < LARGEST_RELATIVE_ERROR))
        fail_msg("relative error %g, expected below %g", error, LARGEST_RELATIVE_ERROR);
    tt_npy_release(&expected);
    tt_free(out);
    tt_free(nchw);
    release_inputs(&in);
}

static void check_setup(const tt_golden_setup *setup) {
    tt_golden_network n;
    tt_unet *unet;
    tt_err err;
    tt_golden_network_open(setup, &n);
    TT_GOLDEN_OK(tt_unet_open(n.loader, n.ops, &unet, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    json_object *cases = tt_golden_cases_of("expected/unet.json", setup->model);
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_case(&n, unet, json_object_array_get_idx(cases, i), setup);
    json_object_put(cases);
    tt_unet_close(unet);
    tt_golden_network_close(&n);
}

static void forward_agrees_with_diffusers(void **state) {
    for (int i = 0; i < TT_GOLDEN_SETUPS; i++) {
        const tt_golden_setup setup = tt_golden_setup_number(*state, i);
        check_setup(&setup);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_forward_agrees_with_diffusers", forward_agrees_with_diffusers, NULL, NULL,
         "kernel"},
        {"quirks_forward_agrees_with_diffusers", forward_agrees_with_diffusers, NULL, NULL,
         "quirks"},
        {"pruned_forward_agrees_with_diffusers", forward_agrees_with_diffusers, NULL, NULL,
         "pruned"},
        {"vpred_forward_agrees_with_diffusers", forward_agrees_with_diffusers, NULL, NULL, "vpred"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
