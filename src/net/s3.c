/* See s3.h. Where the object lies is in s3_place.c, the signature in s3_sign.c. Signed are the host, the time, the body's hash
 * and the content type; for a link the query itself. */
#include "net/s3.h"

#include <string.h>

#include "base/limits.h"
#include "net/s3_place.h"
#include "net/s3_sign.h"
#include "net/url.h"

static tt_status check_credentials(const tt_s3_account *a, tt_err *err) {
    if (!a->access_key_id || !a->access_key_id[0])
        return tt_fail(err, TT_E_INVALID, "S3: no access key id");
    if (!a->secret_access_key || !a->secret_access_key[0])
        return tt_fail(err, TT_E_INVALID, "S3: no secret access key");
    for (const char *c = a->access_key_id; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '/' || *c == ',')
            return tt_fail(err, TT_E_INVALID, "S3: the access key id has characters that none has");
    return TT_OK;
}

/* A header's value goes into the signature as it is sent: nothing in it may be trimmed or folded on the way. */
static tt_status check_content_type(const char *type, tt_err *err) {
    size_t size = strlen(type);
    bool is_fine =
        size > 0 && size <= TT_MAX_S3_KEY_BYTES && type[0] != ' ' && type[size - 1] != ' ';
    for (size_t i = 0; i < size && is_fine; i++)
        is_fine = (unsigned char)type[i] >= ' ' && (unsigned char)type[i] < 0x7f &&
                  strncmp(type + i, "  ", 2) != 0;
    if (is_fine) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "S3: expected a content type like image/png, found \"%.80s\"",
                   type);
}

static tt_status begin(const tt_s3_account *account, const char *key, int64_t now_s,
                       tt__s3_signer *s, tt__s3_place *place, tt_err *err) {
    TT_TRY(check_credentials(account, err));
    TT_TRY(tt__s3_time(now_s, s->time, err));
    TT_TRY(tt__s3_place_init(account, key, place, err));
    s->access_key_id = account->access_key_id;
    s->secret_access_key = account->secret_access_key;
    s->region = place->region;
    return TT_OK;
}

/* ---- PUT --------------------------------------------------------------------------------------------------------- */

/* URL and headers behind each other, each with its NUL; their places are found afterwards, when the text moves no more. */
static tt_status write_put(const tt__s3_signer *s, const tt__s3_place *place,
                           const tt__s3_call *call, tt_buf *out, tt_err *err) {
    char signature[TT__S3_HEX_BYTES];
    TT_TRY(tt__s3_signature(s, call, signature, err));
    TT_TRY(tt_buf_printf(out, err, "%s://%s%s", place->scheme, place->host, place->path.data));
    for (int i = 0; i < call->n_headers; i++) {
        if (strcmp(call->headers[i].name, "host") == 0) continue; /* the client writes it */
        TT_TRY(tt_buf_append(out, "", 1, err));
        TT_TRY(tt_buf_printf(out, err, "%s: %s", call->headers[i].name, call->headers[i].value));
    }
    TT_TRY(tt_buf_append(out, "", 1, err));
    TT_TRY(tt_buf_printf(out, err, "Authorization: AWS4-HMAC-SHA256 Credential=%s/",
                         s->access_key_id));
    TT_TRY(tt__s3_append_scope(s, out, err));
    TT_TRY(tt_buf_puts(out, ",SignedHeaders=", err));
    TT_TRY(tt__s3_append_names(call, out, err));
    return tt_buf_printf(out, err, ",Signature=%s", signature);
}

static void find_parts(tt_s3_put *put) {
    const char *text = put->text.data;
    put->url = text;
    for (int i = 0; i < TT_S3_HEADERS; i++) put->headers[i] = text += strlen(text) + 1;
    put->headers[TT_S3_HEADERS] = NULL;
}

tt_status tt_s3_sign_put(const tt_s3_account *account, const char *key, const char *content_type,
                         const void *body, size_t body_bytes, int64_t now_s, tt_s3_put *out,
                         tt_err *err) {
    tt__s3_signer s;
    tt__s3_place place;
    char hash[TT__S3_HEX_BYTES];
    *out = (tt_s3_put){.url = NULL};
    tt_buf_init(&out->text, 4 * TT_MAX_URL_BYTES);
    TT_TRY(check_content_type(content_type, err));
    TT_TRY(tt__s3_sha256(body, body_bytes, hash, err));
    TT_TRY(begin(account, key, now_s, &s, &place, err));
    const tt__s3_header headers[] = {{"content-type", content_type},
                                     {"host", place.host},
                                     {"x-amz-content-sha256", hash},
                                     {"x-amz-date", s.time}};
    tt__s3_call call = {"PUT", place.path.data, "", headers, 4, hash};
    tt_status status = write_put(&s, &place, &call, &out->text, err);
    tt__s3_place_release(&place);
    if (status == TT_OK)
        find_parts(out);
    else
        tt_s3_put_release(out);
    return status;
}

void tt_s3_put_release(tt_s3_put *put) {
    tt_buf_release(&put->text);
    *put = (tt_s3_put){.text = put->text};
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

/* In the order that signing asks for, which is that of the alphabet. */
static tt_status write_query(const tt__s3_signer *s, int64_t expires_s, tt_buf *out, tt_err *err) {
    tt_buf scope;
    tt_buf_init(&scope, TT_MAX_URL_BYTES);
    tt_status status = TT_OK;
    TT_TRY_OUT(tt_buf_printf(&scope, err, "%s/", s->access_key_id));
    TT_TRY_OUT(tt__s3_append_scope(s, &scope, err));
    TT_TRY_OUT(tt_buf_puts(out, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=", err));
    TT_TRY_OUT(tt_url_append_encoded(out, scope.data, err));
    TT_TRY_OUT(tt_buf_printf(out, err, "&X-Amz-Date=%s&X-Amz-Expires=%lld&X-Amz-SignedHeaders=host",
                             s->time, (long long)expires_s));
out:
    tt_buf_release(&scope);
    return status;
}

static tt_status write_link(const tt__s3_signer *s, const tt__s3_place *place, int64_t expires_s,
                            tt_buf *query, tt_buf *url, tt_err *err) {
    char signature[TT__S3_HEX_BYTES];
    TT_TRY(write_query(s, expires_s, query, err));
    const tt__s3_header host = {"host", place->host};
    tt__s3_call call = {"GET", place->path.data, query->data, &host, 1, "UNSIGNED-PAYLOAD"};
    TT_TRY(tt__s3_signature(s, &call, signature, err));
    return tt_buf_printf(url, err, "%s://%s%s?%s&X-Amz-Signature=%s", place->scheme, place->host,
                         place->path.data, query->data, signature);
}

tt_status tt_s3_append_link(const tt_s3_account *account, const char *key, int64_t expires_s,
                            int64_t now_s, tt_buf *url, tt_err *err) {
    tt__s3_signer s;
    tt__s3_place place;
    tt_buf query;
    if (expires_s < 1 || expires_s > TT_S3_MAX_EXPIRES_S)
        return tt_fail(err, TT_E_INVALID, "S3 link: expected 1 to %d s, found %lld",
                       TT_S3_MAX_EXPIRES_S, (long long)expires_s);
    TT_TRY(begin(account, key, now_s, &s, &place, err));
    tt_buf_init(&query, TT_MAX_URL_BYTES);
    tt_status status = write_link(&s, &place, expires_s, &query, url, err);
    tt_buf_release(&query);
    tt__s3_place_release(&place);
    return status;
}
