/* See reference.h. Which form a text has is decided by how it begins; each form then has to be right to its last byte. */
#include "store/reference.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "net/url.h"
#include "store/reference_parts.h"

static bool begins_with(const char *text, const char *word) {
    size_t n = strlen(word);
    return strlen(text) >= n && tt__span_is_anycase(tt__span_of(text, n), word);
}

static bool ends_with(const char *text, const char *word) {
    size_t n = strlen(text), m = strlen(word);
    return n >= m && tt__span_is_anycase(tt__span_of(text + n - m, m), word);
}

/* ---- what all have in common ------------------------------------------------------------------------------------- */

static tt_status check_text(const char *text, size_t size, tt_err *err) {
    size_t bad_at;
    if (size == 0) return tt_fail(err, TT_E_INVALID, "a model's reference is empty");
    if (size >= TT_REFERENCE_BYTES)
        return tt_fail(err, TT_E_INVALID, "a model's reference has %zu bytes, at most %d", size,
                       TT_REFERENCE_BYTES - 1);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at,
                          "a model's reference is not UTF-8 at byte %zu", bad_at);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return tt_fail_at(err, TT_E_INVALID, (int64_t)i,
                              "a model's reference has a control character at byte %zu", i);
    return TT_OK;
}

/* ---- the simple forms -------------------------------------------------------------------------------------------- */

static tt_status read_digest(const char *hex, tt_reference *out, tt_err *err) {
    out->type = TT_REF_DIGEST;
    if (!tt_digest_parse(hex, strlen(hex), out->digest))
        return tt_fail(err, TT_E_INVALID,
                       "sha256: expected 64 hexadecimal digits, found %zu characters", strlen(hex));
    snprintf(out->identity, sizeof out->identity, "sha256:%s", out->digest);
    return TT_OK;
}

static tt_status read_path(const char *text, tt_reference *out, tt_err *err) {
    out->type = TT_REF_PATH;
    if (begins_with(text, "~") && text[1] != '/')
        return tt_fail(err, TT_E_INVALID, "path %s: only ~/ is understood, not other homes", text);
    memcpy(out->path, text, strlen(text) + 1);
    memcpy(out->identity, text, strlen(text) + 1);
    return TT_OK;
}

static bool is_bucket_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

static bool is_bucket(const char *name) {
    enum { LEAST = 3, MOST = 63 }; /* Amazon's rule */
    size_t n = strlen(name);
    bool is_good = n >= LEAST && n <= MOST && !strstr(name, "..");
    for (size_t i = 0; i < n; i++) is_good = is_good && is_bucket_letter(name[i]);
    return is_good && name[0] != '.' && name[0] != '-';
}

/* No part may be "." or "..": services resolve them, each in its way. */
static bool has_dot_part(const char *path) {
    tt__span rest = tt__span_of(path, strlen(path));
    while (rest.at) {
        tt__span part = tt__span_cut(rest, '/', &rest);
        if (tt__span_is(part, ".") || tt__span_is(part, "..")) return true;
    }
    return false;
}

