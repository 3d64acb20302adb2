/* A job's JSON as it arrives: parsed, checked, its pictures decoded and its LoRAs looked up in a folder that has every one,
 * and, when it is a good one, written back as metadata, which must be JSON again and hold the same prompt. A bad one must say why, in valid UTF-8. */
#include <stdint.h>
#include <string.h>

#include "app/handler.h"
#include "base/json.h"

enum { MAX_OUTPUT_BYTES = 1 << 24 };

static void must(int is_true) {
    if (!is_true) __builtin_trap();
}

static void check_metadata(const tt_app_request *request) {
    static const tt_engine_info info = {
        .model_name = "m", .precision = "f32", .vae_precision = "f32"};
    tt_picture picture = {.seed = request->engine.seed};
    tt_result result = {.pictures = &picture,
                        .n_pictures = 1,
                        .sampler = "s",
                        .schedule = "s",
                        .noise = request->engine.noise,
                        .prediction = "p",
                        .negative_policy = "n"};
    tt_app_facts facts = {&info, request, &result, 0};
    tt_buf text;
    json_object *tree = NULL, *prompt;
    tt_buf_init(&text, MAX_OUTPUT_BYTES);
    must(tt_metadata_of_job(&facts, &text, NULL) == TT_OK);
    must(tt_json_parse(text.data, text.size, &tree, NULL) == TT_OK);
    must(json_object_object_get_ex(tree, "prompt", &prompt));
    must(strcmp(json_object_get_string(prompt), request->engine.prompt) == 0);
    json_object_put(tree);
    tt_buf_release(&text);
}

/* Everything is there, but nothing that a job may not name gets here. */
static tt_status find(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    (void)context, (void)err;
    must(ask->is_trusted || !tt_app_is_path(ask->text));
    must(ask->is_trusted || (strstr(ask->text, "../") == NULL && ask->text[0] != '/'));
    memcpy(out->path, "m", 2);
    memcpy(out->name, "m", 2);
    return TT_OK;
}

static void check_loading(const tt_settings *settings, tt_app_request *request,
                          tt_problems *problems) {
    const tt_app_models models = {.find = find};
    const tt_app_loading how = {.models = &models};
    tt_err err;
    if (tt_app_request_load(settings, &how, request, problems, &err) != TT_OK) return;
    must(!request->engine.mask || request->engine.image);
    must(request->engine.width % 8 == 0 || !request->engine.image);
    check_metadata(request);
    tt_app_request_release(request);
}

static void check_faults(const tt_problems *problems) {
    tt_buf text;
    tt_buf_init(&text, MAX_OUTPUT_BYTES);
    must(problems->count > 0);
    must(tt_problems_write(problems, "; ", &text, NULL) == TT_OK);
    must(tt_utf8_is_valid(text.data, text.size, NULL));
    tt_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_object *job = NULL;
    tt_settings settings;
    tt_problems problems;
    tt_request model;
    tt_app_request request;
    tt_err err;
    if (tt_json_parse((const char *)data, size, &job, &err) != TT_OK) return 0;
    tt_problems_init(&problems);
    must(tt_settings_init(&settings, &err) == TT_OK);
    tt_settings_read_job(&settings, job, &problems);
    json_object_put(job);
    tt_request_defaults(NULL, &model);
    if (tt_app_request_read(&settings, &model, &request, &problems, &err) == TT_OK)
        check_loading(&settings, &request, &problems);
    else
        check_faults(&problems);
    tt_settings_release(&settings);
    return 0;
}
