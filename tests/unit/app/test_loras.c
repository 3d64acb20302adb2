/* LoRAs as jobs, flags and prompts name them, found by a store that counts what it lends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "unit/app/fake_engine.h"
#include "unit/app/reading.h"

/* Has everything but "missing" and what a broken network gives; lends and takes back. */
typedef struct shelf {
    int n_lent;
    tt_app_models models;
    bool was_trusted;
    char asked[256];
} shelf;

static tt_status find(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    shelf *s = context;
    s->was_trusted = ask->is_trusted;
    snprintf(s->asked, sizeof s->asked, "%s", ask->text);
    if (strcmp(ask->text, "missing") == 0)
        return tt_fail(err, TT_E_NOT_FOUND, "no LoRA \"missing\"");
    if (strcmp(ask->text, "civitai:1") == 0)
        return tt_fail(err, TT_E_IO, "the service does not answer");
    snprintf(out->path, sizeof out->path, "/shelf/%d.safetensors", s->n_lent);
    snprintf(out->name, sizeof out->name, "%.100s", ask->text);
    out->lease = s;
    s->n_lent++;
    return TT_OK;
}

static void release(void *context, tt_app_found *found) {
    assert_ptr_equal(found->lease, context);
    ((shelf *)context)->n_lent--;
}

static tt_status list(void *context, tt_model_kind kind, tt_app_name_fn each, void *each_context,
                      tt_err *err) {
    static const char *const names[] = {"EasyNegative", "other", "style"};
    (void)context, (void)err;
    assert_int_equal(kind, TT_MODEL_EMBEDDING);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!each(each_context, names[i])) break;
    return TT_OK;
}

static tt_app_models models_of(shelf *s) {
    return (tt_app_models){.context = s, .find = find, .release = release, .list = list};
}

static void load(reading *r, shelf *s, const char *loras) {
    char job[1024];
    snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"a boat\", \"loras\": %s}}", loras);
    begin(r);
    add_job(r, job);
    s->models = models_of(s);
    finish_all(r, &s->models, NULL);
}

typedef struct expected {
    const char *entry, *source, *name, *parts;
    float scale;
} expected;

static const expected ENTRIES[] = {
    {"\"a\"", "a", NULL, NULL, 1},
    {"\"a.safetensors:0.8\"", "a.safetensors", NULL, NULL, 0.8f},
    {"\"a:-1\"", "a", NULL, NULL, -1},
    {"\"a:0\"", "a", NULL, NULL, 0},
    {"\"a:unet=0.8,te=0\"", "a", NULL, "unet=0.8,te=0", 1},
    {"\"a:0.5,in=0.25,out03=2\"", "a", NULL, "in=0.25,out03=2", 0.5f},
    {"\"a: b\"", "a: b", NULL, NULL, 1},
    {"\"a:b\"", "a:b", NULL, NULL, 1},
    {"\"civitai:128078\"", "civitai:128078", NULL, NULL, 1},
    {"\"civitai:128078:0.8\"", "civitai:128078", NULL, NULL, 0.8f},
    {"\"civitai:101055@128078\"", "civitai:101055@128078", NULL, NULL, 1},
    {"\"urn:air:sdxl:lora:civitai:101055\"", "urn:air:sdxl:lora:civitai:101055", NULL, NULL, 1},
    {"\"urn:air:sdxl:lora:civitai:101055@128078:0.5\"", "urn:air:sdxl:lora:civitai:101055@128078",
     NULL, NULL, 0.5f},
    {"\"https://host:8080/x.safetensors\"", "https://host:8080/x.safetensors", NULL, NULL, 1},
    {"\"https://host/x.safetensors:0.7\"", "https://host/x.safetensors", NULL, NULL, 0.7f},
    {"{\"name\": \"a\"}", "a", "a", NULL, 1},
    {"{\"name\": \"style\", \"source\": \"civitai:5\", \"weight\": 0.5}", "civitai:5", "style",
     NULL, 0.5f},
    {"{\"url\": \"https://h/x\", \"strength\": 2}", "https://h/x", NULL, NULL, 2},
    {"{\"file\": \"a\", \"scale\": null}", "a", NULL, NULL, 1},
    {"{\"path\": \"a\", \"unet\": 0.5, \"te\": 0, \"te2\": 0.25, \"blocks\": {\"in\": 0.5, "
     "\"out03\": 2}}",
     "a", NULL, "unet=0.5,te=0,te2=0.25,in=0.5,out03=2", 1},
    {"{\"name\": \"a\", \"parts\": \"in=0.5,te=0\", \"kind\": \"LoRA\", \"matched\": 3}", "a", "a",
     "in=0.5,te=0", 1},
    {"{\"model\": \"a\", \"strength_model\": 0.5, \"strength_clip\": 1}", "a", NULL,
     "unet=0.5,te=1", 1},
};

