/* What a flight does: lock, look again, ask the service, find out whether the bytes are here under another name, make room,
 * fetch. Each arrow of failure has its end here; what is worth remembering is denied for a while (models.md 3.6). */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "net/backoff.h"
#include "store/store_parts.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    CHECKPOINT_MS = 15 * MINUTE_MS,
    OTHER_MS = 2 * MINUTE_MS,
    RESOLVE_MS = 90 * SECOND_MS, /* a service that answers at the third try, a minute later */
    POLL_MIN_MS = 250,
    POLL_MAX_MS = 2000,
    NAP_MS = 50,
};

int64_t tt__default_deadline_ms(tt_model_kind kind) {
    return kind == TT_MODEL_CHECKPOINT ? CHECKPOINT_MS : OTHER_MS;
}

const char *tt__credential(const tt_store *s, const tt_reference *r) {
    const tt_source_services *services = &s->options.services;
    const char *key = r->type == TT_REF_CIVITAI ? services->civitai_key
                      : r->type == TT_REF_HF    ? services->hf_token
                      : r->type == TT_REF_S3    ? services->s3.access_key_id
                                                : NULL;
    return key ? key : "";
}

/* ---- the lock ---------------------------------------------------------------------------------------------------- */

/* In small pieces, so that nobody who leaves is waited for. */
static bool nap(tt__flight *f, int64_t ms) {
    int64_t end = tt_clock_ms() + ms;
    while (tt_clock_ms() < end) {
        struct timespec piece = {.tv_nsec = NAP_MS * 1000000L};
        if (tt__flight_is_unwanted(f)) return false;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &piece, NULL);
    }
    return true;
}

/* TT_OK: it is here, with its lease. */
static tt_status look_again(tt__flight *f) {
    tt_fetch_error error;
    tt_status status = tt__look(f->s, &f->reference, f->kind, &f->entry, &f->lease, &error);
    f->was_here = status == TT_OK;
    return status;
}

/* Until the lock is ours, or it is here (then TT_OK and was_here), or we have waited long enough. */
static tt_status wait_for_lock(tt__flight *f, tt__locked *locked) {
    tt_backoff backoff;
    tt_backoff_init(&backoff, POLL_MIN_MS, POLL_MAX_MS, (uint64_t)tt_clock_us());
    while (!tt_library_lock_try(f->s->library, f->reference.identity, &locked->lock)) {
        if (!tt__flight_is_patient(f)) break;
        if (!nap(f, tt_backoff_next_ms(&backoff))) return tt__flight_cancelled(f);
        if (look_again(f) == TT_OK) return TT_OK;
    }
    tt__beats_lock(&f->s->beats, locked);
    look_again(f); /* whoever had it may have finished in between */
    return TT_OK;
}

/* ---- what is promised -------------------------------------------------------------------------------------------- */

/* The bytes that this name stood for before bind it, where the service itself promises none. */
static void promise_what_was(tt__flight *f, tt_source_file *file) {
    tt_library_entry before;
    if (*file->digest || f->reference.type != TT_REF_URL) return;
    if (tt_library_recall(f->s->library, f->reference.identity, &before, NULL) == TT_OK)
        memcpy(file->digest, before.digest, sizeof file->digest);
}

static tt_status check_promise(tt__flight *f, tt_source_file *file) {
    const tt_reference *r = &f->reference;
    if (*r->digest && *file->digest && strcmp(r->digest, file->digest) != 0)
        return tt_fetch_fail(&f->error, TT_FETCH_DIGEST,
                             "%.200s: expected the SHA-256 %s, its source says %s", r->identity,
                             r->digest, file->digest);
    if (*r->digest) memcpy(file->digest, r->digest, sizeof file->digest);
    promise_what_was(f, file);
    if (*file->digest || r->type != TT_REF_URL || f->s->options.trust_first_use) return TT_OK;
    return tt_fetch_fail(
        &f->error, TT_FETCH_REFERENCE,
        "%.200s: nobody promises what this URL's bytes are; add #sha256= and their "
        "64 hexadecimal digits",
        r->identity);
}

/* ---- resolving --------------------------------------------------------------------------------------------------- */

