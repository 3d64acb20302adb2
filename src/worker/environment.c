/* See environment.h. One line per variable; every number has a range, and a value outside is refused by name, because a
 * worker that starts with a half-understood configuration is harder to find than one that does not start. What the reference
 * forgives or silently breaks on (an interval below a second, an unknown hostname) is forgiven here too. */
#include "worker/environment.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/limits.h"
#include "job/envelope.h"

enum {
    DEFAULT_PING_MS = 10 * 1000, /* the reference's */
    MIN_PING_MS = 1000,          /* the reference divides by 1000 and spins below it */
    MAX_PING_MS = 3600 * 1000,
    DEFAULT_PATIENCE_MS = 600 * 1000,       /* the platform's default execution timeout */
    MAX_PATIENCE_MS = 7 * 24 * 3600 * 1000, /* the longest job of the platform: 7 days */
    DEFAULT_RETRY_MS = 500,
    DEFAULT_POLL_MS = 90 * 1000, /* the reference's */
};
/* About where the platform answers 400 to a result (runpod.md 1.10); larger ones are not even tried. */
#define DEFAULT_MAX_OUTPUT_BYTES ((int64_t)(20 * 1000 * 1000))

typedef struct reader {
    tt_lookup_fn lookup;
    void *context;
    tt_err *err;
} reader;

/* ---- values of variables ----------------------------------------------------------------------------------------- */

/* The value without spaces around it; a span, because values are constant. Absent is empty. */
static size_t value_of(const reader *r, const char *name, const char **text) {
    *text = r->lookup(r->context, name);
    if (!*text) *text = "";
    while (isspace((unsigned char)**text)) (*text)++;
    size_t size = strlen(*text);
    while (size > 0 && isspace((unsigned char)(*text)[size - 1])) size--;
    return size;
}

static bool is_set(const reader *r, const char *name) {
    const char *text;
    return value_of(r, name, &text) > 0;
}

static tt_status copy_span(const reader *r, const char *name, const char *text, size_t size,
                           char **out) {
    for (size_t i = 0; i < size; i++)
        if (iscntrl((unsigned char)text[i]))
            return tt_fail(r->err, TT_E_INVALID, "%s: a control character inside the value", name);
    if (size > TT_MAX_VARIABLE_BYTES)
        return tt_fail(r->err, TT_E_INVALID, "%s: %zu bytes long, at most %zu make sense", name,
                       size, TT_MAX_VARIABLE_BYTES);
    tt_free(*out);
    *out = tt_alloc(size + 1);
    if (!*out) return tt_fail_nomem(r->err, name, size + 1);
    memcpy(*out, text, size);
    return TT_OK;
}

static tt_status read_text(const reader *r, const char *name, const char *fallback, char **out) {
    const char *text;
    size_t size = value_of(r, name, &text);
    if (size == 0) text = fallback, size = strlen(fallback);
    return copy_span(r, name, text, size, out);
}

/* A copy of the span as a C string in `out`; false when it does not fit a number's place. */
static bool number_text(const char *text, size_t size, char out[64]) {
    if (size >= 64) return false;
    memcpy(out, text, size);
    out[size] = '\0';
    return true;
}

static tt_status read_integer(const reader *r, const char *name, int64_t fallback, int64_t least,
                              int64_t most, int64_t *out) {
    const char *text;
    char number[64], *end = number;
    size_t size = value_of(r, name, &text);
    *out = fallback;
    if (size == 0) return TT_OK;
    errno = 0;
    if (number_text(text, size, number)) *out = strtoll(number, &end, 10);
    if (errno == 0 && end != number && !*end && *out >= least && *out <= most) return TT_OK;
    return tt_fail(r->err, TT_E_INVALID,
                   "%s: expected a whole number from %" PRId64 " to %" PRId64 ", found '%.60s'",
                   name, least, most, text);
}

static tt_status read_number(const reader *r, const char *name, double fallback, double most,
                             double *out) {
    const char *text;
    char number[64], *end = number;
    size_t size = value_of(r, name, &text);
    *out = fallback;
    if (size == 0) return TT_OK;
    if (number_text(text, size, number)) *out = strtod(number, &end);
    if (end != number && !*end && *out >= 0 && *out <= most) return TT_OK;
    return tt_fail(r->err, TT_E_INVALID, "%s: expected a number from 0 to %g, found '%.60s'", name,
                   most, text);
}

static bool read_switch(const reader *r, const char *name) {
    static const char *const YES[] = {"true", "1", "yes", "on"};
    const char *text;
    size_t size = value_of(r, name, &text);
    for (size_t i = 0; i < sizeof YES / sizeof *YES; i++)
        if (size == strlen(YES[i]) && strncasecmp(text, YES[i], size) == 0) return true;
    return false;
}

