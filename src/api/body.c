/* See body.h. The text is walked once for its members; trees are made only of the small ones that are ours to judge. */
#include "api/body.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "job/queue.h"
#include "net/url.h"

typedef struct member {
    const char *name; /* raw, without quotes */
    size_t name_size;
    const char *value;
    size_t value_size;
} member;

/* Room for the longest name that is ours, "webhook"; written with escapes it has 42 bytes. */
enum { NAME_BYTES = 8, MAX_RAW_NAME_BYTES = 42 };

/* The name as it is meant ("\u0069d" is "id"), or "" when it cannot be one of ours. */
static tt_status decode_name(const member *m, char out[NAME_BYTES], tt_err *err) {
    json_object *decoded = NULL;
    out[0] = '\0';
    if (m->name_size > MAX_RAW_NAME_BYTES) return TT_OK;
    if (!memchr(m->name, '\\', m->name_size)) {
        if (m->name_size < NAME_BYTES)
            snprintf(out, NAME_BYTES, "%.*s", (int)m->name_size, m->name);
        return TT_OK;
    }
    TT_TRY(tt_json_parse(m->name - 1, m->name_size + 2, &decoded, err));
    const char *name = json_object_get_string(decoded); /* the reader refuses NULs in names */
    if (strlen(name) < NAME_BYTES) snprintf(out, NAME_BYTES, "%s", name);
    json_object_put(decoded);
    return TT_OK;
}

/* ---- policy ------------------------------------------------------------------------------------------------------ */

static tt_status read_ms(json_object *policy, const char *name, int64_t minimum, int64_t *out,
                         tt_err *err) {
    json_object *value = NULL;
    tt_err local;
    if (!json_object_object_get_ex(policy, name, &value) || !value) return TT_OK;
    int64_t ms = 0;
    if (tt_json_get_i64(policy, name, &ms, &local) != TT_OK || ms < minimum ||
        ms > TT_JOB_MAX_POLICY_MS)
        return tt_fail(
            err, TT_E_INVALID,
            "policy.%s: expected whole milliseconds from %" PRId64 " to %" PRId64 ", found %.64s",
            name, minimum, (int64_t)TT_JOB_MAX_POLICY_MS, json_object_to_json_string(value));
    *out = ms;
    return TT_OK;
}

static tt_status read_policy_tree(json_object *policy, tt__body *body, tt_err *err) {
    json_object *low = NULL;
    if (!policy) return TT_OK;
    if (!json_object_is_type(policy, json_type_object))
        return tt_fail(err, TT_E_INVALID, "policy: expected an object, found %s",
                       tt_json_type_name(policy));
    TT_TRY(read_ms(policy, "executionTimeout", TT_JOB_MIN_EXECUTION_MS, &body->execution_timeout_ms,
                   err));
    TT_TRY(read_ms(policy, "ttl", TT_JOB_MIN_TTL_MS, &body->ttl_ms, err));
    if (json_object_object_get_ex(policy, "lowPriority", &low) && low &&
        !json_object_is_type(low, json_type_boolean))
        return tt_fail(err, TT_E_INVALID, "policy.lowPriority: expected true or false, found %s",
                       tt_json_type_name(low));
    return TT_OK;
}

/* A member's value as a tree, with its size bounded: ours are a few dozen bytes. */
static tt_status parse_small(const member *m, const char *name, json_object **out, tt_err *err) {
    if (m->value_size > TT_MAX_JOB_MEMBER_BYTES)
        return tt_fail(err, TT_E_INVALID, "%s: expected at most %zu bytes, found %zu", name,
                       TT_MAX_JOB_MEMBER_BYTES, m->value_size);
    return tt_json_parse(m->value, m->value_size, out, err);
}

static tt_status read_policy(const member *m, tt__body *body, tt_err *err) {
    json_object *policy = NULL;
    TT_TRY(parse_small(m, "policy", &policy, err));
    tt_status status = read_policy_tree(policy, body, err);
    json_object_put(policy);
    return status;
}

/* ---- webhook ----------------------------------------------------------------------------------------------------- */

static tt_status read_webhook_tree(json_object *value, tt__body *body, tt_err *err) {
    if (!value) return TT_OK;
    if (!json_object_is_type(value, json_type_string))
        return tt_fail(err, TT_E_INVALID, "webhook: expected a URL, found %s",
                       tt_json_type_name(value));
    const char *url = json_object_get_string(value);
    if (!url[0]) return TT_OK; /* what form libraries send for "none" */
    if (strlen(url) != (size_t)json_object_get_string_len(value))
        return tt_fail(err, TT_E_INVALID, "webhook: expected a URL, found a NUL inside");
    tt_status status = tt_url_check(url, err);
    if (status != TT_OK) return tt_fail_prefix(err, status, "webhook");
    body->webhook = tt_strdup(url);
    return body->webhook ? TT_OK : tt_fail_nomem(err, "webhook", strlen(url) + 1);
}

