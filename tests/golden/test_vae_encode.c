/* Encoding against diffusers: mean and deviation of the posterior within a ten-thousandth of their size in f32 (80 dB). */
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
#include "vae/vae.h"

#define LARGEST_ERROR      1e-4
#define LARGEST_BF16_ERROR 0.05

enum { LATENT_CHANNELS = 4, COLOURS = 3 };

static float *make_picture(json_object *c, int64_t h, int64_t w) {
    char name[64];
    size_t count = (size_t)(COLOURS * h * w);
    float *nchw = tt_alloc(count * sizeof *nchw), *nhwc = tt_alloc(count * sizeof *nhwc);
    snprintf(name, sizeof name, "encode/%d", tt_golden_int(c, "number"));
    tt_counter_fill(name, 1, 0, nchw, count);
    tt_golden_to_nhwc(nchw, nhwc, 1, COLOURS, h, w);
    tt_free(nchw);
    return nhwc;
}

static void check_part(const tt_golden_setup *setup, const char *what, const float *found,
                       const tt_npy *expected, int64_t at, int64_t h, int64_t w) {
    size_t count = expected->count / 2;
    float *nchw = tt_alloc(count * sizeof *nchw);
    tt_golden_to_nchw(found, nchw, 1, LATENT_CHANNELS, h, w);
    double error =
        tt_relative_error(nchw, (const float *)expected->data + at * (int64_t)count, count);
    double largest = setup->dtype == TT_BF16 ? LARGEST_BF16_ERROR : LARGEST_ERROR;
    print_message("%s: %ldx%ld %s: %.2g\n", tt_golden_setup_text(setup), (long)w, (long)h, what,
                  error);
    if (!(error < largest)) fail_msg("%s: error %g, expected below %g", what, error, largest);
    tt_free(nchw);
}

static void check_case(const tt_golden_network *n, tt_vae_encoder *vae, json_object *c,
                       const tt_golden_setup *setup) {
    int64_t h = tt_golden_int(c, "height"), w = tt_golden_int(c, "width");
    tt_npy expected =
        tt_golden_array("expected/encode/%s-%d.npy", setup->model, tt_golden_int(c, "number"));
    int64_t latent_h = expected.shape[2], latent_w = expected.shape[3];
    tt_err err;
    assert_int_equal(latent_h, h / tt_vae_encoder_factor(vae));
    assert_int_equal(latent_w, w / tt_vae_encoder_factor(vae));
    float *picture = make_picture(c, h, w);
    float *mean = tt_alloc(expected.count / 2 * sizeof *mean);
    float *deviation = tt_alloc(expected.count / 2 * sizeof *deviation);
    tt_ops_plan_begin(n->ops);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, mean, deviation, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n->ops, &err), err);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, mean, deviation, &err), err);
    check_part(setup, "mean", mean, &expected, 0, latent_h, latent_w);
    check_part(setup, "deviation", deviation, &expected, 1, latent_h, latent_w);
    tt_free(picture);
    tt_free(mean);
    tt_free(deviation);
    tt_npy_release(&expected);
}

static void check_setup(const tt_golden_setup *setup) {
    tt_golden_network n;
    tt_vae_encoder *vae;
    tt_err err;
    tt_golden_network_open(setup, &n);
    TT_GOLDEN_OK(tt_vae_encoder_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    assert_int_equal(tt_vae_encoder_channels(vae), LATENT_CHANNELS);
    json_object *cases = tt_golden_cases_of("expected/encode.json", setup->model);
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_case(&n, vae, json_object_array_get_idx(cases, i), setup);
    json_object_put(cases);
    tt_vae_encoder_close(vae);
    tt_golden_network_close(&n);
}

static void encoding_agrees_with_diffusers(void **state) {
    for (int i = 0; i < TT_GOLDEN_SETUPS; i++) {
        const tt_golden_setup setup = tt_golden_setup_number(*state, i);
        check_setup(&setup);
    }
}

static void bf16_encoding_is_close_to_diffusers(void **state) {
    tt_golden_setup setup = tt_golden_setup_number(*state, 0);
    setup.dtype = TT_BF16;
    check_setup(&setup);
}

static void sizes_must_be_multiples(void **state) {
    const tt_golden_setup setup = tt_golden_setup_number(*state, 0);
    float picture[3] = {0}, latent[4];
    tt_golden_network n;
    tt_vae_encoder *vae;
    tt_err err;
    tt_golden_network_open(&setup, &n);
    TT_GOLDEN_OK(tt_vae_encoder_open(n.loader, n.ops, &vae, &err), err);
    assert_int_equal(tt_vae_encode(vae, picture, 65, 64, latent, latent, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "multiples of 8"));
    tt_vae_encoder_close(vae);
    tt_golden_network_close(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_encoding_agrees_with_diffusers", encoding_agrees_with_diffusers, NULL, NULL,
         "kernel"},
        {"quirks_encoding_agrees_with_diffusers", encoding_agrees_with_diffusers, NULL, NULL,
         "quirks"},
        {"pruned_encoding_agrees_with_diffusers", encoding_agrees_with_diffusers, NULL, NULL,
         "pruned"},
        {"vpred_encoding_agrees_with_diffusers", encoding_agrees_with_diffusers, NULL, NULL,
         "vpred"},
        {"bf16_encoding_is_close_to_diffusers", bf16_encoding_is_close_to_diffusers, NULL, NULL,
         "kernel"},
        {"sizes_must_be_multiples", sizes_must_be_multiples, NULL, NULL, "kernel"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