/* ---- who and where ----------------------------------------------------------------------------------------------- */

static tt_status read_random_id(const reader *r, char **out) {
    char id[TT_JOB_ID_BYTES];
    TT_TRY(tt_job_id_new("", id, r->err));
    char *suffix = strrchr(id, '-'); /* "<uuid>-u1" */
    return copy_span(r, "RUNPOD_POD_ID", id, suffix ? (size_t)(suffix - id) : strlen(id), out);
}

static tt_status read_identity(const reader *r, tt_environment *e) {
    e->has_pod_id = is_set(r, "RUNPOD_POD_ID");
    TT_TRY(read_text(r, e->has_pod_id ? "RUNPOD_POD_ID" : "HOSTNAME", "", &e->worker_id));
    if (!e->worker_id[0]) TT_TRY(read_random_id(r, &e->worker_id));
    TT_TRY(read_text(r, "RUNPOD_POD_HOSTNAME", "unknown", &e->hostname));
    TT_TRY(read_text(r, "RUNPOD_ENDPOINT_ID", "", &e->endpoint_id));
    return read_text(r, "RUNPOD_AI_API_KEY", "", &e->api_key);
}

static tt_status read_user_agent(const reader *r, tt_environment *e) {
    struct utsname system = {.sysname = "unknown"};
    uname(&system);
    char *integration = NULL;
    tt_buf text;
    tt_buf_init(&text, TT_MAX_VARIABLE_BYTES);
    tt_status status = read_text(r, "RUNPOD_UA_INTEGRATION", "", &integration);
    if (status == TT_OK)
        status = tt_buf_printf(&text, r->err, "Tintype/%s (%s %s; %s) RunPod-compatible%s%s",
                               TT_VERSION, system.sysname, system.release, system.machine,
                               integration[0] ? " Integration/" : "", integration);
    tt_free(integration);
    if (status == TT_OK)
        status = copy_span(r, "the user agent", text.data, text.size, &e->user_agent);
    tt_buf_release(&text);
    return status;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

/* The reference's defaults are words, not URLs; so is what people leave in a template. */
static tt_status read_url(const reader *r, const char *name, char **out) {
    TT_TRY(read_text(r, name, "", out));
    char *url = *out;
    if (!url[0] || strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
        return TT_OK;
    if (strcmp(url, "PING_NOT_SET") == 0 || strcmp(url, "JOB_DONE_URL") == 0 ||
        strcmp(url, "JOB_STREAM_URL") == 0) {
        url[0] = '\0';
        return TT_OK;
    }
    return tt_fail(r->err, TT_E_INVALID,
                   "%s: expected a URL that begins with http:// or https://, found '%.100s'", name,
                   url);
}

static tt_status read_urls(const reader *r, tt_environment *e) {
    TT_TRY(read_url(r, "RUNPOD_WEBHOOK_GET_JOB", &e->get_job_url));
    TT_TRY(read_url(r, "RUNPOD_WEBHOOK_POST_OUTPUT", &e->post_output_url));
    const char *stream = "RUNPOD_WEBHOOK_POST_STREAM";
    if (!is_set(r, stream)) stream = "RUNPOD_WEBHOOK_JOB_STREAM";
    TT_TRY(read_url(r, stream, &e->post_stream_url));
    return read_url(r, "RUNPOD_WEBHOOK_PING", &e->ping_url);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static tt_status read_logging(const reader *r, tt_environment *e) {
    const char *name = is_set(r, "RUNPOD_LOG_LEVEL") ? "RUNPOD_LOG_LEVEL" : "RUNPOD_DEBUG_LEVEL";
    char *text = NULL;
    e->logs_json = e->endpoint_id[0] != '\0';
    TT_TRY(read_text(r, name, "INFO", &text));
    tt_status status = tt_log_level_parse(text, &e->log_level, r->err);
    tt_free(text);
    return status == TT_OK ? TT_OK : tt_fail_prefix(r->err, status, "%s", name);
}

static tt_status read_bucket(const reader *r, tt_environment *e) {
    bool is_complete = is_set(r, "BUCKET_ENDPOINT_URL") && is_set(r, "BUCKET_ACCESS_KEY_ID") &&
                       is_set(r, "BUCKET_SECRET_ACCESS_KEY");
    TT_TRY(read_text(r, "BUCKET_NAME", "", &e->bucket_name));
    if (!is_complete) {
        TT_TRY(copy_span(r, "", "", 0, &e->bucket_url));
        TT_TRY(copy_span(r, "", "", 0, &e->bucket_key_id));
        return copy_span(r, "", "", 0, &e->bucket_secret);
    }
    TT_TRY(read_url(r, "BUCKET_ENDPOINT_URL", &e->bucket_url));
    TT_TRY(read_text(r, "BUCKET_ACCESS_KEY_ID", "", &e->bucket_key_id));
    return read_text(r, "BUCKET_SECRET_ACCESS_KEY", "", &e->bucket_secret);
}

/* Several users of one machine may run workers: the default carries the user's number. */
static tt_status read_spool(const reader *r, tt_environment *e) {
    char *base = NULL;
    tt_buf path;
    TT_TRY(read_text(r, "TINTYPE_SPOOL_FOLDER", "", &e->spool_folder));
    if (strcasecmp(e->spool_folder, "off") == 0) return copy_span(r, "", "", 0, &e->spool_folder);
    if (e->spool_folder[0]) return TT_OK;
    tt_buf_init(&path, TT_MAX_VARIABLE_BYTES);
    tt_status status = read_text(r, "TMPDIR", "/tmp", &base);
    if (status == TT_OK)
        status = tt_buf_printf(&path, r->err, "%s/tintype-spool-%u", base, (unsigned)geteuid());
    tt_free(base);
    if (status == TT_OK) status = copy_span(r, "TMPDIR", path.data, path.size, &e->spool_folder);
    tt_buf_release(&path);
    return status;
}

static tt_status read_delivery(const reader *r, tt_environment *e) {
    TT_TRY(read_integer(r, "RUNPOD_PING_INTERVAL", DEFAULT_PING_MS, 0, MAX_PING_MS,
                        &e->ping_interval_ms));
    if (e->ping_interval_ms < MIN_PING_MS) e->ping_interval_ms = MIN_PING_MS;
    TT_TRY(read_integer(r, "TINTYPE_MAX_OUTPUT_BYTES", DEFAULT_MAX_OUTPUT_BYTES, 1024,
                        (int64_t)TT_MAX_JOB_OUTPUT_BYTES, &e->max_output_bytes));
    TT_TRY(read_integer(r, "TINTYPE_DELIVERY_PATIENCE_MS", DEFAULT_PATIENCE_MS, 1, MAX_PATIENCE_MS,
                        &e->delivery_patience_ms));
    TT_TRY(read_integer(r, "TINTYPE_RETRY_BASE_MS", DEFAULT_RETRY_MS, 1, DEFAULT_RETRY_MS,
                        &e->retry_base_ms));
    TT_TRY(read_integer(r, "TINTYPE_POLL_TIMEOUT_MS", DEFAULT_POLL_MS, 1, DEFAULT_POLL_MS,
                        &e->poll_timeout_ms));
    TT_TRY(read_bucket(r, e));
    return read_spool(r, e);
}

static tt_status read_fitness(const reader *r, tt_environment *e) {
    e->skips_system_checks = read_switch(r, "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS");
    e->checks_network = read_switch(r, "TINTYPE_CHECK_NETWORK");
    TT_TRY(read_number(r, "RUNPOD_MIN_MEMORY_GB", 4.0, 1e6, &e->min_memory_gb));
    return read_number(r, "RUNPOD_MIN_DISK_PERCENT", 10.0, 100, &e->min_disk_percent);
}

tt_status tt_environment_read(tt_lookup_fn lookup, void *context, tt_environment *out,
                              tt_err *err) {
    const reader r = {lookup, context, err};
    *out = (tt_environment){.log_level = TT_LOG_INFO};
    TT_TRY(read_identity(&r, out));
    TT_TRY(read_logging(&r, out));
    TT_TRY(read_user_agent(&r, out));
    TT_TRY(read_urls(&r, out));
    TT_TRY(read_delivery(&r, out));
    return read_fitness(&r, out);
}

void tt_environment_release(tt_environment *e) {
    tt_free(e->get_job_url);
    tt_free(e->post_output_url);
    tt_free(e->post_stream_url);
    tt_free(e->ping_url);
    tt_free(e->api_key);
    tt_free(e->worker_id);
    tt_free(e->hostname);
    tt_free(e->endpoint_id);
    tt_free(e->user_agent);
    tt_free(e->spool_folder);
    tt_free(e->bucket_url);
    tt_free(e->bucket_key_id);
    tt_free(e->bucket_secret);
    tt_free(e->bucket_name);
    *e = (tt_environment){.log_level = TT_LOG_INFO};
}
