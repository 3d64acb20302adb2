/* What prompts do to pictures, whatever the model: syntaxes, length, editing on the way, negative prompts, guidance for a share of
 * the steps. Likeness to other programs is tested in tests/golden/test_engine_words.c. */
#include "unit/pipeline/tiny_engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { STEPS = 6, N_SMALL = N_BYTES / 64 };

static tt_request request(const char *prompt) {
    tt_request r = tiny_request(STEPS);
    r.prompt = prompt;
    r.sampler = "euler"; /* what it shows after a step depends on the steps so far only */
    return r;
}

static bool same(const tt_request *a, const tt_request *b) {
    tt_result one = generate(a), two = generate(b);
    bool is_same = memcmp(one.pictures[0].rgb, two.pictures[0].rgb, N_BYTES) == 0;
    tt_result_release(&one);
    tt_result_release(&two);
    return is_same;
}

static bool same_texts(const char *a, const char *b) {
    const tt_request one = request(a), two = request(b);
    return same(&one, &two);
}

/* ---- syntaxes --------------------------------------------------------------------------------------- */

static void short_plain_words_mean_the_same_in_every_syntax(void **state) {
    (void)state;
    static const char *const syntaxes[] = {"a1111", "comfyui", "compel"};
    tt_request plain = request(WORDS);
    plain.prompt_syntax = "plain";
    plain.negative_prompt = "rain";
    for (int i = 0; i < 3; i++) {
        tt_request other = plain;
        other.prompt_syntax = syntaxes[i];
        assert_true(same(&plain, &other));
    }
}

static void weights_change_the_picture_and_a_weight_of_one_does_not(void **state) {
    (void)state;
    assert_true(same_texts("a house", "a (house:1.0)"));
    assert_false(same_texts("a house", "a (house:1.4)"));
    assert_true(same_texts("a (house:1.1)", "a (house)"));
    tt_request escaped = request("a \\(house\\)"), plain = request("a (house)");
    plain.prompt_syntax = "plain";
    assert_true(same(&escaped, &plain));
}

/* 400 tokens and one more. */
static void the_last_word_of_a_long_prompt_counts(void **state) {
    (void)state;
    char one[2048] = "", two[2048];
    for (int i = 0; i < 400; i++) memcpy(one + 4 * i, "sea ", 5);
    memcpy(two, one, sizeof two);
    memcpy(one + strlen(one), "boat", 5);
    memcpy(two + strlen(two), "cat", 4);
    assert_false(same_texts(one, two));
    const tt_request r = request(one);
    tt_result result = generate(&r);
    assert_int_equal(result.prompt_chunks, 6);
    assert_int_equal(result.prompt_tokens, 401);
    assert_int_equal(result.prompt_tokens_used, 401);
    assert_string_equal(result.prompt_syntax, "a1111");
    tt_result_release(&result);
    tt_request plain = r, other = request(two);
    plain.prompt_syntax = other.prompt_syntax = "plain";
    assert_true(same(&plain, &other)); /* cut */
}

static void a_break_begins_a_chunk(void **state) {
    (void)state;
    const tt_request r = request("the sea BREAK a boat");
    tt_result result = generate(&r);
    assert_int_equal(result.prompt_chunks, 2);
    tt_result_release(&result);
}

/* ComfyUI repeats the shorter of two prompts, which leaves its attention as it is: with next to no guidance, the picture is that of
 * the prompt alone. Empty chunks change it. */
static void repeated_chunks_change_nothing(void **state) {
    (void)state;
    char negative[512] = "";
    for (int i = 0; i < 100; i++) memcpy(negative + 4 * i, "sea ", 5);
    tt_request alone = request(WORDS);
    alone.guidance = 1;
    tt_result expected = generate(&alone);
    double distances[2];
    for (int i = 0; i < 2; i++) {
        tt_request r = request(WORDS);
        r.prompt_syntax = i ? "a1111" : "comfyui";
        r.negative_prompt = negative;
        r.guidance = 1.000001f;
        tt_result found = generate(&r);
        assert_int_equal(found.prompt_chunks, 2);
        double sum = 0;
        for (int k = 0; k < N_BYTES; k++)
            sum += pow(found.pictures[0].rgb[k] - expected.pictures[0].rgb[k], 2);
        distances[i] = sum / N_BYTES;
        tt_result_release(&found);
    }
    if (!(distances[0] < 0.1)) fail_msg("mean square %g of 255", distances[0]);
    assert_true(distances[1] > 1);
    tt_result_release(&expected);
}

