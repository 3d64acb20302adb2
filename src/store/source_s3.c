/* S3 and what speaks like it: a signed link (net/s3.h), asked for one byte to learn size and validator. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "store/ask.h"

enum { LINK_S = 3600 }; /* longer than a checkpoint takes; a new one is made when it ends */

static tt_status make_link(const tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                           tt_fetch_error *error) {
    tt_s3_account account = a->services->s3;
    tt_buf url;
    tt_err err;
    account.bucket = r->bucket;
    if (!account.access_key_id || !account.access_key_id[0])
        return tt_fetch_fail(error, TT_FETCH_AUTH,
                             "%s: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
                             "AWS_ENDPOINT_URL for other services than Amazon's",
                             r->identity);
    tt_buf_init(&url, TT_SOURCE_URL_BYTES - 1);
    tt_status status =
        tt_s3_append_link(&account, r->path, LINK_S, (int64_t)time(NULL), &url, &err);
    if (status == TT_OK)
        snprintf(out->url, sizeof out->url, "%s", url.data);
    else
        status = tt_fetch_fail(error, TT_FETCH_REFERENCE, "%s: %s", r->identity, err.message);
    tt_buf_release(&url);
    return status;
}

static tt_status judge(const tt__answer *answer, const char *what, tt_source_file *out,
                       tt_fetch_error *error) {
    if (answer->status == 206 || answer->status == 200) {
        tt__take_promises(answer, out);
        return TT_OK;
    }
    if (answer->status == 403 || answer->status == 401 || answer->status == 400)
        return tt_fetch_fail(error, TT_FETCH_AUTH,
                             "%s: the service does not accept AWS_ACCESS_KEY_ID and "
                             "AWS_SECRET_ACCESS_KEY for it (HTTP %d)",
                             what, answer->status);
    if (answer->status >= 300 && answer->status < 400)
        return tt_fetch_fail(error, TT_FETCH_REFERENCE,
                             "%s: the bucket lies in another region: set AWS_REGION", what);
    return tt__fail_status(answer, "the S3 service", what, error);
}

tt_status tt__resolve_s3(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                         tt_fetch_error *error) {
    const char *slash = strrchr(r->path, '/');
    tt__answer answer = {0};
    TT_TRY(make_link(a, r, out, error));
    tt__name_of(slash ? slash + 1 : r->path, out->name);
    snprintf(out->resolved, sizeof out->resolved, "%s", r->identity);
    out->is_signed = true;
    const tt__question q = {
        .method = "GET", .url = out->url, .whom = "the S3 service", .first_byte = true};
    tt_status status = tt__check_hop(a->services, out->url, 0, error);
    if (status == TT_OK) status = tt__ask(a, &q, &answer, error);
    if (status == TT_OK) status = judge(&answer, r->identity, out, error);
    tt__answer_release(&answer);
    return status;
}
