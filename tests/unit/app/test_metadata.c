/* What is told of a picture: the complete record, the settings as A1111 writes them, and the warnings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "app/handler.h"
#include "app/parameters.h"
#include "app/warnings.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "image/parameters.h"
#include "support/json_tree.h"
#include "unit/app/fake_engine.h"
#include "unit/app/reading.h"

enum { TEXT_BYTES = 1 << 18 };
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static tt_status find(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    (void)context, (void)err;
    snprintf(out->path, sizeof out->path, "/private/%.100s", ask->text);
    snprintf(out->name, sizeof out->name, "%.100s", ask->text);
    snprintf(out->digest, sizeof out->digest, "%s", DIGEST);
    return TT_OK;
}

/* One job, made by the fake engine. */
typedef struct made {
    reading reading;
    tt_engine engine;
    tt_app_models models;
    tt_app_made made;
    tt_app_facts facts;
} made;

static void make(made *m, const char *fields) {
    char job[2048];
    snprintf(job, sizeof job, "{\"input\": {\"seed\": 5, %s}}", fields);
    m->engine = (tt_engine){.info = FAKE_INFO, .prompt_tokens = 5};
    m->models = (tt_app_models){.find = find};
    begin(&m->reading);
    add_job(&m->reading, job);
    finish_all(&m->reading, &m->models, &m->engine.info);
    if (m->reading.status != TT_OK) fail_msg("%s", m->reading.err.message);
    tt_app_request *request = &m->reading.request;
    assert_int_equal(tt_app_draw(&m->engine, request, &m->made, NULL), TT_OK);
    m->facts = (tt_app_facts){&m->engine.info, request, &m->made.result, 1};
}

static void done(made *m) {
    tt_app_made_release(&m->made);
    end(&m->reading);
}

static json_object *record_of(made *m) {
    tt_buf text;
    json_object *tree;
    tt_err err;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_metadata_of_job(&m->facts, &text, NULL), TT_OK);
    if (tt_json_parse(text.data, text.size, &tree, &err) != TT_OK) fail_msg("%s", err.message);
    assert_null(strstr(text.data, "/private"));
    tt_buf_release(&text);
    return tree;
}

static void a_lora_is_told_with_what_became_of_it(void **state) {
    (void)state;
    made m;
    make(&m, "\"prompt\": \"a boat\", \"loras\": [\"film:0.8\"]");
    json_object *record = record_of(&m);
    json_object *lora = json_object_array_get_idx(member(record, "loras"), 0);
    assert_string_equal(text_of(lora, "name"), "film");
    assert_string_equal(text_of(lora, "kind"), "LoRA");
    assert_string_equal(text_of(lora, "scale"), "0.8");
    assert_string_equal(text_of(lora, "rank"), "8");
    assert_string_equal(text_of(lora, "matched"), "9");
    assert_string_equal(text_of(lora, "unmatched"), "0");
    assert_string_equal(text_of(lora, "sha256"), DIGEST);
    assert_false(json_object_object_get_ex(lora, "te1", NULL));
    assert_false(json_object_object_get_ex(record, "warnings", NULL));
    json_object_put(record);
    done(&m);
}

static void keys_without_effect_are_warned_of(void **state) {
    (void)state;
    made m;
    make(&m, "\"prompt\": \"a <lora:odd:0.5> boat\"");
    json_object *record = record_of(&m);
    json_object *lora = json_object_array_get_idx(member(record, "loras"), 0);
    assert_string_equal(text_of(lora, "scale"), "0.5");
    assert_string_equal(text_of(lora, "te1"), "1"); /* another scale than the UNet's */
    assert_true(json_object_get_boolean(member(lora, "from_prompt")));
    assert_string_equal(
        json_object_get_string(json_object_array_get_idx(member(record, "warnings"), 0)),
        "LoRA odd: 2 of its 9 keys mean nothing to this model and had no effect: odd.one, odd.two");
    json_object_put(record);
    done(&m);
}

static tt_status count_warning(void *context, const char *sentence, tt_err *err) {
    int *n = context;
    if (sentence[0] == '\0' || ++*n == 3) return tt_fail(err, TT_E_IO, "enough");
    return TT_OK;
}

static void every_warning_comes_once_and_a_failure_ends_them(void **state) {
    (void)state;
    made m;
    int n = 0;
    tt_err err;
    make(&m, "\"prompt\": \"x\", \"strength\": 0.5, \"refiner_inference_steps\": 3");
    m.made.result.n_unknown_tags = 2;
    assert_int_equal(tt_app_warnings(&m.facts, count_warning, &n, &err), TT_E_IO);
    assert_int_equal(n, 3);
    done(&m);
}

static void what_is_in_use_is_told(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"prompt_2", "y"},
        {"prompt_syntax", "compel"},
        {"compat", "a1111"},
        {"recipe", "lightning-4"},
        {"sampler", "euler"},
        {"steps", "4"},
        {"clip_skip", "1"},
        {"guidance_end", "0.9"},
        {"eta", "0"},
        {"variation_strength", "0.25"},
        {"variation_seed", "9"},
        {"seed", "5"},
        {"original_width", "2048"},
        {"original_height", "192"},
        {"target_width", "256"},
        {"hires_scale", "1.5"},
        {"hires_steps", "4"},
        {"hires_upscaler", "picture"},
        {"has_image", "false"},
        {"refiner_start", "0"},
    };
    made m;
    make(&m, "\"prompt\": \"x\", \"prompt_2\": \"y\", \"prompt_syntax\": \"compel\", \"compat\": "
             "\"a1111\", "
             "\"recipe\": \"lightning-4\", \"clip_skip\": 1, \"guidance_end\": 0.9, "
             "\"variation_strength\": 0.25, \"variation_seed\": 9, \"original_width\": 2048, "
             "\"hires_scale\": 1.5, \"hires_upscaler\": \"picture\"");
    json_object *record = record_of(&m);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_string_equal(text_of(record, expected[i][0]), expected[i][1]);
    json_object_put(record);
    done(&m);
}

