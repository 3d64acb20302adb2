/* What the worker before left in the spool. See spool.h.
 *
 * A result file is believed when its first line is our JSON, its ids are ids, and its body has the length that the line says:
 * files get their name only when they are whole, so anything else was made by somebody else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/ascii.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "worker/spool_parts.h"

enum { MAX_HEAD_BYTES = 1024 };

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

static void add_left(tt_spool *s, const char *name) {
    struct stat facts;
    if (strlen(name) >= TT__SPOOL_NAME_BYTES || s->n_left >= TT_SPOOL_MAX_FILES) return;
    if (fstatat(s->folder_fd, name, &facts, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(facts.st_mode))
        return;
    snprintf(s->left[s->n_left++], TT__SPOOL_NAME_BYTES, "%s", name);
    s->shared.n_files++; /* no other thread yet */
    s->shared.n_bytes += facts.st_size;
}

/* Two walks over the folder: one to count, so that an empty one costs nothing. */
static int count_results(DIR *folder) {
    int n = 0;
    for (struct dirent *file; (file = readdir(folder));) n += tt_ends_with(file->d_name, ".result");
    rewinddir(folder);
    return n < TT_SPOOL_MAX_FILES ? n : TT_SPOOL_MAX_FILES;
}

static tt_status scan_open(tt_spool *s, DIR *folder, tt_err *err) {
    int n = count_results(folder);
    s->left = tt_alloc((size_t)(n + 1) * sizeof *s->left);
    if (!s->left) return tt_fail_nomem(err, "names of results", (size_t)n * sizeof *s->left);
    for (struct dirent *file; (file = readdir(folder));) {
        if (tt_ends_with(file->d_name, ".part")) unlinkat(s->folder_fd, file->d_name, 0);
        if (tt_ends_with(file->d_name, ".result") && s->n_left < n) add_left(s, file->d_name);
    }
    qsort(s->left, (size_t)s->n_left, sizeof *s->left, by_name);
    return TT_OK;
}