static void the_second_encoder_may_read_another_text(void **state) {
    (void)state;
    tt_request one = request(WORDS), two = request(WORDS);
    two.prompt_2 = WORDS;
    assert_true(same(&one, &two));
    two.prompt_2 = "a black cat";
    assert_false(same(&one, &two));
    one.negative_prompt = two.negative_prompt = "rain";
    two.prompt_2 = NULL;
    two.negative_prompt_2 = "a black cat";
    assert_false(same(&one, &two));
}

static void clip_skip_is_as_people_count(void **state) {
    (void)state;
    tt_request usual = request(WORDS), two = request(WORDS), three = request(WORDS);
    two.clip_skip = 2;
    three.clip_skip = 3;
    assert_true(same(&usual, &two));
    assert_false(same(&usual, &three));
    tt_result result = generate(&three);
    assert_int_equal(result.clip_skip, 3);
    tt_result_release(&result);
    tt_request diffusers =
        three; /* which counts from there, and leaves the negative prompt alone */
    diffusers.prompt_syntax = "plain";
    diffusers.clip_skip = 1;
    assert_true(same(&three, &diffusers));
    three.compat = usual.compat = "a1111";
    assert_true(same(&usual, &three)); /* ignored there */
    three.compat = NULL;
    three.clip_skip = 30;
    assert_int_equal(tt_engine_generate(engine, &three, &result, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "clip skip 30"));
}

static void unknown_tags_are_taken_out_and_counted(void **state) {
    (void)state;
    tt_request with = request(WORDS "<style:old>"), without = request(WORDS);
    assert_true(same(&with, &without));
    tt_result result = generate(&with);
    assert_int_equal(result.n_unknown_tags, 1);
    tt_result_release(&result);
}

/* ---- step by step ----------------------------------------------------------------------------------- */

typedef struct shown { /* after each step */
    uint8_t rgb[STEPS][N_SMALL];
} shown;

static bool keep(void *context, const tt_progress *p) {
    shown *s = context;
    if (p->step > 0) memcpy(s->rgb[p->step - 1], p->preview, N_SMALL);
    return true;
}

static shown watch(tt_request r) {
    static shown s;
    r.want_preview = true;
    r.progress = keep;
    r.progress_context = &s;
    tt_result result = generate(&r);
    tt_result_release(&result);
    return s;
}

/* How many steps show the same. */
static int common_steps(const shown *a, const shown *b) {
    int n = 0;
    while (n < STEPS && memcmp(a->rgb[n], b->rgb[n], N_SMALL) == 0) n++;
    return n;
}

