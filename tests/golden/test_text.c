/* Both text encoders against transformers: token ids exact, penultimate states and pooled row within 1e-4. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/psnr.h"
#include "text/clip.h"
#include "text/tokenizer.h"

#define LARGEST_ERROR 1e-4

enum { POSITIONS = 77 };
static const int32_t pads[] = {49407, 0};

static void expected_ids(json_object *c, int which, int32_t ids[POSITIONS]) {
    json_object *list, *one;
    assert_true(json_object_object_get_ex(c, "ids", &list));
    one = json_object_array_get_idx(list, (size_t)which);
    assert_int_equal(json_object_array_length(one), POSITIONS);
    for (size_t i = 0; i < POSITIONS; i++)
        ids[i] = json_object_get_int(json_object_array_get_idx(one, i));
}

static void token_ids_are_exact(void **state) {
    (void)state;
    tt_tokenizer *tokenizer;
    tt_err err;
    TT_GOLDEN_OK(tt_tokenizer_open(&tokenizer, &err), err);
    json_object *cases = tt_golden_cases("expected/text.json");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        const char *prompt = tt_golden_string(c, "prompt");
        for (int which = 0; which < 2; which++) {
            int32_t expected[POSITIONS], found[POSITIONS];
            tt_tokens tokens = {0};
            expected_ids(c, which, expected);
            TT_GOLDEN_OK(
                tt_tokenizer_encode(tokenizer, prompt, strlen(prompt), pads[which], &tokens, &err),
                err);
            TT_GOLDEN_OK(tt_tokenizer_pad(tokenizer, &tokens, pads[which], POSITIONS, found, &err),
                         err);
            assert_memory_equal(found, expected, sizeof found);
            tt_tokens_release(&tokens);
        }
    }
    json_object_put(cases);
    tt_tokenizer_close(tokenizer);
}

static void compare(const char *what, const tt_npy *expected, const float *found, size_t count,
                    const tt_golden_setup *setup) {
    assert_int_equal(expected->count, count);
    double error = tt_max_error(found, expected->data, count);
    if (!(error < LARGEST_ERROR))
        fail_msg("%s: %s: largest error %g, expected below %g", tt_golden_setup_text(setup), what,
                 error, LARGEST_ERROR);
}

/* Once in rehearsal, once for real. */
static void encode(const tt_golden_network *n, tt_clip *clip, const int32_t *ids, float *hidden,
                   float *pooled) {
    tt_err err;
    tt_ops_plan_begin(n->ops);
    TT_GOLDEN_OK(tt_clip_encode(clip, ids, hidden, pooled, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n->ops, &err), err);
    TT_GOLDEN_OK(tt_clip_encode(clip, ids, hidden, pooled, &err), err);
}

static void check_case(const tt_golden_network *n, tt_clip *clip, int which, json_object *c,
                       const tt_golden_setup *setup) {
    int number = tt_golden_int(c, "number");
    size_t width = (size_t)tt_clip_width(clip), pooled_width = (size_t)tt_clip_pooled_width(clip);
    float *hidden = tt_alloc(POSITIONS * width * sizeof *hidden);
    float *pooled = tt_alloc((pooled_width + 1) * sizeof *pooled);
    int32_t ids[POSITIONS];
    expected_ids(c, which, ids);
    encode(n, clip, ids, hidden, which ? pooled : NULL);
    tt_npy states = tt_golden_array("expected/text/%s-%d-%d.npy", setup->model, number, which + 1);
    compare(which ? "second encoder" : "first encoder", &states, hidden, POSITIONS * width, setup);
    tt_npy_release(&states);
    if (which) {
        tt_npy row = tt_golden_array("expected/text/%s-%d-pooled.npy", setup->model, number);
        compare("pooled row", &row, pooled, pooled_width, setup);
        tt_npy_release(&row);
    }
    tt_free(hidden);
    tt_free(pooled);
}

static void check_encoder(const tt_golden_setup *setup, int which, json_object *cases) {
    tt_golden_network n;
    tt_clip *clip;
    tt_err err;
    tt_golden_network_open(setup, &n);
    TT_GOLDEN_OK(tt_clip_open(n.loader, n.ops, which, &clip, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    assert_int_equal(tt_clip_positions(clip), POSITIONS);
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_case(&n, clip, which, json_object_array_get_idx(cases, i), setup);
    tt_clip_close(clip);
    tt_golden_network_close(&n);
}

static void states_agree_with_transformers(void **state) {
    json_object *cases = tt_golden_cases_of("expected/text.json", *state);
    for (int i = 0; i < TT_GOLDEN_SETUPS; i++) {
        const tt_golden_setup setup = tt_golden_setup_number(*state, i);
        check_encoder(&setup, 0, cases);
        check_encoder(&setup, 1, cases);
    }
    json_object_put(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_ids_are_exact),
        {"kernel_states_agree_with_transformers", states_agree_with_transformers, NULL, NULL,
         "kernel"},
        {"quirks_states_agree_with_transformers", states_agree_with_transformers, NULL, NULL,
         "quirks"},
        {"pruned_states_agree_with_transformers", states_agree_with_transformers, NULL, NULL,
         "pruned"},
        {"vpred_states_agree_with_transformers", states_agree_with_transformers, NULL, NULL,
         "vpred"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
