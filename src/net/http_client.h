/* HTTP requests on a tt_loop (libcurl multi): many at once, kept-alive connections, each with a deadline.
 *
 * What is sent is what was given, plus Host, Accept and Content-Length. Accept-Encoding is obeyed: the body arrives unpacked.
 * Bodies are never sent in chunks and never wait for "100 Continue". HTTP/1.1; libcurl's proxy variables are honoured, but
 * not for public_only.
 *
 * A transfer ends in exactly one callback on the loop's thread, unless it was cancelled. HTTP statuses are not errors
 * here: status is the number, failure is for what never became a response. No retries: policy lives with the caller
 * (backoff.h). Headers, bodies and URLs are never logged. */
#ifndef TT_NET_HTTP_CLIENT_H
#define TT_NET_HTTP_CLIENT_H

#include <stddef.h>

#include "net/loop.h"

typedef struct tt_http_transfer tt_http_transfer;
typedef struct tt_http_response tt_http_response;

typedef struct tt_http_piece { /* a body is sent from where its pieces lie, without a copy */
    const void *bytes;
    size_t size;
} tt_http_piece;

typedef struct tt_http_request {
    const char *method; /* "GET", "POST", ... */
    const char *url;    /* copied; tt_url_check's rules */
    /* "Name: value", NULL-terminated, copied; NULL: none. "Name;" sends an empty value. Not Content-Length */
    const char *const *headers;
    /* the array is copied, the bytes are borrowed until the callback or the cancel */
    const tt_http_piece *body;
    int n_body;
    int64_t timeout_ms;         /* of the whole transfer; 0: TT_HTTP_DEFAULT_TIMEOUT_MS */
    int64_t connect_timeout_ms; /* 0: TT_HTTP_DEFAULT_CONNECT_MS */
    /* More is TT_E_FORMAT; 0: TT_HTTP_DEFAULT_RESPONSE_BYTES, or with on_bytes no limit. */
    size_t max_response_bytes;
    /* refuse addresses inside this network (guard.h), checked on the connected address */
    bool public_only;
    bool https_only;     /* refuse http: */
    bool no_proxy;       /* proxy variables are not honoured; public_only implies it */
    const char *ca_file; /* PEM: trust these certificates too; copied. NULL: the system's alone */
    /* No byte of the answer for this long: TT_E_IO; 0: only timeout_ms counts. Doubled before the first byte. */
    int64_t stall_timeout_ms;
    /* Streaming: with on_bytes the body is not gathered, whatever its size; its bytes come as libcurl has them, in pieces of
     * some kilobytes. on_head comes once, at the end of the headers. Either may end the transfer by returning false: done
     * is then called with TT_E_CANCELLED. Both get the context of tt_http_send, on the loop's thread, from inside libcurl:
     * nothing may be sent or cancelled from here. */
    bool (*on_head)(void *context, const tt_http_response *head);
    bool (*on_bytes)(void *context, const void *bytes, size_t size);
} tt_http_request;

enum { TT_HTTP_DEFAULT_TIMEOUT_MS = 600 * 1000, TT_HTTP_DEFAULT_CONNECT_MS = 10 * 1000 };
#define TT_HTTP_DEFAULT_RESPONSE_BYTES (32u << 20)

/* Borrowed for the callback. Redirects are not followed: a 3xx is a response like any other. */
struct tt_http_response {
    /* TT_OK: there was a response. TT_E_IO: network, time-out; TT_E_FORMAT: too large, not HTTP; TT_E_NOMEM; TT_E_CANCELLED:
     * by on_head or on_bytes */
    tt_status failure;
    const char *message;      /* of the failure: one sentence without URL or credentials */
    int status;               /* 200... ; 0 on failure */
    const char *content_type; /* "" when absent */
    /* "" when absent; of a 3xx made absolute (not yet in on_head), else as sent */
    const char *location;
    int64_t retry_after_ms; /* -1 when absent or a date */
    const char *body;       /* NUL-terminated; "" when it was streamed */
    size_t body_bytes;
    bool was_refused;       /* failure: public_only, and the address is not */
    bool has_stalled;       /* failure: stall_timeout_ms */
    int64_t content_length; /* as announced; -1: not. A body that ends earlier is a failure */
    const struct tt_http_headers *headers; /* for tt_http_response_header; NULL on failure */
};

/* The value of a header field of the last response, without spaces around it; NULL when absent. When a name came twice, the
 * last. Valid as long as the response. */
const char *tt_http_response_header(const tt_http_response *response, const char *name);

typedef void (*tt_http_done_fn)(void *context, const tt_http_response *response);

/* *out may be NULL when nobody will cancel; it is valid until the callback returns. */
tt_status tt_http_send(tt_loop *loop, const tt_http_request *request, tt_http_done_fn done,
                       void *context, tt_http_transfer **out, tt_err *err);
/* The callback will not come; the connection is closed. NULL is fine. Inside its own callback it does nothing. */
void tt_http_cancel(tt_loop *loop, tt_http_transfer *transfer);

#endif
