/* Any server: asked for one byte, through its redirects, without a credential. What the first answer says of size and
 * validator is all that is promised, besides the digest in the reference. */
#include <stdio.h>
#include <string.h>

#include "store/ask.h"
#include "store/reference_parts.h"

static void take_name(const char *url, char out[TT_MODEL_NAME_BYTES]) {
    char name[TT_REFERENCE_BYTES];
    tt__url u;
    if (tt__url_read(url, &u, NULL) != TT_OK) return;
    tt__span last = u.path;
    for (size_t i = 0; i < u.path.n; i++)
        if (u.path.at[i] == '/') last = tt__span_of(u.path.at + i + 1, u.path.n - i - 1);
    if (tt__span_decode(last, name, sizeof name)) tt__name_of(name, out);
}

static tt_status fail_answer(const tt__answer *answer, const char *whom, const char *what,
                             tt_fetch_error *error) {
    if (answer->status == 401 || answer->status == 403)
        return tt_fetch_fail(error, answer->is_edge ? TT_FETCH_EDGE : TT_FETCH_FORBIDDEN,
                             "%s: the server does not allow it (HTTP %d)", what, answer->status);
    return tt__fail_status(answer, whom, what, error);
}

tt_status tt__resolve_url(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                          tt_fetch_error *error) {
    tt__answer answer = {0};
    tt_status status = tt__check_hop(a->services, r->path, 0, error);
    snprintf(out->url, sizeof out->url, "%s", r->path);
    snprintf(out->resolved, sizeof out->resolved, "%s", r->identity);
    memcpy(out->digest, r->digest, sizeof out->digest);
    take_name(r->path, out->name);
    for (int n = 1; status == TT_OK; n++) {
        const tt__question q = {
            .method = "GET", .url = out->url, .whom = "the server", .first_byte = true};
        status = tt__ask(a, &q, &answer, error);
        bool leads_on = answer.status >= 300 && answer.status < 400 && answer.location[0];
        if (status != TT_OK || !leads_on) break;
        status = tt__check_hop(a->services, answer.location, n, error);
        snprintf(out->url, sizeof out->url, "%s", answer.location);
        out->is_signed = true;
    }
    bool is_good = (answer.status == 200 || answer.status == 206) && !answer.is_page;
    if (status == TT_OK && is_good)
        tt__take_promises(&answer, out);
    else if (status == TT_OK)
        status = fail_answer(&answer, "the server", r->identity, error);
    tt__answer_release(&answer);
    return status;
}
