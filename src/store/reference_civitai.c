/* CivitAI: numbers, AIRs (models.md 1.7) and the URLs of its pages (1.6). */
#include <stdio.h>
#include <string.h>

#include "store/reference_parts.h"

#define MOST_ID   INT32_MAX /* the service's own: larger ones make it fail */
#define MOST_FILE 999999999999LL

static tt_status fail_ids(tt__span text, tt_err *err) {
    return tt_fail(err, TT_E_INVALID,
                   "civitai:%.*s: expected numbers up to %d, as in civitai:VERSION, "
                   "civitai:MODEL@VERSION or civitai:MODEL@VERSION+FILE",
                   text.n > 64 ? 64 : (int)text.n, text.at, MOST_ID);
}

/* A version says all; a model alone means its newest one. */
static void set_identity(tt_reference *out) {
    char file[24] = "";
    if (out->file_id) snprintf(file, sizeof file, "+%lld", (long long)out->file_id);
    if (out->version_id)
        snprintf(out->identity, sizeof out->identity, "civitai:%lld%s%s%s",
                 (long long)out->version_id, file, out->wish[0] ? "?" : "", out->wish);
    else
        snprintf(out->identity, sizeof out->identity, "urn:air:civitai:%lld%s",
                 (long long)out->model_id, file);
}

/* ".safetensors" and the like behind the numbers. */
static tt_status cut_format(tt__span *text, tt_err *err) {
    tt__span format, ids = tt__span_cut(*text, '.', &format);
    if (!format.at) return TT_OK;
    *text = ids;
    if (tt__span_is_anycase(format, "safetensors") || tt__span_is_anycase(format, "safetensor"))
        return TT_OK;
    return tt_fail(err, TT_E_INVALID, "civitai: format .%.*s is not read here, only safetensors",
                   format.n > 32 ? 32 : (int)format.n, format.at);
}

static tt_status take_wish(tt__span query, const char *name, tt_reference *out, tt_err *err) {
    char value[48];
    size_t used = strlen(out->wish);
    tt__span raw = tt__query_value(query, name);
    if (!raw.at || raw.n == 0) return TT_OK;
    if (!tt__span_decode(raw, value, sizeof value) ||
        strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+ ") !=
            strlen(value))
        return tt_fail(err, TT_E_INVALID, "civitai: %s= has a value that CivitAI does not know",
                       name);
    for (char *c = value; *c; c++)
        if (*c == ' ') *c = '+';
    int n = snprintf(out->wish + used, sizeof out->wish - used, "%s%s=%s", used ? "&" : "", name,
                     value);
    if (n < 0 || (size_t)n >= sizeof out->wish - used)
        return tt_fail(err, TT_E_INVALID, "civitai: %s= is too long", name);
    return TT_OK;
}

/* Which of a version's files. What asks for a pickle is refused. */
static tt_status read_wishes(tt__span query, tt_reference *out, tt_err *err) {
    tt__span format = tt__query_value(query, "format"), file = tt__query_value(query, "fileId");
    if (format.at && format.n && !tt__span_is_anycase(format, "safetensor"))
        return tt_fail(err, TT_E_INVALID, "civitai: format=%.*s is not read here, only SafeTensor",
                       format.n > 32 ? 32 : (int)format.n, format.at);
    if (file.at && file.n) {
        if (!tt__span_number(file, MOST_FILE, &out->file_id)) return fail_ids(file, err);
        return TT_OK; /* a file says all */
    }
    TT_TRY(take_wish(query, "fp", out, err));
    TT_TRY(take_wish(query, "size", out, err));
    return take_wish(query, "type", out, err);
}

/* VERSION, MODEL@VERSION, each with +FILE; with a bare number meaning a model for AIRs. */
static tt_status read_ids(tt__span text, bool is_air, tt_reference *out, tt_err *err) {
    tt__span query, file, version, all = tt__span_cut(text, '?', &query);
    out->type = TT_REF_CIVITAI;
    TT_TRY(cut_format(&all, err));
    tt__span ids = tt__span_cut(all, '+', &file), first = tt__span_cut(ids, '@', &version);
    bool is_good = tt__span_number(first, MOST_ID, &out->model_id);
    if (version.at)
        is_good = is_good && tt__span_number(version, MOST_ID, &out->version_id);
    else if (!is_air) {
        out->version_id = out->model_id;
        out->model_id = 0;
    }
    if (file.at) is_good = is_good && tt__span_number(file, MOST_FILE, &out->file_id);
    if (!is_good) return fail_ids(text, err);
    if (query.at) TT_TRY(read_wishes(query, out, err));
    set_identity(out);
    return TT_OK;
}

