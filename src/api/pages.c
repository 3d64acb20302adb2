/* What people and monitors read: the playground, /docs, /openapi.json, /metrics, /ready. Nothing in these pages comes from a
 * request, and their policies forbid every script but the playground's own. */
#include <string.h>

#include "api/answer.h"
#include "api/describe.h"
#include "api/metrics.h"
#include "api/page.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"

#define HTML "text/html; charset=utf-8"

static const char docs_policy[] = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                                  "form-action 'none'; frame-ancestors 'none'";
static const char playground_policy[] =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob: 'self'; connect-src "
    "'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/* Without them the page is not given: they are what makes it safe. */
static tt_status add_page_headers(const tt__call *call, const char *policy, tt_err *err) {
    TT_TRY(tt_http_add_header(call->x, "Content-Security-Policy", policy, err));
    TT_TRY(tt_http_add_header(call->x, "X-Content-Type-Options", "nosniff", err));
    TT_TRY(tt_http_add_header(call->x, "Referrer-Policy", "no-referrer", err));
    return tt_http_add_header(call->x, "Cache-Control", "no-cache", err);
}

static void reply_page(const tt__call *call, const char *policy, const char *html, size_t size) {
    tt_err err;
    if (add_page_headers(call, policy, &err) == TT_OK)
        tt__reply(call, 200, HTML, html, size);
    else
        tt__reply_failure(call, &err);
}

void tt__handle_playground(const tt__call *call) {
    size_t size;
    const char *html = tt__playground_html(&size);
    reply_page(call, call->api->playground_policy, html, size);
}

void tt__handle_docs(const tt__call *call) {
    reply_page(call, docs_policy, call->api->docs->data, call->api->docs->size);
}

void tt__handle_openapi(const tt__call *call) {
    tt_blob *text = tt_blob_hold(call->api->openapi);
    tt__count(call, 200);
    tt_http_reply_blobs(call->x, 200, "application/json", &text, 1);
}

/* ---- made once --------------------------------------------------------------------------------------------------- */

static tt_status take_text(tt_status status, tt_buf *b, tt_blob **out, tt_err *err) {
    if (status == TT_OK) status = tt_blob_take(b, out, err);
    tt_buf_release(b);
    return status;
}

static tt_status make_policy(char **out, tt_err *err) {
    size_t size;
    tt_buf b;
    const char *html = tt__playground_html(&size);
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    tt_status status = tt__page_policy(html, size, playground_policy, &b, err);
    if (status == TT_OK && !(*out = tt_strdup(b.data)))
        status = tt_fail_nomem(err, "page policy", b.size);
    tt_buf_release(&b);
    return status;
}

static tt_status make_texts(tt_api *api, const tt__about *about, tt_err *err) {
    tt_buf b;
    tt_buf_init(&b, TT_MAX_OWN_TEXT_BYTES);
    TT_TRY(take_text(tt__docs_write(about, &b, err), &b, &api->docs, err));
    tt_buf_init(&b, TT_MAX_OWN_TEXT_BYTES);
    return take_text(tt__openapi_write(about, &b, err), &b, &api->openapi, err);
}

tt_status tt__pages_make(tt_api *api, const char *schema_text, tt_err *err) {
    tt__about about = {api->title, api->version, NULL, api->has_key};
    TT_TRY(make_policy(&api->playground_policy, err));
    tt_status status = TT_OK;
    if (schema_text) status = tt_json_parse(schema_text, strlen(schema_text), &about.schema, err);
    if (status == TT_OK && schema_text && !json_object_is_type(about.schema, json_type_object))
        status = tt_fail(err, TT_E_INVALID, "input schema: expected an object, found %s",
                         tt_json_type_name(about.schema));
    if (status == TT_OK) status = make_texts(api, &about, err);
    json_object_put(about.schema);
    return status;
}

/* ---- monitors ---------------------------------------------------------------------------------------------------- */

static bool wants_openmetrics(const tt__call *call) {
    const char *accept = tt_http_header(call->x, "Accept");
    return accept && strstr(accept, "application/openmetrics-text");
}

void tt__handle_metrics(const tt__call *call) {
    tt_buf open, plain;
    tt_err err;
    bool is_open = wants_openmetrics(call);
    tt_buf_init(&open, TT_MAX_OWN_TEXT_BYTES);
    tt_buf_init(&plain, TT_MAX_OWN_TEXT_BYTES);
    tt_status status = tt__metrics_write(call->api, &open, &err);
    if (status == TT_OK && !is_open)
        status = tt__metrics_to_plain(open.data, open.size, &plain, &err);
    if (status != TT_OK)
        tt__reply_failure(call, &err);
    else if (is_open)
        tt__reply(call, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8",
                  open.data, open.size);
    else
        tt__reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", plain.data, plain.size);
    tt_buf_release(&open);
    tt_buf_release(&plain);
}

void tt__handle_ready(const tt__call *call) {
    static const char yes[] = "{\"ready\": true}";
    const tt_api_options *options = &call->api->options;
    char reason[256] = "the server is shutting down";
    tt_buf b;
    tt_err err, why;
    if (!atomic_load(&call->api->is_closing) &&
        (!options->is_ready || options->is_ready(options->context, reason))) {
        tt__reply(call, 200, "application/json", yes, sizeof yes - 1);
        return;
    }
    tt_buf_init(&b, TT_MAX_ANSWER_HEAD_BYTES);
    (void)tt_fail(&why, TT_E_INTERNAL, "%s", reason); /* makes it UTF-8 */
    tt_status status = tt_buf_puts(&b, "{\"ready\": false, \"reason\": ", &err);
    if (status == TT_OK) status = tt_json_append_string(&b, why.message, strlen(why.message), &err);
    if (status == TT_OK) status = tt_buf_puts(&b, "}", &err);
    if (status == TT_OK)
        tt__reply(call, 503, "application/json", b.data, b.size);
    else
        tt__reply_failure(call, &err);
    tt_buf_release(&b);
}
