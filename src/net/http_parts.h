/* Between the files of the HTTP client: http_client.c makes transfers, http_pool.c moves them on the loop, http_outcome.c
 * says how they ended. The loop's thread. */
#ifndef TT_NET_HTTP_PARTS_H
#define TT_NET_HTTP_PARTS_H

#include <curl/curl.h>

#include "base/buf.h"
#include "net/http_client.h"

typedef struct tt__http
    tt__http; /* a loop's client: its pools and the handles that wait to be used again */
typedef struct tt__http_pool tt__http_pool; /* connections that may be shared with each other */

enum { TT__HTTP_WATCHED = 4 }; /* libcurl tries one address of each family at once: two */

/* The final answer's fields, one after the other: name, NUL, value, NUL. */
struct tt_http_headers {
    tt_buf text;
    int n;
};

struct tt_http_transfer {
    tt_http_transfer *previous, *next; /* in its pool, or (next) in the list of idle ones */
    tt__http *http;
    tt__http_pool *pool; /* NULL unless in flight */
    CURL *easy;
    tt_http_done_fn done;
    void *context;

    struct curl_slist *headers;
    tt_http_piece *pieces; /* owned array of borrowed bytes */
    int n_pieces;
    int piece;          /* the next byte to send: */
    size_t piece_start; /* offset in it */
    tt_buf joined;      /* small bodies, copied so that they leave in the packet of their headers */

    tt_buf body; /* of the response */
    struct tt_http_headers head;
    size_t header_bytes; /* of all lines, interim answers' too */
    int n_header_lines;
    bool is_interim, is_head_over;

    bool (*on_head)(void *context, const tt_http_response *head);
    bool (*on_bytes)(void *context, const void *bytes, size_t size);
    size_t streamed_bytes;
    tt_timer *stall_timer; /* NULL: no limit */
    int64_t stall_ms;      /* the limit */
    int64_t heard_ms;      /* when the last byte came, or the request left; by network_ms */
    bool was_heard;        /* a byte came */
    int64_t timeout_ms, connect_timeout_ms;
    size_t max_response_bytes;
    int watched[TT__HTTP_WATCHED]; /* its sockets on the loop; 0: none in this place */
    int socket_errno;              /* why the last socket could not be made */

    bool public_only;
    bool was_refused; /* an address that public_only forbids */
    bool is_too_large, is_out_of_memory;
    bool is_stalled, was_ended; /* no byte came for too long; a callback said no */
    bool is_unwatched;          /* its socket could not be watched: it would never end */
};

/* ---- http_pool.c ------------------------------------------------------------------------------------------------- */

enum {
    TT__HTTP_POOLS = 2
}; /* [0]: any address; [1]: public_only, whose connections were all checked when they were made */

struct tt__http {
    tt_loop *loop;
    tt__http_pool *pools[TT__HTTP_POOLS];
    tt_http_transfer *idle;
    int n_idle;
    int64_t held_ms; /* the time that callbacks have taken for heads and bytes, in all */
};

tt_status tt__http_pool_new(tt_loop *loop, tt__http_pool **out, tt_err *err);
void tt__http_pool_free(tt__http_pool *pool); /* its transfers are freed without their callback */
tt_status tt__http_pool_add(tt__http_pool *pool, tt_http_transfer *t, tt_err *err);
void tt__http_pool_remove(
    tt_http_transfer *t); /* the connection is kept if the transfer ended, else closed */

/* ---- http_client.c ----------------------------------------------------------------------------------------------- */

/* The transfer has ended and is out of its pool: tells the caller and keeps or frees it. */
void tt__http_finish(tt_http_transfer *t, CURLcode code);
void tt__http_transfer_free(tt_http_transfer *t);

/* ---- http_outcome.c ---------------------------------------------------------------------------------------------- */

/* The answer as far as it is known: status and headers. */
void tt__http_describe(const tt_http_transfer *t, tt_http_response *response);

/* Fills *response; the sentence of a failure goes to `err`, from where it is borrowed. */
void tt__http_outcome(const tt_http_transfer *t, CURLcode code, tt_http_response *response,
                      tt_err *err);

#endif
