/* One question to a service and its answer: a request that does not follow redirects, with the tries that its kind of failure
 * deserves. Between the files that resolve references.
 *
 *     tt__ask_begin(&ask, services, deadline_ms, error);
 *     tt__ask(&ask, &question, &answer, error);         as often as needed; each overwrites the answer
 *     tt__ask_end(&ask);
 *
 * What came as an answer is judged by the caller; tries, pages of the service's front and dead connections are dealt with
 * here. */
#ifndef TT_STORE_ASK_H
#define TT_STORE_ASK_H

#include "base/buf.h"
#include "net/backoff.h"
#include "net/http_client.h"
#include "store/source.h"

enum {
    TT__ASK_TRIES = 4,
    TT__ASK_BODY_BYTES = 16 << 20, /* a CivitAI model with hundreds of versions has some MB */
    TT__ASK_MAX_WAIT_MS = 60 * 1000,
};

typedef struct tt__ask_state {
    const tt_source_services *services;
    tt_loop *loop; /* owned */
    int64_t end_ms;
    tt_backoff backoff;
    /* Asked ten times a second, on the calling thread: false ends it as the services' stop does. NULL; set after tt__ask_begin. */
    bool (*goes_on)(void *context);
    void *goes_on_context;
} tt__ask_state;

typedef struct tt__question {
    const char *method, *url;
    const char *bearer; /* sent as Authorization when it is not NULL or "" */
    const char *whom;   /* "CivitAI", for sentences */
    bool wants_body;    /* else the answer ends with its head */
    bool first_byte;    /* asks with Range: bytes=0-0 */
} tt__question;

typedef struct tt__answer {
    int status;
    tt_buf body; /* owned; what is not wanted stays empty */
    char location[TT_SOURCE_URL_BYTES], content_type[128];
    char etag[TT_SOURCE_VALIDATOR_BYTES], linked_etag[TT_SOURCE_VALIDATOR_BYTES];
    char linked_size[32], commit[64], error_code[64], error_message[256], content_range[64];
    int64_t content_length, retry_after_ms;
    bool is_page; /* HTML or XML */
    bool is_edge; /* Cloudflare's own page */
} tt__answer;

tt_status tt__ask_begin(tt__ask_state *a, const tt_source_services *services, int64_t deadline_ms,
                        tt_fetch_error *error);
void tt__ask_end(tt__ask_state *a);
void tt__answer_release(tt__answer *answer); /* all zero is fine */

tt_status tt__ask(tt__ask_state *a, const tt__question *q, tt__answer *answer,
                  tt_fetch_error *error);

/* Waits, unless the deadline or the stop comes first. */
tt_status tt__ask_wait(tt__ask_state *a, int64_t ms, tt_fetch_error *error);

/* Size and strong validator that a good answer to a first byte (206, or 200 for all) promises. */
void tt__take_promises(const tt__answer *answer, tt_source_file *out);

/* ---- redirects ---- */

/* True when a credential of this service may go to that URL: https (or allow_private), a host of `domains` or `base`'s. */
bool tt__may_tell(const tt_source_services *services, const char *url, const char *base,
                  const char *const *domains);
/* May we follow there: refused with TT_FETCH_REFUSED otherwise. */
tt_status tt__check_hop(const tt_source_services *services, const char *url, int n_hops,
                        tt_fetch_error *error);

/* What 5xx, 429, 451, HTML and the rest of HTTP mean when the service says nothing better. */
tt_status tt__fail_status(const tt__answer *answer, const char *whom, const char *what,
                          tt_fetch_error *error);

/* ---- one file per service: fill in *out ---- */

tt_status tt__resolve_civitai(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                              tt_fetch_error *error);
tt_status tt__resolve_hf(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                         tt_fetch_error *error);
tt_status tt__resolve_url(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                          tt_fetch_error *error);
tt_status tt__resolve_s3(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                         tt_fetch_error *error);

/* A name for people: no control characters, cut on a character's end. */
void tt__name_of(const char *text, char out[TT_MODEL_NAME_BYTES]);

#endif