static tt_status read_s3(const char *text, tt_reference *out, tt_err *err) {
    tt__span key, bucket = tt__span_cut(tt__span_of(text, strlen(text)), '/', &key);
    out->type = TT_REF_S3;
    if (!tt__span_copy(bucket, out->bucket, sizeof out->bucket) || !is_bucket(out->bucket))
        return tt_fail(err, TT_E_INVALID,
                       "s3://: the bucket's name must have 3 to 63 small letters, digits, dots and "
                       "dashes");
    if (!key.at || key.n == 0 || !tt__span_copy(key, out->path, sizeof out->path))
        return tt_fail(err, TT_E_INVALID, "s3://%s: the object's key is missing", out->bucket);
    if (has_dot_part(out->path))
        return tt_fail(err, TT_E_INVALID, "s3://%s: the key has a part that is . or ..",
                       out->bucket);
    snprintf(out->identity, sizeof out->identity, "s3://%s/%.*s", out->bucket,
             TT_REFERENCE_BYTES - 128, out->path);
    return TT_OK;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

/* Parameters that open a door or were made to: not kept. */
static bool is_secret(tt__span name) {
    static const char *const words[] = {
        "token",  "access_token",  "key",       "apikey",     "api_key",       "api-key",
        "auth",   "authorization", "signature", "sig",        "password",      "secret",
        "policy", "key-pair-id",   "expires",   "credential", "awsaccesskeyid"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (tt__span_is_anycase(name, words[i])) return true;
    return name.n > 6 && tt__span_is_anycase(tt__span_of(name.at, 6), "x-amz-");
}

/* Appends the query without its secrets. */
static void append_query(tt__span query, char *out, size_t size) {
    char separator = '?';
    while (query.at && query.n > 0) {
        tt__span rest, one = tt__span_cut(query, '&', &rest), value;
        tt__span name = tt__span_cut(one, '=', &value);
        query = rest;
        if (one.n == 0 || is_secret(name)) continue;
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%c%.*s", separator, (int)one.n, one.at);
        separator = '&';
    }
}

static tt_status read_pin(tt__span fragment, tt_reference *out, tt_err *err) {
    static const char prefix[] = "sha256=";
    size_t n = sizeof prefix - 1;
    if (!fragment.at || fragment.n == 0) return TT_OK;
    if (fragment.n > n && tt__span_is_anycase(tt__span_of(fragment.at, n), prefix) &&
        tt_digest_parse(fragment.at + n, fragment.n - n, out->digest))
        return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "URL: behind # only sha256= with 64 hexadecimal digits is understood");
}

static tt_status read_plain_url(const tt__url *url, tt_reference *out, tt_err *err) {
    char origin[320], port[16] = "";
    out->type = TT_REF_URL;
    if (url->path.n <= 1)
        return tt_fail(err, TT_E_INVALID, "URL: a path to a file is missing behind %s", url->host);
    if (url->port) snprintf(port, sizeof port, ":%d", url->port);
    snprintf(origin, sizeof origin, "%s://%s%s", url->is_https ? "https" : "http", url->host, port);
    TT_TRY(read_pin(url->fragment, out, err));
    snprintf(out->path, sizeof out->path, "%s%.*s%s%.*s", origin, (int)url->path.n, url->path.at,
             url->query.n ? "?" : "", (int)url->query.n, url->query.n ? url->query.at : "");
    snprintf(out->identity, sizeof out->identity, "%s%.*s", origin, (int)url->path.n, url->path.at);
    append_query(url->query, out->identity, sizeof out->identity);
    return TT_OK;
}

/* The pin is part of the identity: other bytes under the same URL are another thing. */
static void append_pin(tt_reference *out) {
    size_t used = strlen(out->identity);
    if (out->digest[0])
        snprintf(out->identity + used, sizeof out->identity - used, "#sha256=%s", out->digest);
}

static tt_status read_url(const char *text, tt_reference *out, tt_err *err) {
    static const char *const civitai[] = {"civitai.com", "civitai.red", "civitai.green"};
    static const char *const hf[] = {"huggingface.co", "hf.co"};
    tt__url url;
    TT_TRY(tt__url_read(text, &url, err));
    for (size_t i = 0; i < sizeof civitai / sizeof *civitai; i++)
        if (tt__host_is_of(url.host, civitai[i])) return tt__reference_civitai_url(&url, out, err);
    for (size_t i = 0; i < sizeof hf / sizeof *hf; i++)
        if (strcmp(url.host, hf[i]) == 0) return tt__reference_hf_url(&url, out, err);
    TT_TRY(read_plain_url(&url, out, err));
    append_pin(out);
    return TT_OK;
}

/* ---- which form it is -------------------------------------------------------------------------------------------- */

static tt_status read_word(const char *text, tt_reference *out, tt_err *err) {
    int64_t number;
    tt__span all = tt__span_of(text, strlen(text));
    if (strspn(text, "0123456789") == all.n && tt__span_number(all, INT32_MAX, &number))
        return tt__reference_civitai(all, out, err);
    if (strpbrk(text, ":\\*?\"<>|") || all.n >= TT_MODEL_NAME_BYTES || text[0] == '-')
        return tt_fail(err, TT_E_INVALID,
                       "model \"%.100s\": neither a file, a name nor a reference; \"tintype pull "
                       "--help\" lists the forms",
                       text);
    out->type = TT_REF_NAME;
    memcpy(out->path, text, all.n + 1);
    memcpy(out->identity, text, all.n + 1);
    return TT_OK;
}

static bool is_air(const char *text) {
    return begins_with(text, "urn:") || begins_with(text, "air:") || strstr(text, ":civitai:") ||
           strstr(text, ":huggingface:");
}

static tt_status read_scheme(const char *text, tt_reference *out, tt_err *err) {
    if (begins_with(text, "https://") || begins_with(text, "http://"))
        return read_url(text, out, err);
    if (begins_with(text, "hf://"))
        return tt__reference_hf(tt__span_of(text + 5, strlen(text) - 5), out, err);
    if (begins_with(text, "s3://")) return read_s3(text + 5, out, err);
    return tt_fail(err, TT_E_INVALID, "model \"%.*s://...\": expected https://, hf:// or s3://",
                   (int)strcspn(text, ":") > 32 ? 32 : (int)strcspn(text, ":"), text);
}

static bool is_path(const char *text) {
    return text[0] == '/' || text[0] == '.' || text[0] == '~' || strchr(text, '/') ||
           ends_with(text, ".safetensors");
}

static tt_status read_form(const char *text, tt_reference *out, tt_err *err) {
    size_t n = strlen(text);
    if (text[0] == '/' || text[0] == '.' || text[0] == '~') return read_path(text, out, err);
    if (strstr(text, "://")) return read_scheme(text, out, err);
    if (begins_with(text, "sha256:")) return read_digest(text + 7, out, err);
    if (begins_with(text, "civitai:"))
        return tt__reference_civitai(tt__span_of(text + 8, n - 8), out, err);
    if (begins_with(text, "huggingface:") || is_air(text))
        return tt__reference_air(tt__span_of(text, n), out, err);
    return is_path(text) ? read_path(text, out, err) : read_word(text, out, err);
}

tt_status tt_reference_parse(const char *text, tt_reference *out, tt_err *err) {
    char trimmed[TT_REFERENCE_BYTES];
    *out = (tt_reference){0};
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') text++;
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\n\r", text[size - 1])) size--; /* pasted with its line's end */
    TT_TRY(check_text(text, size, err));
    memcpy(trimmed, text, size);
    trimmed[size] = '\0';
    tt_status status = read_form(trimmed, out, err);
    if (status != TT_OK) *out = (tt_reference){0};
    return status;
}
