/* AWS Signature Version 4 for S3 ("Authenticating Requests", AWS S3 API reference), between the files of s3.h. */
#ifndef TT_NET_S3_SIGN_H
#define TT_NET_S3_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    TT__S3_HEX_BYTES = 65,  /* SHA-256 in hexadecimal, with NUL */
    TT__S3_TIME_BYTES = 17, /* "20130524T000000Z", with NUL */
    TT__S3_DAY_BYTES = 8,   /* its beginning, "20130524" */
};

typedef struct tt__s3_signer { /* borrowed text */
    const char *access_key_id, *secret_access_key, *region;
    char time[TT__S3_TIME_BYTES];
} tt__s3_signer;

typedef struct tt__s3_header { /* names in lower case */
    const char *name, *value;
} tt__s3_header;

typedef struct tt__s3_call {
    const char *method;
    const char *path;             /* percent-encoded once, with its slash */
    const char *query;            /* "a=b&c=d", sorted and encoded, or "" */
    const tt__s3_header *headers; /* those that are signed, sorted by name */
    int n_headers;
    const char *payload; /* the body's SHA-256 in hexadecimal, or UNSIGNED-PAYLOAD */
} tt__s3_call;

/* TT_E_INVALID outside the years 1970 to 9999. */
tt_status tt__s3_time(int64_t now_s, char out[TT__S3_TIME_BYTES], tt_err *err);
tt_status tt__s3_sha256(const void *bytes, size_t size, char out[TT__S3_HEX_BYTES], tt_err *err);

/* Appends "20130524/us-east-1/s3/aws4_request". */
tt_status tt__s3_append_scope(const tt__s3_signer *s, tt_buf *out, tt_err *err);
/* Appends "host;x-amz-date": the names, joined. */
tt_status tt__s3_append_names(const tt__s3_call *call, tt_buf *out, tt_err *err);

tt_status tt__s3_signature(const tt__s3_signer *s, const tt__s3_call *call,
                           char out[TT__S3_HEX_BYTES], tt_err *err);

#endif