static void a_prompt_changes_at_its_step(void **state) {
    (void)state;
    shown first = watch(request("the sea at night")), edited;
    static const struct {
        const char *text;
        int common;
    } cases[] = {{"[the sea at night:a red balloon, blue sky:3]",
                  4}, /* step 3, from 0, is the last of the first */
                 {"[the sea at night:a red balloon, blue sky:0.5]", 4},
                 {"[the sea at night:a red balloon, blue sky:1]", 2},
                 {"[the sea at night:a red balloon, blue sky:6]", STEPS},
                 {"[the sea at night:a red balloon, blue sky:0]", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        edited = watch(request(cases[i].text));
        assert_int_equal(common_steps(&first, &edited), cases[i].common);
    }
    const tt_request r = request("[the sea|a cat|a tree]");
    tt_result result = generate(&r);
    assert_int_equal(result.prompt_variants, 3);
    tt_result_release(&result);
    tt_request negative = request("a boat");
    negative.negative_prompt = "[the sea at night:a red balloon, blue sky:3]";
    edited = watch(negative);
    negative.negative_prompt = "the sea at night";
    first = watch(negative);
    assert_int_equal(common_steps(&first, &edited), 4);
}

static void an_edited_prompt_gives_every_picture_of_a_batch_the_same_start(void **state) {
    (void)state;
    tt_request both = request("a [boat:cat:3] on the sea"), second = both;
    both.count = 2;
    second.seed++;
    tt_result a = generate(&both), b = generate(&second);
    assert_memory_equal(a.pictures[1].rgb, b.pictures[0].rgb, N_BYTES);
    tt_result_release(&a);
    tt_result_release(&b);
}

static void samplers_that_ask_twice_per_step_edit_too(void **state) {
    (void)state;
    tt_request r = request("a [boat:cat:0.5] on the sea");
    r.sampler = "heun";
    tt_result result = generate(&r);
    assert_int_equal(result.prompt_variants, 2);
    tt_result_release(&result);
}

static void guidance_acts_in_its_share_of_the_steps(void **state) {
    (void)state;
    tt_request r = request(WORDS), off = request(WORDS);
    off.guidance = 1;
    shown guided = watch(r), unguided = watch(off);
    r.guidance_end = 0.5f;
    shown half = watch(r);
    assert_int_equal(common_steps(&guided, &half), 3);
    r.guidance_start = 0.5f;
    r.guidance_end = 1;
    half = watch(r);
    assert_int_equal(common_steps(&unguided, &half), 3);
    tt_result result = generate(&r);
    assert_int_equal(result.unguided_steps, 3);
    assert_string_equal(result.negative_policy, "zeros");
    tt_result_release(&result);
    r.guidance_end = 0.5f; /* never */
    assert_true(same(&r, &off));
    result = generate(&r);
    assert_int_equal(result.unguided_steps, STEPS);
    assert_string_equal(result.negative_policy, "unused");
    tt_result_release(&result);
}

static void a_sampler_that_needs_both_predictions_gets_them(void **state) {
    (void)state;
    tt_request r = request(WORDS);
    r.sampler = "euler_cfgpp";
    shown guided = watch(r);
    r.guidance_end = 0.5f;
    shown half = watch(r);
    assert_int_equal(common_steps(&guided, &half), 3);
}

/* ---- compat ----------------------------------------------------------------------------------------- */

static void an_absent_negative_prompt_is_what_the_policy_says(void **state) {
    (void)state;
    tt_request absent = request(WORDS), empty = request(WORDS);
    empty.negative_prompt = "";
    assert_false(same(&absent, &empty)); /* the model says zeros */
    absent.negative_policy = "encoded";
    assert_true(same(&absent, &empty));
    absent.negative_policy = "zeros";
    assert_false(same(&absent, &empty));
    absent.negative_policy = NULL;
    absent.compat = empty.compat = "comfyui";
    assert_true(same(&absent, &empty)); /* there is no absent one */
    absent.compat = empty.compat = "a1111";
    assert_true(same(&absent, &empty)); /* an empty one is absent */
    tt_result result = generate(&empty);
    assert_string_equal(result.negative_policy, "zeros");
    tt_result_release(&result);
    empty.negative_policy = "encoded";
    assert_false(same(&absent, &empty));
}

static void compat_sets_what_the_request_leaves_open(void **state) {
    (void)state;
    static const struct {
        const char *compat, *name, *syntax, *noise, *policy;
    } cases[] = {{NULL, "diffusers", "a1111", "cpu", "zeros"},
                 {"diffusers", "diffusers", "plain", "cpu", "zeros"},
                 {"a1111", "a1111", "a1111", "cuda", "zeros"},
                 {"comfyui", "comfyui", "comfyui", "cpu", "encoded"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_request r = request(WORDS);
        r.compat = cases[i].compat;
        r.steps = 1;
        tt_result result = generate(&r);
        assert_string_equal(result.compat, cases[i].name);
        assert_string_equal(result.prompt_syntax, cases[i].syntax);
        assert_string_equal(result.noise, cases[i].noise);
        assert_string_equal(result.negative_policy, cases[i].policy);
        tt_result_release(&result);
        r.prompt_syntax = "compel";
        r.noise = "cpu-f16";
        result = generate(&r);
        assert_string_equal(result.prompt_syntax, "compel");
        assert_string_equal(result.noise, "cpu-f16");
        tt_result_release(&result);
    }
}

/* ---- what is kept, refused, lost -------------------------------------------------------------------- */

static void kept_texts_give_the_same_pictures(void **state) {
    (void)state;
    tt_request r = request("a [boat:cat:3] on the sea");
    tt_result first = generate(&r);
    for (int i = 0; i < 40; i++) { /* more than are kept */
        char text[32];
        snprintf(text, sizeof text, "number %d", i);
        tt_request other = request(text);
        other.steps = 1;
        tt_result result = generate(&other);
        tt_result_release(&result);
    }
    tt_result again = generate(&r), kept = generate(&r);
    assert_memory_equal(first.pictures[0].rgb, again.pictures[0].rgb, N_BYTES);
    assert_memory_equal(first.pictures[0].rgb, kept.pictures[0].rgb, N_BYTES);
    tt_result_release(&first);
    tt_result_release(&again);
    tt_result_release(&kept);
}

static void bad_requests_get_one_sentence(void **state) {
    (void)state;
    tt_result result;
#define REFUSED(change, part)                                                       \
    do {                                                                            \
        tt_request r = request(WORDS);                                              \
        change;                                                                     \
        assert_int_not_equal(tt_request_check(&r, &err), TT_OK);                    \
        assert_non_null(strstr(err.message, part));                                 \
        assert_int_not_equal(tt_engine_generate(engine, &r, &result, &err), TT_OK); \
        assert_non_null(strstr(err.message, part));                                 \
    } while (0)
    REFUSED(r.prompt_2 = "\xff", "prompt 2");
    REFUSED(r.negative_prompt_2 = "\xff", "negative prompt 2");
    REFUSED(r.prompt_syntax = "latex", "a1111, comfyui, compel or plain, found \"latex\"");
    REFUSED(r.negative_policy = "ones", "zeros or encoded, found \"ones\"");
    REFUSED(r.clip_skip = -1, "clip skip");
    REFUSED(r.clip_skip = 33, "clip skip");
    REFUSED(r.guidance_start = -0.1f, "guidance start");
    REFUSED(r.guidance_end = 1.1f, "guidance end");
    REFUSED(r.guidance_start = 0.6f; r.guidance_end = 0.5f, "at most guidance end, 0.5");
    REFUSED(r.guidance_end = NAN, "guidance end");
    REFUSED(r.eta = 2, "eta");
    REFUSED(r.eta = NAN, "eta");
    REFUSED(r.n_embeddings = -1, "embeddings");
    REFUSED(r.n_embeddings = 1, "embeddings");
    REFUSED(r.embeddings = &(const char *){""}; r.n_embeddings = 1, "embedding 1");
    REFUSED(r.prompt = "<lora:old>", "<lora:old> names an adapter");
    REFUSED(r.negative_prompt = "<lora:old:x>", "negative prompt: ");
    REFUSED(r.prompt = "<hypernet:old>", "hypernetworks");
#undef REFUSED
}

/* 32 variants of 32 chunks would keep a machine busy for half an hour. */
static void texts_are_bounded_together(void **state) {
    (void)state;
    char prompt[1024] = "[a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p]";
    tt_result result;
    for (int i = 0; i < 31; i++) memcpy(prompt + strlen(prompt), " BREAK", 7);
    tt_request r = request(prompt);
    r.steps = 20;
    assert_int_equal(tt_engine_generate(engine, &r, &result, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "more than 256 chunks"));
}

static void failed_allocations_cost_one_request_only(void **state) {
    (void)state;
    tt_request r = request("a [(boat:1.2):cat:0.5] BREAK the sea");
    r.negative_prompt = "rain";
    r.guidance_end = 0.7f;
    r.steps = 3;
    tt_result whole = generate(&r), result;
    tt_status status = TT_E_NOMEM;
    for (int n = 0; status != TT_OK; n++) {
        const tt_request other = request("x");
        if (n % 8 == 0) { /* so that the texts are not kept: they fail too */
            char text[32];
            for (int i = 0; i < 17; i++) {
                tt_request one = other;
                snprintf(text, sizeof text, "%d", i);
                one.prompt = text;
                one.steps = 1;
                one.guidance = 1;
                result = generate(&one);
                tt_result_release(&result);
            }
        }
        tt_alloc_fail_after(n);
        status = tt_engine_generate(engine, &r, &result, &err);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        if (status != TT_OK) assert_null(result.pictures);
    }
    assert_memory_equal(result.pictures[0].rgb, whole.pictures[0].rgb, N_BYTES);
    tt_result_release(&result);
    tt_result_release(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_plain_words_mean_the_same_in_every_syntax),
        cmocka_unit_test(weights_change_the_picture_and_a_weight_of_one_does_not),
        cmocka_unit_test(the_last_word_of_a_long_prompt_counts),
        cmocka_unit_test(a_break_begins_a_chunk),
        cmocka_unit_test(repeated_chunks_change_nothing),
        cmocka_unit_test(the_second_encoder_may_read_another_text),
        cmocka_unit_test(clip_skip_is_as_people_count),
        cmocka_unit_test(unknown_tags_are_taken_out_and_counted),
        cmocka_unit_test(a_prompt_changes_at_its_step),
        cmocka_unit_test(an_edited_prompt_gives_every_picture_of_a_batch_the_same_start),
        cmocka_unit_test(samplers_that_ask_twice_per_step_edit_too),
        cmocka_unit_test(guidance_acts_in_its_share_of_the_steps),
        cmocka_unit_test(a_sampler_that_needs_both_predictions_gets_them),
        cmocka_unit_test(an_absent_negative_prompt_is_what_the_policy_says),
        cmocka_unit_test(compat_sets_what_the_request_leaves_open),
        cmocka_unit_test(kept_texts_give_the_same_pictures),
        cmocka_unit_test(bad_requests_get_one_sentence),
        cmocka_unit_test(texts_are_bounded_together),
        cmocka_unit_test(failed_allocations_cost_one_request_only),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
