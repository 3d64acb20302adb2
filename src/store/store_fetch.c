/* A caller: what he asks for is looked for here first, and only then anybody is asked. */
#include <string.h>

#include "base/clock.h"
#include "store/store_parts.h"

static bool tell_lookup(const tt_store_fetch_options *options) {
    tt_store_progress p = {.phase = TT_PHASE_LOOKUP, .name = "", .download = {.eta_ms = -1}};
    return !options->progress || options->progress(options->progress_context, &p);
}

/* ---- the alias --------------------------------------------------------------------------------------------------- */

static tt_status check_alias(const char *alias, tt_fetch_error *error) {
    tt_reference r;
    if (!alias) return TT_OK;
    if (tt_reference_parse(alias, &r, NULL) == TT_OK && r.type == TT_REF_NAME &&
        strlen(alias) < TT_MODEL_NAME_BYTES && strcmp(alias, r.path) == 0)
        return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_REFERENCE,
                         "name \"%.100s\": expected a word that is no reference, number or file",
                         alias);
}

/* Models that are not in the library (a path, a cache) have no record to keep a name in. */
static tt_status give_alias(tt_store *s, const char *alias, tt_store_model *out,
                            tt_fetch_error *error) {
    tt_err err;
    if (!alias || strcmp(out->entry.alias, alias) == 0) return TT_OK;
    tt_library_entry entry = out->entry;
    snprintf(entry.alias, sizeof entry.alias, "%s", alias);
    tt_status status = tt_library_name(s->library, &entry, &err);
    if (status != TT_OK)
        return tt_fetch_fail(error, status == TT_E_IO ? TT_FETCH_DISK : TT_FETCH_REFERENCE,
                             "the name %s cannot be kept: %s", alias, err.message);
    out->entry = entry;
    return TT_OK;
}

/* ---- fetching ---------------------------------------------------------------------------------------------------- */

static tt_status check_may_fetch(tt_store *s, const tt_reference *r,
                                 const tt_store_fetch_options *options, tt_fetch_error *error) {
    const char *reason = tt_library_read_only_reason(s->library);
    if (options->only_local || s->options.is_offline)
        return tt_fetch_fail(error, TT_FETCH_OFFLINE,
                             "%.300s: not here, and nothing may be fetched", r->identity);
    if (!options->asks_again &&
        tt_library_is_denied(s->library, r->identity, tt__credential(s, r), error))
        return error->err.code;
    if (reason)
        return tt_fetch_fail(error, TT_FETCH_DISK, "%.200s: not here, and cannot be kept: %s",
                             r->identity, reason);
    return TT_OK;
}

static tt_status look_or_fly(tt_store *s, const tt_reference *r,
                             const tt_store_fetch_options *options, tt_store_model *out,
                             tt_fetch_error *error) {
    int64_t begun_us = tt_clock_us();
    tt_status status = tt__look(s, r, options->kind, &out->entry, &out->lease, error);
    out->ms[TT_PHASE_LOOKUP] = (double)(tt_clock_us() - begun_us) / 1000;
    out->was_here = status == TT_OK;
    if (status == TT_OK || error->class_ != TT_FETCH_OK) return status;
    TT_TRY(check_may_fetch(s, r, options, error));
    int64_t deadline =
        options->deadline_ms > 0 ? options->deadline_ms : tt__default_deadline_ms(options->kind);
    return tt__flight_take(s, r, options, deadline, out, error);
}

static void count(tt_store *s, tt_status status, const tt_store_model *out,
                  const tt_fetch_error *error) {
    pthread_mutex_lock(&s->shared.mutex);
    if (status != TT_OK)
        s->shared.counts.failed[error->class_]++;
    else if (out->was_here)
        s->shared.counts.found++;
    pthread_mutex_unlock(&s->shared.mutex);
}

static tt_status fetch(tt_store *s, const char *reference, const tt_store_fetch_options *options,
                       tt_store_model *out, tt_fetch_error *error) {
    tt_reference r;
    tt_err err;
    if (tt_reference_parse(reference, &r, &err) != TT_OK)
        return tt_fetch_fail(error, TT_FETCH_REFERENCE, "%s", err.message);
    TT_TRY(check_alias(options->alias, error));
    if (!tell_lookup(options))
        return tt_fetch_fail(error, TT_FETCH_CANCELLED, "%.300s: cancelled", r.identity);
    TT_TRY(look_or_fly(s, &r, options, out, error));
    return give_alias(s, options->alias, out, error);
}

tt_status tt_store_fetch(tt_store *s, const char *reference, const tt_store_fetch_options *options,
                         tt_store_model *out, tt_fetch_error *error) {
    tt_fetch_error unwanted;
    if (!error) error = &unwanted;
    *error = (tt_fetch_error){.retry_after_ms = -1};
    memset(out, 0, sizeof *out);
    tt_status status = fetch(s, reference, options, out, error);
    count(s, status, out, error);
    if (status != TT_OK) {
        tt_store_release(s, out);
        memset(out, 0, sizeof *out);
    }
    return status;
}

bool tt_store_has(tt_store *s, const char *reference, tt_model_kind kind) {
    tt_reference r;
    tt_library_entry entry;
    tt_library_lease *lease = NULL;
    tt_fetch_error error;
    if (tt_reference_parse(reference, &r, NULL) != TT_OK) return false;
    bool is_here = tt__look(s, &r, kind, &entry, &lease, &error) == TT_OK;
    tt__beats_unlease(&s->beats, lease);
    return is_here;
}

bool tt_store_is_spoilt(tt_store *s, const char *digest) {
    tt_reference r = {.type = TT_REF_DIGEST};
    tt_library_verified found;
    if (!tt_digest_parse(digest, strlen(digest), r.digest)) return false;
    snprintf(r.identity, sizeof r.identity, "sha256:%s", r.digest);
    if (tt_library_verify(s->library, &r, NULL, NULL, &found, NULL) != TT_OK || !found.n_bad)
        return false;
    tt_log_write(s->options.log, TT_LOG_WARN, NULL,
                 "The bytes of a model had changed on disk and were taken away. sha256=%s",
                 r.digest);
    return true;
}
