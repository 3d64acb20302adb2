/* See s3_sign.h. What is signed, in two steps:
 *
 *   canonical request                string to sign
 *     PUT                              AWS4-HMAC-SHA256
 *     /path                            20130524T000000Z
 *     query                            20130524/us-east-1/s3/aws4_request
 *     name:value (each header)         SHA-256 of the canonical request
 *     (empty line)
 *     name;name
 *     SHA-256 of the body
 *
 * with the key HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), "s3"), "aws4_request"). */
#include "net/s3_sign.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/limits.h"

enum { SHA256_BYTES = 32 };

tt_status tt__s3_time(int64_t now_s, char out[TT__S3_TIME_BYTES], tt_err *err) {
    static const int64_t END_OF_9999_S = 253402300799;
    time_t now = (time_t)now_s;
    struct tm t;
    if (now_s < 0 || now_s > END_OF_9999_S || !gmtime_r(&now, &t))
        return tt_fail(err, TT_E_INVALID, "S3: the clock says %lld s since 1970", (long long)now_s);
    strftime(out, TT__S3_TIME_BYTES, "%Y%m%dT%H%M%SZ", &t);
    return TT_OK;
}

static void to_hex(const unsigned char *bytes, char out[TT__S3_HEX_BYTES]) {
    for (size_t i = 0; i < SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static tt_status fail_crypto(tt_err *err) {
    return tt_fail(err, TT_E_INTERNAL, "S3: the crypto library computes no SHA-256");
}

tt_status tt__s3_sha256(const void *bytes, size_t size, char out[TT__S3_HEX_BYTES], tt_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL)) return fail_crypto(err);
    to_hex(digest, out);
    return TT_OK;
}

/* key = HMAC-SHA256(key, text), in place. */
static tt_status chain(unsigned char *key, size_t key_size, const char *text, size_t size,
                       tt_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool is_done = HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, size, digest,
                        NULL) != NULL;
    if (is_done) memcpy(key, digest, SHA256_BYTES);
    OPENSSL_cleanse(digest, sizeof digest);
    return is_done ? TT_OK : fail_crypto(err);
}

/* Leaves the signature in the first SHA256_BYTES of `key`, which begins as "AWS4" + secret. */
static tt_status chain_all(const tt__s3_signer *s, unsigned char *key, size_t size,
                           const tt_buf *string_to_sign, tt_err *err) {
    static const char SERVICE[] = "s3", END[] = "aws4_request";
    TT_TRY(chain(key, size, s->time, TT__S3_DAY_BYTES, err));
    TT_TRY(chain(key, SHA256_BYTES, s->region, strlen(s->region), err));
    TT_TRY(chain(key, SHA256_BYTES, SERVICE, sizeof SERVICE - 1, err));
    TT_TRY(chain(key, SHA256_BYTES, END, sizeof END - 1, err));
    return chain(key, SHA256_BYTES, string_to_sign->data, string_to_sign->size, err);
}

static tt_status sign(const tt__s3_signer *s, const tt_buf *string_to_sign,
                      char out[TT__S3_HEX_BYTES], tt_err *err) {
    unsigned char key[4 + TT_MAX_S3_SECRET_BYTES + SHA256_BYTES];
    size_t secret = strlen(s->secret_access_key);
    if (secret > TT_MAX_S3_SECRET_BYTES)
        return tt_fail(err, TT_E_INVALID, "S3: a secret access key of %zu bytes, the limit is %d",
                       secret, TT_MAX_S3_SECRET_BYTES);
    memcpy(key, "AWS4", 4);
    memcpy(key + 4, s->secret_access_key, secret);
    tt_status status = chain_all(s, key, 4 + secret, string_to_sign, err);
    if (status == TT_OK) to_hex(key, out);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

tt_status tt__s3_append_scope(const tt__s3_signer *s, tt_buf *out, tt_err *err) {
    return tt_buf_printf(out, err, "%.*s/%s/s3/aws4_request", TT__S3_DAY_BYTES, s->time, s->region);
}

tt_status tt__s3_append_names(const tt__s3_call *call, tt_buf *out, tt_err *err) {
    for (int i = 0; i < call->n_headers; i++)
        TT_TRY(tt_buf_printf(out, err, "%s%s", i ? ";" : "", call->headers[i].name));
    return TT_OK;
}

static tt_status write_canonical(const tt__s3_call *call, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "%s\n%s\n%s\n", call->method, call->path, call->query));
    for (int i = 0; i < call->n_headers; i++)
        TT_TRY(tt_buf_printf(out, err, "%s:%s\n", call->headers[i].name, call->headers[i].value));
    TT_TRY(tt_buf_puts(out, "\n", err));
    TT_TRY(tt__s3_append_names(call, out, err));
    return tt_buf_printf(out, err, "\n%s", call->payload);
}

static tt_status write_string_to_sign(const tt__s3_signer *s, const tt__s3_call *call, tt_buf *out,
                                      tt_err *err) {
    char hash[TT__S3_HEX_BYTES];
    TT_TRY(write_canonical(call, out, err));
    TT_TRY(tt__s3_sha256(out->data, out->size, hash, err));
    out->size = 0;
    TT_TRY(tt_buf_printf(out, err, "AWS4-HMAC-SHA256\n%s\n", s->time));
    TT_TRY(tt__s3_append_scope(s, out, err));
    return tt_buf_printf(out, err, "\n%s", hash);
}

tt_status tt__s3_signature(const tt__s3_signer *s, const tt__s3_call *call,
                           char out[TT__S3_HEX_BYTES], tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, 4 * TT_MAX_URL_BYTES);
    tt_status status = write_string_to_sign(s, call, &text, err);
    if (status == TT_OK) status = sign(s, &text, out, err);
    tt_buf_release(&text);
    return status;
}