/* An answer's settings are a job again: every member that is a field of jobs has a value that jobs take. */
static void the_record_can_be_asked_again(void **state) {
    (void)state;
    made m;
    reading again;
    make(&m, "\"prompt\": \"x <lora:odd:1>\", \"loras\": [\"film:0.8\"], \"variation_strength\": "
             "0.25, \"hires_scale\": 1.5, \"clip_skip\": 1");
    json_object *record = record_of(&m), *input = json_object_new_object(),
                *job = json_object_new_object();
    struct json_object_iterator at = json_object_iter_begin(record),
                                last = json_object_iter_end(record);
    for (; !json_object_iter_equal(&at, &last); json_object_iter_next(&at)) {
        tt_option_id id;
        const char *spelling, *name = json_object_iter_peek_name(&at);
        if (tt_option_find_field(name, &id, &spelling))
            json_object_object_add(input, name, json_object_get(json_object_iter_peek_value(&at)));
    }
    json_object_object_add(job, "input", input);
    begin(&again);
    tt_settings_read_job(&again.settings, job, &again.problems);
    finish(&again);
    if (again.status != TT_OK) fail_msg("%s", again.err.message);
    assert_true(again.request.engine.variation_strength == 0.25f);
    assert_int_equal(again.request.engine.clip_skip, 1);
    assert_int_equal(again.request.n_loras, 1); /* the other is in the prompt again */
    assert_true(again.request.loras[0].scale == 0.8f);
    json_object_put(job);
    json_object_put(record);
    end(&again);
    done(&m);
}

static const char *extra(const tt_image_parameters *p, const char *key) {
    for (int i = 0; i < p->n_extra; i++)
        if (strcmp(p->extra[i].key, key) == 0) return p->extra[i].value;
    fail_msg("no %s", key);
    return "";
}

static void galleries_find_the_settings_under_the_usual_keys(void **state) {
    (void)state;
    made m;
    tt_buf text;
    tt_arena arena;
    tt_image_parameters p;
    make(&m, "\"prompt\": \"x\", \"loras\": [\"film:0.8\"], \"variation_strength\": 0.25, "
             "\"variation_seed\": 9, "
             "\"noise\": \"cuda\", \"clip_skip\": 1, \"eta\": 0.5, \"hires_scale\": 1.5, "
             "\"hires_steps\": 6");
    tt_buf_init(&text, TEXT_BYTES);
    tt_arena_init(&arena, TEXT_BYTES);
    assert_int_equal(tt__write_parameters(&m.facts, 0, &text, NULL), TT_OK);
    assert_int_equal(tt_image_parameters_parse(text.data, &arena, &p, NULL), TT_OK);
    assert_string_equal(extra(&p, "Clip skip"), "1");
    assert_string_equal(extra(&p, "RNG"), "NV");
    assert_string_equal(extra(&p, "Eta"), "0.5");
    assert_string_equal(extra(&p, "Variation seed"), "9");
    assert_string_equal(extra(&p, "Variation seed strength"), "0.25");
    assert_string_equal(extra(&p, "Hires upscale"), "1.5");
    assert_string_equal(extra(&p, "Hires steps"), "6");
    assert_string_equal(extra(&p, "Denoising strength"), "0.7");
    assert_string_equal(extra(&p, "Loras"), "film: 0.8");
    assert_string_equal(extra(&p, "Lora hashes"), "film: 0123456789ab");
    assert_true(p.seed == 5);
    tt_arena_release(&arena);
    tt_buf_release(&text);
    done(&m);
}

static void texts_survive_failed_allocations(void **state) {
    (void)state;
    made m;
    make(&m, "\"prompt\": \"a <lora:odd:1>\", \"loras\": [\"film:0.8\"], \"strength\": 0.5");
    for (int which = 0; which < 2; which++) {
        tt_status status = TT_E_NOMEM;
        int n = 0;
        for (; status != TT_OK && n < 100; n++) {
            tt_buf text;
            tt_buf_init(&text, TEXT_BYTES);
            tt_alloc_fail_after(n);
            status = which ? tt__write_parameters(&m.facts, 0, &text, NULL)
                           : tt_metadata_of_job(&m.facts, &text, NULL);
            tt_alloc_fail_after(-1);
            if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
            tt_buf_release(&text);
        }
        assert_int_equal(status, TT_OK);
        assert_true(n > 1);
    }
    done(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lora_is_told_with_what_became_of_it),
        cmocka_unit_test(keys_without_effect_are_warned_of),
        cmocka_unit_test(every_warning_comes_once_and_a_failure_ends_them),
        cmocka_unit_test(what_is_in_use_is_told),
        cmocka_unit_test(the_record_can_be_asked_again),
        cmocka_unit_test(galleries_find_the_settings_under_the_usual_keys),
        cmocka_unit_test(texts_survive_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
