/* Where the worker's models come from. The store is opened in the handlers' process: it has threads, and a fork would lose
 * them. What cannot be had at start: the model that jobs need by default is a reason to end, a LoRA is one to say so and go on,
 * since only the jobs that name it must fail. */
#include <string.h>

#include "app/model_check.h"
#include "app/show.h"
#include "app/worker_parts.h"
#include "base/file.h"
#include "base/json.h"

enum {
    KEY_CHECK_MS = 3000
}; /* a service that is slow to answer is asked again by the first download */

static tt_status open_store(void *context, tt_store **out, tt_err *err) {
    tt_app_worker *w = context;
    *out = atomic_load(&w->store);
    if (*out) return TT_OK;
    TT_TRY(tt_store_open(w->options.store, out, err));
    atomic_store(&w->store, *out);
    return TT_OK;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static void tell_fetched(const tt_log *log, const tt_store_model *model) {
    char phases[TT_PHASES * 32] = "";
    for (int i = 0; i < TT_PHASES; i++) {
        size_t used = strlen(phases);
        snprintf(phases + used, sizeof phases - used, " %s_ms=%.0f",
                 tt_store_phase_name((tt_store_phase)i), model->ms[i]);
    }
    tt_log_write(log, TT_LOG_INFO, NULL, "models | fetched %s name=%s kind=%s mb=%.1f%s",
                 model->entry.identity, model->entry.name, tt_model_kind_name(model->entry.kind),
                 (double)model->fetched_bytes / 1e6, phases);
}

static void on_asked(void *context, const char *reference, const tt_store_model *model,
                     const tt_fetch_error *error) {
    const tt_app_worker *w = context;
    (void)reference; /* it may be signed; sentences and entries have what may be shown */
    if (!model)
        tt_log_write(
            w->options.log, error->class_ == TT_FETCH_CANCELLED ? TT_LOG_INFO : TT_LOG_ERROR, NULL,
            "models | class=%s | %s", tt_fetch_class_name(error->class_), error->err.message);
    else if (!model->was_here)
        tell_fetched(w->options.log, model);
    else
        tt_log_write(w->options.log, TT_LOG_DEBUG, NULL, "models | found %s lookup_ms=%.1f",
                     model->entry.identity, model->ms[TT_PHASE_LOOKUP]);
}

void tt__worker_models_init(tt_app_worker *w) {
    const tt_app_worker_options *o = &w->options;
    atomic_init(&w->store, NULL);
    w->stock = (tt_app_stock){.folders = o->folders,
                              .store = o->store ? open_store : NULL,
                              .store_context = w,
                              .services = o->store ? &o->store->services : NULL,
                              .asked = on_asked,
                              .asked_context = w,
                              .hides_folders = true};
    w->models = tt_app_models_of_stock(&w->stock);
    w->shared.resident.base = o->engine;
    w->shared.resident.models = &w->models;
}

bool tt__worker_store_counts(tt_app_worker *w, tt_store_counts *out) {
    pthread_mutex_lock(&w->store_lock);
    tt_store *store = atomic_load(&w->store);
    if (store) *out = tt_store_get_counts(store);
    pthread_mutex_unlock(&w->store_lock);
    return store != NULL;
}

void tt__worker_models_close(tt_app_worker *w) {
    tt_app_resident_close(&w->shared.resident);
    pthread_mutex_lock(&w->store_lock);
    tt_store *store = atomic_exchange(&w->store, NULL);
    pthread_mutex_unlock(&w->store_lock);
    tt_store_close(store);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* The log gets what clients do not. */
static void hide_folders(const tt_app_worker *w, const tt_app_wish *wish, tt_err *err) {
    const tt_app_resident *r = &w->shared.resident;
    const tt_err whole = *err;
    const char *const paths[] = {wish->model,   wish->vae,   wish->refiner,
                                 r->model.path, r->vae.path, r->refiner.path};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i]) tt__model_hide_folder(paths[i], err);
    if (strcmp(whole.message, err->message) != 0)
        tt_log_write(w->options.log, TT_LOG_ERROR, NULL, "engine | %s", whole.message);
}

