/* See worker.h. The engine has one user at a time: handlers take its lock, so that a configuration with more of them waits
 * instead of breaking. */
#include "app/worker.h"

#include <pthread.h>
#include <string.h>

#include "app/handler.h"
#include "app/help.h"
#include "app/metrics.h"
#include "app/model_check.h"
#include "app/progress.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

enum { N_CHECKS = 2, MAX_SCHEMA_BYTES = 1024 * 1024, MAX_SENTENCES_BYTES = 64 * 1024 };

struct tt_app_worker {
    tt_app_worker_options options;
    tt_worker_config config;
    tt_fitness_check checks[N_CHECKS];
    tt_buf schema;          /* owned */
    tt_app_metrics metrics; /* has its own lock */
    pthread_mutex_t engine_lock;
    struct {                        /* under engine_lock */
        tt_engine *engine;          /* owned; NULL before start and after stop */
        double decode_ms_per_pixel; /* of the last job: what the next may expect; 0: none yet */
    } shared;
};

/* ---- one job ----------------------------------------------------------------------------------------------------- */

typedef struct work {
    tt_app_worker *worker;
    const tt_job *job;
    tt_reply *reply;
    tt_settings settings; /* owned */
    tt_app_request request;
    tt_problems problems;
    tt_app_made made; /* owned */
} work;

static tt_status read_request(work *w, tt_err *err) {
    json_object *tree = NULL;
    tt_request model;
    size_t size;
    const char *text = tt_job_text(w->job, &size);
    TT_TRY(tt_json_parse(text, size, &tree, err));
    tt_settings_read_job(&w->settings, tree, &w->problems);
    json_object_put(tree);
    tt_request_defaults(w->worker->shared.engine, &model);
    TT_TRY(tt_app_request_read(&w->settings, &model, &w->request, &w->problems, err));
    const tt_app_loading how = {.models = w->worker->options.models,
                                .info = tt_engine_get_info(w->worker->shared.engine)};
    return tt_app_request_load(&w->settings, &how, &w->request, &w->problems, err);
}

static double pixels_of(const tt_request *r) {
    return (double)r->width * r->height;
}

static void remember(work *w) {
    const tt_request *r = &w->request.engine;
    const tt_result *result = &w->made.result;
    tt_app_metrics_drawn(&w->worker->metrics, result, r->steps, w->made.encode_ms);
    w->worker->shared.decode_ms_per_pixel =
        result->timings.vae_ms / result->n_pictures / pixels_of(r);
}

static tt_status draw(work *w, tt_err *err) {
    tt_engine *engine = w->worker->shared.engine;
    tt_request *r = &w->request.engine;
    tt_app_progress progress;
    tt_app_progress_init(&progress, w->job, w->reply, r);
    progress.decode_ms = w->worker->shared.decode_ms_per_pixel * pixels_of(r);
    r->progress = tt_app_progress_step;
    r->progress_context = &progress;
    r->want_preview = tt_job_is_local(w->job);
    tt_app_progress_text(&progress);
    tt_status status = tt_app_draw(engine, &w->request, &w->made, err);
    if (status == TT_OK) {
        tt_app_progress_encode(&progress);
        status = tt_app_encode(engine, &w->request, &w->made, err);
    }
    if (status == TT_OK) remember(w);
    r->progress = NULL;
    r->progress_context = NULL;
    tt_app_progress_release(&progress);
    return status;
}

static tt_status append_to_reply(void *context, const void *bytes, size_t size, tt_err *err) {
    (void)err; /* a reply remembers its own failures */
    tt_reply_append(context, bytes, size);
    return TT_OK;
}

static tt_status answer(work *w, tt_err *err) {
    const tt_app_sink sink = {w->reply, append_to_reply};
    if (!w->worker->shared.engine) return tt_fail(err, TT_E_INTERNAL, "no model is open");
    TT_TRY(read_request(w, err));
    TT_TRY(draw(w, err));
    return tt_app_write_output(w->worker->shared.engine, &w->request, &w->made, &sink, err);
}

/* Every fault when the request had some, else the one sentence of `err`. */
static void answer_failure(work *w, const tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, MAX_SENTENCES_BYTES);
    bool has_all = tt_problems_write(&w->problems, "; ", &text, NULL) == TT_OK && text.size > 0;
    tt_reply_error(w->reply, "%s", has_all ? text.data : err->message);
    tt_buf_release(&text);
}

static tt_app_outcome outcome_of(tt_status status, const tt_problems *problems) {
    if (status == TT_OK) return TT_OUTCOME_DONE;
    if (status == TT_E_CANCELLED) return TT_OUTCOME_CANCELLED;
    bool is_invalid = status == TT_E_INVALID || problems->count > 0;
    return is_invalid ? TT_OUTCOME_INVALID : TT_OUTCOME_FAILED;
}

