/* int8 against bf16, whole pictures: the random models, whose values are worst for it (no structure to hide behind), and the shipped
 * one. And what of int8 shows outside: its name, how much of the UNet it covers, its memory, adapters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/golden_pair.h"
#include "tensor/cpu/features.h"

#define SMALLEST_PSNR         28.0 /* of the random models */
#define SMALLEST_SHIPPED_PSNR 30.0 /* the same picture to the eye */

static bool cpu_has_int8(void) {
    tt_cpu_features f = tt__cpu_features();
    return f.amx_int8 || f.avx512_vnni;
}

static void check(const char *model, int size, double smallest) {
    if (!cpu_has_int8()) skip();
    tt_golden_pair p = tt_golden_pair_open(model, TT_PRECISION_BF16, TT_PRECISION_INT8);
    const tt_engine_info *info = tt_engine_get_info(p.rounded), *wide = tt_engine_get_info(p.exact);
    assert_string_equal(info->precision, "int8");
    assert_string_equal(info->vae_precision, wide->vae_precision);
    assert_true(info->n_int8 > 0);
    assert_int_equal(wide->n_int8, 0);
    print_message("%s: %.1f of %.1f million numbers in int8, weights %.2f MB, in bf16 %.2f MB\n",
                  p.name, (double)info->n_int8 / 1e6, (double)info->n_parameters / 1e6,
                  (double)info->weight_bytes / 1e6, (double)wide->weight_bytes / 1e6);
    tt_golden_pair_compare(&p, size, smallest);
}

static void random_model_is_near_bf16(void **state) {
    check(*state, 64, SMALLEST_PSNR);
}

static void shipped_model_draws_the_same_picture(void **state) {
    (void)state;
    check(NULL, 256, SMALLEST_SHIPPED_PSNR);
}

/* Weights that an adapter changes are made from the file's numbers, changed and then rounded. */
static void loras_are_applied_before_rounding(void **state) {
    (void)state;
    if (!cpu_has_int8()) skip();
    const tt_request_adapter lora = {.path = TT_SOURCE_DIR "/models/tintype-old-photo.safetensors",
                                     .scale = 1};
    tt_golden_pair p = tt_golden_pair_open(NULL, TT_PRECISION_BF16, TT_PRECISION_INT8);
    tt_request request = tt_golden_pair_request("euler", 1, 256);
    tt_result plain = tt_golden_generate(p.rounded, &request);
    request.adapters = &lora;
    request.n_adapters = 1;
    tt_result narrow = tt_golden_generate(p.rounded, &request),
              wide = tt_golden_generate(p.exact, &request);
    double near = tt_golden_picture_psnr(&narrow.pictures[0], &wide.pictures[0]);
    double far = tt_golden_picture_psnr(&narrow.pictures[0], &plain.pictures[0]);
    print_message("with the LoRA %.1f dB from bf16, %.1f dB from without\n", near, far);
    assert_true(near >= SMALLEST_SHIPPED_PSNR);
    assert_true(far < near - 6);
    tt_result_release(&plain);
    tt_result_release(&narrow);
    tt_result_release(&wide);
    tt_golden_pair_close(&p);
}

static void the_vae_is_not_for_int8(void **state) {
    (void)state;
    tt_engine_options options;
    tt_engine *engine;
    tt_err err;
    tt_engine_options_defaults(&options);
    options.model_path = TT_SOURCE_DIR "/models/tintype-tiny.safetensors";
    options.vae_precision = TT_PRECISION_INT8;
    assert_int_not_equal(tt_engine_open(&options, &engine, &err), TT_OK);
    assert_null(engine);
    assert_string_equal(err.message, "VAE precision int8: expected f32 or bf16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_in_int8_is_near_bf16", random_model_is_near_bf16, NULL, NULL, "kernel"},
        {"pruned_in_int8_is_near_bf16", random_model_is_near_bf16, NULL, NULL, "pruned"},
        {"vpred_in_int8_is_near_bf16", random_model_is_near_bf16, NULL, NULL, "vpred"},
        cmocka_unit_test(shipped_model_draws_the_same_picture),
        cmocka_unit_test(loras_are_applied_before_rounding),
        cmocka_unit_test(the_vae_is_not_for_int8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
