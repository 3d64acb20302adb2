/* Decoding against diffusers: PSNR above 60 dB over the range -1..1. */
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

#define SMALLEST_PSNR 60.0

enum { LATENT_CHANNELS = 4, COLOURS = 3 };

static float *make_latent(json_object *c, int64_t h, int64_t w) {
    char name[64];
    size_t count = (size_t)(LATENT_CHANNELS * h * w);
    float *nchw = tt_alloc(count * sizeof *nchw), *nhwc = tt_alloc(count * sizeof *nhwc);
    snprintf(name, sizeof name, "vae/%d", tt_golden_int(c, "number"));
    tt_counter_fill(name, (float)tt_golden_number(c, "scale"), 0, nchw, count);
    tt_golden_to_nhwc(nchw, nhwc, 1, LATENT_CHANNELS, h, w);
    tt_free(nchw);
    return nhwc;
}

/* Once in rehearsal, once for real. */
static void decode(const tt_golden_network *n, tt_vae *vae, const float *latent, int64_t h,
                   int64_t w, float *picture) {
    tt_err err;
    tt_ops_plan_begin(n->ops);
    TT_GOLDEN_OK(tt_vae_decode(vae, latent, h, w, picture, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n->ops, &err), err);
    TT_GOLDEN_OK(tt_vae_decode(vae, latent, h, w, picture, &err), err);
}

static void check_case(const tt_golden_network *n, tt_vae *vae, json_object *c,
                       const tt_golden_setup *setup) {
    int64_t h = tt_golden_int(c, "height"), w = tt_golden_int(c, "width");
    int64_t factor = tt_vae_factor(vae);
    tt_npy expected =
        tt_golden_array("expected/vae/%s-%d.npy", setup->model, tt_golden_int(c, "number"));
    assert_int_equal(expected.shape[1], h * factor);
    assert_int_equal(expected.shape[2], w * factor);
    float *latent = make_latent(c, h, w);
    float *picture = tt_alloc(expected.count * sizeof *picture);
    float *nchw = tt_alloc(expected.count * sizeof *nchw);
    decode(n, vae, latent, h, w, picture);
    tt_golden_to_nchw(picture, nchw, 1, COLOURS, h * factor, w * factor);
    double psnr = tt_psnr_f32(nchw, expected.data, expected.count, 2);
    print_message("%s: %ldx%ld: %.1f dB\n", tt_golden_setup_text(setup), (long)(w * factor),
                  (long)(h * factor), psnr);
    if (!(psnr > SMALLEST_PSNR)) fail_msg("%.1f dB, expected above %.0f", psnr, SMALLEST_PSNR);
    tt_free(latent);
    tt_free(picture);
    tt_free(nchw);
    tt_npy_release(&expected);
}

static void check_setup(const tt_golden_setup *setup) {
    tt_golden_network n;
    tt_vae *vae;
    tt_err err;
    tt_golden_network_open(setup, &n);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    assert_int_equal(tt_vae_latent_channels(vae), LATENT_CHANNELS);
    json_object *cases = tt_golden_cases_of("expected/vae.json", setup->model);
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_case(&n, vae, json_object_array_get_idx(cases, i), setup);
    json_object_put(cases);
    tt_vae_close(vae);
    tt_golden_network_close(&n);
}

static void decoding_agrees_with_diffusers(void **state) {
    for (int i = 0; i < TT_GOLDEN_SETUPS; i++) {
        const tt_golden_setup setup = tt_golden_setup_number(*state, i);
        check_setup(&setup);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_decoding_agrees_with_diffusers", decoding_agrees_with_diffusers, NULL, NULL,
         "kernel"},
        {"quirks_decoding_agrees_with_diffusers", decoding_agrees_with_diffusers, NULL, NULL,
         "quirks"},
        {"pruned_decoding_agrees_with_diffusers", decoding_agrees_with_diffusers, NULL, NULL,
         "pruned"},
        {"vpred_decoding_agrees_with_diffusers", decoding_agrees_with_diffusers, NULL, NULL,
         "vpred"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
