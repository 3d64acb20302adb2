/* What a job or a set of flags becomes, and every sentence that says why it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "app/request.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "unit/app/fake_engine.h"
#include "unit/app/reading.h"

enum { TEXT_BYTES = 1 << 17 };

static void assert_fault(const char *job, const char *sentence) {
    reading r;
    read_job(&r, job);
    assert_int_equal(r.status, TT_E_INVALID);
    assert_int_equal(r.problems.count, 1);
    assert_string_equal(r.problems.list[0].message, sentence);
    end(&r);
}

/* The same with one field beside a good prompt. */
static void assert_field_fault(const char *field, const char *sentence) {
    char job[512];
    snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"a boat\", %s}}", field);
    assert_fault(job, sentence);
}

static void a_prompt_alone_takes_the_models_defaults(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"prompt\": \"a boat\"}}");
    assert_int_equal(r.status, TT_OK);
    const tt_request *q = &r.request.engine;
    assert_string_equal(q->prompt, "a boat");
    assert_null(q->negative_prompt);
    assert_int_equal(q->width, FAKE_INFO.default_width);
    assert_int_equal(q->height, FAKE_INFO.default_height);
    assert_int_equal(q->steps, FAKE_INFO.default_steps);
    assert_true(q->guidance == FAKE_INFO.default_guidance);
    assert_true(q->guidance_rescale == 0);
    assert_int_equal(q->count, 1);
    assert_null(q->sampler);
    assert_null(q->schedule);
    assert_null(q->noise);
    assert_true(q->eta < 0);
    assert_int_equal(q->n_adapters, 0);
    assert_null(q->image);
    assert_true(q->hires_scale <= 1);
    assert_true(q->seed < (UINT64_C(1) << 32));
    assert_string_equal(r.request.format, "png");
    assert_int_equal(r.request.quality, 0);
    end(&r);
}

static void every_field_reaches_the_request(void **state) {
    (void)state;
    reading r;
    read_job(
        &r,
        "{\"id\": \"x\", \"webhook\": \"y\", \"input\": {\"prompt\": \"\", \"negative_prompt\": "
        "\"\", "
        "\"width\": 512, \"height\": 64, \"steps\": 7, \"cfg_scale\": 6.5, \"guidance_rescale\": "
        "0.25, "
        "\"sampler\": \"DPM++ 2M Karras\", \"noise\": \"cuda\", \"seed\": 18446744073709551600, "
        "\"num_images\": 16, \"clip_skip\": 2, \"loras\": [], \"format\": \"jpg\", \"quality\": "
        "80}}");
    assert_int_equal(r.status, TT_OK);
    const tt_request *q = &r.request.engine;
    assert_string_equal(q->prompt, "");
    assert_string_equal(q->negative_prompt, "");
    assert_int_equal(q->width, 512);
    assert_int_equal(q->height, 64);
    assert_int_equal(q->steps, 7);
    assert_true(q->guidance == 6.5f);
    assert_true(q->guidance_rescale == 0.25f);
    assert_string_equal(q->sampler, "dpmpp_2m");
    assert_string_equal(q->schedule, "karras");
    assert_string_equal(q->noise, "cuda");
    assert_true(q->seed == UINT64_MAX - 15);
    assert_int_equal(q->count, 16);
    assert_string_equal(r.request.format, "jpeg");
    assert_int_equal(r.request.quality, 80);
    end(&r);
}

static void null_counts_as_absent(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"prompt\": \"x\", \"negative_prompt\": null, \"seed\": null, "
                 "\"loras\": null, "
                 "\"steps\": null, \"count\": null}}");
    assert_int_equal(r.status, TT_OK);
    assert_null(r.request.engine.negative_prompt);
    assert_int_equal(r.request.engine.count, 1);
    end(&r);
}

static void whole_numbers_may_be_written_with_a_point(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"prompt\": \"x\", \"steps\": 24.0, \"seed\": 5.0, \"cfg\": 7}}");
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.steps, 24);
    assert_true(r.request.engine.seed == 5);
    assert_true(r.request.engine.guidance == 7);
    end(&r);
}

