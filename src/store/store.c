/* See store.h; store_parts.h says what is where. */
#include "store/store.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store_parts.h"

static const char *const PHASES[TT_PHASES] = {
    [TT_PHASE_LOOKUP] = "lookup",     [TT_PHASE_WAIT] = "wait",     [TT_PHASE_RESOLVE] = "resolve",
    [TT_PHASE_DOWNLOAD] = "download", [TT_PHASE_VERIFY] = "verify", [TT_PHASE_COMMIT] = "commit",
};

const char *tt_store_phase_name(tt_store_phase p) {
    return PHASES[p];
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool is_set(const char *text) {
    return text && *text;
}

static void init_shared(tt_store *s) {
    pthread_mutex_init(&s->shared.mutex, NULL);
    tt_clock_condition_init(&s->shared.changed);
    const tt_source_services *services = &s->options.services;
    s->shared.counts.civitai_key = is_set(services->civitai_key) ? TT_KEY_UNKNOWN : TT_KEY_ABSENT;
    s->shared.counts.hf_token = is_set(services->hf_token) ? TT_KEY_UNKNOWN : TT_KEY_ABSENT;
}

static tt_status check_options(const tt_store_options *o, tt_err *err) {
    if (o->n_hf_caches <= TT_STORE_MAX_HF_CACHES) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "%d Hugging Face caches, expected at most %d", o->n_hf_caches,
                   TT_STORE_MAX_HF_CACHES);
}

tt_status tt_store_open(const tt_store_options *options, tt_store **out, tt_err *err) {
    *out = NULL;
    TT_TRY(check_options(options, err));
    tt_store *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "store", sizeof *s);
    s->options = *options;
    if (s->options.reserve_bytes == 0) s->options.reserve_bytes = TT_STORE_RESERVE_BYTES;
    s->options.library.reserve_bytes = s->options.reserve_bytes;
    tt_status status = tt_library_open(&s->options.library, &s->library, err);
    if (status != TT_OK) {
        tt_free(s);
        return status;
    }
    init_shared(s);
    tt__beats_init(&s->beats, s->library);
    const char *reason = tt_library_read_only_reason(s->library);
    if (reason && options->library.root)
        tt_log_write(options->log, TT_LOG_WARN, NULL, "Models cannot be kept: %s", reason);
    *out = s;
    return TT_OK;
}

void tt_store_close(tt_store *s) {
    if (!s) return;
    tt__flights_reap(s, true);
    tt__beats_release(&s->beats);
    tt_library_close(s->library);
    pthread_cond_destroy(&s->shared.changed);
    pthread_mutex_destroy(&s->shared.mutex);
    tt_free(s);
}

tt_library *tt_store_library(tt_store *s) {
    return s->library;
}

/* Without a lease (a disk that is full, no thread) a model is served all the same: it is evicted only if all others are in
 * use, and who has opened it reads on. */
tt_library_lease *tt__lease(tt_store *s, const char *digest) {
    tt_library_lease *lease;
    tt_err err;
    if (tt__beats_lease(&s->beats, digest, &lease, &err) == TT_OK) return lease;
    tt_log_write(s->options.log, TT_LOG_WARN, NULL, "A model is used without a lease: %s",
                 err.message);
    return NULL;
}

void tt_store_release(tt_store *s, tt_store_model *model) {
    tt__beats_unlease(&s->beats, model->lease);
    model->lease = NULL;
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

tt_store_counts tt_store_get_counts(tt_store *s) {
    pthread_mutex_lock(&s->shared.mutex);
    tt_store_counts counts = s->shared.counts;
    pthread_mutex_unlock(&s->shared.mutex);
    return counts;
}

/* One that could not be asked keeps what was known. */
void tt_store_check_keys(tt_store *s, int64_t deadline_ms) {
    tt_fetch_error error;
    if (s->options.is_offline) return;
    tt_key_state civitai = tt_source_check_civitai_key(&s->options.services, deadline_ms, &error);
    tt_key_state hf = tt_source_check_hf_token(&s->options.services, deadline_ms, &error);
    pthread_mutex_lock(&s->shared.mutex);
    if (civitai != TT_KEY_UNKNOWN) s->shared.counts.civitai_key = civitai;
    if (hf != TT_KEY_UNKNOWN) s->shared.counts.hf_token = hf;
    pthread_mutex_unlock(&s->shared.mutex);
}
