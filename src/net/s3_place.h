/* Where an object lies: from endpoint, bucket and key to host, path and region. Between the files of s3.h. */
#ifndef TT_NET_S3_PLACE_H
#define TT_NET_S3_PLACE_H

#include "net/s3.h"

enum { TT__S3_REGION_BYTES = 64, TT__S3_HOST_BYTES = 256 + 8 }; /* DNS's longest name and a port */

typedef struct tt__s3_place {
    const char *scheme;           /* "https" or "http"; static */
    char host[TT__S3_HOST_BYTES]; /* lower case, with the port if it is not the scheme's */
    char region[TT__S3_REGION_BYTES];
    tt_buf path; /* percent-encoded, "/bucket/key" or "/key"; release it */
} tt__s3_place;

tt_status tt__s3_place_init(const tt_s3_account *account, const char *key, tt__s3_place *out,
                            tt_err *err);
void tt__s3_place_release(tt__s3_place *place);

#endif
