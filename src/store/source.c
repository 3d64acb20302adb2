/* See source.h: who is asked, and what keys are worth. */
#include "store/source.h"

#include <stdio.h>
#include <string.h>

#include "store/ask.h"

typedef tt_status (*resolve_fn)(tt__ask_state *, const tt_reference *, tt_source_file *,
                                tt_fetch_error *);

static resolve_fn resolver_of(tt_reference_type type) {
    switch (type) {
    case TT_REF_CIVITAI:
        return tt__resolve_civitai;
    case TT_REF_HF:
        return tt__resolve_hf;
    case TT_REF_URL:
        return tt__resolve_url;
    case TT_REF_S3:
        return tt__resolve_s3;
    case TT_REF_DIGEST:
    case TT_REF_PATH:
    case TT_REF_NAME:
        break;
    }
    return NULL;
}

/* Whatever failed, on the way to an answer or in it, is told of a model. */
static void name_the_model(const char *identity, tt_fetch_error *error) {
    char why[TT_ERR_MESSAGE_BYTES];
    int64_t retry_after_ms = error->retry_after_ms;
    if (strncmp(error->err.message, identity, strlen(identity)) == 0) return;
    snprintf(why, sizeof why, "%s", error->err.message);
    (void)tt_fetch_fail(error, error->class_, "%.300s: %s", identity, why);
    error->retry_after_ms = retry_after_ms;
}

tt_status tt_source_resolve(const tt_source_services *services, const tt_reference *reference,
                            int64_t deadline_ms, tt_source_file *out, tt_fetch_error *error) {
    tt__ask_state ask;
    resolve_fn resolve = resolver_of(reference->type);
    *out = (tt_source_file){.has_kind = reference->has_kind, .kind = reference->kind};
    if (!resolve)
        return tt_fetch_fail(error, TT_FETCH_GONE, "%s: not here, and nowhere to fetch it from",
                             reference->identity);
    TT_TRY(tt__ask_begin(&ask, services, deadline_ms, error));
    tt_status status = resolve(&ask, reference, out, error);
    tt__ask_end(&ask);
    if (status != TT_OK) *out = (tt_source_file){.url = ""};
    if (status != TT_OK) name_the_model(reference->identity, error);
    return status;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

const char *tt_key_state_name(tt_key_state s) {
    static const char *const names[] = {"absent", "accepted", "refused", "unknown"};
    return names[s];
}

typedef struct key_check {
    const char *base, *path, *key, *whom, *variable;
} key_check;

static tt_key_state judge_key(const key_check *c, const tt__answer *answer, tt_fetch_error *error) {
    if (answer->status == 200 && !answer->is_page) return TT_KEY_ACCEPTED;
    if (answer->status == 401 || (answer->status == 403 && !answer->is_edge)) {
        (void)tt_fetch_fail(error, TT_FETCH_AUTH, "%s does not accept the key in %s", c->whom,
                            c->variable);
        return TT_KEY_REFUSED;
    }
    (void)tt__fail_status(answer, c->whom, "the check of the key", error);
    return TT_KEY_UNKNOWN;
}

static tt_key_state check_key(const tt_source_services *services, const key_check *c,
                              int64_t deadline_ms, tt_fetch_error *error) {
    char url[TT_SOURCE_URL_BYTES];
    tt__ask_state ask;
    tt__answer answer = {0};
    *error = (tt_fetch_error){.retry_after_ms = -1};
    if (!c->key || !c->key[0]) return TT_KEY_ABSENT;
    snprintf(url, sizeof url, "%s%s", c->base, c->path);
    const tt__question q = {
        .method = "GET", .url = url, .bearer = c->key, .whom = c->whom, .wants_body = true};
    if (tt__ask_begin(&ask, services, deadline_ms, error) != TT_OK) return TT_KEY_UNKNOWN;
    tt_key_state state = TT_KEY_UNKNOWN;
    if (tt__ask(&ask, &q, &answer, error) == TT_OK) state = judge_key(c, &answer, error);
    tt__answer_release(&answer);
    tt__ask_end(&ask);
    return state;
}

static const char *or_else(const char *text, const char *otherwise) {
    return text && text[0] ? text : otherwise;
}

tt_key_state tt_source_check_civitai_key(const tt_source_services *services, int64_t deadline_ms,
                                         tt_fetch_error *error) {
    const key_check c = {.base = or_else(services->civitai_url, "https://civitai.com"),
                         .path = "/api/v1/me",
                         .key = services->civitai_key,
                         .whom = "CivitAI",
                         .variable = "CIVITAI_API_KEY"};
    return check_key(services, &c, deadline_ms, error);
}

tt_key_state tt_source_check_hf_token(const tt_source_services *services, int64_t deadline_ms,
                                      tt_fetch_error *error) {
    const key_check c = {.base = or_else(services->hf_url, "https://huggingface.co"),
                         .path = "/api/whoami-v2",
                         .key = services->hf_token,
                         .whom = "Hugging Face",
                         .variable = "HF_TOKEN"};
    return check_key(services, &c, deadline_ms, error);
}
