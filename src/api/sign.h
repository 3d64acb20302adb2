/* Signatures of webhooks after Standard Webhooks 1.0.0 (standardwebhooks.com):
 *     webhook-signature: v1,<base64 of HMAC-SHA256(key, "<webhook-id>.<webhook-timestamp>.<body>")>
 * and the digests that key checks and Content-Security-Policy need. Pure functions over OpenSSL. */
#ifndef TT_API_SIGN_H
#define TT_API_SIGN_H

#include <stdbool.h>

#include "base/blob.h"

enum {
    TT__MIN_SECRET_BYTES = 24, /* both from the specification */
    TT__MAX_SECRET_BYTES = 64,
    TT__SIGNATURE_BYTES = 64, /* "v1," and 44 characters */
    TT__DIGEST_BYTES = 32
};

typedef struct tt__secret {
    unsigned char key[TT__MAX_SECRET_BYTES];
    size_t size; /* 0: none, nothing is signed */
} tt__secret;

/* "whsec_<base64>"; NULL: no secret. The sentence never repeats it. */
tt_status tt__secret_parse(const char *text, tt__secret *out, tt_err *err);
void tt__secret_release(tt__secret *secret); /* wipes it */

tt_status tt__sign(const tt__secret *secret, const char *id, const char *timestamp,
                   tt_blob *const *pieces, int n_pieces, char out[TT__SIGNATURE_BYTES],
                   tt_err *err);

tt_status tt__sha256(const void *bytes, size_t size, unsigned char out[TT__DIGEST_BYTES],
                     tt_err *err);
/* In time that does not depend on where they differ. */
bool tt__digests_equal(const unsigned char *a, const unsigned char *b);

#endif
