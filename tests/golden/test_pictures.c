/* Whole pictures against diffusers (f32): PSNR above 60 dB for every sampler, prediction type, schedule, kind of
 * negative prompt and size in expected/pictures.json; and the same bytes from both layouts.
 *
 * Both sides are u8, so 60 dB means that at most 6 % of the bytes are off by one. tools/golden/mutate.py lists
 * mistakes that this notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden_data.h"
#include "support/golden_engine.h"

/* One opened model in both layouts, and the rows it is asked for. */
typedef struct group {
    const char *model, *prediction; /* prediction NULL: the model's own */
} group;

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool check_row(json_object *row, tt_engine *ldm, tt_engine *folder) {
    const tt_request request = tt_golden_request(row);
    tt_result one = tt_golden_generate(ldm, &request);
    tt_result two = tt_golden_generate(folder, &request);
    bool good = tt_golden_picture_is_near("pictures", row, &one.pictures[0]);
    tt_golden_same_picture(&one.pictures[0], &two.pictures[0], tt_golden_string(row, "id"));
    tt_result_release(&one);
    tt_result_release(&two);
    return good;
}

static void agree_with_diffusers(void **state) {
    const group *g = *state;
    tt_golden_engine_options options = {
        .model = g->model, .prediction = g->prediction, .precision = TT_PRECISION_F32};
    tt_engine *ldm = tt_golden_engine(&options);
    options.layout = TT_GOLDEN_FOLDER;
    tt_engine *folder = tt_golden_engine(&options);
    json_object *rows = tt_golden_cases("expected/pictures.json");
    int checked = 0, bad = 0;
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        if (!same_text(tt_golden_string(row, "model"), g->model) ||
            !same_text(tt_golden_string(row, "prediction"), g->prediction))
            continue;
        bad += !check_row(row, ldm, folder);
        checked++;
    }
    json_object_put(rows);
    tt_engine_close(ldm);
    tt_engine_close(folder);
    assert_true(checked > 0);
    if (bad) fail_msg("%d of %d pictures are below %.0f dB", bad, checked, TT_GOLDEN_SMALLEST_PSNR);
}

int main(void) {
    static group kernel = {"kernel", NULL}, kernel_v = {"kernel", "v_prediction"},
                 quirks = {"quirks", NULL}, quirks_v = {"quirks", "v_prediction"},
                 pruned = {"pruned", NULL}, pruned_v = {"pruned", "v_prediction"},
                 vpred = {"vpred", NULL}, vpred_eps = {"vpred", "epsilon"};
    const struct CMUnitTest tests[] = {
        {"kernel_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &kernel},
        {"kernel_v_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &kernel_v},
        {"quirks_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &quirks},
        {"quirks_v_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &quirks_v},
        {"pruned_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &pruned},
        {"pruned_v_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &pruned_v},
        {"vpred_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &vpred},
        {"vpred_eps_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL, &vpred_eps},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
