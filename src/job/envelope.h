/* A job as it travels: one JSON object {"id", "input", ...}, kept byte for byte. What the platform adds (webhook, s3Config,
 * policy, batchId, whatever comes) reaches the handler untouched (runpod.md 1.4), so the text is never re-written: members
 * are found as spans of it.
 *
 * An envelope owns its text; spans and the id point into the struct. One thread, or constant. */
#ifndef TT_JOB_ENVELOPE_H
#define TT_JOB_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Ids of the platform are a UUID with a suffix; ours as well. More is refused. Printable ASCII without '/', '?', '#', '%' or
 * spaces, and neither "." nor "..": an id is put into URLs and file names. The array holds 127 characters and a NUL. */
enum { TT_JOB_ID_BYTES = 128 };

typedef struct tt_span {
    const char *text; /* borrowed, not NUL-terminated; NULL: absent */
    size_t size;
} tt_span;

typedef struct tt_envelope {
    char id[TT_JOB_ID_BYTES];
    char *text; /* owned, NUL-terminated: the whole object, as it came */
    size_t size;
    tt_span input; /* raw JSON of any type, null included */
} tt_envelope;

/* Strictly parsed (base/json.h), at most TT_MAX_JSON_BYTES; id and input must be there, once. default_id: for test jobs,
 * which may leave the id out (NULL: it is required). Errors name the member: "job has no input". On failure *out is empty
 * and needs no release. */
tt_status tt_envelope_parse(const char *text, size_t size, const char *default_id, tt_envelope *out,
                            tt_err *err);
void tt_envelope_release(tt_envelope *e);
/* The raw JSON of any top-level member; an absent span when there is none. */
tt_span tt_envelope_member(const tt_envelope *e, const char *name);
bool tt_job_id_is_valid(const char *id);
/* "<prefix><uuid4>-u1" from the system's random numbers. prefix: "" or "sync-". */
tt_status tt_job_id_new(const char *prefix, char out[TT_JOB_ID_BYTES], tt_err *err);

#endif
