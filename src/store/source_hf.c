/* Hugging Face (models.md 2): the hub answers a HEAD with the commit, the size and, for large files, the SHA-256, and
 * redirects to a signed URL. Its errors are told apart by headers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "net/url.h"
#include "store/ask.h"
#include "store/reference_parts.h"

static const char SITE[] = "https://huggingface.co", WHOM[] = "Hugging Face";
/* These very hosts: below them lie the stores, which know no tokens (models.md 2.1). */
static const char *const HUBS[] = {"huggingface.co", "www.huggingface.co", "hf.co"};
static const char *const NONE[] = {NULL};

typedef struct hub {
    tt__ask_state *ask;
    const tt_reference *reference;
    const char *what, *base;
    char path[TT_REFERENCE_BYTES]; /* of the file, decoded */
    tt_source_file *out;
    tt_fetch_error *error;
} hub;

static bool is_hub(const hub *h, const char *url) {
    const tt_source_services *s = h->ask->services;
    tt__url u;
    if (tt__may_tell(s, url, s->hf_url, NONE)) return true;
    if (strncmp(url, "https://", 8) != 0 || tt__url_read(url, &u, NULL) != TT_OK || u.port)
        return false;
    for (size_t i = 0; i < sizeof HUBS / sizeof *HUBS; i++)
        if (strcmp(u.host, HUBS[i]) == 0) return true;
    return false;
}