static void assert_same(const char *a, const char *b) {
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_true(a == b);
}

static void every_spelling_is_understood(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ENTRIES / sizeof *ENTRIES; i++) {
        char job[512];
        reading r;
        snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", \"loras\": [%s]}}",
                 ENTRIES[i].entry);
        read_job(&r, job);
        if (r.status != TT_OK) fail_msg("%s: %s", ENTRIES[i].entry, r.err.message);
        assert_int_equal(r.request.n_loras, 1);
        const tt_app_lora *lora = &r.request.loras[0];
        assert_string_equal(lora->source, ENTRIES[i].source);
        assert_same(lora->name, ENTRIES[i].name);
        assert_same(lora->parts, ENTRIES[i].parts);
        assert_true(lora->scale == ENTRIES[i].scale);
        assert_false(lora->is_trusted);
        end(&r);
    }
}

static void what_is_found_reaches_the_engine_and_goes_back(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    load(&r, &s, "[\"a:0.8\", {\"source\": \"civitai:5\", \"name\": \"style\", \"te\": 0}]");
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.n_adapters, 2);
    const tt_request_adapter *a = r.request.engine.adapters;
    assert_string_equal(a[0].path, "/shelf/0.safetensors");
    assert_string_equal(a[0].name, "a");
    assert_true(a[0].scale == 0.8f);
    assert_null(a[0].parts);
    assert_string_equal(a[1].name, "style");
    assert_string_equal(a[1].parts, "te=0");
    assert_int_equal(s.n_lent, 2);
    end(&r);
    assert_int_equal(s.n_lent, 0);
}

static void a_flag_may_be_given_again_and_is_trusted(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_LORAS, TT_FROM_ENVIRONMENT, "TINTYPE_LORA", "weaker");
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", "x");
    add_text(&r, TT_OPT_LORAS, TT_FROM_FLAG, "--lora", "/tmp/a.safetensors:0.5");
    add_text(&r, TT_OPT_LORAS, TT_FROM_FLAG, "--lora", "b");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.n_loras, 2);
    assert_string_equal(r.request.loras[0].source, "/tmp/a.safetensors");
    assert_true(r.request.loras[0].is_trusted);
    assert_string_equal(r.request.loras[1].source, "b");
    end(&r);
}

static void a_flag_may_bring_a_list(void **state) {
    (void)state;
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", "x");
    add_text(&r, TT_OPT_LORAS, TT_FROM_FLAG, "--lora",
             "[{\"name\": \"a\", \"scale\": 0.5}, \"b\"]");
    finish(&r);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.n_loras, 2);
    assert_true(r.request.loras[0].scale == 0.5f);
    end(&r);
}

static void each_missing_one_is_told_by_its_place(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    load(&r, &s, "[\"missing\", \"a\", \"/etc/passwd\"]");
    assert_int_equal(r.status, TT_E_INVALID);
    assert_int_equal(r.problems.count, 2);
    assert_string_equal(r.problems.list[0].message, "loras[0]: no LoRA \"missing\"");
    assert_string_equal(
        r.problems.list[1].message,
        "loras[2]: expected a name, found \"/etc/passwd\": a job may not name files "
        "by their path");
    assert_int_equal(s.n_lent, 0);
    end(&r);
}

static void a_broken_network_is_nobodys_mistake(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    load(&r, &s, "[\"a\", \"civitai:1\"]");
    assert_int_equal(r.status, TT_E_IO);
    assert_int_equal(r.problems.count, 0);
    assert_string_equal(r.err.message, "loras[1]: the service does not answer");
    assert_int_equal(s.n_lent, 0);
    end(&r);
}