tt_status tt__reference_civitai(tt__span ids, tt_reference *out, tt_err *err) {
    return read_ids(ids, false, out, err);
}

/* ---- AIR --------------------------------------------------------------------------------------------------------- */

static void set_kind(tt__span type, tt_reference *out) {
    static const struct {
        const char *word;
        tt_model_kind kind;
    } types[] = {
        {"checkpoint", TT_MODEL_CHECKPOINT},
        {"model", TT_MODEL_CHECKPOINT},
        {"lora", TT_MODEL_LORA},
        {"dora", TT_MODEL_LORA},
        {"lycoris", TT_MODEL_LORA},
        {"locon", TT_MODEL_LORA},
        {"vae", TT_MODEL_VAE},
        {"embedding", TT_MODEL_EMBEDDING},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (tt__span_is_anycase(type, types[i].word)) {
            out->has_kind = true;
            out->kind = types[i].kind;
        }
}

static void skip_prefix(tt__span *text, const char *word) {
    size_t n = strlen(word);
    if (text->n < n || !tt__span_is_anycase(tt__span_of(text->at, n), word)) return;
    text->at += n;
    text->n -= n;
}

static tt_status read_air_hf(tt__span id, tt_reference *out, tt_err *err) {
    char repo[256], revision[256];
    tt__span version, name = tt__span_cut(id, '@', &version);
    if (!tt__span_copy(name, repo, sizeof repo) ||
        !tt__span_copy(version.at ? version : tt__span_of("main", 4), revision, sizeof revision))
        return tt_fail(err, TT_E_INVALID, "AIR: the repository's name is too long");
    return tt__reference_hf_set(repo, revision, "", out, err);
}

static int n_colons(tt__span text) {
    int n = 0;
    for (size_t i = 0; i < text.n; i++) n += text.at[i] == ':';
    return n;
}

tt_status tt__reference_air(tt__span text, tt_reference *out, tt_err *err) {
    enum { MOST_PARTS = 4 }; /* ecosystem, type, source, id */
    tt__span parts[MOST_PARTS];
    int n = 0;
    skip_prefix(&text, "urn:");
    skip_prefix(&text, "air:");
    for (tt__span rest = text; rest.at && n < MOST_PARTS; n++)
        parts[n] = tt__span_cut(rest, ':', &rest);
    if (n < 2 || n_colons(text) >= MOST_PARTS)
        return tt_fail(err, TT_E_INVALID,
                       "AIR: expected urn:air:ECOSYSTEM:TYPE:SOURCE:ID, the first two optional");
    tt__span source = parts[n - 2], id = parts[n - 1];
    if (n > 2) set_kind(parts[n - 3], out);
    if (tt__span_is_anycase(source, "civitai")) return read_ids(id, true, out, err);
    if (tt__span_is_anycase(source, "huggingface")) return read_air_hf(id, out, err);
    return tt_fail(err, TT_E_INVALID, "AIR: source \"%.*s\": expected civitai or huggingface",
                   source.n > 32 ? 32 : (int)source.n, source.at);
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static tt_status fail_page(tt_err *err) {
    return tt_fail(err, TT_E_INVALID,
                   "this CivitAI URL names no model: expected /models/MODEL, with "
                   "?modelVersionId=VERSION for one version, or /api/download/models/VERSION");
}

/* What stands behind one of the words of a path: "/models/123/slug". */
static bool find_number(tt__span path, const char *prefix, int64_t *out) {
    size_t n = strlen(prefix);
    tt__span rest;
    if (path.n <= n || !tt__span_is(tt__span_of(path.at, n), prefix)) return false;
    return tt__span_number(tt__span_cut(tt__span_of(path.at + n, path.n - n), '/', &rest), MOST_ID,
                           out);
}

tt_status tt__reference_civitai_url(const tt__url *url, tt_reference *out, tt_err *err) {
    tt__span version = tt__query_value(url->query, "modelVersionId");
    out->type = TT_REF_CIVITAI;
    bool is_version = find_number(url->path, "/api/download/models/", &out->version_id) ||
                      find_number(url->path, "/api/v1/model-versions/", &out->version_id) ||
                      find_number(url->path, "/model-versions/", &out->version_id);
    bool is_model = !is_version && (find_number(url->path, "/models/", &out->model_id) ||
                                    find_number(url->path, "/api/v1/models/", &out->model_id));
    if (!is_version && !is_model) return fail_page(err);
    if (is_model && version.at && !tt__span_number(version, MOST_ID, &out->version_id))
        return fail_page(err);
    TT_TRY(read_wishes(url->query, out, err));
    if (!out->version_id) out->wish[0] = '\0'; /* a page's own parameters */
    set_identity(out);
    return TT_OK;
}
