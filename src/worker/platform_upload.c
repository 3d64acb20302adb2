/* A result that is too large for the platform goes to the bucket of BUCKET_*, and a link to it to the platform:
 *
 *     {"output": {"url": "<readable for 7 days>", "size_bytes": n, "content_type": "application/json"}}
 *
 * The object is the output's JSON, as <job id>/output-<ms>.json in the bucket that BUCKET_ENDPOINT_URL or BUCKET_NAME name, else in
 * one named after month and year, as the reference does. Signing hashes the output on the loop's thread: 20 MB take 15 to
 * 50 ms, and only such results come here. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "net/s3.h"
#include "worker/platform_parts.h"

/* A signature is good for 15 minutes; trying longer with it is useless. */
enum { SIGNATURE_MS = 10 * 60 * 1000 };

/* ---- what to upload ---------------------------------------------------------------------------------------------- */

/* A left-over is known as a whole body only; it is ours, but disks are not always honest. */
static bool find_in_body(const tt_wire_body *body, const char **text, size_t *size) {
    const char *error;
    size_t error_size;
    if (body->n_blobs != 1 || body->n_pieces != 1) return false;
    const tt_blob *whole = body->blobs[0];
    return tt_json_check(whole->data, whole->size, TT_MAX_JOB_OUTPUT_BYTES, NULL) == TT_OK &&
           !tt_json_member(whole->data, whole->size, "error", &error, &error_size) &&
           tt_json_member(whole->data, whole->size, "output", text, size);
}

static bool find_output(const tt__task *task, const char **text, size_t *size) {
    if (!task->end.output) return find_in_body(&task->end.body, text, size);
    *text = task->end.output->data;
    *size = task->end.output->size;
    return true;
}

/* ---- where to ---------------------------------------------------------------------------------------------------- */

typedef struct upload {
    tt_s3_account account;
    char bucket[16], key[TT_JOB_ID_BYTES + 40];
    int64_t now_s;
    const char *text;
    size_t size;
} upload;

static tt_status sign(const upload *u, tt_s3_put *put, tt_buf *link, tt_err *err) {
    TT_TRY(tt_s3_append_link(&u->account, u->key, TT_S3_MAX_EXPIRES_S, u->now_s, link, err));
    return tt_s3_sign_put(&u->account, u->key, "application/json", u->text, u->size, u->now_s, put,
                          err);
}

static void name_upload(upload *u, const tt__task *task) {
    const tt_environment *e = task->platform->environment;
    struct tm date;
    u->now_s = (int64_t)time(NULL);
    snprintf(u->key, sizeof u->key, "%s/output-%" PRId64 ".json", task->facts.job_id,
             u->now_s * 1000 + tt_clock_ms() % 1000);
    gmtime_r(&(time_t){(time_t)u->now_s}, &date);
    strftime(u->bucket, sizeof u->bucket, "%m-%y", &date);
    u->account = (tt_s3_account){.endpoint_url = e->bucket_url,
                                 .bucket = e->bucket_name,
                                 .access_key_id = e->bucket_key_id,
                                 .secret_access_key = e->bucket_secret};
}

static tt_status sign_upload(upload *u, tt_s3_put *put, tt_buf *link, tt_err *err) {
    tt_status status = sign(u, put, link, err);
    if (status != TT_E_INVALID || u->account.bucket[0]) return status;
    u->account.bucket = u->bucket; /* the endpoint does not name one */
    link->size = 0;
    return sign(u, put, link, err);
}

/* ---- the upload -------------------------------------------------------------------------------------------------- */

static void on_done(void *context, const tt_delivery_outcome *outcome) {
    tt__task *task = context;
    char *link = task->end.link;
    task->end.link = NULL;
    task->end.delivery = NULL;
    tt__task_uploaded(task, outcome->verdict == TT_DELIVERY_DELIVERED ? link : NULL,
                      outcome->reason);
    tt_free(link);
}

static tt_status send(tt__task *task, const upload *u, const tt_s3_put *put, tt_err *err) {
    tt_platform *p = task->platform;
    int64_t patience_ms = p->environment->delivery_patience_ms;
    const tt_http_piece piece = {u->text, u->size};
    const tt_delivery_options options = {.loop = p->loop,
                                         .log = p->log,
                                         .what = "upload",
                                         .job_id = task->facts.job_id,
                                         .method = "PUT",
                                         .url = put->url,
                                         .headers = put->headers,
                                         .body = &piece,
                                         .n_body = 1,
                                         .patience_ms = patience_ms < SIGNATURE_MS ? patience_ms
                                                                                   : SIGNATURE_MS,
                                         .retry_base_ms = p->environment->retry_base_ms,
                                         .done = on_done,
                                         .context = task};
    return tt_delivery_start(&options, &task->end.delivery, err);
}

tt_status tt__task_upload(tt__task *task, tt_err *err) {
    upload u = {.text = NULL};
    tt_s3_put put = {.url = NULL};
    tt_buf link;
    if (!task->platform->environment->bucket_url[0])
        return tt_fail(err, TT_E_NOT_FOUND, "BUCKET_ENDPOINT_URL is not set");
    if (!find_output(task, &u.text, &u.size))
        return tt_fail(err, TT_E_NOT_FOUND, "it has no output that could be uploaded");
    name_upload(&u, task);
    tt_buf_init(&link, TT_MAX_URL_BYTES);
    tt_status status = sign_upload(&u, &put, &link, err);
    if (status == TT_OK && !(task->end.link = tt_strdup(link.data)))
        status = tt_fail_nomem(err, "link", link.size + 1);
    if (status == TT_OK) status = send(task, &u, &put, err);
    if (status != TT_OK) {
        tt_free(task->end.link);
        task->end.link = NULL;
    }
    tt_s3_put_release(&put);
    tt_buf_release(&link);
    return status;
}
