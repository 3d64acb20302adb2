/* The A1111 form: exact text out, anything in, and read(write(x)) == x. */
#include "unit/image/pictures.h"

#include <stdio.h>

#include "base/utf8.h"
#include "image/parameters.h"

#define ARENA_BYTES (16 * TT_MIB)

static const tt_image_parameters full = {
    .prompt = "a lighthouse, (stormy sea:1.2)\non a cliff",
    .negative = "fog",
    .steps = 24,
    .sampler = "DPM++ 2M Karras",
    .has_cfg = true,
    .cfg = 4.5,
    .has_seed = true,
    .seed = 5,
    .width = 256,
    .height = 192,
    .model = "x",
    .version = "tintype 0.1.0",
};

static tt_buf written(const tt_image_parameters *p) {
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    if (tt_image_parameters_write(p, &out, &err) != TT_OK) fail_msg("write: %s", err.message);
    return out;
}

static void expect_written(const tt_image_parameters *p, const char *expected) {
    tt_buf out = written(p);
    assert_string_equal(out.data, expected);
    tt_buf_release(&out);
}

static tt_image_parameters parsed(const char *text, tt_arena *arena) {
    tt_image_parameters p;
    tt_err err = {0};
    tt_arena_init(arena, ARENA_BYTES);
    if (tt_image_parameters_parse(text, arena, &p, &err) != TT_OK)
        fail_msg("parse: %s", err.message);
    return p;
}

static void assert_same_text(const char *a, const char *b) {
    if (!a != !b) fail_msg("%s against %s", a ? a : "NULL", b ? b : "NULL");
    if (a) assert_string_equal(a, b);
}

static void assert_same(const tt_image_parameters *a, const tt_image_parameters *b) {
    assert_same_text(a->prompt ? a->prompt : "", b->prompt ? b->prompt : "");
    assert_same_text(a->negative, b->negative);
    assert_same_text(a->sampler, b->sampler);
    assert_same_text(a->schedule, b->schedule);
    assert_same_text(a->model, b->model);
    assert_same_text(a->version, b->version);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->has_cfg, b->has_cfg);
    assert_true(a->cfg == b->cfg);
    assert_int_equal(a->has_seed, b->has_seed);
    assert_true(a->seed == b->seed);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->n_extra, b->n_extra);
    for (int i = 0; i < a->n_extra; i++) {
        assert_string_equal(a->extra[i].key, b->extra[i].key);
        assert_string_equal(a->extra[i].value, b->extra[i].value);
    }
}

static void assert_round_trip(const tt_image_parameters *p) {
    tt_arena arena;
    tt_buf out = written(p);
    tt_image_parameters back = parsed(out.data, &arena);
    assert_same(p, &back);
    tt_arena_release(&arena);
    tt_buf_release(&out);
}

static void the_text_is_what_galleries_expect(void **state) {
    (void)state;
    expect_written(
        &full,
        "a lighthouse, (stormy sea:1.2)\non a cliff\n"
        "Negative prompt: fog\n"
        "Steps: 24, Sampler: DPM++ 2M Karras, CFG scale: 4.5, Seed: 5, Size: 256x192, Model: x, "
        "Version: tintype 0.1.0");
    tt_image_parameters split = full;
    split.sampler = "DPM++ 2M";
    split.schedule = "Karras";
    split.negative = NULL;
    split.model = NULL;
    split.extra =
        (const tt_image_parameter[]){{"Model hash", "31e35c80fc"}, {"Lora hashes", "a: 1, b: 2"}};
    split.n_extra = 2;
    expect_written(&split,
                   "a lighthouse, (stormy sea:1.2)\non a cliff\n"
                   "Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.5, Seed: 5, "
                   "Size: 256x192, Model hash: 31e35c80fc, Lora hashes: \"a: 1, b: 2\", Version: "
                   "tintype 0.1.0");
    expect_written(&(tt_image_parameters){0}, "Steps: 0");
    expect_written(&(tt_image_parameters){.negative = ""}, "Negative prompt: \nSteps: 0");
}

