/* Tiles against the whole, with the test models' VAEs: PSNR above 40 dB over the range of the picture, and no steps
 * where tiles meet. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/counter.h"
#include "support/golden_network.h"
#include "support/psnr.h"
#include "vae/vae.h"

#define SMALLEST_PSNR 40.0

enum { CHANNELS = 4, COLOURS = 3, H = 96, W = 128, TILE = 64, OVERLAP = 24 };
static const tt_vae_tiles tiles = {.tile = TILE, .overlap = OVERLAP};

static float *zeros(int64_t count) {
    float *values = tt_alloc((size_t)count * sizeof *values);
    assert_non_null(values);
    return values;
}

/* Noise, as uneven as what the last step of a sampler leaves of it. */
static float *make_latent(void) {
    float *latent = zeros(H * W * CHANNELS);
    tt_counter_fill("tiling", 1.7f, 0, latent, H * W * CHANNELS);
    return latent;
}

static tt_status decode(const tt_golden_network *n, tt_vae *vae, bool tiled, const float *latent,
                        float *picture, tt_err *err) {
    for (int pass = 0; pass < 2; pass++) { /* rehearsal, then for real */
        if (pass == 0) tt_ops_plan_begin(n->ops);
        tt_status status = tiled ? tt_vae_decode_tiled(vae, &tiles, latent, H, W, picture, err)
                                 : tt_vae_decode(vae, latent, H, W, picture, err);
        if (status == TT_OK && pass == 0) status = tt_ops_plan_end(n->ops, err);
        if (status != TT_OK) return status;
    }
    return TT_OK;
}

/* The largest mean change across a column of pixels, of the difference to the whole: a seam is such a line. */
static double largest_step(const float *tiled, const float *whole, int h, int w) {
    double largest = 0;
    for (int x = 1; x < w; x++) {
        double sum = 0;
        for (int y = 0; y < h; y++)
            for (int c = 0; c < COLOURS; c++) {
                int i = (y * w + x) * COLOURS + c;
                sum += (double)(tiled[i] - whole[i]) - (double)(tiled[i - 3] - whole[i - 3]);
            }
        if (fabs(sum) > largest) largest = fabs(sum);
    }
    return largest / (h * COLOURS);
}

static void open_network(const char *model, tt_golden_network *n) {
    const tt_golden_setup setup = tt_golden_setup_number(model, 0);
    tt_golden_network_open(&setup, n);
}

static void tiled_decoding_resembles_the_whole(void **state) {
    tt_golden_network n, m;
    tt_vae *vae, *again;
    tt_err err;
    open_network(*state, &n);
    open_network(*state, &m);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_vae_open(m.loader, m.ops, &again, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    TT_GOLDEN_OK(tt_loader_run(m.loader, &err), err);
    int factor = tt_vae_factor(vae), h = H * factor, w = W * factor;
    size_t count = (size_t)h * (size_t)w * COLOURS;
    float *latent = make_latent(), *whole = zeros((int64_t)count), *tiled = zeros((int64_t)count);
    TT_GOLDEN_OK(decode(&n, vae, false, latent, whole, &err), err);
    TT_GOLDEN_OK(decode(&m, again, true, latent, tiled, &err), err);
    double psnr = tt_psnr_f32(tiled, whole, count, 2), step = largest_step(tiled, whole, h, w);
    print_message("%s: %dx%d: %.1f dB, largest step %.2g\n", (const char *)*state, w, h, psnr,
                  step);
    assert_true(psnr > SMALLEST_PSNR);
    assert_true(step < 1.0 / UINT8_MAX); /* half a shade: -1..1 is 255 of them */
    assert_true(tt_ops_scratch_bytes(m.ops) < tt_ops_scratch_bytes(n.ops) / 2);
    tt_vae_close(vae);
    tt_vae_close(again);
    tt_golden_network_close(&n);
    tt_golden_network_close(&m);
    tt_free(latent);
    tt_free(whole);
    tt_free(tiled);
}

static void one_tile_is_the_whole(void **state) {
    const tt_vae_tiles large = {.tile = W, .overlap = OVERLAP};
    tt_golden_network n;
    tt_vae *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    int64_t factor = tt_vae_factor(vae), count = H * W * factor * factor * COLOURS;
    float *latent = make_latent(), *whole = zeros(count), *tiled = zeros(count);
    TT_GOLDEN_OK(decode(&n, vae, false, latent, whole, &err), err);
    TT_GOLDEN_OK(tt_vae_decode_tiled(vae, &large, latent, H, W, tiled, &err), err);
    assert_memory_equal(tiled, whole, (size_t)count * sizeof *whole);
    assert_int_equal(tt_vae_decode_tiled(vae, &(tt_vae_tiles){8, 8}, latent, H, W, tiled, &err),
                     TT_E_INVALID);
    tt_vae_close(vae);
    tt_golden_network_close(&n);
    tt_free(latent);
    tt_free(whole);
    tt_free(tiled);
}

static void tiled_encoding_resembles_the_whole(void **state) {
    tt_golden_network n;
    tt_vae_encoder *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_encoder_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    int factor = tt_vae_encoder_factor(vae), h = H * factor, w = W * factor,
        count = H * W * CHANNELS;
    float *picture = zeros(h * w * COLOURS), *whole = zeros(2 * count), *tiled = zeros(2 * count);
    for (int i = 0; i < h * w * COLOURS; i++) {
        const int column = i / COLOURS % w, row = i / COLOURS / w, colour = i % COLOURS;
        picture[i] = sinf((float)column * 0.1f + (float)colour) * cosf((float)row * 0.07f);
    }
    tt_ops_plan_begin(n.ops);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, whole, whole + count, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n.ops, &err), err);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, whole, whole + count, &err), err);
    tt_ops_plan_begin(n.ops);
    TT_GOLDEN_OK(tt_vae_encode_tiled(vae, &tiles, picture, h, w, tiled, tiled + count, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n.ops, &err), err);
    TT_GOLDEN_OK(tt_vae_encode_tiled(vae, &tiles, picture, h, w, tiled, tiled + count, &err), err);
    double mean = tt_relative_error(tiled, whole, (size_t)count),
           deviation = tt_relative_error(tiled + count, whole + count, (size_t)count);
    print_message("%s: %dx%d: mean %.2g, deviation %.2g\n", (const char *)*state, w, h, mean,
                  deviation);
    assert_true(mean < 0.1 && deviation < 0.1);
    tt_vae_encoder_close(vae);
    tt_golden_network_close(&n);
    tt_free(picture);
    tt_free(whole);
    tt_free(tiled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"pruned_tiled_decoding_resembles_the_whole", tiled_decoding_resembles_the_whole, NULL,
         NULL, "pruned"},
        {"quirks_tiled_decoding_resembles_the_whole", tiled_decoding_resembles_the_whole, NULL,
         NULL, "quirks"},
        {"one_tile_is_the_whole", one_tile_is_the_whole, NULL, NULL, "quirks"},
        {"quirks_tiled_encoding_resembles_the_whole", tiled_encoding_resembles_the_whole, NULL,
         NULL, "quirks"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