static void tell(const work *w, tt_status status, const tt_err *err, int64_t started_us) {
    const tt_log *log = w->worker->options.log;
    const char *id = tt_job_id(w->job);
    double seconds = (double)(tt_clock_us() - started_us) / 1e6;
    const tt_request *r = &w->request.engine;
    if (status == TT_OK)
        tt_log_write(log, TT_LOG_INFO, id,
                     "engine | pictures=%d size=%dx%d steps=%d sampler=%s seconds=%.2f", r->count,
                     r->width, r->height, r->steps, w->made.result.sampler, seconds);
    else if (outcome_of(status, &w->problems) == TT_OUTCOME_FAILED)
        tt_log_write(log, TT_LOG_ERROR, id, "engine | %s", err->message);
}

static void handle(const tt_job *job, tt_reply *reply, void *context) {
    tt_app_worker *worker = context;
    work w = {.worker = worker, .job = job, .reply = reply};
    tt_err err = {.code = TT_OK};
    int64_t started_us = tt_clock_us();
    tt_problems_init(&w.problems);
    tt_settings_copy(&w.settings, worker->options.settings);
    pthread_mutex_lock(&worker->engine_lock);
    tt_status status = answer(&w, &err);
    pthread_mutex_unlock(&worker->engine_lock);
    if (status != TT_OK) {
        tt_app_request_hide_folders(&w.request, &err);
        answer_failure(&w, &err);
    }
    tt_app_metrics_count(&worker->metrics, outcome_of(status, &w.problems));
    tell(&w, status, &err, started_us);
    tt_app_made_release(&w.made);
    tt_app_request_release(&w.request);
    tt_settings_release(&w.settings);
}

/* ---- the worker's life ------------------------------------------------------------------------------------------- */

static tt_status start(void *context, tt_err *err) {
    tt_app_worker *w = context;
    tt_status status = tt_engine_open(&w->options.engine, &w->shared.engine, err);
    if (status != TT_OK) {
        w->shared.engine = NULL;
        tt_log_write(w->options.log, TT_LOG_ERROR, NULL, "engine | %s", err->message);
        tt__model_hide_folder(w->options.engine.model_path, err);
        return status;
    }
    const tt_engine_info *info = tt_engine_get_info(w->shared.engine);
    tt_app_metrics_opened(&w->metrics, info);
    tt_log_write(w->options.log, TT_LOG_INFO, NULL,
                 "engine | model=%s precision=%s threads=%d parameters=%.0fM seconds=%.2f",
                 info->model_name, info->precision, info->n_threads,
                 (double)info->n_parameters / 1e6, info->load_ms / 1000);
    return TT_OK;
}

static void stop(void *context) {
    tt_app_worker *w = context;
    pthread_mutex_lock(&w->engine_lock);
    tt_engine_close(w->shared.engine);
    w->shared.engine = NULL;
    pthread_mutex_unlock(&w->engine_lock);
}

static tt_status check_model(void *context, tt_err *err) {
    tt_app_worker *w = context;
    const char *path = w->options.engine.model_path;
    tt_status status = tt__model_check_files(path, err);
    if (status == TT_OK) return TT_OK;
    tt_log_write(w->options.log, TT_LOG_ERROR, NULL, "engine | %s", err->message);
    tt__model_hide_folder(path, err);
    return status;
}

static tt_status check_render(void *context, tt_err *err) {
    tt_app_worker *w = context;
    int64_t started_us = tt_clock_us();
    pthread_mutex_lock(&w->engine_lock);
    tt_status status = tt__model_check_render(w->shared.engine, err);
    pthread_mutex_unlock(&w->engine_lock);
    if (status == TT_OK)
        tt_log_write(w->options.log, TT_LOG_INFO, NULL, "engine | a test picture took %.2f s",
                     (double)(tt_clock_us() - started_us) / 1e6);
    return status;
}

static size_t write_metrics(void *context, char *text, size_t size) {
    tt_app_worker *w = context;
    return tt_app_metrics_write(&w->metrics, text, size);
}

static void fill_config(tt_app_worker *w) {
    w->checks[0] = (tt_fitness_check){"model", check_model};
    w->checks[1] = (tt_fitness_check){"render", check_render};
    w->config = (tt_worker_config){.handler = handle,
                                   .context = w,
                                   .concurrency = 1,
                                   .start = start,
                                   .stop = stop,
                                   .checks = w->checks,
                                   .n_checks = N_CHECKS,
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
    tt_app_metrics_init(&w->metrics);
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
    tt_engine_close(w->shared.engine);
    tt_buf_release(&w->schema);
    tt_app_metrics_release(&w->metrics);
    pthread_mutex_destroy(&w->engine_lock);
    tt_free(w);
}

const tt_worker_config *tt_app_worker_config(const tt_app_worker *w) {
    return &w->config;
}