static void numbers_are_as_short_as_they_can_be(void **state) {
    (void)state;
    static const struct {
        double cfg;
        const char *text;
    } cases[] = {{7, "Steps: 0, CFG scale: 7"},
                 {0.1, "Steps: 0, CFG scale: 0.1"},
                 {-1.5, "Steps: 0, CFG scale: -1.5"},
                 {1.0 / 3, "Steps: 0, CFG scale: 0.3333333333333333"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_written(&(tt_image_parameters){.has_cfg = true, .cfg = cases[i].cfg}, cases[i].text);
    expect_written(&(tt_image_parameters){.has_seed = true, .seed = UINT64_MAX},
                   "Steps: 0, Seed: 18446744073709551615");
}

static void a_prompt_the_form_cannot_carry_is_repeated_exactly(void **state) {
    (void)state;
    expect_written(
        &(tt_image_parameters){.prompt = " a\nNegative prompt: b"},
        " a\nNegative prompt: b\nSteps: 0, Exact prompt: \" a\\u000aNegative prompt: b\"");
    expect_written(&(tt_image_parameters){.prompt = "a", .negative = "b\n"},
                   "a\nNegative prompt: b\n\nSteps: 0, Exact prompt: \"a\", Exact negative prompt: "
                   "\"b\\u000a\"");
}

static void awkward_texts_come_back_exactly(void **state) {
    (void)state;
    static const char *const awkward[] = {"",
                                          " ",
                                          "\n",
                                          "a\n",
                                          "\ta",
                                          "Negative prompt: x",
                                          "a\nNegative prompt:",
                                          "Steps: 20, Sampler: x",
                                          "a\nSteps: 9, Seed: 1, Size: 1x1",
                                          "a, b",
                                          "a: b",
                                          "\"quoted\"",
                                          "\"",
                                          "\\",
                                          "\\\"",
                                          "a\r\nb",
                                          "\r",
                                          "tail,",
                                          ",",
                                          ":",
                                          "Steps: 1",
                                          "\x01\x7f",
                                          "\xf0\x9f\x90\xb1, \xe7\x8c\xab",
                                          "\xe2\x80\xa8",
                                          "a\" , Seed: 7",
                                          "null",
                                          "Version: 1",
                                          "\\u0000",
                                          "\xc2\xa0"};
    enum { N = sizeof awkward / sizeof awkward[0] };
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            tt_image_parameters p = {.prompt = awkward[i], .negative = awkward[k], .steps = 3};
            assert_round_trip(&p);
        }
        tt_image_parameter extra[] = {
            {"Lora hashes", awkward[i]}, {"a-b/c d", awkward[N - 1 - i]}, {"Lora hashes", "again"}};
        tt_image_parameters p = {.sampler = awkward[i],
                                 .schedule = awkward[i],
                                 .model = awkward[i],
                                 .version = awkward[i],
                                 .extra = extra,
                                 .n_extra = 3};
        assert_round_trip(&p);
        p = (tt_image_parameters){.prompt = awkward[i], .version = awkward[i]};
        assert_round_trip(&p);
    }
    assert_round_trip(&full);
}

/* Random texts from an alphabet where trouble is frequent. */
typedef struct dice {
    uint64_t state;
} dice;

static uint32_t roll(dice *d, uint32_t n) {
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((d->state >> 33) % n);
}

enum { MAX_RANDOM_PIECES = 12, RANDOM_TEXT_BYTES = 512, N_RANDOM_CASES = 3000 };

