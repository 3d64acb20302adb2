/* See worker.h; worker_parts.h says what is where. The engine has one user at a time: handlers take its lock, so that a
 * configuration with more of them waits instead of breaking. */
#include "app/worker.h"

#include <string.h>

#include "app/help.h"
#include "app/model_check.h"
#include "app/worker_parts.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

enum { MAX_SCHEMA_BYTES = 1024 * 1024 };

static tt_status start(void *context, tt_err *err) {
    return tt__worker_models_start(context, err);
}

static void stop(void *context) {
    tt_app_worker *w = context;
    pthread_mutex_lock(&w->engine_lock);
    tt__worker_models_close(w);
    pthread_mutex_unlock(&w->engine_lock);
}

static void reload(void *context) {
    tt_app_worker *w = context;
    if (w->options.presets) tt_presets_watch_poke(w->options.presets);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* What is open; else what the program was started with, where that is a file. References were asked for by `start`. */
static const char *path_to_check(const tt_app_worker *w) {
    const tt_app_resident *r = &w->shared.resident;
    const char *path = w->options.engine.model_path;
    if (r->engine) return r->model.path;
    return path && tt_app_is_path(path) ? path : NULL;
}

static tt_status check_model(void *context, tt_err *err) {
    tt_app_worker *w = context;
    const char *path = path_to_check(w);
    tt_status status = path ? tt__model_check_files(path, err) : TT_OK;
    if (status == TT_OK) return TT_OK;
    tt_log_write(w->options.log, TT_LOG_ERROR, NULL, "engine | %s", err->message);
    tt__model_hide_folder(path, err);
    return status;
}

/* Nothing to look at where the first job opens the model. */
static tt_status check_render(void *context, tt_err *err) {
    tt_app_worker *w = context;
    int64_t started_us = tt_clock_us();
    if (w->options.presets && !w->shared.resident.engine) return TT_OK;
    pthread_mutex_lock(&w->engine_lock);
    tt_status status = tt__model_check_render(w->shared.resident.engine, err);
    pthread_mutex_unlock(&w->engine_lock);
    if (status == TT_OK)
        tt_log_write(w->options.log, TT_LOG_INFO, NULL, "engine | a test picture took %.2f s",
                     (double)(tt_clock_us() - started_us) / 1e6);
    return status;
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

static size_t write_metrics(void *context, char *text, size_t size) {
    tt_app_worker *w = context;
    tt_store_counts counts;
    bool has_store = tt__worker_store_counts(w, &counts);
    return tt_app_metrics_write(&w->metrics, has_store ? &counts : NULL, text, size);
}

static void fill_config(tt_app_worker *w) {
    w->checks[0] = (tt_fitness_check){"model", check_model};
    w->checks[1] = (tt_fitness_check){"render", check_render};
    w->config = (tt_worker_config){.handler = tt__worker_handle,
                                   .context = w,
                                   .concurrency = 1,
                                   .start = start,
                                   .stop = stop,
                                   .reload = w->options.presets ? reload : NULL,
                                   .checks = w->checks,
                                   .n_checks = TT__N_CHECKS,
                                   .name = "Tintype",
                                   .version = tt_version(),
                                   .input_schema = w->schema.data,
                                   .metrics = write_metrics,
                                   .handles_flags = true};
}

tt_status tt_app_worker_new(const tt_app_worker_options *options, tt_app_worker **out,
                            tt_err *err) {
    *out = NULL;
    tt_app_worker *w = tt_alloc(sizeof *w);
    if (!w) return tt_fail_nomem(err, "the worker", sizeof *w);
    w->options = *options;
    pthread_mutex_init(&w->engine_lock, NULL);
    pthread_mutex_init(&w->store_lock, NULL);
    tt_app_metrics_init(&w->metrics);
    tt__worker_models_init(w);
    tt_buf_init(&w->schema, MAX_SCHEMA_BYTES);
    tt_status status = tt_help_schema(&w->schema, err);
    if (status != TT_OK) {
        tt_app_worker_free(w);
        return status;
    }
    fill_config(w);
    *out = w;
    return TT_OK;
}

void tt_app_worker_free(tt_app_worker *w) {
    if (!w) return;
    tt__worker_models_close(w);
    tt_buf_release(&w->schema);
    tt_app_metrics_release(&w->metrics);
    pthread_mutex_destroy(&w->engine_lock);
    pthread_mutex_destroy(&w->store_lock);
    tt_free(w);
}

const tt_worker_config *tt_app_worker_config(const tt_app_worker *w) {
    return &w->config;
}
