/* One job, from its text to its answer. The order is that of cheapness: what is wrong with its words is told before another
 * model is fetched and opened for it. */
#include <string.h>

#include "app/handler.h"
#include "app/progress.h"
#include "app/worker_parts.h"
#include "base/clock.h"
#include "base/json.h"

enum { MAX_SENTENCES_BYTES = 64 * 1024 };

typedef struct work {
    tt_app_worker *worker;
    const tt_job *job;
    tt_reply *reply;
    tt_presets *presets;  /* a share of them; NULL: none */
    tt_settings settings; /* owned */
    tt_app_stock stock;
    tt_app_models models; /* of stock */
    tt_app_request request;
    tt_problems problems;
    tt_app_fetching fetching;
    tt_app_made made; /* owned */
} work;

static tt_engine *engine_of(const work *w) {
    return w->worker->shared.resident.engine;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static tt_status read_words(work *w, tt_err *err) {
    json_object *tree = NULL;
    size_t size;
    const char *text = tt_job_text(w->job, &size);
    TT_TRY(tt_json_parse(text, size, &tree, err));
    tt_settings_read_job(&w->settings, tree, &w->problems);
    json_object_put(tree);
    if (!w->presets) return TT_OK;
    TT_TRY(tt_settings_choose_preset(&w->settings, w->presets, &w->problems, err));
    w->stock.preset = w->settings.preset;
    return TT_OK;
}

/* With the numbers of any model: everything else that can be wrong is so with all of them. */
static tt_status check_words(work *w, tt_err *err) {
    tt_request generic;
    tt_request_defaults(NULL, &generic);
    TT_TRY(tt_app_request_read(&w->settings, &generic, &w->request, &w->problems, err));
    tt_app_request_release(&w->request);
    return TT_OK;
}

static bool on_fetching(void *context, const tt_store_progress *progress) {
    return tt_app_progress_fetching(context, progress);
}

static tt_status open_model(work *w, tt_err *err) {
    tt_app_wish wish;
    tt_app_wish_read(&w->settings, &w->worker->options.engine, &wish);
    if (tt_app_resident_is(&w->worker->shared.resident, &wish)) return TT_OK;
    if (!w->presets && !engine_of(w)) return tt_fail(err, TT_E_INTERNAL, "no model is open");
    TT_TRY(check_words(w, err));
    return tt__worker_open(w->worker, &w->settings, on_fetching, &w->fetching, err);
}

static tt_status read_request(work *w, tt_err *err) {
    tt_request model;
    tt_request_defaults(engine_of(w), &model);
    TT_TRY(tt_app_request_read(&w->settings, &model, &w->request, &w->problems, err));
    w->request.resident = &w->worker->shared.resident;
    const tt_app_loading how = {.models = &w->models, .info = tt_engine_get_info(engine_of(w))};
    return tt_app_request_load(&w->settings, &how, &w->request, &w->problems, err);
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

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
    tt_request *r = &w->request.engine;
    tt_app_progress progress;
    tt_app_progress_init(&progress, w->job, w->reply, r);
    progress.decode_ms = w->worker->shared.decode_ms_per_pixel * pixels_of(r);
    r->progress = tt_app_progress_step;
    r->progress_context = &progress;
    r->want_preview = tt_job_is_local(w->job);
    tt_app_progress_text(&progress);
    tt_status status = tt_app_draw(engine_of(w), &w->request, &w->made, err);
    if (status == TT_OK) {
        tt_app_progress_encode(&progress);
        status = tt_app_encode(engine_of(w), &w->request, &w->made, err);
    }
    if (status == TT_OK) remember(w);
    r->progress = NULL;
    r->progress_context = NULL;
    tt_app_progress_release(&progress);
    return status;
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

static tt_status append_to_reply(void *context, const void *bytes, size_t size, tt_err *err) {
    (void)err; /* a reply remembers its own failures */
    tt_reply_append(context, bytes, size);
    return TT_OK;
}

static tt_status answer(work *w, tt_err *err) {
    const tt_app_sink sink = {w->reply, append_to_reply};
    TT_TRY(read_words(w, err));
    TT_TRY(open_model(w, err));
    TT_TRY(read_request(w, err));
    TT_TRY(draw(w, err));
    return tt_app_write_output(engine_of(w), &w->request, &w->made, &sink, err);
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

static void begin(work *w) {
    tt_app_worker *worker = w->worker;
    tt_problems_init(&w->problems);
    tt_settings_copy(&w->settings, worker->options.settings);
    w->presets = worker->options.presets ? tt_presets_watch_get(worker->options.presets) : NULL;
    w->fetching = (tt_app_fetching){.job = w->job, .reply = w->reply};
    w->stock = worker->stock;
    w->stock.presets = w->presets;
    w->stock.fetching = on_fetching;
    w->stock.fetching_context = &w->fetching;
    w->models = tt_app_models_of_stock(&w->stock);
}

/* Still under the lock: what the request holds is the store's. */
static void release(work *w) {
    tt_app_made_release(&w->made);
    tt_app_request_release(&w->request);
    tt_settings_release(&w->settings);
    tt_presets_release(w->presets);
}

void tt__worker_handle(const tt_job *job, tt_reply *reply, void *context) {
    tt_app_worker *worker = context;
    work w = {.worker = worker, .job = job, .reply = reply};
    tt_err err = {.code = TT_OK};
    int64_t started_us = tt_clock_us();
    begin(&w);
    pthread_mutex_lock(&worker->engine_lock);
    tt_status status = answer(&w, &err);
    if (status != TT_OK) {
        tt_app_request_hide_folders(&w.request, &err);
        answer_failure(&w, &err);
    }
    tt_app_metrics_count(&worker->metrics, outcome_of(status, &w.problems));
    tell(&w, status, &err, started_us);
    release(&w);
    pthread_mutex_unlock(&worker->engine_lock);
}