/* One wrong field beside a good prompt, and what is said about it. */
static const char *const WRONG_FIELDS[][2] = {
    {"\"steps\": 0", "steps: expected a whole number from 1 to 1000, found 0"},
    {"\"steps\": 1001", "steps: expected a whole number from 1 to 1000, found 1001"},
    {"\"steps\": 24.5", "steps: expected a whole number from 1 to 1000, found 24.5"},
    {"\"steps\": \"24\"", "steps: expected a whole number from 1 to 1000, found \"24\", a string"},
    {"\"steps\": true", "steps: expected a whole number from 1 to 1000, found true"},
    {"\"steps\": [24]", "steps: expected a whole number from 1 to 1000, found an array"},
    {"\"num_inference_steps\": {}",
     "num_inference_steps: expected a whole number from 1 to 1000, found an object"},
    {"\"width\": 1000001",
     "width: expected a whole number from 64 to 4096, a multiple of 8, found 1000001"},
    {"\"height\": 100",
     "height: expected a whole number from 64 to 4096, a multiple of 8, found 100"},
    {"\"height\": -512",
     "height: expected a whole number from 64 to 4096, a multiple of 8, found -512"},
    {"\"width\": 1e30",
     "width: expected a whole number from 64 to 4096, a multiple of 8, found 1e30"},
    {"\"cfg_scale\": 100.5", "cfg_scale: expected a number from 0 to 100, found 100.5"},
    {"\"guidance_scale\": \"7\"",
     "guidance_scale: expected a number from 0 to 100, found \"7\", a string"},
    {"\"cfg\": -1", "cfg: expected a number from 0 to 100, found -1"},
    {"\"seed\": 18446744073709551616", "seed: expected a whole number from 0 to "
                                       "18446744073709551615, or none for a random one, found "
                                       "18446744073709551616"},
    {"\"guidance_rescale\": 2", "guidance_rescale: expected a number from 0 to 1, found 2"},
    {"\"count\": 17", "count: expected a whole number from 1 to 16, found 17"},
    {"\"seed\": -1", "seed: expected a whole number from 0 to 18446744073709551615, or none "
                     "for a random one, found -1"},
    {"\"seed\": 1.5", "seed: expected a whole number from 0 to 18446744073709551615, or none "
                      "for a random one, found 1.5"},
    {"\"seed\": \"5\"",
     "seed: expected a whole number from 0 to 18446744073709551615, or none for a random "
     "one, found \"5\", a string"},
    {"\"clip_skip\": 0", "clip_skip: expected a whole number from 1 to 12, found 0"},
    {"\"clip_skip\": 13", "clip_skip: expected a whole number from 1 to 12, found 13"},
    {"\"eta\": 1.5", "eta: expected a number from 0 to 1, found 1.5"},
    {"\"guidance_start\": 0.9, \"guidance_end\": 0.5",
     "guidance_start: expected at most the end of guidance, 0.5, found 0.9"},
    {"\"compat\": \"invoke\"",
     "compat: expected one of diffusers, a1111, comfyui, found \"invoke\""},
    {"\"prompt_syntax\": 1",
     "prompt_syntax: expected one of a1111, comfyui, compel, plain, found 1"},
    {"\"recipe\": \"slow\"", "recipe: expected one of lightning-4, turbo-1, found \"slow\""},
    {"\"hires_scale\": 5", "hires_scale: expected a number from 1 to 4, found 5"},
    {"\"hires_strength\": 0", "hires_strength: expected a number above 0, at most 1, found 0"},
    {"\"image\": \"x\", \"strength\": 0",
     "strength: expected a number above 0, at most 1, found 0"},
    {"\"outpaint\": \"1,2,3\"",
     "outpaint: expected one whole number from 0 to 4096, or four: left, "
     "top, right, bottom, found \"1,2,3\""},
    {"\"outpaint\": [0, 0, 0]",
     "outpaint: expected one whole number from 0 to 4096, or four: left, "
     "top, right, bottom, found an array"},
    {"\"outpaint\": {\"lef\": 8}", "outpaint: expected one whole number from 0 to 4096, or four: "
                                   "left, top, right, bottom, found an object"},
    {"\"outpaint\": 4097",
     "outpaint: expected one whole number from 0 to 4096, or four: left, top, "
     "right, bottom, found 4097"},
    {"\"variation_strength\": 1, \"variation_seed\": 18446744073709551615, \"count\": 2",
     "variation_seed: expected at most 18446744073709551614, since 2 pictures take consecutive "
     "seeds, found 18446744073709551615"},
    {"\"quality\": 0", "quality: expected a whole number from 1 to 100, found 0"},
    {"\"format\": \"gif\"", "format: expected one of png, jpeg, jpg, webp, found \"gif\""},
    {"\"noise\": 1", "noise: expected one of cpu, cpu-f16, cuda, found 1"},
    {"\"schedule\": \"karas\"",
     "schedule: expected one of leading, normal, karras, found \"karas\""},
    {"\"sampler\": \"foo\"", "sampler: expected one of euler, dpmpp_2m, found \"foo\""},
    {"\"scheduler\": 3", "scheduler: expected text, found 3"},
    {"\"sampler\": \"DPM++ 2M Karras\", \"schedule\": \"normal\"",
     "schedule: expected karras, as the name of the sampler says, or none, found \"normal\""},
    {"\"loras\": \"a\"", "loras: expected a list, found \"a\""},
    {"\"loras\": [5]", "loras[0]: expected a name or an object, found 5"},
    {"\"loras\": [\"a\", null]", "loras[1]: expected a name or an object, found nothing"},
    {"\"loras\": [\"a:0.5,1\"]",
     "loras[0]: expected a scale from -100 to 100, or part=scale, after "
     "the colon, found \"1\""},
    {"\"loras\": [\"a:te=x\"]", "loras[0]: expected a scale from -100 to 100, or part=scale, after "
                                "the colon, found \"te=x\""},
    {"\"loras\": [\"a:101\"]",
     "loras[0]: expected a scale from -100 to 100, or part=scale, after the "
     "colon, found \"101\""},
    {"\"loras\": [{}]", "loras[0]: expected a name or a source, found neither"},
    {"\"loras\": [{\"name\": \"\"}]",
     "loras[0]: expected name to be text of 1 to 2047 bytes, found \"\""},
    {"\"loras\": [{\"name\": \"a\", \"scale\": \"1\"}]",
     "loras[0]: expected scale to be a number from -100 to 100, found \"1\""},
    {"\"loras\": [{\"name\": \"a\", \"stength\": 1}]",
     "loras[0]: unknown member \"stength\", did you mean strength?"},
    {"\"loras\": [{\"name\": \"a\", \"blocks\": [1]}]",
     "loras[0]: expected blocks to be an object of numbers, found an array"},
    {"\"loras\": [{\"name\": \"a\", \"blocks\": {\"in-0\": 1}}]",
     "loras[0]: unknown block \"in-0\""},
    {"\"negative_prompt\": 5", "negative_prompt: expected text, found 5"},
    {"\"negative_prompt\": \"a\\u0000b\"",
     "negative_prompt: expected text without NUL characters, found one at byte 1"},
    {"\"stepz\": 5", "stepz: unknown field, did you mean steps?"},
    {"\"xyzzy\": 5", "xyzzy: unknown field, \"tintype schema\" lists the known ones"},
    {"\"model\": \"a\"",
     "model: not a field of a job; it is set with --model or TINTYPE_MODEL when the "
     "program starts"},
    {"\"vae_dtype\": \"a\"", "vae_dtype: not a field of a job; it is set with --vae-dtype or "
                             "TINTYPE_VAE_DTYPE when the program starts"},
    {"\"steps\": 5, \"num_inference_steps\": 6",
     "steps and num_inference_steps: two names of one option with different values"},
    {"\"seed\": 18446744073709551615, \"count\": 2",
     "seed: expected at most 18446744073709551614, since 2 pictures take consecutive seeds, found "
     "18446744073709551615"},
};