static int64_t denial_ms(const tt_fetch_error *why) {
    switch (why->class_) {
    case TT_FETCH_FORBIDDEN:
        return 60 * MINUTE_MS;
    case TT_FETCH_GONE: /* perhaps published in a moment */
    case TT_FETCH_CONTENT:
    case TT_FETCH_FORMAT:
    case TT_FETCH_SIZE:
    case TT_FETCH_REFUSED:
        return 5 * MINUTE_MS;
    case TT_FETCH_AUTH:
    case TT_FETCH_REGION:
    case TT_FETCH_DIGEST:
        return MINUTE_MS;
    case TT_FETCH_RATE:
        return why->retry_after_ms > 0 && why->retry_after_ms < MINUTE_MS ? why->retry_after_ms
                                                                          : MINUTE_MS;
    default:
        return 0;
    }
}

static void deny(tt__flight *f) {
    tt_library_deny(f->s->library, f->reference.identity, tt__credential(f->s, &f->reference),
                    &f->error, denial_ms(&f->error));
}

static void describe(tt__flight *f, const tt_source_file *file) {
    tt_library_entry *e = &f->entry;
    memset(e, 0, sizeof *e);
    snprintf(e->identity, sizeof e->identity, "%s", f->reference.identity);
    snprintf(e->name, sizeof e->name, "%s", file->name);
    snprintf(e->base_model, sizeof e->base_model, "%s", file->base_model);
    snprintf(e->version, sizeof e->version, "%s", file->version);
    snprintf(e->resolved, sizeof e->resolved, "%s", file->resolved);
    snprintf(e->etag, sizeof e->etag, "%s", file->validator);
    memcpy(e->digest, file->digest, sizeof e->digest);
    e->kind = file->has_kind ? file->kind : f->kind;
    e->can_be_fetched_again = true;
}

/* The owner's own marks outlive a new fetch of the same name. */
static void keep_marks(tt__flight *f) {
    tt_library_entry before;
    if (tt_library_recall(f->s->library, f->entry.identity, &before, NULL) != TT_OK) return;
    memcpy(f->entry.alias, before.alias, sizeof f->entry.alias);
    f->entry.is_pinned = before.is_pinned;
}

static tt_status resolve(tt__flight *f, tt_source_file *file) {
    tt__flight_phase(f, TT_PHASE_RESOLVE);
    TT_TRY(tt_source_resolve(&f->s->options.services, &f->reference, RESOLVE_MS, file, &f->error));
    TT_TRY(check_promise(f, file));
    if (!*file->name) snprintf(file->name, sizeof file->name, "%.100s", f->reference.identity);
    tt__flight_name(f, file->name);
    describe(f, file);
    keep_marks(f);
    return TT_OK;
}

/* ---- the same bytes under another name --------------------------------------------------------------------------- */

static bool is_here_by_digest(tt__flight *f) {
    tt_reference r = {.type = TT_REF_DIGEST};
    tt_library_entry found;
    tt_fetch_error error;
    if (!*f->entry.digest) return false;
    memcpy(r.digest, f->entry.digest, sizeof r.digest);
    snprintf(r.identity, sizeof r.identity, "sha256:%s", r.digest);
    if (tt__look(f->s, &r, f->kind, &found, &f->lease, &error) != TT_OK) return false;
    f->entry.size = found.size;
    f->entry.fetched_s = found.fetched_s;
    memcpy(f->entry.path, found.path, sizeof f->entry.path);
    f->entry.is_read_only = found.is_read_only;
    tt_library_name(f->s->library, &f->entry, NULL);
    return true;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static tt_status fetch(tt__flight *f) {
    tt_source_file file;
    TT_TRY(resolve(f, &file));
    if (tt__flight_is_unwanted(f)) return tt__flight_cancelled(f);
    return is_here_by_digest(f) ? TT_OK : tt__fetch_part(f, &file);
}

static tt_status with_lock(tt__flight *f) {
    if (f->was_here) return TT_OK;
    if (tt__flight_is_unwanted(f)) return tt__flight_cancelled(f);
    tt_status status = fetch(f);
    if (status != TT_OK) deny(f);
    return status;
}

void tt__work(tt__flight *f) {
    tt__locked locked = {.lock = NULL};
    f->error.retry_after_ms = -1;
    f->status = wait_for_lock(f, &locked);
    if (f->status == TT_OK) f->status = with_lock(f);
    tt__beats_unlock(&f->s->beats, &locked);
}
