/* Bodies and headers of wire.h. The spaces are those of Python's json.dumps: whoever compares bytes sees no difference from
 * the reference. */
#include "worker/wire.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "worker/error_report.h"

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static void add_bytes(tt_wire_body *body, const char *bytes, size_t size) {
    body->pieces[body->n_pieces++] = (tt_http_piece){bytes, size};
    body->size_bytes += size;
}

static void add_text(tt_wire_body *body, const char *text) {
    add_bytes(body, text, strlen(text));
}

static void add_blob(tt_wire_body *body, tt_blob *blob) {
    body->blobs[body->n_blobs++] = tt_blob_hold(blob);
    add_bytes(body, blob->data, blob->size);
}

void tt_wire_final(tt_wire_body *body, const tt_final *final) {
    bool has_member = final->output || final->error;
    *body = (tt_wire_body){.n_pieces = 0};
    if (final->output) {
        add_text(body, "{\"output\": ");
        add_blob(body, final->output);
    }
    if (final->error) {
        add_text(body, final->output ? ", \"error\": " : "{\"error\": ");
        add_blob(body, final->error);
    }
    if (!has_member)
        add_text(body, final->stops_pod ? "{\"stopPod\": true}" : "{}");
    else
        add_text(body, final->stops_pod ? ", \"stopPod\": true}" : "}");
}

void tt_wire_progress(tt_wire_body *body, tt_blob *value) {
    *body = (tt_wire_body){.n_pieces = 0};
    add_text(body, "{\"status\": \"IN_PROGRESS\", \"output\": ");
    add_blob(body, value);
    add_text(body, "}");
}

void tt_wire_chunk(tt_wire_body *body, tt_blob *chunk) {
    *body = (tt_wire_body){.n_pieces = 0};
    add_text(body, "{\"output\": ");
    add_blob(body, chunk);
    add_text(body, "}");
}

void tt_wire_whole(tt_wire_body *body, tt_blob *bytes) {
    *body = (tt_wire_body){.n_pieces = 0};
    add_blob(body, bytes);
}

void tt_wire_text(tt_wire_body *body, const char *text) {
    *body = (tt_wire_body){.n_pieces = 0};
    add_text(body, text);
}

/* The buffer becomes a blob of which `final` is made; the body alone holds it then. */
static tt_status finish_small(tt_wire_body *body, tt_buf *value, bool is_error, tt_final final,
                              tt_status status, tt_err *err) {
    tt_blob *blob = NULL;
    *body = (tt_wire_body){.n_pieces = 0};
    if (status == TT_OK) status = tt_blob_take(value, &blob, err);
    tt_buf_release(value);
    if (status != TT_OK) return status;
    final.output = is_error ? NULL : blob;
    final.error = is_error ? blob : NULL;
    tt_wire_final(body, &final);
    tt_blob_release(blob);
    return TT_OK;
}

tt_status tt_wire_error(tt_wire_body *body, const char *sentence, bool stops_pod, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MIB);
    tt_status status = tt_error_text_append(&text, sentence, err);
    return finish_small(body, &text, true, (tt_final){.stops_pod = stops_pod}, status, err);
}

static tt_status write_link(tt_buf *text, const char *url, size_t size_bytes, tt_err *err) {
    TT_TRY(tt_buf_puts(text, "{\"url\": ", err));
    TT_TRY(tt_json_append_string(text, url, strlen(url), err));
    return tt_buf_printf(
        text, err, ", \"size_bytes\": %zu, \"content_type\": \"application/json\"}", size_bytes);
}

tt_status tt_wire_link(tt_wire_body *body, const char *url, size_t size_bytes,
                       const tt_final *final, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_URL_BYTES);
    tt_status status = write_link(&text, url, size_bytes, err);
    return finish_small(body, &text, false, *final, status, err);
}

void tt_wire_release(tt_wire_body *body) {
    for (int i = 0; i < body->n_blobs; i++) tt_blob_release(body->blobs[i]);
    *body = (tt_wire_body){.n_pieces = 0};
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

/* libcurl adds Host, Accept and Content-Length itself. */
static const char ENCODINGS[] = "Accept-Encoding: gzip, deflate";

static tt_status make_line(const char *name, const char *value, char **out, tt_err *err) {
    tt_buf line;
    tt_buf_init(&line, 2 * TT_MAX_VARIABLE_BYTES);
    tt_status status = tt_buf_printf(&line, err, "%s: %s", name, value);
    if (status == TT_OK && !(*out = tt_strdup(line.data)))
        status = tt_fail_nomem(err, name, line.size + 1);
    tt_buf_release(&line);
    return status;
}

static void fill(const char **lines, const char *const *from, int n) {
    int at = 0;
    for (int i = 0; i < n; i++)
        if (from[i]) lines[at++] = from[i];
    lines[at] = NULL;
}

tt_status tt_wire_headers_init(tt_wire_headers *h, const tt_environment *e, tt_err *err) {
    *h = (tt_wire_headers){.authorization = NULL};
    if (e->api_key[0]) TT_TRY(make_line("Authorization", e->api_key, &h->authorization, err));
    TT_TRY(make_line("User-Agent", e->user_agent, &h->user_agent, err));
    const char *get[] = {"Content-Type: application/json", h->authorization, h->user_agent,
                         ENCODINGS};
    fill(h->get, get, 4);
    const char *ping[] = {h->user_agent, ENCODINGS, "Connection: keep-alive", h->authorization};
    fill(h->ping, ping, 4);
    return TT_OK;
}

void tt_wire_headers_release(tt_wire_headers *h) {
    tt_free(h->authorization);
    tt_free(h->user_agent);
    *h = (tt_wire_headers){.authorization = NULL};
}

void tt_wire_post_headers_fill(const tt_wire_headers *h, const char *job_id,
                               tt_wire_post_headers *out) {
    *out = (tt_wire_post_headers){.lines = {NULL}};
    snprintf(out->request_id, sizeof out->request_id, "X-Request-ID: %s", job_id);
    const char *lines[] = {"Content-Type: application/x-www-form-urlencoded",
                           "charset: utf-8",
                           out->request_id,
                           h->authorization,
                           h->user_agent,
                           ENCODINGS};
    fill(out->lines, lines, 6);
}