static void each_wrong_field_has_its_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof WRONG_FIELDS / sizeof *WRONG_FIELDS; i++)
        assert_field_fault(WRONG_FIELDS[i][0], WRONG_FIELDS[i][1]);
}

static void two_names_with_one_value_are_fine(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"prompt\": \"x\", \"steps\": 5, \"num_inference_steps\": 5}}");
    assert_int_equal(r.status, TT_OK);
    end(&r);
}

static void a_job_without_input_or_prompt_says_so(void **state) {
    (void)state;
    static const char nothing[] = "prompt: expected text (it may be empty), found nothing";
    assert_fault("{\"input\": {}}", nothing);
    assert_fault("{\"input\": {\"prompt\": null}}", nothing);
    assert_fault("{\"input\": {\"prompt\": 5}}", "prompt: expected text, found 5");
    static const char *const cases[][2] = {
        {"{\"prompt\": \"x\"}", "input: expected an object with the job's fields, found nothing"},
        {"{\"input\": [1]}", "input: expected an object with the job's fields, found an array"},
        {"[]", "job: expected an object {\"input\": {...}}, found an array"},
        {"null", "job: expected an object {\"input\": {...}}, found null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading r;
        read_job(&r, cases[i][0]);
        assert_int_equal(r.status, TT_E_INVALID);
        assert_string_equal(r.problems.list[0].message, cases[i][1]);
        end(&r);
    }
}

static void all_faults_are_told_at_once(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"stepz\": 1, \"width\": 7, \"steps\": \"x\", \"seed\": -1, "
                 "\"sampler\": \"foo\", "
                 "\"clip_skip\": 0}}");
    assert_int_equal(r.status, TT_E_INVALID);
    assert_int_equal(r.problems.count, 7);
    tt_buf text;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_problems_write(&r.problems, "; ", &text, &r.err), TT_OK);
    static const char *const parts[] = {"stepz: ",  "; prompt: ",    "; width: ",  "; steps: ",
                                        "; seed: ", "; clip_skip: ", "; sampler: "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text.data, parts[i])) fail_msg("%s is not in: %s", parts[i], text.data);
    tt_buf_release(&text);
    end(&r);
}

