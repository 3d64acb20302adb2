/* See urls.h. One pass per pattern: a worker id that contains "$ID" is not replaced again, as it would be by the
 * reference's two replacements. */
#include "worker/urls.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "net/url.h"

#define POD_ID "$RUNPOD_POD_ID"
#define ID     "$ID"

/* Appends `pattern` with $RUNPOD_POD_ID and $ID replaced; an `id` that is NULL stays in place. */
static tt_status expand(const char *pattern, const char *pod_id, const char *id, tt_buf *out,
                        tt_err *err) {
    while (*pattern) {
        size_t literal = strcspn(pattern, "$");
        TT_TRY(tt_buf_append(out, pattern, literal, err));
        pattern += literal;
        const char *value = NULL;
        size_t skip = 0;
        if (pod_id && strncmp(pattern, POD_ID, strlen(POD_ID)) == 0)
            value = pod_id, skip = strlen(POD_ID);
        else if (id && strncmp(pattern, ID, strlen(ID)) == 0)
            value = id, skip = strlen(ID);
        if (value) {
            TT_TRY(tt_buf_puts(out, value, err));
            pattern += skip;
        } else if (*pattern) {
            TT_TRY(tt_buf_append(out, pattern++, 1, err));
        }
    }
    return TT_OK;
}

/* Appends `text` with every `from` replaced by `to`. */
static tt_status replace(const char *text, const char *from, const char *to, tt_buf *out,
                         tt_err *err) {
    for (const char *found; (found = strstr(text, from)); text = found + strlen(from)) {
        TT_TRY(tt_buf_append(out, text, (size_t)(found - text), err));
        TT_TRY(tt_buf_puts(out, to, err));
    }
    return tt_buf_puts(out, text, err);
}

/* The buffer's text as an owned string; the buffer is empty afterwards, also on failure. */
static tt_status keep(tt_buf *b, tt_status status, char **out, tt_err *err) {
    if (status == TT_OK) {
        *out = tt_strdup(b->data ? b->data : "");
        if (!*out) status = tt_fail_nomem(err, "URL", b->size + 1);
    }
    tt_buf_release(b);
    return status;
}

/* ---- init -------------------------------------------------------------------------------------------------------- */

static tt_status init_one(const char *variable, const char *pattern, const char *pod_id,
                          const char *id, char **out, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_PING_URL_BYTES);
    TT_TRY(keep(&text, expand(pattern, pod_id, id, &text, err), out, err));
    tt_status status = tt_url_check(*out, err);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", variable);
}

static tt_status init_derived(const char *url, const char *from, const char *to, char **out,
                              tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_PING_URL_BYTES);
    return keep(&text, replace(url, from, to, &text, err), out, err);
}

static tt_status init_take(tt_urls *u, const tt_environment *e, tt_err *err) {
    if (!e->get_job_url[0])
        return tt_fail(err, TT_E_INVALID, "RUNPOD_WEBHOOK_GET_JOB is not set: no jobs to take");
    TT_TRY(init_one("RUNPOD_WEBHOOK_GET_JOB", e->get_job_url, e->worker_id, e->worker_id, &u->take,
                    err));
    TT_TRY(init_derived(u->take, "/job-take/", "/job-take-batch/", &u->take_batch, err));
    if (!strstr(u->take, "/job-take/")) return TT_OK;
    return init_derived(u->take, "/job-take/", "/job-stop/", &u->stop, err);
}

/* Templates are checked with the worker's id in both places; job ids are as harmless in a URL (job/envelope.h). */
static tt_status init_template(const char *variable, const char *pattern, const char *pod_id,
                               char **out, tt_err *err) {
    char *example = NULL;
    tt_status status = init_one(variable, pattern, pod_id, pod_id, &example, err);
    tt_free(example);
    if (status != TT_OK) return status;
    *out = tt_strdup(pattern);
    return *out ? TT_OK : tt_fail_nomem(err, variable, strlen(pattern) + 1);
}

