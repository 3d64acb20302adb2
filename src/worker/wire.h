/* What goes over the wire to RunPod's platform besides URLs: headers (runpod.md Appendix A1), bodies (A2, A3), and the
 * answers to take and stop taken apart. */
#ifndef TT_WORKER_WIRE_H
#define TT_WORKER_WIRE_H

#include "base/blob.h"
#include "job/envelope.h"
#include "net/http_client.h"
#include "worker/environment.h"
#include "worker/source.h"

/* ---- bodies: text around blobs, sent from where they lie ---------------------------------------------------------- */

enum { TT_WIRE_MAX_PIECES = 6, TT_WIRE_MAX_BLOBS = 2 };

typedef struct tt_wire_body {
    tt_http_piece pieces[TT_WIRE_MAX_PIECES];
    int n_pieces;
    tt_blob *blobs[TT_WIRE_MAX_BLOBS]; /* held */
    int n_blobs;
    size_t size_bytes;
} tt_wire_body;

/* Each fills an empty body and takes holds of its own. */
void tt_wire_final(tt_wire_body *body, const tt_final *final);
void tt_wire_progress(tt_wire_body *body, tt_blob *value);
void tt_wire_chunk(tt_wire_body *body, tt_blob *chunk);
/* As it is: a body that was stored; a static text. */
void tt_wire_whole(tt_wire_body *body, tt_blob *bytes);
void tt_wire_text(tt_wire_body *body, const char *text);
/* {"error": "<sentence>"} */
tt_status tt_wire_error(tt_wire_body *body, const char *sentence, bool stops_pod, tt_err *err);
/* {"output": {"url": ..., "size_bytes": n, "content_type": "application/json"}} */
tt_status tt_wire_link(tt_wire_body *body, const char *url, size_t size_bytes,
                       const tt_final *final, tt_err *err);
void tt_wire_release(tt_wire_body *body);

/* ---- headers ----------------------------------------------------------------------------------------------------- */

enum { TT_WIRE_MAX_HEADERS = 8 };

/* Lines that all requests share; pointers into it are valid until release. */
typedef struct tt_wire_headers {
    char *authorization, *user_agent; /* whole lines, owned; authorization NULL: no key */
    const char *get[TT_WIRE_MAX_HEADERS], *ping[TT_WIRE_MAX_HEADERS]; /* NULL-terminated */
} tt_wire_headers;

/* Initialise in place: the struct holds pointers to its own members' text. */
tt_status tt_wire_headers_init(tt_wire_headers *h, const tt_environment *e, tt_err *err);
void tt_wire_headers_release(tt_wire_headers *h);

/* The lines of one post, borrowed from h and from the struct. X-Request-ID is on posts only: the reference leaks the last
 * job's id into every later take. */
typedef struct tt_wire_post_headers {
    const char *lines[TT_WIRE_MAX_HEADERS];
    char request_id[TT_JOB_ID_BYTES + 16];
} tt_wire_post_headers;
void tt_wire_post_headers_fill(const tt_wire_headers *h, const char *job_id,
                               tt_wire_post_headers *out);

/* ---- answers to take --------------------------------------------------------------------------------------------- */

/* Walks an answer: one job as an object, or a list of them. The text is split by its structure alone (strings and brackets),
 * so that one item that breaks the rules of JSON does not cost the others; each item is then parsed strictly. */
typedef struct tt_wire_items {
    const char *text;
    size_t size, at;
    bool is_list;
    bool is_broken; /* set when the text ended or went wrong before its end */
} tt_wire_items;

void tt_wire_items_begin(tt_wire_items *items, const char *text, size_t size);
/* False after the last. */
bool tt_wire_items_next(tt_wire_items *items, const char **item, size_t *size);
/* The id of an item that may be wrong elsewhere; false when it has none that could be answered. */
bool tt_wire_item_id(const char *item, size_t size, char id[TT_JOB_ID_BYTES]);

/* policy.executionTimeout of a job in milliseconds, within the platform's range; 0 when it says none. */
int64_t tt_wire_execution_timeout_ms(const tt_envelope *envelope);

/* ---- answers to stop --------------------------------------------------------------------------------------------- */

/* Calls stop(context, id) for each id of {"jobsToStop": ["id", ...]}; other members and entries are passed over. TT_E_FORMAT
 * when it is something else. */
tt_status tt_wire_read_stops(const char *text, size_t size,
                             void (*stop)(void *context, const char *id), void *context,
                             tt_err *err);

#endif