static void very_many_faults_are_counted(void **state) {
    (void)state;
    char job[TEXT_BYTES / 16];
    int n = snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\"");
    for (int i = 0; i < 100; i++)
        n += snprintf(job + n, sizeof job - (size_t)n, ", \"unheard of %d\": 1", i);
    snprintf(job + n, sizeof job - (size_t)n, "}}");
    reading r;
    read_job(&r, job);
    assert_int_equal(r.problems.count, 100);
    tt_buf text;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_problems_write(&r.problems, "\n", &text, &r.err), TT_OK);
    assert_non_null(strstr(text.data, "\nand 76 more"));
    tt_buf_release(&text);
    end(&r);
}

static void a_fault_shows_little_of_a_long_value(void **state) {
    (void)state;
    char job[TEXT_BYTES / 16];
    int n = snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", \"noise\": \"");
    for (int i = 0; i < 1000; i++) n += snprintf(job + n, sizeof job - (size_t)n, "\xc3\xa4");
    snprintf(job + n, sizeof job - (size_t)n, "\"}}");
    reading r;
    read_job(&r, job);
    assert_int_equal(r.problems.count, 1);
    assert_true(strlen(r.problems.list[0].message) < 200);
    assert_true(
        tt_utf8_is_valid(r.problems.list[0].message, strlen(r.problems.list[0].message), NULL));
    assert_non_null(strstr(r.problems.list[0].message, "...\""));
    end(&r);
}

static void a_prompt_has_a_longest_length(void **state) {
    (void)state;
    static char text[TT_MAX_PROMPT_BYTES + 2];
    memset(text, 'a', sizeof text - 1);
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", text);
    finish(&r);
    assert_string_equal(r.problems.list[0].message,
                        "--prompt: expected at most 16384 bytes, found 16385");
    end(&r);
    text[TT_MAX_PROMPT_BYTES] = '\0';
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", text);
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    end(&r);
}

static void how_to_draw_reaches_the_request(void **state) {
    (void)state;
    reading r;
    read_job(&r,
             "{\"input\": {\"prompt\": \"x\", \"prompt_2\": \"y\", \"negative_prompt_2\": \"z\", "
             "\"prompt_syntax\": \"compel\", \"negative_policy\": \"zeros\", \"clip_skip\": 3, "
             "\"compat\": \"a1111\", \"guidance_start\": 0.1, \"guidance_end\": 0.9, "
             "\"eta\": 0.5, \"subseed_strength\": 0.25, \"subseed\": 9, "
             "\"original_width\": 2048, \"target_height\": 512, \"crop_w\": 64, "
             "\"hr_scale\": 1.5, \"hires_strength\": 0.4, \"hires_steps\": 6, "
             "\"hires_upscaler\": \"picture\", \"refiner_switch_at\": 0.8, "
             "\"aesthetic_score\": 7, \"outpaint\": {\"left\": 1, \"bottom\": 16}}}");
    assert_int_equal(r.status, TT_OK);
    const tt_request *q = &r.request.engine;
    assert_string_equal(q->prompt_2, "y");
    assert_string_equal(q->negative_prompt_2, "z");
    assert_string_equal(q->prompt_syntax, "compel");
    assert_string_equal(q->negative_policy, "zeros");
    assert_int_equal(q->clip_skip, 3);
    assert_string_equal(q->compat, "a1111");
    assert_true(q->guidance_start == 0.1f && q->guidance_end == 0.9f && q->eta == 0.5f);
    assert_true(q->variation_strength == 0.25f && q->variation_seed == 9);
    assert_int_equal(q->original_width, 2048);
    assert_int_equal(q->target_height, 512);
    assert_int_equal(q->crop_left, 64);
    assert_true(q->hires_scale == 1.5f && q->hires_strength == 0.4f && q->hires_steps == 6);
    assert_string_equal(q->hires_upscaler, "picture");
    assert_true(q->refiner_start == 0.8f && q->aesthetic_score == 7);
    assert_int_equal(r.request.outpaint.left, 8); /* rounded up */
    assert_int_equal(r.request.outpaint.top, 0);
    assert_int_equal(r.request.outpaint.bottom, 16);
    end(&r);
}

