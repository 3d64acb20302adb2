/* Objects in S3 and what speaks like it (R2, B2, Spaces, Wasabi, MinIO, RunPod's volumes): URL and headers of one PUT, and a
 * link for reading that works without credentials for a while. AWS Signature Version 4. Pure functions: the request is sent
 * by http_client.h, the time is the caller's. No message holds the secret.
 *
 * The endpoint may name the bucket in its host ("https://b.s3.eu-west-1.amazonaws.com") or its path
 * ("https://s3api-eu-ro-1.runpod.io/b"), as BUCKET_ENDPOINT_URL does (runpod.md 1.1). A `bucket` beside such an endpoint
 * that says another name becomes the first part of the object's path in it, as with the reference's client. */
#ifndef TT_NET_S3_H
#define TT_NET_S3_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct tt_s3_account { /* text is borrowed for the call */
    const char *endpoint_url;  /* NULL or "": AWS in `region` */
    const char *bucket;        /* NULL or "": the endpoint names it */
    const char *region; /* NULL or "": from the endpoint's host where it tells, else us-east-1 */
    const char *access_key_id, *secret_access_key;
} tt_s3_account;

enum {
    TT_S3_HEADERS = 4,
    TT_S3_MAX_EXPIRES_S = 7 * 24 * 3600, /* of a link; the signature's own rule */
};

typedef struct
    tt_s3_put { /* for a tt_http_request with method PUT and the same body; release with tt_s3_put_release */
    const char *url;
    const char *headers[TT_S3_HEADERS + 1]; /* NULL at the end */
    tt_buf text;                            /* owns both */
} tt_s3_put;

/* TT_E_INVALID when account or key make no sense. `now_s` is Unix time; services refuse clocks that are 15 minutes off. */
tt_status tt_s3_sign_put(const tt_s3_account *account, const char *key, const char *content_type,
                         const void *body, size_t body_bytes, int64_t now_s, tt_s3_put *out,
                         tt_err *err);
void tt_s3_put_release(tt_s3_put *put);

/* Appends a URL that reads the object for `expires_s` seconds from now (1 to TT_S3_MAX_EXPIRES_S). */
tt_status tt_s3_append_link(const tt_s3_account *account, const char *key, int64_t expires_s,
                            int64_t now_s, tt_buf *url, tt_err *err);

#endif
