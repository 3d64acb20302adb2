/* Presets files: what they mean, and the sentence for every mistake with the place where a person finds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/presets.h"
#include "app/request.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"

static tt_presets *presets;
static tt_problems problems;
static tt_err err;

static tt_status parse(const char *text) {
    tt_presets_release(presets);
    tt_problems_init(&problems);
    return tt_presets_parse(text, strlen(text), "p.json", &presets, &problems, &err);
}

static int tear_down(void **state) {
    (void)state;
    tt_presets_release(presets);
    presets = NULL;
    return 0;
}

static const char EXAMPLE[] =
    "{\"default\": \"portrait\",\n"
    " \"policy\": {\"loras\": \"open\", \"sources\": [\"civitai\", \"url\"], \"urls\": "
    "[\"https://e.org/l/\"], "
    "\"fetch\": \"first_use\"},\n"
    " \"presets\": {\n"
    "  \"portrait\": {\"description\": \"faces\", \"checkpoint\": \"civitai:1\", \"vae\": "
    "\"vae/a.safetensors\",\n"
    "   \"loras\": [{\"name\": \"detail\", \"source\": \"civitai:2\", \"scale\": 0.5},\n"
    "             {\"name\": \"film\", \"source\": \"/abs/film.safetensors\", \"unet\": 0.7, "
    "\"active\": false}],\n"
    "   \"embeddings\": [{\"name\": \"bad\", \"source\": \"civitai:3\"}],\n"
    "   \"defaults\": {\"steps\": 30, \"cfg_scale\": 5},\n"
    "   \"limits\": {\"max_steps\": 40, \"max_images\": 2, \"max_pixels\": 1048576, \"max_loras\": "
    "1, "
    "\"max_lora_scale\": 2}},\n"
    "  \"plain\": {}}}";

static void a_file_means_what_it_says(void **state) {
    (void)state;
    const tt_preset *p;
    assert_int_equal(parse(EXAMPLE), TT_OK);
    assert_int_equal(tt_presets_count(presets), 2);
    assert_string_equal(tt_presets_default(presets), "portrait");
    assert_int_equal(tt_presets_fetch(presets), TT_FETCH_AT_FIRST_USE);
    assert_int_equal(tt_presets_find(presets, NULL, &p, &err), TT_OK);
    assert_string_equal(p->name, "portrait");
    assert_string_equal(p->description, "faces");
    assert_string_equal(p->checkpoint.source, "civitai:1");
    assert_null(p->refiner.source);
    assert_int_equal(p->n_embeddings, 1);
    assert_string_equal(p->embeddings[0].name, "bad");
    assert_int_equal(p->limits.max_steps, 40);
    assert_int_equal(p->limits.max_pixels, 1048576);
    assert_int_equal(tt_presets_find(presets, "plain", &p, &err), TT_OK);
    assert_null(p->checkpoint.source);
    assert_int_equal(p->limits.max_loras, -1);
}

static void paths_are_meant_from_where_the_file_lies(void **state) {
    (void)state;
    static const char text[] =
        "{\"presets\": {\"a\": {\"checkpoint\": \"m/a.safetensors\", \"loras\": [{\"name\": \"x\", "
        "\"source\": \"./x.safetensors\"}]}}}";
    const tt_preset *p;
    json_object *source;
    tt_problems_init(&problems);
    assert_int_equal(
        tt_presets_parse(text, strlen(text), "/etc/t/p.json", &presets, &problems, &err), TT_OK);
    assert_int_equal(tt_presets_find(presets, "a", &p, &err), TT_OK);
    assert_string_equal(p->checkpoint.source, "/etc/t/m/a.safetensors");
    assert_true(
        json_object_object_get_ex(json_object_array_get_idx(p->loras, 0), "source", &source));
    assert_string_equal(json_object_get_string(source), "/etc/t/./x.safetensors");
}

static void the_only_preset_is_the_default(void **state) {
    (void)state;
    const tt_preset *p;
    assert_int_equal(parse("{\"presets\": {\"a\": {}}}"), TT_OK);
    assert_int_equal(tt_presets_find(presets, "", &p, &err), TT_OK);
    assert_string_equal(p->name, "a");
    assert_int_equal(parse("{\"presets\": {\"a\": {}, \"b\": {}}}"), TT_OK);
    assert_int_equal(tt_presets_find(presets, NULL, &p, &err), TT_E_INVALID);
    assert_string_equal(err.message, "preset: there is no default, expected one of: a, b");
}

static void an_unknown_preset_is_told_with_the_nearest(void **state) {
    (void)state;
    const tt_preset *p;
    assert_int_equal(parse(EXAMPLE), TT_OK);
    assert_int_equal(tt_presets_find(presets, "portrat", &p, &err), TT_E_INVALID);
    assert_string_equal(err.message, "preset: there is no \"portrat\", did you mean \"portrait\"?");
    assert_int_equal(tt_presets_find(presets, "x\ny", &p, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "preset: there is no \"x?y\", expected one of: portrait, plain");
}

static const struct {
    const char *text, *sentence;
} mistakes[] = {
    {"", "p.json:1:1: "},
    {"{\"presets\": {\"a\": {}},}", "p.json:1:23: "},
    {"{\n// no\n\"presets\": {}}", "p.json:2:1: "},
    {"[]", "p.json:1:1: expected an object, {...}, found an array"},
    {"{}", "p.json:1:1: \"presets\" is missing"},
    {"{\"presets\": {}}", "p.json:1:13: presets: expected 1 to 256 presets, found 0"},
    {"{\"presets\": []}", "p.json:1:13: presets: expected an object, {...}, found an array"},
    {"{\"presets\": {\"a\": 1}}", "p.json:1:19: presets.a: expected an object, {...}, found 1"},
    {"{\"presets\": {\"a/b\": {}}}",
     "p.json:1:14: presets.a/b: expected a name of 1 to 63 bytes without / \\ : < >"},
    {"{\"defualt\": \"a\",\n \"presets\": {\"a\": {}}}",
     "p.json:1:2: defualt: unknown, did you mean \"default\"?"},
    {"{\"default\": \"b\", \"presets\": {\"a\": {}}}",
     "p.json:1:13: default: there is no preset \"b\""},
    {"{\"default\": \"portrat\", \"presets\": {\"portrait\": {}}}",
     "p.json:1:13: default: there is no preset \"portrat\", did you mean \"portrait\"?"},
    {"{\"presets\": {\"a\": {\n  \"checkpiont\": \"civitai:1\"}}}",
     "p.json:2:3: presets.a.checkpiont: unknown, did you mean \"checkpoint\"?"},
    {"{\"presets\": {\"a\": {\"checkpoint\": \"civitai:x\"}}}",
     "p.json:1:34: presets.a.checkpoint: civitai:x: expected numbers up to 2147483647"},
    {"{\"presets\": {\"a\": {\"checkpoint\": 128078}}}",
     "p.json:1:34: presets.a.checkpoint: expected a reference such as civitai:128078, found "
     "128078"},
    {"{\"presets\": {\"a\": {\"loras\": {}}}}",
     "p.json:1:29: presets.a.loras: expected a list, [...], found an object"},
    {"{\"presets\": {\"a\": {\"loras\": [\"x\"]}}}",
     "p.json:1:30: presets.a.loras[0]: expected an object, {...}, found \"x\""},
    {"{\"presets\": {\"a\": {\"loras\": [{\"name\": \"x\"}]}}}",
     "p.json:1:30: presets.a.loras[0]: \"source\" is missing"},
    {"{\"presets\": {\"a\": {\"loras\": [{\"name\": \"x\", \"source\": \"civitai:1\",\n\"scael\": "
     "1}]}}}",
     "p.json:2:1: presets.a.loras[0].scael: unknown, did you mean \"scale\"?"},
    {"{\"presets\": {\"a\": {\"loras\": [{\"name\": \"x\", \"source\": \"civitai:1\", \"scale\": "
     "\"0.5\"}]}}}",
     "presets.a.loras[0].scale: expected a number from -100 to 100, found \"0.5\""},
    {"{\"presets\": {\"a\": {\"loras\": [{\"name\": \"x\", \"source\": \"civitai:1\", \"scale\": "
     "101}]}}}",
     "presets.a.loras[0].scale: expected a number from -100 to 100, found 101"},
    {"{\"presets\": {\"a\": {\"loras\": [{\"name\": \"x\", \"source\": \"civitai:1\"},\n{\"name\": "
     "\"x\", \"source\": "
     "\"civitai:2\"}]}}}",
     "p.json:2:10: presets.a.loras[1].name: \"x\" is there twice, the first time as [0]"},
    {"{\"presets\": {\"a\": {\"defaults\": {\"stpes\": 3}}}}",
     "p.json:1:32: presets.a.defaults: stpes: unknown field, did you mean steps?"},
    {"{\"presets\": {\"a\": {\"defaults\": {\"steps\": 0}}}}",
     "p.json:1:32: presets.a.defaults: steps: expected"},
    {"{\"presets\": {\"a\": {\"defaults\": {\"sampler\": \"eulr\"}}}}",
     "presets.a.defaults: sampler: "},
    {"{\"presets\": {\"a\": {\"limits\": {\"max_steps\": 0}}}}",
     "presets.a.limits.max_steps: expected a whole number from 1 to 1000, found 0"},
    {"{\"presets\": {\"a\": {\"limits\": {\"max_steps\": 1.5}}}}",
     "presets.a.limits.max_steps: expected a whole number from 1 to 1000, found 1.5"},
    {"{\"policy\": {\"loras\": \"opne\"}, \"presets\": {\"a\": {}}}",
     "policy.loras: expected \"listed\" or \"open\", found \"opne\""},
    {"{\"policy\": {\"sources\": [\"civitia\"]}, \"presets\": {\"a\": {}}}",
     "policy.sources[0]: expected \"civitai\" or \"huggingface\" or \"url\" or \"s3\", found "
     "\"civitia\""},
    {"{\"policy\": {\"urls\": [\"http://e.org/\"]}, \"presets\": {\"a\": {}}}",
     "policy.urls[0]: expected a URL's beginning such as \"https://example.org/loras/\", found "
     "\"http://e.org/\""},
    {"{\"policy\": {\"urls\": [\"https://e.org\"]}, \"presets\": {\"a\": {}}}",
     "policy.urls[0]: expected a URL's beginning"},
    {"{\"presets\": {\"\xc3\xa9\": {\n \"\xc3\xa9\xc3\xa9\": 1, \"vea\": 1}}}",
     "p.json:2:11: presets.\xc3\xa9.vea: unknown, did you mean \"vae\"?"},
};

static void each_mistake_is_told_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        bool is_told = false;
        if (parse(mistakes[i].text) == TT_OK) fail_msg("taken: %s", mistakes[i].text);
        assert_null(presets);
        for (int k = 0; k < problems.count; k++)
            is_told = is_told || strstr(problems.list[k].message, mistakes[i].sentence);
        if (!is_told)
            fail_msg("%s: expected \"%s\", found \"%s\"", mistakes[i].text, mistakes[i].sentence,
                     problems.count ? problems.list[0].message : "nothing");
    }
}

static void all_mistakes_are_told_at_once(void **state) {
    (void)state;
    assert_int_equal(parse("{\"x\": 1, \"presets\": {\"a\": {\"y\": 1, \"loras\": [{}, {}]}}}"),
                     TT_E_INVALID);
    assert_int_equal(problems.count, 6);
}

/* The place of a mistake is looked for in the whole text: for thousands of them that would take minutes. */
static void more_than_there_may_be_is_told_once(void **state) {
    (void)state;
    enum { N = 300, MOST = 256, LORAS = 5000, LORAS_MOST = 64 };
    tt_buf text;
    tt_buf_init(&text, 1 << 20);
    tt_buf_puts(&text, "{\"presets\": {", NULL);
    for (int i = 0; i < N; i++)
        tt_buf_printf(&text, NULL, "%s\"p%d\": {\"x\": 1}", i ? ", " : "", i);
    tt_buf_puts(&text, "}}", NULL);
    assert_int_equal(parse(text.data), TT_E_INVALID);
    assert_int_equal(problems.count, 1 + MOST);
    text.size = 0;
    tt_buf_puts(&text, "{\"presets\": {\"a\": {\"loras\": [", NULL);
    for (int i = 0; i < LORAS; i++) tt_buf_printf(&text, NULL, "%s{}", i ? ", " : "");
    tt_buf_puts(&text, "]}}}", NULL);
    assert_int_equal(parse(text.data), TT_E_INVALID);
    assert_int_equal(problems.count, 1 + 2 * LORAS_MOST);
    tt_buf_release(&text);
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

static tt_app_request request;

static tt_status ask(const char *preset, const char *job) {
    const tt_preset *p;
    tt_settings settings;
    tt_request model;
    json_object *tree;
    tt_app_request_release(&request);
    tt_problems_init(&problems);
    tt_request_defaults(NULL, &model);
    assert_int_equal(tt_presets_find(presets, preset, &p, &err), TT_OK);
    assert_int_equal(tt_settings_init(&settings, &err), TT_OK);
    tt_settings_use_preset(&settings, p);
    assert_int_equal(tt_json_parse(job, strlen(job), &tree, &err), TT_OK);
    tt_settings_read_job(&settings, tree, &problems);
    json_object_put(tree);
    tt_status status = tt_app_request_read(&settings, &model, &request, &problems, &err);
    tt_settings_release(&settings);
    return status;
}

static void a_presets_defaults_stand_behind_the_jobs_fields(void **state) {
    (void)state;
    assert_int_equal(parse(EXAMPLE), TT_OK);
    assert_int_equal(ask("portrait", "{\"input\": {\"prompt\": \"\"}}"), TT_OK);
    assert_int_equal(request.engine.steps, 30);
    assert_int_equal(ask("portrait", "{\"input\": {\"prompt\": \"\", \"num_inference_steps\": 7}}"),
                     TT_OK);
    assert_int_equal(request.engine.steps, 7);
    assert_true(request.engine.guidance == 5.0f);
    assert_int_equal(ask("plain", "{\"input\": {\"prompt\": \"\"}}"), TT_OK);
    assert_int_equal(request.engine.steps, 24);
    tt_app_request_release(&request);
}

static void its_loras_come_first_and_are_changed_by_name(void **state) {
    (void)state;
    assert_int_equal(parse(EXAMPLE), TT_OK);
    assert_int_equal(ask("portrait", "{\"input\": {\"prompt\": \"\"}}"), TT_OK);
    assert_int_equal(request.n_loras, 1);
    assert_string_equal(request.loras[0].source, "civitai:2");
    assert_string_equal(request.loras[0].name, "detail");
    assert_true(request.loras[0].is_trusted && request.loras[0].scale == 0.5f);
    assert_int_equal(
        ask("portrait",
            "{\"input\": {\"prompt\": \"\", \"loras\": [\"civitai:9:1.5\", \"film:0.3\", "
            "{\"name\": \"detail\", \"scale\": -1}]}}"),
        TT_OK);
    assert_int_equal(request.n_loras, 3);
    assert_true(request.loras[0].scale == -1.0f);
    assert_string_equal(request.loras[1].source, "/abs/film.safetensors");
    assert_true(request.loras[1].scale == 0.3f && request.loras[1].is_trusted);
    assert_null(request.loras[1].parts);
    assert_string_equal(request.loras[2].source, "civitai:9");
    assert_false(request.loras[2].is_trusted);
    assert_int_equal(ask("portrait", "{\"input\": {\"prompt\": \"\", \"loras\": [\"film\"]}}"),
                     TT_OK);
    assert_int_equal(request.n_loras, 2);
    assert_string_equal(request.loras[1].parts, "unet=0.7");
    tt_app_request_release(&request);
}

static void its_limits_are_kept(void **state) {
    (void)state;
    static const struct {
        const char *job, *sentence;
    } cases[] = {
        {"{\"input\": {\"prompt\": \"\", \"steps\": 41}}",
         "steps: 41, the preset portrait allows at most 40"},
        {"{\"input\": {\"prompt\": \"\", \"num_images\": 3}}",
         "num_images: 3, the preset portrait allows at most 2"},
        {"{\"input\": {\"prompt\": \"\", \"width\": 2048}}",
         "pixels: 2097152, the preset portrait allows at most 1048576"},
        {"{\"input\": {\"prompt\": \"\", \"loras\": [\"civitai:4\", \"civitai:5\"]}}",
         "loras: 2 besides the preset's, the preset portrait allows at most 1"},
        {"{\"input\": {\"prompt\": \"\", \"loras\": [\"detail:2.5\"]}}",
         "loras[0]: scale 2.5, the preset portrait allows at most 2"},
    };
    assert_int_equal(parse(EXAMPLE), TT_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ask("portrait", cases[i].job), TT_E_INVALID);
        assert_string_equal(problems.list[0].message, cases[i].sentence);
    }
}