static void a_recipe_comes_before_what_is_said_beside_it(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_CFG, TT_FROM_ENVIRONMENT, "TINTYPE_CFG_SCALE", "9");
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"recipe\": \"lightning-4\", \"steps\": 6}}");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_string_equal(r.request.engine.sampler, "euler");
    assert_int_equal(r.request.engine.steps, 6);
    assert_true(r.request.engine.guidance == 1); /* a job's recipe is nearer than the environment */
    assert_true(r.request.engine.eta == 0);
    assert_string_equal(r.request.recipe, "lightning-4");
    end(&r);
}

static void flags_are_named_as_flags_and_are_strict(void **state) {
    (void)state;
    static const struct {
        tt_option_id id;
        const char *name, *text, *sentence;
    } cases[] = {
        {TT_OPT_STEPS, "--steps", "24x",
         "--steps: expected a whole number from 1 to 1000, found \"24x\""},
        {TT_OPT_STEPS, "--steps", "0x18",
         "--steps: expected a whole number from 1 to 1000, found \"0x18\""},
        {TT_OPT_STEPS, "--steps", " 24",
         "--steps: expected a whole number from 1 to 1000, found \" 24\""},
        {TT_OPT_STEPS, "--steps", "",
         "--steps: expected a whole number from 1 to 1000, found \"\""},
        {TT_OPT_CFG, "--cfg", "nan", "--cfg: expected a number from 0 to 100, found \"nan\""},
        {TT_OPT_CFG, "--cfg", "1e999", "--cfg: expected a number from 0 to 100, found \"1e999\""},
        {TT_OPT_SEED, "--seed", "18446744073709551616",
         "--seed: expected a whole number from 0 to 18446744073709551615, or none for a random "
         "one, found "
         "18446744073709551616"},
        {TT_OPT_NEGATIVE_PROMPT, "--negative",
         "a\xff"
         "b",
         "--negative: expected UTF-8, found a byte that is none (0xff) at offset 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading r;
        begin(&r);
        add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", "x");
        add_text(&r, cases[i].id, TT_FROM_FLAG, cases[i].name, cases[i].text);
        finish(&r);
        assert_int_equal(r.problems.count, 1);
        assert_string_equal(r.problems.list[0].message, cases[i].sentence);
        end(&r);
    }
}

static void numbers_in_flags_keep_all_their_bits(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", "24");
    add_text(&r, TT_OPT_SEED, TT_FROM_FLAG, "--seed", "18446744073709551615");
    add_text(&r, TT_OPT_CFG, TT_FROM_FLAG, "--cfg", ".5");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_string_equal(r.request.engine.prompt, "24");
    assert_true(r.request.engine.seed == UINT64_MAX);
    assert_true(r.request.engine.guidance == 0.5f);
    end(&r);
}

static void flags_beat_the_job_which_beats_the_environment(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_STEPS, TT_FROM_FLAG, "--steps", "3");
    add_text(&r, TT_OPT_WIDTH, TT_FROM_ENVIRONMENT, "TINTYPE_WIDTH", "128");
    add_text(&r, TT_OPT_CFG, TT_FROM_ENVIRONMENT, "TINTYPE_CFG_SCALE", "9");
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"num_inference_steps\": 50, \"width\": 512}}");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.steps, 3);
    assert_int_equal(r.request.engine.width, 512);
    assert_true(r.request.engine.guidance == 9);
    end(&r);
}