static const char *random_text(dice *d, char *out, bool may_be_null) {
    static const char *const pieces[] = {"\n",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         " ",
                                         "Negative prompt:",
                                         "Steps: 4",
                                         "Seed",
                                         "\r",
                                         "\t",
                                         "a",
                                         "Z9",
                                         "\xf0\x9f\x90\xb1",
                                         "\xc3\xa9",
                                         "(",
                                         "Exact prompt: \"x\""};
    if (may_be_null && roll(d, 4) == 0) return NULL;
    size_t used = 0;
    for (uint32_t n = roll(d, MAX_RANDOM_PIECES + 1); n > 0; n--) {
        char one[4];
        uint32_t kind = roll(d, 24);
        uint32_t code = 1 + roll(d, kind == 23 ? 0x10ffff : 0xff);
        if (code >= 0xd800 && code < 0xe000) code = 'q';
        const char *piece = kind < 17 ? pieces[kind] : one;
        size_t size = kind < 17 ? strlen(piece) : tt_utf8_encode(code, one);
        memcpy(out + used, piece, size);
        used += size;
    }
    out[used] = '\0';
    return out;
}

static void random_settings_come_back_exactly(void **state) {
    (void)state;
    dice d = {20240229};
    static char texts[8][RANDOM_TEXT_BYTES];
    for (int i = 0; i < N_RANDOM_CASES; i++) {
        tt_image_parameter extra[2] = {{"Hires upscaler", random_text(&d, texts[6], false)},
                                       {"0", NULL}};
        extra[1] = (tt_image_parameter){"ControlNet 0", random_text(&d, texts[7], false)};
        tt_image_parameters p = {
            .prompt = random_text(&d, texts[0], false),
            .negative = random_text(&d, texts[1], true),
            .steps = (int)roll(&d, 3),
            .sampler = random_text(&d, texts[2], true),
            .schedule = random_text(&d, texts[3], true),
            .has_cfg = roll(&d, 2),
            .has_seed = roll(&d, 2),
            .model = random_text(&d, texts[4], true),
            .version = random_text(&d, texts[5], true),
            .extra = extra,
            .n_extra = (int)roll(&d, 3),
        };
        if (p.has_cfg) p.cfg = roll(&d, 1000000) / 7.0;
        if (p.has_seed) p.seed = (uint64_t)roll(&d, UINT32_MAX) << roll(&d, 33);
        if (roll(&d, 2)) p.width = 1 + (int)roll(&d, 9999), p.height = 1 + (int)roll(&d, 9999);
        assert_round_trip(&p);
    }
}

static void texts_of_other_programs_are_understood(void **state) {
    (void)state;
    tt_arena arena;
    tt_image_parameters p = parsed(
        "masterpiece, 1girl, (hat:1.1)\r\nBREAK, beach\n"
        "Negative prompt: lowres, bad anatomy,\nblurry\n"
        "Steps: 28, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1234567890, "
        "Size: 832x1216, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, Denoising strength: 0.4, "
        "Hires upscale: 1.5, Lora hashes: \"foo: aa11, bar: bb22\", "
        "TI: x, y z, Version: v1.9.4\n",
        &arena);
    assert_string_equal(p.prompt, "masterpiece, 1girl, (hat:1.1)\r\nBREAK, beach");
    assert_string_equal(p.negative, "lowres, bad anatomy,\nblurry");
    assert_int_equal(p.steps, 28);
    assert_string_equal(p.sampler, "Euler a");
    assert_string_equal(p.schedule, "Automatic");
    assert_true(p.has_cfg && p.cfg == 7);
    assert_true(p.has_seed && p.seed == 1234567890);
    assert_int_equal(p.width, 832);
    assert_int_equal(p.height, 1216);
    assert_string_equal(p.model, "sd_xl_base_1.0");
    assert_string_equal(p.version, "v1.9.4");
    assert_int_equal(p.n_extra, 5);
    assert_string_equal(p.extra[0].key, "Model hash");
    assert_string_equal(p.extra[3].key, "Lora hashes");
    assert_string_equal(p.extra[3].value, "foo: aa11, bar: bb22");
    assert_string_equal(p.extra[4].value,
                        "x, y z"); /* commas unquoted, as old versions wrote them */
    tt_arena_release(&arena);
}