static void a_prompt_names_one_by_the_engines_callback(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    char path[64];
    tt_err err;
    load(&r, &s, "[]");
    const tt_request *q = &r.request.engine;
    assert_int_equal(q->find_adapter(q->find_adapter_context, "style", path, sizeof path, &err),
                     TT_OK);
    assert_string_equal(path, "/shelf/0.safetensors");
    assert_false(s.was_trusted);
    assert_non_null(tt_app_request_held(&r.request, path, "old-photo"));
    assert_int_equal(q->find_adapter(q->find_adapter_context, "../style", path, sizeof path, &err),
                     TT_E_INVALID);
    assert_int_equal(q->find_adapter(q->find_adapter_context, "style", path, 4, &err),
                     TT_E_INVALID);
    end(&r);
    assert_int_equal(s.n_lent, 0);
}

static void only_embeddings_that_a_prompt_mentions_are_opened(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    tt_app_models models = models_of(&s);
    begin(&r);
    add_job(&r,
            "{\"input\": {\"prompt\": \"a STYLEd boat\", \"negative_prompt\": \"easynegative\"}}");
    finish_all(&r, &models, NULL);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.n_embeddings, 2);
    assert_int_equal(s.n_lent, 2);
    end(&r);
    assert_int_equal(s.n_lent, 0);
}

static void very_many_loras_and_parts_are_refused(void **state) {
    (void)state;
    char job[8192];
    int n = snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", \"loras\": [\"a\"");
    for (int i = 0; i < TT_MAX_REQUEST_ADAPTERS; i++)
        n += snprintf(job + n, sizeof job - (size_t)n, ", \"a\"");
    snprintf(job + n, sizeof job - (size_t)n, "]}}");
    reading r;
    read_job(&r, job);
    assert_string_equal(r.err.message, "loras: expected at most 64, found 65");
    end(&r);
    n = snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", \"loras\": [\"a:1");
    for (int i = 0; i < 200; i++) n += snprintf(job + n, sizeof job - (size_t)n, ",in=%d", i % 10);
    snprintf(job + n, sizeof job - (size_t)n, "\"]}}");
    read_job(&r, job);
    assert_string_equal(r.err.message, "loras[0]: expected fewer than 64 parts");
    end(&r);
}

static void folders_are_hidden_from_clients(void **state) {
    (void)state;
    reading r;
    shelf s = {.n_lent = 0};
    tt_err err;
    load(&r, &s, "[\"a\"]");
    tt_fail(&err, TT_E_FORMAT, "/shelf/0.safetensors: broken");
    tt_app_request_hide_folders(&r.request, &err);
    assert_string_equal(err.message, "0.safetensors: broken");
    end(&r);
}

static void loading_survives_failed_allocations(void **state) {
    (void)state;
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < 200; n++) {
        reading r;
        shelf s = {.n_lent = 0};
        tt_app_models models = models_of(&s);
        begin(&r);
        add_job(
            &r,
            "{\"input\": {\"prompt\": \"style\", \"loras\": [\"a:unet=1\", {\"name\": \"b\"}]}}");
        tt_alloc_fail_after(n);
        finish_all(&r, &models, NULL);
        tt_alloc_fail_after(-1);
        status = r.status;
        if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
        end(&r);
        assert_int_equal(s.n_lent, 0);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_is_understood),
        cmocka_unit_test(what_is_found_reaches_the_engine_and_goes_back),
        cmocka_unit_test(a_flag_may_be_given_again_and_is_trusted),
        cmocka_unit_test(a_flag_may_bring_a_list),
        cmocka_unit_test(each_missing_one_is_told_by_its_place),
        cmocka_unit_test(a_broken_network_is_nobodys_mistake),
        cmocka_unit_test(a_prompt_names_one_by_the_engines_callback),
        cmocka_unit_test(only_embeddings_that_a_prompt_mentions_are_opened),
        cmocka_unit_test(very_many_loras_and_parts_are_refused),
        cmocka_unit_test(folders_are_hidden_from_clients),
        cmocka_unit_test(loading_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