static void the_schedule_nearest_to_the_user_wins(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"sampler\": \"DPM++ 2M Karras\"}}");
    add_text(&r, TT_OPT_SCHEDULE, TT_FROM_ENVIRONMENT, "TINTYPE_SCHEDULE", "normal");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_string_equal(r.request.engine.schedule, "karras");
    add_text(&r, TT_OPT_SCHEDULE, TT_FROM_FLAG, "--schedule", "normal");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_string_equal(r.request.engine.schedule, "normal");
    assert_string_equal(r.request.engine.sampler, "dpmpp_2m");
    end(&r);
}

static void seeds_that_nobody_chose_differ(void **state) {
    (void)state;
    reading a, b;
    read_job(&a, "{\"input\": {\"prompt\": \"x\"}}");
    read_job(&b, "{\"input\": {\"prompt\": \"x\"}}");
    if (a.request.engine.seed == b.request.engine.seed) finish(&b); /* once in 2^32 runs */
    assert_true(a.request.engine.seed != b.request.engine.seed);
    end(&a);
    end(&b);
}

static void engine_settings_are_read_and_checked(void **state) {
    (void)state;
    reading r;
    tt_engine_options options;
    begin(&r);
    add_text(&r, TT_OPT_MODEL, TT_FROM_FLAG, "--model", "m.safetensors");
    add_text(&r, TT_OPT_DTYPE, TT_FROM_FLAG, "--dtype", "bf16");
    add_text(&r, TT_OPT_DEVICE, TT_FROM_FLAG, "--device", "ref");
    add_text(&r, TT_OPT_THREADS, TT_FROM_FLAG, "--threads", "3");
    assert_int_equal(tt_app_engine_read(&r.settings, &options, &r.problems, &r.err), TT_OK);
    assert_string_equal(options.model_path, "m.safetensors");
    assert_int_equal(options.precision, TT_PRECISION_BF16);
    assert_int_equal(options.vae_precision, TT_PRECISION_AUTO);
    assert_int_equal(options.device, TT_DEVICE_REF);
    assert_int_equal(options.n_threads, 3);
    assert_null(options.prediction);
    add_text(&r, TT_OPT_DTYPE, TT_FROM_FLAG, "--dtype", "fp8");
    add_text(&r, TT_OPT_THREADS, TT_FROM_FLAG, "--threads", "-1");
    add_text(&r, TT_OPT_MODEL, TT_FROM_FLAG, "--model", "");
    assert_int_equal(tt_app_engine_read(&r.settings, &options, &r.problems, &r.err), TT_E_INVALID);
    assert_string_equal(
        r.err.message,
        "--model: expected a name, found nothing; --dtype: expected one of auto, "
        "f32, bf16, int8, found \"fp8\"; --threads: expected a whole number from 0 to "
        "1024, found -1");
    end(&r);
}

static void copies_of_settings_stand_alone(void **state) {
    (void)state;
    reading r;
    tt_settings copy;
    begin(&r);
    add_text(&r, TT_OPT_STEPS, TT_FROM_ENVIRONMENT, "TINTYPE_STEPS", "8");
    tt_settings_copy(&copy, &r.settings);
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"steps\": 9}}");
    end(&r);
    r.settings = copy;
    add_job(&r, "{\"input\": {\"prompt\": \"y\"}}");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.steps, 8);
    assert_string_equal(r.request.engine.prompt, "y");
    end(&r);
}

static void reading_survives_failed_allocations(void **state) {
    (void)state;
    for (int n = 0; n < 8; n++) {
        reading r;
        begin(&r);
        add_job(&r, "{\"input\": {\"steps\": 0, \"width\": 3}}");
        tt_alloc_fail_after(n);
        finish(&r);
        tt_alloc_fail_after(-1);
        assert_true(r.status == TT_E_INVALID || r.status == TT_E_NOMEM);
        assert_int_equal(r.problems.count, 3);
        end(&r);
    }
}

static void a_forgotten_option_counts_as_absent(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_ENVIRONMENT, "TINTYPE_PROMPT", "x");
    tt_settings_forget(&r.settings, TT_OPT_PROMPT);
    finish(&r);
    assert_int_equal(r.problems.count, 1);
    assert_non_null(strstr(r.problems.list[0].message, "prompt: expected text"));
    end(&r);
}

