/* See access.h. Without a key the server trusts whoever reaches it, and a web page in a browser on this machine reaches it: a
 * page of another site could submit jobs blindly by a plain form post. Browsers mark such requests (Sec-Fetch-Site), and
 * they are refused unless their origin was allowed. */
#include "api/access.h"

#include <string.h>
#include <strings.h>

#include "api/answer.h"
#include "api/routes.h"
#include "api/sign.h"

static const char preflight_seconds[] = "86400"; /* browsers cap it themselves */

tt_status tt__access_set_key(tt_api *api, const char *key, tt_err *err) {
    if (!key) return TT_OK;
    if (!key[0])
        return tt_fail(err, TT_E_INVALID, "the API key is empty: leave it out, or set one");
    api->has_key = true;
    return tt__sha256(key, strlen(key), api->key_digest, err);
}

/* The key in "Bearer KEY" or "KEY"; "" when there is none. */
static const char *key_of(const char *header) {
    static const char scheme[] = "Bearer ";
    if (!header) return "";
    if (strncasecmp(header, scheme, sizeof scheme - 1) == 0) header += sizeof scheme - 1;
    return header + strspn(header, " ");
}

static bool has_right_key(const tt__call *call) {
    unsigned char digest[TT__DIGEST_BYTES];
    const char *key = key_of(tt_http_header(call->x, "Authorization"));
    if (tt__sha256(key, strlen(key), digest, NULL) != TT_OK) return false;
    return tt__digests_equal(digest, call->api->key_digest);
}

/* "*", or the one origin that was named. */
static bool is_origin_allowed(const tt__call *call) {
    const char *allowed = call->api->cors_origin, *origin = tt_http_header(call->x, "Origin");
    if (!allowed) return false;
    return strcmp(allowed, "*") == 0 || (origin && strcmp(allowed, origin) == 0);
}

static bool is_from_other_site(const tt__call *call) {
    const char *site = tt_http_header(call->x, "Sec-Fetch-Site");
    return site && (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
}

bool tt__access_allows(const tt__call *call) {
    const tt_api *api = call->api;
    if (api->has_key && call->route->access == TT__KEYED && !has_right_key(call)) {
        (void)tt_http_add_header(call->x, "WWW-Authenticate", "Bearer", NULL);
        tt__reply_error(call, 401,
                        "the API key is missing or wrong: send Authorization: Bearer KEY");
        return false;
    }
    if (!api->has_key && call->method == TT__POST && is_from_other_site(call) &&
        !is_origin_allowed(call)) {
        tt__reply_error(call, 403, "requests from pages of another origin are not allowed here");
        return false;
    }
    return true;
}

tt_status tt__access_add_cors(const tt__call *call, tt_err *err) {
    const char *allowed = call->api->cors_origin;
    if (!allowed) return TT_OK;
    TT_TRY(tt_http_add_header(call->x, "Access-Control-Allow-Origin", allowed, err));
    if (strcmp(allowed, "*") != 0) TT_TRY(tt_http_add_header(call->x, "Vary", "Origin", err));
    return tt_http_add_header(call->x, "Access-Control-Expose-Headers", "Retry-After", err);
}

static tt_status add_preflight(const tt__call *call, tt_err *err) {
    const char *allow = tt__route_allow(call->route);
    TT_TRY(tt_http_add_header(call->x, "Allow", allow, err));
    if (!call->api->cors_origin) return TT_OK;
    TT_TRY(tt_http_add_header(call->x, "Access-Control-Allow-Methods", allow, err));
    TT_TRY(tt_http_add_header(call->x, "Access-Control-Allow-Headers",
                              "Authorization, Content-Type, Last-Event-ID", err));
    return tt_http_add_header(call->x, "Access-Control-Max-Age", preflight_seconds, err);
}

void tt__access_reply_options(const tt__call *call) {
    tt_err err;
    if (add_preflight(call, &err) == TT_OK)
        tt__reply(call, 204, "application/json", "", 0);
    else
        tt__reply_failure(call, &err);
}
