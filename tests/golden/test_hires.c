/* A second pass in a larger size against diffusers' pipelines one after the other, f32: tools/golden/hires.py. PSNR above 60 dB;
 * measured: 86 to 90 where latents are enlarged, 72 to 78 where pictures are, as some of their bytes are rounded differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden_data.h"
#include "support/golden_engine.h"

static bool check_row(json_object *row, tt_engine *engine) {
    tt_request r = tt_golden_request(row);
    r.hires_scale = (float)tt_golden_number(row, "scale");
    r.hires_strength = (float)tt_golden_number(row, "strength");
    r.hires_steps = tt_golden_int(row, "second_steps");
    r.hires_upscaler = tt_golden_string(row, "upscaler");
    tt_result result = tt_golden_generate(engine, &r);
    bool good = tt_golden_picture_is_near("hires", row, &result.pictures[0]);
    tt_result_release(&result);
    return good;
}

static void agree_with_diffusers(void **state) {
    tt_golden_engine_options options = {.model = *state, .precision = TT_PRECISION_F32};
    tt_engine *engine = tt_golden_engine(&options);
    json_object *rows = tt_golden_cases_of("expected/hires.json", options.model);
    size_t n = json_object_array_length(rows);
    int bad = 0;
    for (size_t i = 0; i < n; i++) bad += !check_row(json_object_array_get_idx(rows, i), engine);
    json_object_put(rows);
    tt_engine_close(engine);
    if (bad) fail_msg("%d of %zu pictures are too far away", bad, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_second_passes_agree_with_diffusers", agree_with_diffusers, NULL, NULL, "kernel"},
        {"vpred_second_passes_agree_with_diffusers", agree_with_diffusers, NULL, NULL, "vpred"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
