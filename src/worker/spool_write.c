/* Results to disk, by a thread of their own. See spool.h.
 *
 * One list of work: entries to write, and entries whose file is to be removed. An entry belongs to the loop's thread while it
 * is in no state but QUEUED or ON_DISK outside the list; the writer holds it while WRITING. Whoever sees last that nobody
 * needs an entry (is_unwanted, is_left) frees it. An entry that is delivered before its turn never touches the disk.
 *
 * The file is synced before it gets its name: a name promises the whole result, also after a power cut. The folder is not
 * synced: then at worst the result is not there, and the mark of its job still is. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "worker/spool_parts.h"

enum { HEAD_BYTES = 1024 }; /* two ids of 128 bytes, three numbers and the names */

static void free_entry(tt_spool_entry *e) {
    tt_wire_release(&e->body);
    tt_free(e);
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

/* Writes everything; a short write is normal for large bodies. */
static bool write_pieces(int fd, struct iovec *pieces, int n) {
    while (n > 0) {
        ssize_t written = writev(fd, pieces, n);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        size_t left = (size_t)written;
        while (n > 0 && left >= pieces->iov_len) left -= pieces->iov_len, pieces++, n--;
        if (n > 0) {
            pieces->iov_base = (char *)pieces->iov_base + left;
            pieces->iov_len -= left;
        }
    }
    return true;
}

/* Ids are printable ASCII (job/envelope.h); a worker's id may hold a quote, so both are written as JSON. */
static tt_status write_head(const tt_spool_entry *e, tt_buf *head, tt_err *err) {
    const tt_spool_facts *facts = &e->facts;
    TT_TRY(tt_buf_puts(head, "{\"tintype_spool\": 1, \"id\": ", err));
    TT_TRY(tt_json_append_string(head, facts->job_id, strlen(facts->job_id), err));
    TT_TRY(tt_buf_puts(head, ", \"worker\": ", err));
    TT_TRY(tt_json_append_string(head, facts->worker_id, strlen(facts->worker_id), err));
    return tt_buf_printf(head, err,
                         ", \"is_stream\": %s, \"at_ms\": %" PRId64 ", \"body_bytes\": %zu}\n",
                         facts->is_stream ? "true" : "false", e->at_ms, e->body.size_bytes);
}

static tt_status write_open_file(tt_spool *s, tt_spool_entry *e, int fd, tt_err *err) {
    struct iovec pieces[TT_WIRE_MAX_PIECES + 1];
    tt_buf head;
    tt_buf_init(&head, HEAD_BYTES);
    tt_status status = write_head(e, &head, err);
    pieces[0] = (struct iovec){head.data, head.size};
    for (int i = 0; i < e->body.n_pieces; i++)
        pieces[i + 1] =
            (struct iovec){(void *)(uintptr_t)e->body.pieces[i].bytes, e->body.pieces[i].size};
    if (status == TT_OK && (!write_pieces(fd, pieces, e->body.n_pieces + 1) || fdatasync(fd) != 0))
        status = tt_fail_errno(err, "cannot write in", s->folder);
    tt_buf_release(&head);
    return status;
}

static tt_status write_file(tt_spool *s, tt_spool_entry *e, tt_err *err) {
    char part[TT__SPOOL_NAME_BYTES + 8];
    snprintf(part, sizeof part, "%s.part", e->name);
    int fd =
        openat(s->folder_fd, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return tt_fail_errno(err, "cannot write in", s->folder);
    tt_status status = write_open_file(s, e, fd, err);
    close(fd);
    if (status == TT_OK && renameat(s->folder_fd, part, s->folder_fd, e->name) != 0)
        status = tt_fail_errno(err, "cannot rename in", s->folder);
    if (status != TT_OK) unlinkat(s->folder_fd, part, 0);
    return status;
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

static void push_unlocked(tt_spool *s, tt_spool_entry *e) {
    e->next = NULL;
    *s->shared.last = e;
    s->shared.last = &e->next;
    pthread_cond_signal(&s->shared.changed);
}

static tt_spool_entry *pop_unlocked(tt_spool *s) {
    tt_spool_entry *e = s->shared.first;
    if (!e) return NULL;
    s->shared.first = e->next;
    if (!s->shared.first) s->shared.last = &s->shared.first;
    return e;
}

static void forget_file_unlocked(tt_spool *s, const tt_spool_entry *e) {
    s->shared.n_files--;
    s->shared.n_bytes -= (int64_t)e->size_bytes;
}

static void remove_file(tt_spool *s, tt_spool_entry *e) {
    unlinkat(s->folder_fd, e->name, 0);
    pthread_mutex_lock(&s->shared.mutex);
    forget_file_unlocked(s, e);
    pthread_mutex_unlock(&s->shared.mutex);
    free_entry(e);
}

static void tell(tt_spool *s, bool has_changed, tt_status status, const tt_err *err) {
    if (!has_changed) return;
    if (status != TT_OK)
        tt_log_write(s->log, TT_LOG_WARN, NULL,
                     "Results that cannot be delivered are kept in memory only: %s", err->message);
    else
        tt_log_write(s->log, TT_LOG_INFO, NULL, "Results are kept on disk again.");
}

/* What becomes of a written entry was perhaps decided meanwhile. */
static void settle(tt_spool *s, tt_spool_entry *e, tt_status status, const tt_err *err) {
    pthread_mutex_lock(&s->shared.mutex);
    bool has_changed = s->shared.is_failing != (status != TT_OK);
    s->shared.is_failing = status != TT_OK;
    e->state = status == TT_OK ? TT__ON_DISK : TT__FAILED;
    bool is_unwanted = e->is_unwanted, is_free = is_unwanted || e->is_left;
    if (status != TT_OK) forget_file_unlocked(s, e);
    pthread_mutex_unlock(&s->shared.mutex);
    if (is_free && is_unwanted && status == TT_OK)
        remove_file(s, e);
    else if (is_free)
        free_entry(e);
    tell(s, has_changed, status, err);
}

static void work_on(tt_spool *s, tt_spool_entry *e) {
    tt_err err = {.code = TT_OK};
    if (e->state == TT__ON_DISK) {
        remove_file(s, e);
        return;
    }
    tt_status status = write_file(s, e, &err);
    tt_wire_release(&e->body);
    settle(s, e, status, &err);
}

static void *run_writer(void *context) {
    tt_spool *s = context;
    pthread_mutex_lock(&s->shared.mutex);
    for (;;) {
        tt_spool_entry *e = pop_unlocked(s);
        if (!e && s->shared.is_closing) break;
        if (!e) {
            pthread_cond_wait(&s->shared.changed, &s->shared.mutex);
            continue;
        }
        if (e->state == TT__QUEUED) e->state = TT__WRITING;
        pthread_mutex_unlock(&s->shared.mutex);
        work_on(s, e);
        pthread_mutex_lock(&s->shared.mutex);
    }
    pthread_mutex_unlock(&s->shared.mutex);
    return NULL;
}

tt_status tt__spool_writer_start(tt_spool *s, tt_err *err) {
    int failure = pthread_create(&s->writer, NULL, run_writer, s);
    if (failure != 0) {
        errno = failure;
        return tt_fail_errno(err, "cannot start a thread for", s->folder);
    }
    s->has_writer = true;
    return TT_OK;
}

void tt__spool_writer_stop(tt_spool *s) {
    if (!s->has_writer) return;
    pthread_mutex_lock(&s->shared.mutex);
    s->shared.is_closing = true;
    pthread_cond_signal(&s->shared.changed);
    pthread_mutex_unlock(&s->shared.mutex);
    pthread_join(s->writer, NULL);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

tt_spool_entry *tt__spool_entry_of_file(const char *name, size_t size_bytes) {
    tt_spool_entry *e = tt_alloc(sizeof *e);
    if (!e) return NULL;
    e->state = TT__ON_DISK;
    e->size_bytes = size_bytes;
    snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

static tt_spool_entry *new_entry(tt_spool *s, const tt_spool_facts *facts,
                                 const tt_wire_body *body) {
    tt_spool_entry *e = tt_alloc(sizeof *e);
    if (!e) return NULL;
    e->facts = *facts;
    e->body = *body;
    for (int i = 0; i < body->n_blobs; i++) tt_blob_hold(body->blobs[i]);
    e->size_bytes = body->size_bytes;
    e->at_ms = tt__spool_now_ms();
    snprintf(e->name, sizeof e->name, "%013" PRId64 "-%06" PRIu64 ".result", e->at_ms,
             s->n_named++);
    return e;
}

tt_spool_entry *tt_spool_put(tt_spool *s, const tt_spool_facts *facts, const tt_wire_body *body) {
    tt_spool_entry *e = s ? new_entry(s, facts, body) : NULL;
    if (!e) return NULL;
    pthread_mutex_lock(&s->shared.mutex);
    bool has_room = s->shared.n_files < TT_SPOOL_MAX_FILES &&
                    s->shared.n_bytes + (int64_t)e->size_bytes <= TT_SPOOL_MAX_BYTES;
    bool has_changed = !has_room && !s->shared.is_failing;
    if (has_room) {
        s->shared.n_files++;
        s->shared.n_bytes += (int64_t)e->size_bytes;
        push_unlocked(s, e);
    } else {
        s->shared.is_failing = true;
    }
    pthread_mutex_unlock(&s->shared.mutex);
    if (has_room) return e;
    tt_err err;
    free_entry(e);
    tell(s, has_changed, tt_fail(&err, TT_E_IO, "%.300s is full", s->folder), &err);
    return NULL;
}

static void unlink_queued_unlocked(tt_spool *s, tt_spool_entry *e) {
    tt_spool_entry **at = &s->shared.first;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    if (s->shared.last == &e->next) s->shared.last = at;
    forget_file_unlocked(s, e);
}

void tt_spool_remove(tt_spool *s, tt_spool_entry *e) {
    if (!s || !e) return;
    pthread_mutex_lock(&s->shared.mutex);
    bool is_ours = e->state == TT__QUEUED || e->state == TT__FAILED;
    if (e->state == TT__QUEUED) unlink_queued_unlocked(s, e);
    e->is_unwanted = true;
    if (e->state == TT__ON_DISK) push_unlocked(s, e);
    pthread_mutex_unlock(&s->shared.mutex);
    if (is_ours) free_entry(e);
}

bool tt_spool_leave(tt_spool *s, tt_spool_entry *e) {
    if (!s || !e) return false;
    pthread_mutex_lock(&s->shared.mutex);
    bool is_kept = e->state != TT__FAILED;
    bool is_ours = e->state == TT__FAILED || e->state == TT__ON_DISK;
    e->is_left = true;
    pthread_mutex_unlock(&s->shared.mutex);
    if (is_ours) free_entry(e);
    return is_kept;
}