static void missing_pieces_are_no_error(void **state) {
    (void)state;
    static const struct {
        const char *text, *prompt, *negative;
        int steps;
    } cases[] = {
        {"", "", NULL, 0},
        {" \n ", "", NULL, 0},
        {"only a prompt", "only a prompt", NULL, 0},
        {"a prompt: with, colons: and, commas", "a prompt: with, colons: and, commas", NULL, 0},
        {"Negative prompt: fog", "", "fog", 0},
        {"cat\nNegative prompt:\nSteps: 5", "cat", "", 5},
        {"Steps: 5", "", NULL, 5},
        {"Steps: up and down", "Steps: up and down", NULL, 0},
        {"cat\nSeed: 1, Size: 2x2, Model: m", "cat", NULL, 0}, /* three pairs are settings */
        {"cat\nSeed: 1, Size: 2x2", "cat\nSeed: 1, Size: 2x2", NULL, 0},
        {"cat\nSteps: 99999999999", "cat", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tt_arena arena;
        tt_image_parameters p = parsed(cases[i].text, &arena);
        assert_string_equal(p.prompt, cases[i].prompt);
        assert_same_text(p.negative, cases[i].negative);
        assert_int_equal(p.steps, cases[i].steps);
        tt_arena_release(&arena);
    }
}

static void values_that_make_no_sense_are_kept_as_extra(void **state) {
    (void)state;
    tt_arena arena;
    tt_image_parameters p = parsed("Steps: 5, Seed: -1, CFG scale: nan, Size: 10x, Seed: 7, Seed: "
                                   "8, Odd: \"\\x\", Nul: \"\\u0000\", "
                                   "Seed: 18446744073709551616",
                                   &arena);
    static const char *const expected[][2] = {{"Seed", "-1"},
                                              {"CFG scale", "nan"},
                                              {"Size", "10x"},
                                              {"Seed", "8"},
                                              {"Odd", "\"\\x\""},
                                              {"Nul", "\"\\u0000\""},
                                              {"Seed", "18446744073709551616"}};
    assert_true(p.has_seed && p.seed == 7);
    assert_false(p.has_cfg);
    assert_int_equal(p.width, 0);
    assert_int_equal(p.n_extra, 7);
    for (int i = 0; i < p.n_extra; i++) {
        assert_string_equal(p.extra[i].key, expected[i][0]);
        assert_string_equal(p.extra[i].value, expected[i][1]);
    }
    tt_arena_release(&arena);
}

static void pairs_beyond_the_limit_are_dropped(void **state) {
    (void)state;
    tt_buf text;
    tt_buf_init(&text, OUT_LIMIT_BYTES);
    tt_buf_puts(&text, "Steps: 1", NULL);
    for (int i = 0; i < 1000; i++) tt_buf_printf(&text, NULL, ", Key %d: v", i);
    tt_arena arena;
    tt_image_parameters p = parsed(text.data, &arena);
    assert_int_equal(p.n_extra, TT_MAX_IMAGE_TEXT_PAIRS);
    tt_arena_release(&arena);
    tt_buf_release(&text);
}

static void expect_write_refused(tt_image_parameters p, const char *message) {
    tt_buf out;
    tt_err err = {0};
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    tt_buf_puts(&out, "head", NULL);
    assert_int_equal(tt_image_parameters_write(&p, &out, &err), TT_E_INVALID);
    assert_string_equal(err.message, message);
    assert_string_equal(out.data, "head");
    tt_buf_release(&out);
}

static void bad_settings_are_refused_with_a_sentence(void **state) {
    (void)state;
    expect_write_refused((tt_image_parameters){.prompt = "a\xff"},
                         "generation settings: prompt is not valid UTF-8 at byte 1");
    expect_write_refused((tt_image_parameters){.steps = -1},
                         "generation settings: steps is -1, expected 0 or more");
    expect_write_refused((tt_image_parameters){.has_cfg = true, .cfg = INFINITY},
                         "generation settings: cfg scale is not a finite number");
    expect_write_refused(
        (tt_image_parameters){.width = 4},
        "generation settings: size is 4x0, expected two positive numbers (or 0x0: unknown)");
    expect_write_refused((tt_image_parameters){.n_extra = 257},
                         "generation settings: 257 extra pairs, the limit is 256");
    static const char *const bad_keys[] = {"", "a", " ab", "ab ", "a:b", "a,b", "-ab", "a\nb"};
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        tt_image_parameter extra = {bad_keys[i], "v"};
        tt_image_parameters p = {.extra = &extra, .n_extra = 1};
        tt_buf out;
        tt_buf_init(&out, OUT_LIMIT_BYTES);
        assert_int_equal(tt_image_parameters_write(&p, &out, NULL), TT_E_INVALID);
        tt_buf_release(&out);
    }
    expect_write_refused(
        (tt_image_parameters){.extra = &(tt_image_parameter){"Seed", "1"}, .n_extra = 1},
        "generation settings: extra key \"Seed\" has a field of its own");
}

