/* See picture.h. */
#include "store/picture.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/ask.h"
#include "store/reference_parts.h"

enum { HOST_BYTES = 256 };

static bool is_picture(const char *content_type) {
    static const char any[] = "application/octet-stream";
    return content_type[0] == '\0' || strncasecmp(content_type, "image/", 6) == 0 ||
           strncasecmp(content_type, any, sizeof any - 1) == 0;
}

static tt_status judge(const tt__answer *answer, const char *host, tt_buf *out,
                       tt_fetch_error *error) {
    enum { GOOD = 200 };
    char type[TT_MODEL_NAME_BYTES];
    tt__name_of(answer->content_type, type);
    if (answer->status != GOOD)
        return tt_fetch_fail(error, answer->status >= 500 ? TT_FETCH_NETWORK : TT_FETCH_GONE,
                             "the picture cannot be had from %s (HTTP %d)", host, answer->status);
    if (!is_picture(answer->content_type))
        return tt_fetch_fail(error, TT_FETCH_CONTENT,
                             "expected a picture from %s, found the type %s", host, type);
    if (tt_buf_append(out, answer->body.data, answer->body.size, &error->err) == TT_OK)
        return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_SIZE, "%s", error->err.message);
}

static tt_status follow(tt__ask_state *a, const char *url, tt__answer *answer,
                        char host[HOST_BYTES], tt_fetch_error *error) {
    char at[TT_SOURCE_URL_BYTES];
    tt__url parts;
    snprintf(at, sizeof at, "%s", url);
    for (int n = 0;; n++) {
        TT_TRY(tt__check_hop(a->services, at, n, error));
        if (tt__url_read(at, &parts, NULL) == TT_OK) snprintf(host, HOST_BYTES, "%s", parts.host);
        const tt__question q = {.method = "GET", .url = at, .whom = host, .wants_body = true};
        TT_TRY(tt__ask(a, &q, answer, error));
        if (answer->status < 300 || answer->status >= 400) return TT_OK;
        snprintf(at, sizeof at, "%s", answer->location);
    }
}

tt_status tt_picture_fetch(const tt_source_services *services, const char *url,
                           const tt_picture_options *options, tt_buf *out, tt_fetch_error *error) {
    tt__ask_state ask;
    tt__answer answer = {0};
    char host[HOST_BYTES] = "";
    *error = (tt_fetch_error){.retry_after_ms = -1};
    if (strlen(url) >= TT_SOURCE_URL_BYTES)
        return tt_fetch_fail(error, TT_FETCH_REFERENCE, "a URL of %zu bytes, expected at most %d",
                             strlen(url), TT_SOURCE_URL_BYTES - 1);
    TT_TRY(tt__ask_begin(&ask, services, options->deadline_ms, error));
    ask.goes_on = options->goes_on;
    ask.goes_on_context = options->goes_on_context;
    tt_status status = follow(&ask, url, &answer, host, error);
    if (status == TT_OK) status = judge(&answer, host, out, error);
    tt__answer_release(&answer);
    tt__ask_end(&ask);
    return status;
}