static void tell_opened(tt_app_worker *w, bool was_open) {
    const tt_engine_info *info = tt_engine_get_info(w->shared.resident.engine);
    tt_app_metrics_opened(&w->metrics, info, was_open);
    tt_log_write(w->options.log, TT_LOG_INFO, NULL,
                 "engine | model=%s precision=%s threads=%d parameters=%.0fM seconds=%.2f",
                 info->model_name, info->precision, info->n_threads,
                 (double)info->n_parameters / 1e6, info->load_ms / 1000);
}

tt_status tt__worker_open(tt_app_worker *w, const tt_settings *s, tt_app_fetching_fn fetching,
                          void *fetching_context, tt_err *err) {
    tt_app_resident *r = &w->shared.resident;
    tt_app_wish wish;
    bool was_open = r->engine != NULL;
    tt_app_wish_read(s, &w->options.engine, &wish);
    if (tt_app_resident_is(r, &wish)) return TT_OK;
    tt_status status = tt_app_resident_open(r, &wish, fetching, fetching_context, err);
    if (status == TT_OK) {
        w->shared.decode_ms_per_pixel = 0;
        tell_opened(w, was_open);
        return TT_OK;
    }
    hide_folders(w, &wish, err);
    return status;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* It will have to be asked for where keys count. */
static bool needs_key(const tt_app_worker *w, const char *source) {
    tt_reference r;
    if (!source || tt_reference_parse(source, &r, NULL) != TT_OK) return false;
    if (r.type != TT_REF_CIVITAI && r.type != TT_REF_HF) return false;
    return !tt_store_has(w->store, source, TT_MODEL_CHECKPOINT);
}

static bool preset_needs_key(const tt_app_worker *w, const tt_preset *p) {
    bool needs = false;
    for (size_t i = 0; i < tt_json_length(p->loras); i++) {
        json_object *lora = json_object_array_get_idx(p->loras, i);
        needs = needs || needs_key(w, tt_json_text(lora, "source", NULL));
    }
    for (int i = 0; i < p->n_embeddings; i++)
        needs = needs || needs_key(w, p->embeddings[i].source);
    return needs;
}

static void tell_key(const tt_log *log, const char *variable, tt_key_state state) {
    if (state == TT_KEY_ABSENT) return;
    tt_log_write(log, state == TT_KEY_REFUSED ? TT_LOG_WARN : TT_LOG_INFO, NULL,
                 "models | %s is %s", variable,
                 state == TT_KEY_REFUSED ? "not accepted" : tt_key_state_name(state));
}

static void check_keys(tt_app_worker *w, const tt_settings *s) {
    tt_app_wish wish;
    tt_store *store;
    tt_err err;
    if (!w->options.store || open_store(w, &store, &err) != TT_OK) return;
    tt_app_wish_read(s, &w->options.engine, &wish);
    bool needs = needs_key(w, wish.model) || needs_key(w, wish.vae) || needs_key(w, wish.refiner) ||
                 (s->preset && preset_needs_key(w, s->preset));
    if (needs) tt_store_check_keys(store, KEY_CHECK_MS);
    tt_store_counts counts = tt_store_get_counts(store);
    tell_key(w->options.log, "CIVITAI_API_KEY", needs ? counts.civitai_key : TT_KEY_ABSENT);
    tell_key(w->options.log, "HF_TOKEN", needs ? counts.hf_token : TT_KEY_ABSENT);
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

typedef struct listed_fetch {
    tt_app_worker *worker;
    const tt_app_models *models;
    tt_model_kind kind;
} listed_fetch;

/* Here from now on; a job that needs it takes its own lease. Failures were told. */
static bool fetch_listed(void *context, const char *name) {
    const listed_fetch *l = context;
    const tt_app_ask ask = {.kind = l->kind, .text = name};
    tt_app_found found;
    tt_err err;
    if (tt_app_models_find(l->models, &ask, &found, &err) == TT_OK)
        tt_app_models_release(l->models, &found);
    else
        tt_log_write(l->worker->options.log, TT_LOG_ERROR, NULL, "models | %s %s is missing | %s",
                     tt_model_kind_name(l->kind), name, err.message);
    return true;
}

static void fetch_all_listed(tt_app_worker *w, const tt_preset *preset) {
    static const tt_model_kind kinds[] = {TT_MODEL_LORA, TT_MODEL_EMBEDDING};
    tt_app_stock stock = w->stock;
    stock.preset = preset;
    stock.folders = NULL;
    const tt_app_models models = tt_app_models_of_stock(&stock);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        listed_fetch l = {w, &models, kinds[i]};
        tt_app_models_list(&models, kinds[i], fetch_listed, &l, NULL);
    }
}

/* Services are not asked: an answer counts there as a download. What no job could fetch is known without them. */
static void tell_missing(tt_app_worker *w, const char *source, tt_model_kind kind) {
    const tt_store_options *o = w->options.store;
    tt_store *store;
    if (!source || !source[0] || tt_file_exists(source)) return;
    if (!o || open_store(w, &store, NULL) != TT_OK) return;
    if (tt_store_has(store, source, kind)) return;
    tt_reference r;
    char shown[TT_SHOWN_BYTES];
    bool is_known = tt_reference_parse(source, &r, NULL) == TT_OK;
    const char *reason = tt_library_read_only_reason(tt_store_library(store));
    bool is_local = is_known && (r.type == TT_REF_PATH || r.type == TT_REF_NAME);
    const char *text = is_known ? r.identity : source;
    tt_show_text(shown, text, strlen(text));
    if (is_local || o->is_offline || reason)
        tt_log_write(w->options.log, TT_LOG_WARN, NULL,
                     "models | %s is not here and cannot be fetched: %s", shown,
                     is_local        ? "it is a file of this machine"
                     : o->is_offline ? "TINTYPE_OFFLINE is set"
                                     : reason);
    else
        tt_log_write(w->options.log, TT_LOG_INFO, NULL,
                     "models | %s is not here; the first job that needs it will find out whether "
                     "it can be fetched",
                     shown);
}

static void tell_first_use(tt_app_worker *w, const tt_settings *s) {
    tt_app_wish wish;
    tt_log_write(w->options.log, TT_LOG_INFO, NULL,
                 "models | fetched and opened when the first job asks for them");
    tt_app_wish_read(s, &w->options.engine, &wish);
    tell_missing(w, wish.model, TT_MODEL_CHECKPOINT);
    tell_missing(w, wish.vae, TT_MODEL_VAE);
    tell_missing(w, wish.refiner, TT_MODEL_CHECKPOINT);
}

static tt_status start_with(tt_app_worker *w, const tt_presets *p, tt_settings *s, tt_err *err) {
    tt_problems problems;
    tt_problems_init(&problems);
    bool has_choice = p && (tt_presets_default(p) || s->of[TT_OPT_PRESET].value);
    if (p && !has_choice) {
        tt_log_write(
            w->options.log, TT_LOG_INFO, NULL,
            "models | no preset is the default: each job's is opened when it is asked for");
        return TT_OK;
    }
    if (p) TT_TRY(tt_settings_choose_preset(s, p, &problems, err));
    check_keys(w, s);
    if (p && tt_presets_fetch(p) == TT_FETCH_AT_FIRST_USE) {
        tell_first_use(w, s);
        return TT_OK;
    }
    if (p) fetch_all_listed(w, s->preset);
    return tt__worker_open(w, s, NULL, NULL, err);
}

tt_status tt__worker_models_start(tt_app_worker *w, tt_err *err) {
    tt_presets *p = w->options.presets ? tt_presets_watch_get(w->options.presets) : NULL;
    tt_settings s;
    tt_err unwanted;
    if (!err) err = &unwanted; /* it is logged, too */
    tt_settings_copy(&s, w->options.settings);
    pthread_mutex_lock(&w->engine_lock);
    tt_status status = start_with(w, p, &s, err);
    pthread_mutex_unlock(&w->engine_lock);
    tt_settings_release(&s);
    tt_presets_release(p);
    return status;
}