static void bad_texts_are_refused_with_a_sentence(void **state) {
    (void)state;
    tt_arena arena;
    tt_image_parameters p;
    tt_err err = {0};
    tt_arena_init(&arena, ARENA_BYTES);
    assert_int_equal(tt_image_parameters_parse("caf\xe9", &arena, &p, &err), TT_E_FORMAT);
    assert_string_equal(err.message, "generation settings: not valid UTF-8 at byte 3");
    char *text = tt_alloc(TT_MAX_IMAGE_TEXT_BYTES + 2);
    memset(text, 'a', TT_MAX_IMAGE_TEXT_BYTES + 1);
    assert_int_equal(tt_image_parameters_parse(text, &arena, &p, &err), TT_E_INVALID);
    tt_image_parameters too_long = {.prompt = text};
    tt_buf out;
    tt_buf_init(&out, OUT_LIMIT_BYTES);
    assert_int_equal(tt_image_parameters_write(&too_long, &out, &err), TT_E_INVALID);
    assert_int_equal(out.size, 0);
    tt_buf_release(&out);
    tt_free(text);
    tt_arena_release(&arena);
}

static void running_out_of_memory_is_survived(void **state) {
    (void)state;
    tt_buf text = written(&full);
    for (int what = 0; what < 2; what++) {
        tt_status status = TT_E_NOMEM;
        int n = 0;
        for (; status != TT_OK && n < MAX_ALLOCATIONS; n++) {
            tt_arena arena;
            tt_image_parameters p;
            tt_buf out;
            tt_arena_init(&arena, ARENA_BYTES);
            tt_buf_init(&out, OUT_LIMIT_BYTES);
            tt_alloc_fail_after(n);
            status = what ? tt_image_parameters_write(&full, &out, NULL)
                          : tt_image_parameters_parse(text.data, &arena, &p, NULL);
            tt_alloc_fail_after(-1);
            if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
            tt_arena_release(&arena);
            tt_buf_release(&out);
        }
        assert_int_equal(status, TT_OK);
        assert_true(n > 1);
    }
    tt_arena small;
    tt_image_parameters p;
    tt_arena_init(&small, 64); /* the caller's own limit counts as well */
    assert_int_equal(tt_image_parameters_parse(text.data, &small, &p, NULL), TT_E_NOMEM);
    tt_arena_release(&small);
    tt_buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_what_galleries_expect),
        cmocka_unit_test(numbers_are_as_short_as_they_can_be),
        cmocka_unit_test(a_prompt_the_form_cannot_carry_is_repeated_exactly),
        cmocka_unit_test(awkward_texts_come_back_exactly),
        cmocka_unit_test(random_settings_come_back_exactly),
        cmocka_unit_test(texts_of_other_programs_are_understood),
        cmocka_unit_test(missing_pieces_are_no_error),
        cmocka_unit_test(values_that_make_no_sense_are_kept_as_extra),
        cmocka_unit_test(pairs_beyond_the_limit_are_dropped),
        cmocka_unit_test(bad_settings_are_refused_with_a_sentence),
        cmocka_unit_test(bad_texts_are_refused_with_a_sentence),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