tt_status tt__spool_scan(tt_spool *s, tt_err *err) {
    int fd = openat(s->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        tt_status status = tt_fail_errno(err, "cannot list", s->folder);
        if (fd >= 0) close(fd);
        return status;
    }
    tt_status status = scan_open(s, folder, err);
    closedir(folder);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static tt_status copy_id(json_object *head, const char *name, char out[TT_JOB_ID_BYTES],
                         tt_err *err) {
    const char *text = "";
    TT_TRY(tt_json_get_string(head, name, &text, err));
    if (!text[0] || strlen(text) >= TT_JOB_ID_BYTES)
        return tt_fail(err, TT_E_FORMAT, "%s: not an id", name);
    snprintf(out, TT_JOB_ID_BYTES, "%s", text);
    return TT_OK;
}

static tt_status read_members(json_object *head, tt_spool_facts *facts, int64_t *at_ms,
                              int64_t *body_bytes, tt_err *err) {
    int64_t version = 0;
    TT_TRY(tt_json_get_i64(head, "tintype_spool", &version, err));
    if (version != 1) return tt_fail(err, TT_E_UNSUPPORTED, "not a result of this version");
    TT_TRY(copy_id(head, "id", facts->job_id, err));
    TT_TRY(copy_id(head, "worker", facts->worker_id, err));
    if (!tt_job_id_is_valid(facts->job_id)) return tt_fail(err, TT_E_FORMAT, "id: not a job's id");
    TT_TRY(tt_json_get_bool(head, "is_stream", &facts->is_stream, err));
    TT_TRY(tt_json_get_i64(head, "at_ms", at_ms, err));
    return tt_json_get_i64(head, "body_bytes", body_bytes, err);
}

/* Leaves the body alone in `file`. */
static tt_status read_result(tt_buf *file, tt_spool_facts *facts, int64_t *at_ms, tt_err *err) {
    json_object *head = NULL;
    int64_t body_bytes = -1;
    size_t searched = file->size < MAX_HEAD_BYTES ? file->size : MAX_HEAD_BYTES;
    const char *end = searched ? memchr(file->data, '\n', searched) : NULL;
    if (!end) return tt_fail(err, TT_E_FORMAT, "no first line");
    size_t head_size = (size_t)(end - file->data) + 1;
    TT_TRY(tt_json_parse(file->data, head_size, &head, err));
    tt_status status = json_object_is_type(head, json_type_object)
                           ? read_members(head, facts, at_ms, &body_bytes, err)
                           : tt_fail(err, TT_E_FORMAT, "the first line is no object");
    json_object_put(head);
    if (status != TT_OK) return status;
    if (body_bytes != (int64_t)(file->size - head_size))
        return tt_fail(err, TT_E_FORMAT, "%zu bytes of body, expected %lld", file->size - head_size,
                       (long long)body_bytes);
    file->size -= head_size;
    memmove(file->data, file->data + head_size, file->size + 1);
    return TT_OK;
}

static bool is_too_old(int64_t at_ms) {
    return tt__spool_now_ms() - at_ms > TT_SPOOL_MAX_AGE_MS;
}

static tt_status load(tt_spool *s, const char *name, tt_spool_leftover *out, tt_err *err) {
    char path[PATH_MAX];
    tt_buf file;
    int64_t at_ms = 0;
    TT_TRY(tt_path_join(path, sizeof path, s->folder, name, err));
    tt_buf_init(&file, TT_MAX_JOB_OUTPUT_BYTES + MAX_HEAD_BYTES);
    tt_status status = tt_file_read(path, &file, err);
    size_t size = file.size;
    if (status == TT_OK) status = read_result(&file, &out->facts, &at_ms, err);
    if (status == TT_OK && is_too_old(at_ms))
        status = tt_fail(err, TT_E_CANCELLED, "more than 24 hours old");
    if (status == TT_OK) status = tt_blob_take(&file, &out->body, err);
    tt_buf_release(&file);
    if (status != TT_OK) return status;
    out->entry = tt__spool_entry_of_file(name, size);
    if (out->entry) return TT_OK;
    tt_blob_release(out->body);
    return tt_fail_nomem(err, "spool entry", size);
}

/* ---- handing out ------------------------------------------------------------------------------------------------- */

/* The mark of the job whose result this is, if it was still marked; each mark goes to one result. */
static int claim_mark(tt_spool *s, const char *job_id) {
    for (int i = 0; i < TT_SPOOL_MARKS; i++) {
        if (!s->is_old[i]) continue;
        if (strncmp(s->records[i + 1].job_id, job_id, TT_JOB_ID_BYTES) != 0) continue;
        s->is_old[i] = false;
        return i;
    }
    return -1;
}

/* Memory may come back; whatever else is wrong with a file stays wrong. */
static void drop_file(tt_spool *s, const char *name, tt_status status, const tt_err *err) {
    tt_log_write(s->log, TT_LOG_WARN, NULL, "A result left by a worker before is dropped: %s: %s",
                 name, err->message);
    if (status != TT_E_NOMEM) unlinkat(s->folder_fd, name, 0);
}

static bool next_result(tt_spool *s, tt_spool_leftover *out) {
    tt_err err;
    while (s->next_left < s->n_left) {
        const char *name = s->left[s->next_left++];
        *out = (tt_spool_leftover){.mark = -1};
        tt_status status = load(s, name, out, &err);
        if (status == TT_OK) {
            out->mark = claim_mark(s, out->facts.job_id);
            return true;
        }
        drop_file(s, name, status, &err);
    }
    return false;
}

static bool read_mark(const tt__spool_record *record, tt_spool_facts *facts) {
    *facts = (tt_spool_facts){.is_stream = false};
    memcpy(facts->job_id, record->job_id, TT_JOB_ID_BYTES - 1);
    memcpy(facts->worker_id, record->worker_id, TT_JOB_ID_BYTES - 1);
    return tt_job_id_is_valid(facts->job_id) && !is_too_old(record->taken_ms);
}

bool tt_spool_next_leftover(tt_spool *s, tt_spool_leftover *out) {
    if (!s) return false;
    if (next_result(s, out)) return true;
    for (; s->next_old < TT_SPOOL_MARKS; s->next_old++) {
        int mark = s->next_old;
        if (!s->is_old[mark]) continue;
        s->is_old[mark] = false;
        *out = (tt_spool_leftover){.mark = mark};
        if (read_mark(&s->records[mark + 1], &out->facts)) return true;
        tt_spool_unmark(s, mark);
    }
    return false;
}