/* What RunPod's own SDXL worker takes (runpod.md 6.2), and clients of it send. */
static void fields_of_another_sdxl_worker_are_understood(void **state) {
    (void)state;
    reading r;
    read_job(&r, "{\"input\": {\"prompt\": \"x\", \"negative_prompt\": null, \"height\": 512, "
                 "\"width\": 512, \"seed\": null, \"scheduler\": \"DPM++ 2M Karras\", "
                 "\"num_inference_steps\": 25, \"refiner_inference_steps\": null, "
                 "\"guidance_scale\": 7.5, \"strength\": null, \"image_url\": null, "
                 "\"num_images\": 2, \"high_noise_frac\": null, \"preset\": null}}");
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.steps, 25);
    assert_true(r.request.engine.guidance == 7.5f);
    assert_int_equal(r.request.engine.count, 2);
    end(&r);
}

static void a_preset_needs_a_file_of_presets(void **state) {
    (void)state;
    assert_field_fault("\"preset\": \"portrait\"",
                       "preset: there are no presets here, they come from the file of --config");
}

static void settings_that_have_no_effect_are_accepted_and_told(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"refiner_inference_steps\": 50, "
                "\"strength\": 0.3, \"high_noise_frac\": 0.8}}");
    finish_all(&r, NULL, &FAKE_INFO);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.n_unused, 3);
    assert_string_equal(r.request.unused[0].field, "strength");
    assert_string_equal(r.request.unused[0].why, "there is no picture to start from");
    assert_string_equal(r.request.unused[1].field, "refiner_inference_steps");
    assert_string_equal(r.request.unused[1].why, "there is no refiner here");
    assert_string_equal(r.request.unused[2].field, "high_noise_frac");
    assert_true(r.request.engine.refiner_start == 0);
    end(&r);
}

static void a_refiner_takes_over_where_the_request_says(void **state) {
    (void)state;
    tt_engine_info info = FAKE_INFO;
    info.refiner_name = "refiner.safetensors";
    reading r;
    begin(&r);
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"refiner_inference_steps\": 50, "
                "\"high_noise_frac\": 0.8}}");
    finish_all(&r, NULL, &info);
    assert_int_equal(r.status, TT_OK);
    assert_true(r.request.engine.refiner_start == 0.8f);
    assert_int_equal(r.request.n_unused, 1);
    end(&r);
}

static void a_sampler_that_the_engine_lacks_is_refused_by_the_name_the_user_wrote(void **state) {
    (void)state;
    assert_field_fault("\"scheduler\": \"KLMS\"", "scheduler: \"KLMS\" is not available here");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_alone_takes_the_models_defaults),
        cmocka_unit_test(every_field_reaches_the_request),
        cmocka_unit_test(null_counts_as_absent),
        cmocka_unit_test(whole_numbers_may_be_written_with_a_point),
        cmocka_unit_test(each_wrong_field_has_its_sentence),
        cmocka_unit_test(two_names_with_one_value_are_fine),
        cmocka_unit_test(a_job_without_input_or_prompt_says_so),
        cmocka_unit_test(all_faults_are_told_at_once),
        cmocka_unit_test(very_many_faults_are_counted),
        cmocka_unit_test(a_fault_shows_little_of_a_long_value),
        cmocka_unit_test(a_prompt_has_a_longest_length),
        cmocka_unit_test(flags_are_named_as_flags_and_are_strict),
        cmocka_unit_test(numbers_in_flags_keep_all_their_bits),
        cmocka_unit_test(flags_beat_the_job_which_beats_the_environment),
        cmocka_unit_test(the_schedule_nearest_to_the_user_wins),
        cmocka_unit_test(seeds_that_nobody_chose_differ),
        cmocka_unit_test(engine_settings_are_read_and_checked),
        cmocka_unit_test(copies_of_settings_stand_alone),
        cmocka_unit_test(reading_survives_failed_allocations),
        cmocka_unit_test(a_forgotten_option_counts_as_absent),
        cmocka_unit_test(fields_of_another_sdxl_worker_are_understood),
        cmocka_unit_test(a_preset_needs_a_file_of_presets),
        cmocka_unit_test(settings_that_have_no_effect_are_accepted_and_told),
        cmocka_unit_test(a_refiner_takes_over_where_the_request_says),
        cmocka_unit_test(a_recipe_comes_before_what_is_said_beside_it),
        cmocka_unit_test(how_to_draw_reaches_the_request),
        cmocka_unit_test(a_sampler_that_the_engine_lacks_is_refused_by_the_name_the_user_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
