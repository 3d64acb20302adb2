/* The body of /run and /runsync (runpod.md 4.2) to a job: checked, and given its id.
 *
 * Pure: no queue, no server. The job's text is the client's, byte for byte, with "id" put in as the first member, so that
 * whatever else the client sends reaches the handler. An "id" of the client's own is taken out (RunPod ignores it too): ids
 * name results, and a client that could choose them could guess or collide with another's. */
#ifndef TT_API_BODY_H
#define TT_API_BODY_H

#include "base/blob.h"

typedef struct tt__body {
    tt_blob *envelope;            /* one hold */
    char *webhook;                /* owned; NULL: none */
    int64_t execution_timeout_ms; /* of `policy`, or left as they came in */
    int64_t ttl_ms;
} tt__body;

/* The caller puts defaults into the two times (0: the queue's). TT_E_FORMAT or TT_E_INVALID: the client's fault, one sentence that names
 * the member, what was expected and what was found. Release it also after a failure. */
tt_status tt__body_read(const char *text, size_t size, const char *id, tt__body *body, tt_err *err);
void tt__body_release(tt__body *body);

#endif