static const char *token_of(const hub *h, const char *url) {
    return is_hub(h, url) ? h->ask->services->hf_token : NULL;
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static tt_status fail_gated(const hub *h, bool has_token) {
    if (has_token)
        return tt_fetch_fail(h->error, TT_FETCH_FORBIDDEN,
                             "%s: gated: accept its licence on huggingface.co with the account of "
                             "HF_TOKEN",
                             h->what);
    return tt_fetch_fail(h->error, TT_FETCH_AUTH,
                         "%s: gated: accept its licence on huggingface.co and set HF_TOKEN",
                         h->what);
}

static tt_status fail_hidden(const hub *h, bool has_token) {
    if (has_token)
        return tt_fetch_fail(h->error, TT_FETCH_GONE,
                             "%s: no such repository, or the account of HF_TOKEN may not see it",
                             h->what);
    return tt_fetch_fail(h->error, TT_FETCH_AUTH,
                         "%s: no such repository, or a private one: then set HF_TOKEN", h->what);
}

static tt_status fail_answer(const hub *h, const tt__answer *answer) {
    const char *code = answer->error_code, *token = h->ask->services->hf_token;
    bool has_token = token && token[0];
    if (answer->is_edge) return tt__fail_status(answer, WHOM, h->what, h->error);
    if (strstr(answer->error_message, "Invalid credentials"))
        return tt_fetch_fail(h->error, TT_FETCH_AUTH,
                             "%s: Hugging Face does not accept the token in HF_TOKEN", h->what);
    if (strcmp(code, "GatedRepo") == 0) return fail_gated(h, has_token);
    if (strcmp(code, "RepoNotFound") == 0 || answer->status == 401)
        return fail_hidden(h, has_token);
    if (strcmp(code, "RevisionNotFound") == 0)
        return tt_fetch_fail(h->error, TT_FETCH_GONE, "%s: the repository has no revision %s",
                             h->what, h->reference->revision);
    if (strcmp(code, "EntryNotFound") == 0)
        return tt_fetch_fail(h->error, TT_FETCH_GONE, "%s: the repository has no file %s", h->what,
                             h->path);
    if (answer->status == 403)
        return tt_fetch_fail(h->error, TT_FETCH_FORBIDDEN,
                             "%s: Hugging Face has disabled access to it (HTTP 403)", h->what);
    return tt__fail_status(answer, WHOM, h->what, h->error);
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static tt_status append_parts(tt_buf *url, const char *path, tt_err *err) {
    while (*path) {
        char part[TT_REFERENCE_BYTES];
        size_t n = strcspn(path, "/");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        TT_TRY(tt_url_append_encoded(url, part, err));
        path += n;
        if (*path) TT_TRY(tt_buf_append(url, path++, 1, err));
    }
    return TT_OK;
}

/* <base>/<before>org/name<between>revision<after>path */
static tt_status make_url(const hub *h, const char *before, const char *between, const char *after,
                          const char *path) {
    tt_err err;
    tt_buf url;
    tt_buf_init(&url, TT_SOURCE_URL_BYTES - 1);
    tt_status status =
        tt_buf_printf(&url, &err, "%s/%s%s%s", h->base, before, h->reference->repo, between);
    if (status == TT_OK) status = tt_url_append_encoded(&url, h->reference->revision, &err);
    if (status == TT_OK) status = tt_buf_puts(&url, after, &err);
    if (status == TT_OK) status = append_parts(&url, path, &err);
    if (status == TT_OK) snprintf(h->out->url, sizeof h->out->url, "%s", url.data);
    tt_buf_release(&url);
    return status == TT_OK ? TT_OK
                           : tt_fetch_fail(h->error, TT_FETCH_REFERENCE, "%s: too long", h->what);
}

/* ---- a repository without a file named: the only checkpoint at its top ------------------------------------------ */

static bool is_candidate(const char *path) {
    static const char end[] = ".safetensors";
    size_t n = strlen(path), m = sizeof end - 1;
    return n > m && strcmp(path + n - m, end) == 0 && !strchr(path, '/') && n < TT_REFERENCE_BYTES;
}

static int count_candidates(json_object *tree, const char **last, char shown[256]) {
    int n = 0;
    shown[0] = '\0';
    for (size_t i = 0; i < json_object_array_length(tree); i++) {
        const char *path = "";
        (void)tt_json_get_string(json_object_array_get_idx(tree, i), "path", &path, NULL);
        if (!is_candidate(path)) continue;
        size_t used = strlen(shown);
        snprintf(shown + used, 256 - used, "%s%.100s", n ? ", " : "", path);
        *last = path;
        n++;
    }
    return n;
}

static tt_status choose_file(hub *h, const tt__answer *answer) {
    json_object *tree = NULL;
    const char *only = "";
    char shown[256];
    tt_status status = TT_OK;
    if (tt_json_parse(answer->body.data ? answer->body.data : "", answer->body.size, &tree, NULL) !=
            TT_OK ||
        !json_object_is_type(tree, json_type_array)) {
        json_object_put(tree);
        return tt_fetch_fail(h->error, TT_FETCH_CONTENT,
                             "%s: Hugging Face's answer is not the list it should be", h->what);
    }
    int n = count_candidates(tree, &only, shown);
    if (n == 1)
        snprintf(h->path, sizeof h->path, "%s", only);
    else if (n == 0)
        status = tt_fetch_fail(h->error, TT_FETCH_CONTENT,
                               "%s: no safetensors file at the top of the repository; folders in "
                               "diffusers' layout are read from a cache or a local copy only",
                               h->what);
    else
        status = tt_fetch_fail(h->error, TT_FETCH_REFERENCE,
                               "%s: %d files to choose from; name one: %s", h->what, n, shown);
    json_object_put(tree);
    return status;
}

static tt_status find_file(hub *h, tt__answer *answer) {
    snprintf(h->path, sizeof h->path, "%s", h->reference->path);
    if (h->path[0]) return TT_OK;
    TT_TRY(make_url(h, "api/models/", "/tree/", "", ""));
    const tt__question q = {.method = "GET",
                            .url = h->out->url,
                            .bearer = token_of(h, h->out->url),
                            .whom = WHOM,
                            .wants_body = true};
    TT_TRY(tt__ask(h->ask, &q, answer, h->error));
    return answer->status == 200 ? choose_file(h, answer) : fail_answer(h, answer);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void take_digest(const char *etag, tt_source_file *out) {
    const char *begin = strchr(etag, '"');
    const char *end = begin ? strchr(begin + 1, '"') : NULL;
    if (!end || !tt_digest_parse(begin + 1, (size_t)(end - begin - 1), out->digest))
        out->digest[0] = '\0';
}

static void take_promises(const hub *h, const tt__answer *answer) {
    tt_source_file *out = h->out;
    const char *slash = strrchr(h->path, '/');
    if (out->resolved[0]) return; /* the first answer is the hub's own */
    take_digest(answer->linked_etag[0] ? answer->linked_etag : answer->etag, out);
    tt__span linked = tt__span_of(answer->linked_size, strlen(answer->linked_size));
    int64_t size = 0;
    if (!tt__span_number(linked, INT64_MAX, &size) && !linked.n && answer->status == 200)
        size = answer->content_length;
    out->size = size > 0 ? (uint64_t)size : 0;
    out->size_is_exact = out->size > 0;
    tt__name_of(slash ? slash + 1 : h->path, out->name);
    tt__name_of(answer->commit, out->version);
    snprintf(out->resolved, sizeof out->resolved, "hf://%s@%s/%.*s", h->reference->repo,
             answer->commit[0] ? answer->commit : h->reference->revision, TT_REFERENCE_BYTES - 600,
             h->path);
}

/* A file that the hub serves itself is asked for with the token, and nowhere else. */
static void take_header(const hub *h) {
    const char *token = token_of(h, h->out->url);
    if (token && token[0])
        snprintf(h->out->headers, sizeof h->out->headers, "Authorization: Bearer %s\n", token);
}

static tt_status follow(hub *h, tt__answer *answer) {
    tt_source_file *out = h->out;
    for (int n = 1;; n++) {
        const tt__question q = {
            .method = "HEAD", .url = out->url, .bearer = token_of(h, out->url), .whom = WHOM};
        TT_TRY(tt__ask(h->ask, &q, answer, h->error));
        bool is_redirect = answer->status >= 300 && answer->status < 400;
        if (!is_redirect && answer->status != 200) return fail_answer(h, answer);
        if (answer->commit[0] || !is_redirect) take_promises(h, answer);
        if (!is_redirect) break;
        if (tt__check_hop(h->ask->services, answer->location, n, h->error) != TT_OK)
            return tt_fetch_fail(h->error, TT_FETCH_REFUSED, "%s: %s", h->what,
                                 h->error->err.message);
        snprintf(out->url, sizeof out->url, "%s", answer->location);
        if (is_hub(h, out->url)) continue;
        out->is_signed = true;
        take_promises(h, answer);
        return TT_OK;
    }
    if (answer->is_page)
        return tt_fetch_fail(h->error, TT_FETCH_CONTENT, "%s: a page, expected a model", h->what);
    take_header(h);
    return TT_OK;
}

tt_status tt__resolve_hf(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                         tt_fetch_error *error) {
    const char *base = a->services->hf_url;
    hub h = {.ask = a,
             .reference = r,
             .what = r->identity,
             .base = base && base[0] ? base : SITE,
             .out = out,
             .error = error};
    tt__answer answer = {0};
    tt_status status = find_file(&h, &answer);
    if (status == TT_OK) status = make_url(&h, "", "/resolve/", "/", h.path);
    if (status == TT_OK) status = follow(&h, &answer);
    tt__answer_release(&answer);
    return status;
}
