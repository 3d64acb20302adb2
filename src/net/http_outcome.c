/* How a transfer ended, in our words. libcurl's own sentences name hosts and addresses, which a log must not show and a
 * stranger whose webhook was refused must not learn, so they are not used. */
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "net/http_parts.h"

enum { MAX_RETRY_AFTER_DIGITS = 9 }; /* 31 years */

/* Its name, CURLE_TOO_LARGE, came with libcurl 8.6. */
#define HEADERS_TOO_LARGE ((CURLcode)100)

static const struct {
    CURLcode code;
    tt_status status;
    const char *sentence;
} FAILURES[] = {
    {CURLE_COULDNT_RESOLVE_HOST, TT_E_IO, "the host's name does not resolve"},
    {CURLE_COULDNT_RESOLVE_PROXY, TT_E_IO, "the proxy's name does not resolve"},
    {CURLE_GOT_NOTHING, TT_E_IO, "the connection was closed without an answer"},
    {CURLE_PARTIAL_FILE, TT_E_IO, "the connection was closed in the middle of the answer"},
    {CURLE_RECV_ERROR, TT_E_IO, "the connection broke while waiting for the answer"},
    {CURLE_SEND_ERROR, TT_E_IO, "the connection broke while sending the request"},
    {CURLE_PEER_FAILED_VERIFICATION, TT_E_IO, "the server's certificate is not trusted"},
    {CURLE_SSL_CONNECT_ERROR, TT_E_IO, "no TLS connection could be agreed on"},
    {CURLE_SSL_CACERT_BADFILE, TT_E_IO, "the list of trusted certificates is unreadable"},
    {CURLE_PROXY, TT_E_IO, "the proxy refused the connection"},
    {CURLE_UNSUPPORTED_PROTOCOL, TT_E_FORMAT, "the answer is not HTTP"},
    {CURLE_WEIRD_SERVER_REPLY, TT_E_FORMAT, "the answer is not HTTP"},
    {CURLE_BAD_CONTENT_ENCODING, TT_E_FORMAT, "the answer's compression is broken"},
    {HEADERS_TOO_LARGE, TT_E_FORMAT, "the answer's headers are too large"},
    {CURLE_OUT_OF_MEMORY, TT_E_NOMEM,
     "out of memory in the HTTP client, or a header line without end"},
};

static void fail_connect(const tt_http_transfer *t, tt_err *err) {
    long number = t->socket_errno;
    if (number == 0) curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    if (t->was_refused)
        tt_fail(err, TT_E_IO,
                "the address is not public, and this request may only reach public ones");
    else if (number)
        tt_fail(err, TT_E_IO, "could not connect: %s", strerror((int)number));
    else
        tt_fail(err, TT_E_IO, "could not connect");
}

/* Which of the three deadlines: nothing is sent before there is a connection. */
static void fail_timeout(const tt_http_transfer *t, tt_err *err) {
    long sent = 0;
    int64_t limit_ms = t->timeout_ms;
    if (t->is_stalled) {
        tt_fail(err, TT_E_IO, "the answer stalled: no byte for %lld ms",
                (long long)(t->was_heard ? t->stall_ms : 2 * t->stall_ms));
        return;
    }
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (sent == 0 && t->connect_timeout_ms < limit_ms) limit_ms = t->connect_timeout_ms;
    tt_fail(err, TT_E_IO, "%s within %lld ms", sent ? "no complete answer" : "no connection",
            (long long)limit_ms);
}

/* CURLE_WRITE_ERROR is our own refusal of bytes (http_client.c), ABORTED our failure to watch the socket. */
static void fail_by_us(const tt_http_transfer *t, tt_err *err) {
    if (t->was_ended)
        tt_fail(err, TT_E_CANCELLED, "the transfer was ended by who asked for it");
    else if (t->is_too_large)
        tt_fail(err, TT_E_FORMAT,
                "the answer is too large: more than %zu bytes, or endless headers",
                t->max_response_bytes);
    else if (t->is_out_of_memory || t->is_unwatched)
        tt_fail(err, TT_E_NOMEM, "out of memory while waiting for the answer");
    else
        tt_fail(err, TT_E_IO, "the transfer was broken off");
}

static void fail(const tt_http_transfer *t, CURLcode code, tt_err *err) {
    if (code == CURLE_COULDNT_CONNECT || (code == CURLE_ABORTED_BY_CALLBACK && t->was_refused)) {
        fail_connect(t, err);
        return;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        fail_timeout(t, err);
        return;
    }
    if (code == CURLE_WRITE_ERROR || code == CURLE_ABORTED_BY_CALLBACK) {
        fail_by_us(t, err);
        return;
    }
    for (size_t i = 0; i < sizeof FAILURES / sizeof *FAILURES; i++)
        if (FAILURES[i].code == code) {
            tt_fail(err, FAILURES[i].status, "%s", FAILURES[i].sentence);
            return;
        }
    tt_fail(err, TT_E_IO, "the transfer failed: %s", curl_easy_strerror(code));
}

/* ---- the answer's fields ------------------------------------------------------------------------------------------ */

const char *tt_http_response_header(const tt_http_response *response, const char *name) {
    const struct tt_http_headers *h = response->headers;
    const char *found = NULL;
    if (!h || !h->text.size) return NULL;
    const char *at = h->text.data;
    for (int i = 0; i < h->n; i++) {
        const char *value = at + strlen(at) + 1;
        if (strcasecmp(at, name) == 0) found = value;
        at = value + strlen(value) + 1;
    }
    return found;
}

/* Digits only; with chunks the field counts for nothing (RFC 9112 6.3). */
static int64_t content_length(const tt_http_response *response) {
    const char *text = tt_http_response_header(response, "Content-Length");
    int64_t n = 0;
    if (!text || !*text || tt_http_response_header(response, "Transfer-Encoding")) return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return -1;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *text - '0', &n))
            return -1;
    }
    return n;
}

static int64_t retry_after_ms(const tt_http_response *response) {
    const char *text = tt_http_response_header(response, "Retry-After");
    int64_t seconds = 0;
    if (!text || !*text || strlen(text) > MAX_RETRY_AFTER_DIGITS) return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return -1;
        seconds = 10 * seconds + (*text - '0');
    }
    return 1000 * seconds;
}

void tt__http_describe(const tt_http_transfer *t, tt_http_response *response) {
    long status = 0;
    char *absolute = NULL;
    *response = (tt_http_response){.message = "", .body = "", .headers = &t->head};
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &absolute);
    const char *type = tt_http_response_header(response, "Content-Type");
    const char *location = absolute ? absolute : tt_http_response_header(response, "Location");
    response->status = (int)status;
    response->content_type = type ? type : "";
    response->location = location && strlen(location) <= TT_MAX_URL_BYTES ? location : "";
    response->retry_after_ms = retry_after_ms(response);
    response->content_length = content_length(response);
}

void tt__http_outcome(const tt_http_transfer *t, CURLcode code, tt_http_response *response,
                      tt_err *err) {
    if (code == CURLE_OK) {
        tt__http_describe(t, response);
        if (t->body.size) response->body = t->body.data;
        response->body_bytes = t->body.size;
        return;
    }
    *response = (tt_http_response){
        .content_type = "", .location = "", .retry_after_ms = -1, .body = "", .content_length = -1};
    fail(t, code, err);
    response->failure = err->code;
    response->was_refused = t->was_refused;
    response->has_stalled = t->is_stalled;
    response->message = err->message;
}
