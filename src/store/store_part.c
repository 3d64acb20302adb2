/* The bytes: room, part, download, structure, commit. A disk that is full, or whose quota is, gets one garbage collection and one
 * more try. A part that may be resumed is left for whoever comes next; one that was wrong goes. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store_parts.h"
#include "weights/safetensors.h"

/* ---- room -------------------------------------------------------------------------------------------------------- */

static void count_sweep(tt_store *s, const tt_library_sweep *sweep) {
    pthread_mutex_lock(&s->shared.mutex);
    s->shared.counts.evicted += (uint64_t)sweep->n_evicted;
    s->shared.counts.evicted_bytes += sweep->evicted_bytes;
    pthread_mutex_unlock(&s->shared.mutex);
    if (sweep->n_evicted)
        tt_log_write(s->options.log, TT_LOG_INFO, NULL,
                     "Models made room. evicted=%d freed_mb=%llu", sweep->n_evicted,
                     (unsigned long long)sweep->evicted_bytes >> 20);
}

/* A walk over the whole library: nothing beside a download. A size that nobody said is taken for none here; the disk itself
 * has the last word. */
static tt_status make_room(tt__flight *f, uint64_t size, tt_library_sweep *sweep) {
    tt_store *s = f->s;
    tt_err err;
    uint64_t max = s->options.library.max_bytes;
    if (max && size > max)
        return tt_fetch_fail(&f->error, TT_FETCH_DISK,
                             "%s: %llu MiB, expected at most the %llu MiB that models may take",
                             f->entry.name, (unsigned long long)size >> 20,
                             (unsigned long long)max >> 20);
    tt__beats_end_unused(&s->beats);
    if (tt_library_gc(s->library, size, false, sweep, &err) != TT_OK)
        return tt_fetch_fail(&f->error, TT_FETCH_DISK, "%s: %s", f->entry.name, err.message);
    count_sweep(s, sweep);
    if (!max || sweep->kept_bytes + size <= max) return TT_OK;
    return tt_fetch_fail(&f->error, TT_FETCH_DISK,
                         "%s: %llu MiB do not fit beside %llu MiB of models that are pinned or in "
                         "use; %llu MiB is all they may take",
                         f->entry.name, (unsigned long long)size >> 20,
                         (unsigned long long)sweep->kept_bytes >> 20,
                         (unsigned long long)max >> 20);
}

/* ---- the download ------------------------------------------------------------------------------------------------ */

typedef struct again {
    tt__flight *flight;
    char digest[TT_DIGEST_HEX + 1];
} again;

static bool on_progress(void *context, const tt_download_progress *p) {
    tt__flight *f = context;
    tt__flight_download(f, p);
    return !tt__flight_is_unwanted(f);
}

/* A fresh link to the same bytes; what was promised stays promised. */
static tt_status on_again(void *context, tt_source_file *file, tt_fetch_error *error) {
    enum { AGAIN_MS = 30 * 1000 };
    const again *a = context;
    tt_source_file fresh;
    TT_TRY(tt_source_resolve(&a->flight->s->options.services, &a->flight->reference, AGAIN_MS,
                             &fresh, error));
    if (*a->digest && *fresh.digest && strcmp(a->digest, fresh.digest) != 0)
        return tt_fetch_fail(error, TT_FETCH_DIGEST, "%s: its source has other bytes by now",
                             file->name);
    memcpy(fresh.digest, a->digest, sizeof fresh.digest);
    memcpy(fresh.name, file->name, sizeof fresh.name);
    *file = fresh;
    return TT_OK;
}

/* Each caller has a deadline of his own; when the last has left, on_progress ends it. */
static const int64_t LONGEST_MS = (int64_t)24 * 60 * 60 * 1000;

static tt_status download(tt__flight *f, const tt_source_file *file, const tt_library_part *part,
                          tt_downloaded *out) {
    const tt_store_options *o = &f->s->options;
    again a = {.flight = f};
    memcpy(a.digest, file->digest, sizeof a.digest);
    tt_download_options options = {.part_path = part->part_path,
                                   .journal_path = part->journal_path,
                                   .max_bytes = tt_model_kind_max_bytes(f->kind),
                                   .reserve_bytes = o->reserve_bytes,
                                   .n_connections = o->n_connections,
                                   .deadline_ms = LONGEST_MS,
                                   .progress = on_progress,
                                   .progress_context = f,
                                   .again = on_again,
                                   .again_context = &a,
                                   .time_divisor = o->services.time_divisor};
    tt__flight_phase(f, TT_PHASE_DOWNLOAD);
    tt_status status = tt_download(&o->services, file, &options, out, &f->error);
    f->fetched_bytes += out->fetched_bytes;
    return status;
}