static tt_status init_posts(tt_urls *u, const tt_environment *e, tt_err *err) {
    if (!e->post_output_url[0])
        return tt_fail(err, TT_E_INVALID,
                       "RUNPOD_WEBHOOK_POST_OUTPUT is not set, RUNPOD_WEBHOOK_GET_JOB is: results "
                       "would have nowhere to go");
    TT_TRY(init_template("RUNPOD_WEBHOOK_POST_OUTPUT", e->post_output_url, e->worker_id, &u->done,
                         err));
    if (e->post_stream_url[0])
        return init_template("RUNPOD_WEBHOOK_POST_STREAM", e->post_stream_url, e->worker_id,
                             &u->stream, err);
    if (!strstr(u->done, "/job-done/")) return TT_OK;
    return init_derived(u->done, "/job-done/", "/job-stream/", &u->stream, err);
}

tt_status tt_urls_init(tt_urls *u, const tt_environment *environment, tt_err *err) {
    const tt_environment *e = environment;
    *u = (tt_urls){.take = NULL};
    u->worker_id = tt_strdup(e->worker_id);
    if (!u->worker_id) return tt_fail_nomem(err, "worker id", strlen(e->worker_id) + 1);
    TT_TRY(init_take(u, e, err));
    TT_TRY(init_posts(u, e, err));
    if (!e->ping_url[0]) return TT_OK;
    return init_one("RUNPOD_WEBHOOK_PING", e->ping_url, e->worker_id, e->worker_id, &u->ping, err);
}

void tt_urls_release(tt_urls *u) {
    tt_free(u->take);
    tt_free(u->take_batch);
    tt_free(u->stop);
    tt_free(u->ping);
    tt_free(u->done);
    tt_free(u->stream);
    tt_free(u->worker_id);
    *u = (tt_urls){.take = NULL};
}

/* ---- whole URLs -------------------------------------------------------------------------------------------------- */

static const char *joint(const char *url) {
    return strchr(url, '?') ? "&" : "?";
}

tt_status tt_urls_take(const tt_urls *u, int n_wanted, bool has_jobs, tt_buf *out, tt_err *err) {
    if (n_wanted > 1)
        return tt_buf_printf(out, err, "%s%sbatch_size=%d&job_in_progress=%d", u->take_batch,
                             joint(u->take_batch), n_wanted, has_jobs);
    return tt_buf_printf(out, err, "%s%sjob_in_progress=%d", u->take, joint(u->take), has_jobs);
}

tt_status tt_urls_done(const tt_urls *u, const char *worker_id, const char *job_id, bool is_stream,
                       tt_buf *out, tt_err *err) {
    TT_TRY(expand(u->done, worker_id ? worker_id : u->worker_id, job_id, out, err));
    return tt_buf_printf(out, err, "%sisStream=%s", joint(u->done), is_stream ? "true" : "false");
}

tt_status tt_urls_stream(const tt_urls *u, const char *job_id, tt_buf *out, tt_err *err) {
    TT_TRY(expand(u->stream, u->worker_id, job_id, out, err));
    return tt_buf_printf(out, err, "%sisStream=false", joint(u->stream));
}

/* As Python's requests merges parameters: behind what is there, without an empty one between. */
static tt_status begin_parameters(const char *url, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, url, err));
    size_t size = strlen(url);
    if (size > 0 && (url[size - 1] == '?' || url[size - 1] == '&')) return TT_OK;
    return tt_buf_puts(out, joint(url), err);
}

tt_status tt_urls_ping(const tt_urls *u, const char *job_ids, tt_buf *out, tt_err *err) {
    TT_TRY(begin_parameters(u->ping, out, err));
    if (job_ids[0]) {
        TT_TRY(tt_buf_puts(out, "job_id=", err));
        TT_TRY(tt_url_append_encoded(out, job_ids, err));
        TT_TRY(tt_buf_puts(out, "&", err));
    }
    return tt_buf_puts(out, "runpod_version=" TT_RUNPOD_VERSION, err);
}

tt_status tt_urls_unhealthy(const tt_urls *u, const char *check, const char *reason, tt_buf *out,
                            tt_err *err) {
    TT_TRY(begin_parameters(u->ping, out, err));
    TT_TRY(tt_buf_puts(out, "status=unhealthy&check=", err));
    TT_TRY(tt_url_append_encoded(out, check, err));
    TT_TRY(tt_buf_puts(out, "&reason=", err));
    TT_TRY(tt_url_append_encoded(out, reason, err));
    return tt_buf_puts(out, "&runpod_version=" TT_RUNPOD_VERSION, err);
}
