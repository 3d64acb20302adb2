/* bf16 against f32, whole pictures. diffusers' own bf16 is 37 to 45 dB from its f32 on these models
 * (tools/golden/README.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden_engine.h"

#define SMALLEST_PSNR         35.0 /* of the random models */
#define SMALLEST_SHIPPED_PSNR 30.0 /* the same picture to the eye */

enum { STEPS = 24, SEEDS = 2 };

static tt_request make_request(const char *sampler, uint64_t seed, int size) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = "a lighthouse on the sea at sunset";
    r.sampler = sampler;
    r.schedule = NULL;
    r.steps = STEPS;
    r.guidance = 4.5f;
    r.seed = seed;
    r.count = 1;
    r.width = r.height = size;
    return r;
}

static double distance(tt_engine *f32, tt_engine *bf16, const tt_request *request) {
    tt_result one = tt_golden_generate(f32, request), two = tt_golden_generate(bf16, request);
    double psnr = tt_golden_picture_psnr(&one.pictures[0], &two.pictures[0]);
    tt_result_release(&one);
    tt_result_release(&two);
    return psnr;
}

static void check(const char *model, int size, double smallest) {
    static const char *const samplers[] = {"euler", "DPM++ 2M Karras"};
    tt_golden_engine_options options = {.model = model, .precision = TT_PRECISION_F32};
    tt_engine *f32 = tt_golden_engine(&options);
    options.precision = TT_PRECISION_BF16;
    tt_engine *bf16 = tt_golden_engine(&options);
    assert_string_equal(tt_engine_get_info(bf16)->precision, "bf16");
    int bad = 0;
    for (int i = 0; i < 2; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            const tt_request request = make_request(samplers[i], seed, size);
            double psnr = distance(f32, bf16, &request);
            print_message("%s, %s, seed %d: %.1f dB\n", model ? model : "shipped", samplers[i],
                          (int)seed, psnr);
            bad += !(psnr >= smallest);
        }
    }
    tt_engine_close(f32);
    tt_engine_close(bf16);
    if (bad) fail_msg("%d pictures are below %.0f dB", bad, smallest);
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
