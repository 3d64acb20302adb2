/* What made a picture, as one JSON object: every effective setting, none left out because it was a
 * default. */
#ifndef TT_APP_METADATA_H
#define TT_APP_METADATA_H

#include "app/request.h"
#include "base/buf.h"

/* Borrowed for the call. */
typedef struct tt_app_facts {
    const tt_engine_info *info;
    const tt_app_request *request;
    const tt_result *result;
    double encode_ms; /* of all picture files */
} tt_app_facts;

/* For inside the file of picture `picture`: the settings with that picture's seed. No timings and
 * no memory: the same request gives the same bytes. */
tt_status tt_metadata_of_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err);

/* For the job's answer: the first picture's seed, and warnings, timings and peak memory. */
tt_status tt_metadata_of_job(const tt_app_facts *facts, tt_buf *out, tt_err *err);

#endif