static tt_status read_webhook(const member *m, tt__body *body, tt_err *err) {
    json_object *value = NULL;
    TT_TRY(parse_small(m, "webhook", &value, err));
    tt_status status = read_webhook_tree(value, body, err);
    json_object_put(value);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

typedef struct gap { /* of the client's own id: text[from, to) goes, with its comma */
    const char *from, *to;
} gap;

/* {"id": "<id>", <the members as they came>} */
static tt_status write_envelope(const char *open, const char *close, gap cut, const char *id,
                                tt_blob **out, tt_err *err) {
    tt_buf b;
    tt_buf_init(&b, TT_MAX_JSON_BYTES);
    tt_status status = TT_OK;
    TT_TRY_OUT(tt_buf_puts(&b, "{\"id\": ", err));
    TT_TRY_OUT(tt_json_append_string(&b, id, strlen(id), err));
    TT_TRY_OUT(tt_buf_puts(&b, ", ", err));
    TT_TRY_OUT(tt_buf_append(&b, open + 1, (size_t)(cut.from - open - 1), err));
    TT_TRY_OUT(tt_buf_append(&b, cut.to, (size_t)(close + 1 - cut.to), err));
    TT_TRY_OUT(tt_blob_take(&b, out, err));
out:
    tt_buf_release(&b);
    return status;
}

/* Judges the members that are ours, and finds the cut: up to the next member when there is one, else from the end of the
 * one before (there is one: input). */
static tt_status walk(const char *text, size_t size, tt__body *body, gap *cut, bool *has_input,
                      tt_err *err) {
    size_t at = 0;
    member m;
    const char *previous_end = NULL;
    bool is_cut_open = false;
    while (tt_json_next_member(text, size, &at, &m.name, &m.name_size, &m.value, &m.value_size)) {
        char name[NAME_BYTES];
        TT_TRY(decode_name(&m, name, err));
        if (is_cut_open) cut->to = m.name - 1, is_cut_open = false;
        if (strcmp(name, "input") == 0) *has_input = true;
        if (strcmp(name, "policy") == 0) TT_TRY(read_policy(&m, body, err));
        if (strcmp(name, "webhook") == 0) TT_TRY(read_webhook(&m, body, err));
        if (strcmp(name, "id") == 0)
            *cut = (gap){m.name - 1, m.value + m.value_size}, is_cut_open = true;
        else
            previous_end = m.value + m.value_size;
    }
    if (is_cut_open && previous_end) cut->from = previous_end;
    return TT_OK;
}

/* The first byte that is no space, from either end; the text is a checked JSON value, so there is one. */
static const char *skip_space(const char *at, int step) {
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') at += step;
    return at;
}

static tt_status check_is_object(const char *text, size_t size, tt_err *err) {
    if (size == 0)
        return tt_fail(err, TT_E_INVALID, "the body is empty: expected {\"input\": ...}");
    tt_status status = tt_json_check(text, size, TT_MAX_JSON_BYTES - TT_JOB_ID_BYTES, err);
    if (status != TT_OK) return tt_fail_prefix(err, status, "body");
    if (*skip_space(text, 1) != '{')
        return tt_fail(err, TT_E_INVALID, "the body must be a JSON object: {\"input\": ...}");
    return TT_OK;
}

tt_status tt__body_read(const char *text, size_t size, const char *id, tt__body *body,
                        tt_err *err) {
    body->envelope = NULL;
    body->webhook = NULL;
    TT_TRY(check_is_object(text, size, err));
    const char *open = skip_space(text, 1), *close = skip_space(text + size - 1, -1);
    gap cut = {close, close};
    bool has_input = false;
    TT_TRY(walk(text, size, body, &cut, &has_input, err));
    if (!has_input)
        return tt_fail(err, TT_E_INVALID, "the body has no input: expected {\"input\": ...}");
    return write_envelope(open, close, cut, id, &body->envelope, err);
}

void tt__body_release(tt__body *body) {
    tt_blob_release(body->envelope);
    tt_free(body->webhook);
    *body = (tt__body){.envelope = NULL};
}
