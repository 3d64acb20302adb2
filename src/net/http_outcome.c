/* How a transfer ended, in our words. libcurl's own sentences name hosts and addresses, which a log must not show and a
 * stranger whose webhook was refused must not learn, so they are not used. */
#include <string.h>

#include "net/http_parts.h"

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
    {CURLE_SSL_CACERT_BADFILE, TT_E_IO,
     "this machine's list of trusted certificates is unreadable"},
    {CURLE_PROXY, TT_E_IO, "the proxy refused the connection"},
    {CURLE_UNSUPPORTED_PROTOCOL, TT_E_FORMAT, "the answer is not HTTP"},
    {CURLE_WEIRD_SERVER_REPLY, TT_E_FORMAT, "the answer is not HTTP"},
    {CURLE_BAD_CONTENT_ENCODING, TT_E_FORMAT, "the answer's compression is broken"},
    {HEADERS_TOO_LARGE, TT_E_FORMAT, "the answer's headers are too large"},
    {CURLE_OUT_OF_MEMORY, TT_E_NOMEM, "out of memory in the HTTP client"},
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

/* Which of the two deadlines: nothing is sent before there is a connection. */
static void fail_timeout(const tt_http_transfer *t, tt_err *err) {
    long sent = 0;
    int64_t limit_ms = t->timeout_ms;
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (sent == 0 && t->connect_timeout_ms < limit_ms) limit_ms = t->connect_timeout_ms;
    tt_fail(err, TT_E_IO, "%s within %lld ms", sent ? "no complete answer" : "no connection",
            (long long)limit_ms);
}

/* CURLE_WRITE_ERROR is our own refusal of bytes (http_client.c), ABORTED our failure to watch the socket. */
static void fail_by_us(const tt_http_transfer *t, tt_err *err) {
    if (t->is_too_large)
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

void tt__http_outcome(const tt_http_transfer *t, CURLcode code, tt_http_response *response,
                      tt_err *err) {
    *response = (tt_http_response){
        .message = "", .content_type = "", .location = "", .retry_after_ms = -1, .body = ""};
    if (code != CURLE_OK) {
        fail(t, code, err);
        response->failure = err->code;
        response->message = err->message;
        return;
    }
    long status = 0;
    char *type = NULL, *absolute = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &absolute);
    response->status = (int)status;
    if (type) response->content_type = type;
    if (absolute)
        response->location = absolute;
    else if (t->location.size)
        response->location = t->location.data;
    response->retry_after_ms = t->retry_after_ms;
    if (t->body.size) response->body = t->body.data;
    response->body_bytes = t->body.size;
}