static void allow(const char *reference, const char *sentence) {
    tt_reference r;
    assert_int_equal(tt_reference_parse(reference, &r, &err), TT_OK);
    tt_status status = tt_presets_allow(presets, &r, &err);
    if (!sentence)
        assert_int_equal(status, TT_OK);
    else
        assert_string_equal(err.message, sentence);
}

static void policy_says_what_requests_may_name(void **state) {
    (void)state;
    assert_int_equal(parse(EXAMPLE), TT_OK);
    allow("civitai:9", NULL);
    allow("hf://a/b/c.safetensors", "models from huggingface may not be named by requests here");
    allow("https://e.org/l/a.safetensors", NULL);
    allow("https://e.org/other/a.safetensors", "models may not be named by this URL here");
    allow("word", "there is no LoRA of this name in the preset");
    allow("/etc/passwd", "there is no LoRA of this name in the preset");
    assert_int_equal(parse("{\"presets\": {\"a\": {}}}"), TT_OK);
    allow("civitai:9", "only LoRAs that the preset lists may be used here, by their names");
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

static void the_schema_is_json_and_knows_every_field(void **state) {
    (void)state;
    static const char *const words[] = {"\"checkpoint\"", "\"max_lora_scale\"", "\"cfg_scale\"",
                                        "\"first_use\"", "#/$defs/job/properties/steps"};
    tt_buf text;
    json_object *tree;
    tt_buf_init(&text, TT_MAX_PRESETS_BYTES);
    assert_int_equal(tt_presets_schema(&text, &err), TT_OK);
    assert_int_equal(tt_json_parse(text.data, text.size, &tree, &err), TT_OK);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_non_null(strstr(text.data, words[i]));
    json_object_put(tree);
    tt_buf_release(&text);
}

static void a_changed_file_is_read_again_and_a_broken_one_is_not(void **state) {
    (void)state;
    char path[] = "/tmp/presets-XXXXXX";
    const tt_log silent = {.level = TT_LOG_NOTSET, .fd = -1};
    tt_presets_watch *watch;
    assert_true(mkstemp(path) >= 0);
    assert_int_equal(tt_file_write(path, "{\"presets\": {\"a\": {}}}", 22, &err), TT_OK);
    tt_problems_init(&problems);
    assert_int_equal(tt_presets_watch_new(path, &silent, &watch, &problems, &err), TT_OK);
    tt_presets *first = tt_presets_watch_get(watch);
    assert_int_equal(tt_file_write(path, "{\"presets\": {\"a\": {}, \"b\": {}}}", 31, &err), TT_OK);
    tt_presets_watch_poke(watch);
    tt_presets *second = tt_presets_watch_get(watch);
    assert_int_equal(tt_presets_count(first), 1);
    assert_int_equal(tt_presets_count(second), 2);
    assert_int_equal(tt_file_write(path, "{", 1, &err), TT_OK);
    tt_presets_watch_poke(watch);
    tt_presets *third = tt_presets_watch_get(watch);
    assert_ptr_equal(third, second);
    tt_presets_release(first);
    tt_presets_release(second);
    tt_presets_release(third);
    tt_presets_watch_free(watch);
    unlink(path);
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    for (long n = 1; n < 10000; n++) {
        tt_problems_init(&problems);
        tt_alloc_fail_after(n);
        tt_status status =
            tt_presets_parse(EXAMPLE, strlen(EXAMPLE), "p.json", &presets, &problems, &err);
        tt_alloc_fail_after(-1);
        tt_presets_release(presets);
        presets = NULL;
        if (status == TT_OK) return;
        assert_true(status == TT_E_NOMEM || problems.count > 0);
    }
    fail();
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_means_what_it_says),
        TEST(paths_are_meant_from_where_the_file_lies),
        TEST(the_only_preset_is_the_default),
        TEST(an_unknown_preset_is_told_with_the_nearest),
        TEST(each_mistake_is_told_with_its_place),
        TEST(all_mistakes_are_told_at_once),
        TEST(more_than_there_may_be_is_told_once),
        TEST(a_presets_defaults_stand_behind_the_jobs_fields),
        TEST(its_loras_come_first_and_are_changed_by_name),
        TEST(its_limits_are_kept),
        TEST(policy_says_what_requests_may_name),
        TEST(the_schema_is_json_and_knows_every_field),
        TEST(a_changed_file_is_read_again_and_a_broken_one_is_not),
        TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
