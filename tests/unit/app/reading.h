/* A job's way from text to a request, for the tests of it. Include cmocka.h and fake_engine.h before. */
#ifndef TESTS_UNIT_APP_READING_H
#define TESTS_UNIT_APP_READING_H

#include <string.h>

#include "app/request.h"
#include "base/json.h"

/* Everything one reading needs, and what came out. */
typedef struct reading {
    tt_settings settings;
    tt_problems problems;
    tt_app_request request;
    tt_status status;
    bool is_read; /* the request is to be released */
    tt_err err;
} reading;

static inline void begin(reading *r) {
    r->is_read = false;
    tt_problems_init(&r->problems);
    assert_int_equal(tt_settings_init(&r->settings, &r->err), TT_OK);
}

static inline void finish(reading *r) {
    tt_engine engine = {.info = FAKE_INFO};
    tt_request model;
    tt_request_defaults(&engine, &model);
    r->status = tt_app_request_read(&r->settings, &model, &r->request, &r->problems, &r->err);
    r->is_read = r->status == TT_OK;
}

/* The same with all it names opened. */
static inline void finish_all(reading *r, const tt_app_models *models, const tt_engine_info *info) {
    const tt_app_loading how = {.models = models, .info = info};
    finish(r);
    if (!r->is_read) return;
    r->status = tt_app_request_load(&r->settings, &how, &r->request, &r->problems, &r->err);
    r->is_read = r->status == TT_OK;
}

static inline void add_job(reading *r, const char *job) {
    json_object *tree;
    tt_status status = tt_json_parse(job, strlen(job), &tree, &r->err);
    if (status != TT_OK) fail_msg("%s: %s", job, r->err.message);
    tt_settings_read_job(&r->settings, tree, &r->problems);
    json_object_put(tree);
}

static inline void add_text(reading *r, tt_option_id id, tt_origin origin, const char *name,
                            const char *text) {
    assert_int_equal(tt_settings_set_text(&r->settings, id, origin, name, text, &r->err), TT_OK);
}

static inline void read_job(reading *r, const char *job) {
    begin(r);
    add_job(r, job);
    finish(r);
}

static inline void end(reading *r) {
    if (r->is_read) tt_app_request_release(&r->request);
    r->is_read = false;
    tt_settings_release(&r->settings);
}

#endif