/* ---- structure --------------------------------------------------------------------------------------------------- */

/* Its sentences begin with the part's path, which means nothing to anybody. */
static tt_status check_structure(tt__flight *f, const char *path) {
    tt_safetensors *st = NULL;
    tt_err err;
    tt__flight_phase(f, TT_PHASE_VERIFY);
    tt_status status = tt_safetensors_open(path, TT_ST_PREAD, &st, &err);
    bool is_empty = status == TT_OK && tt_safetensors_count(st) == 0;
    tt_safetensors_close(st);
    if (is_empty)
        return tt_fetch_fail(&f->error, TT_FETCH_FORMAT, "%s: no tensors in it", f->entry.name);
    if (status == TT_OK) return TT_OK;
    const char *text = err.message;
    if (strncmp(text, path, strlen(path)) == 0) text += strlen(path);
    tt_fetch_class class_ = status == TT_E_IO      ? TT_FETCH_DISK
                            : status == TT_E_NOMEM ? TT_FETCH_INTERNAL
                                                   : TT_FETCH_FORMAT;
    return tt_fetch_fail(&f->error, class_, "%s%s", f->entry.name, text);
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

/* The lease first: between the commit and it, somebody else's garbage collection might find the model unused. */
static tt_status commit(tt__flight *f, const tt_library_part *part, const tt_downloaded *got) {
    tt_err err;
    tt__flight_phase(f, TT_PHASE_COMMIT);
    memcpy(f->entry.digest, got->digest, sizeof f->entry.digest);
    f->entry.size = got->size;
    f->lease = tt__lease(f->s, got->digest);
    if (tt_library_commit(f->s->library, part, &f->entry, &err) != TT_OK)
        return tt_fetch_fail(&f->error, TT_FETCH_DISK, "%s: %s", f->entry.name, err.message);
    tt_library_touch(f->s->library, got->digest);
    f->is_fetched = true;
    tt_log_write(f->s->options.log, TT_LOG_INFO, NULL,
                 "Model fetched. model=%s mb=%llu seconds=%.1f connections=%d retries=%d",
                 f->entry.identity, (unsigned long long)got->size >> 20, got->seconds,
                 got->n_connections, got->n_retries);
    return TT_OK;
}

/* ---- one try, and another ---------------------------------------------------------------------------------------- */

static bool may_be_resumed(tt_fetch_class class_) {
    return class_ == TT_FETCH_NETWORK || class_ == TT_FETCH_CANCELLED ||
           class_ == TT_FETCH_DEADLINE || class_ == TT_FETCH_RATE || class_ == TT_FETCH_EDGE;
}

static void give_up(tt__flight *f, const tt_library_part *part) {
    if (may_be_resumed(f->error.class_))
        tt_library_part_leave(f->s->library, part);
    else
        tt_library_part_drop(f->s->library, part);
}

static tt_status try_once(tt__flight *f, const tt_source_file *file) {
    tt_library_part part;
    tt_downloaded got = {.size = 0};
    tt_err err;
    if (tt_library_part_begin(f->s->library, f->reference.identity, &part, &err) != TT_OK)
        return tt_fetch_fail(&f->error, TT_FETCH_DISK, "%s: %s", file->name, err.message);
    tt_status status = download(f, file, &part, &got);
    if (status == TT_OK) status = check_structure(f, part.part_path);
    if (status == TT_OK) status = commit(f, &part, &got);
    if (status != TT_OK) give_up(f, &part);
    return status;
}

tt_status tt__fetch_part(tt__flight *f, const tt_source_file *file) {
    tt_library_sweep sweep = {.freed_bytes = 0};
    TT_TRY(make_room(f, file->size, &sweep));
    tt_status status = try_once(f, file);
    if (status == TT_OK || f->error.class_ != TT_FETCH_DISK) return status;
    tt_fetch_error first = f->error;
    uint64_t size = file->size ? file->size : f->download.bytes_total;
    if (make_room(f, size, &sweep) != TT_OK || sweep.freed_bytes == 0) {
        f->error = first;
        return status;
    }
    return try_once(f, file);
}
