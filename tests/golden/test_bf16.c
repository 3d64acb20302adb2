/* bf16 against f32, whole pictures. diffusers' own bf16 is 37 to 45 dB from its f32 on these models
 * (tools/golden/README.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/golden_pair.h"

#define SMALLEST_PSNR         35.0 /* of the random models */
#define SMALLEST_SHIPPED_PSNR 30.0 /* the same picture to the eye */

static void check(const char *model, int size, double smallest) {
    tt_golden_pair p = tt_golden_pair_open(model, TT_PRECISION_F32, TT_PRECISION_BF16);
    assert_string_equal(tt_engine_get_info(p.rounded)->precision, "bf16");
    tt_golden_pair_compare(&p, size, smallest);
}

static void random_model_is_near_f32(void **state) {
    check(*state, 64, SMALLEST_PSNR);
}

static void shipped_model_draws_the_same_picture(void **state) {
    (void)state;
    check(NULL, 256, SMALLEST_SHIPPED_PSNR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_in_bf16_is_near_f32", random_model_is_near_f32, NULL, NULL, "kernel"},
        {"quirks_in_bf16_is_near_f32", random_model_is_near_f32, NULL, NULL, "quirks"},
        {"pruned_in_bf16_is_near_f32", random_model_is_near_f32, NULL, NULL, "pruned"},
        {"vpred_in_bf16_is_near_f32", random_model_is_near_f32, NULL, NULL, "vpred"},
        cmocka_unit_test(shipped_model_draws_the_same_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
