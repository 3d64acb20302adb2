/* CivitAI (models.md 1). What a version is made of is read from the metadata first, so that the file is chosen here and asked
 * for by its number: what the download endpoint chooses by itself depends on the account's preferences. Then one request
 * to that endpoint, whose redirect says where the bytes are. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "store/ask.h"
#include "store/reference_parts.h"

static const char SITE[] = "https://civitai.com", RED[] = "https://civitai.red";
static const char WHOM[] = "CivitAI";
static const char *const DOMAINS[] = {"civitai.com", "civitai.red", NULL}; /* that know keys */

enum { MISSING_WAIT_MS = 20 * 1000, MISSING_TRIES = 3 }; /* models.md 9: MAYBE_GONE */

typedef struct civitai {
    tt__ask_state *ask;
    const tt_reference *reference;
    const char *what; /* for sentences */
    const char *base;
    int64_t version_id, file_id;
    tt_source_file *out;
    tt_fetch_error *error;
} civitai;

static const char *key_of(const civitai *c, const char *url) {
    const tt_source_services *s = c->ask->services;
    return tt__may_tell(s, url, s->civitai_url, DOMAINS) ? s->civitai_key : NULL;
}

static bool has_key(const civitai *c) {
    const char *key = c->ask->services->civitai_key;
    return key && key[0];
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static tt_status fail_auth(const civitai *c) {
    if (has_key(c))
        return tt_fetch_fail(c->error, TT_FETCH_AUTH,
                             "%s: CivitAI does not accept the key in CIVITAI_API_KEY", c->what);
    return tt_fetch_fail(
        c->error, TT_FETCH_AUTH,
        "%s: CivitAI wants a key: set CIVITAI_API_KEY (made under Account settings, "
        "API keys)",
        c->what);
}

static tt_status fail_401(const civitai *c, const char *message) {
    if (strstr(message, "disabled downloads"))
        return tt_fetch_fail(c->error, TT_FETCH_FORBIDDEN,
                             "%s: its creator allows no downloads, only use on CivitAI itself",
                             c->what);
    return fail_auth(c);
}

static tt_status fail_403(const civitai *c, const char *text, const char *deadline) {
    enum { DATE = 10 };
    if (strcmp(text, "Early Access") == 0)
        return tt_fetch_fail(c->error, TT_FETCH_FORBIDDEN,
                             "%s: in early access%s%.*s; only who bought it may download it",
                             c->what, deadline[0] ? " until " : "", DATE, deadline);
    if (strstr(text, "do not have access"))
        return tt_fetch_fail(c->error, TT_FETCH_FORBIDDEN,
                             "%s: private; the account of CIVITAI_API_KEY has no access", c->what);
    return tt_fetch_fail(c->error, TT_FETCH_FORBIDDEN,
                         "%s: CivitAI refuses this account or this machine's address (HTTP 403)",
                         c->what);
}

/* The service's answers are JSON with "error" and sometimes "message". */
static tt_status fail_answer(const civitai *c, const tt__answer *answer) {
    json_object *tree = NULL;
    if (!answer->is_edge && !answer->is_page)
        (void)tt_json_parse(answer->body.data ? answer->body.data : "", answer->body.size, &tree,
                            NULL);
    tt_status status;
    if (answer->status == 401)
        status = fail_401(c, tt_json_text(tree, "message", ""));
    else if (answer->status == 403 && !answer->is_edge)
        status = fail_403(c, tt_json_text(tree, "error", ""), tt_json_text(tree, "deadline", ""));
    else if (answer->status == 410)
        status = tt_fetch_fail(c->error, TT_FETCH_GONE, "%s: archived by its creator (HTTP 410)",
                               c->what);
    else
        status = tt__fail_status(answer, WHOM, c->what, c->error);
    json_object_put(tree);
    return status;
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static tt_status ask_json(civitai *c, const char *path, int64_t id, tt__answer *answer,
                          json_object **tree) {
    char url[TT_SOURCE_URL_BYTES];
    *tree = NULL;
    snprintf(url, sizeof url, "%s/api/v1/%s/%lld", c->base, path, (long long)id);
    const tt__question q = {
        .method = "GET", .url = url, .bearer = key_of(c, url), .whom = WHOM, .wants_body = true};
    TT_TRY(tt__ask(c->ask, &q, answer, c->error));
    if (answer->status != 200 || answer->is_page) return fail_answer(c, answer);
    tt_err err;
    if (tt_json_parse(answer->body.data ? answer->body.data : "", answer->body.size, tree, &err) ==
            TT_OK &&
        json_object_is_type(*tree, json_type_object))
        return TT_OK;
    json_object_put(*tree);
    *tree = NULL;
    return tt_fetch_fail(c->error, TT_FETCH_CONTENT,
                         "%s: CivitAI's answer is not the JSON it "
                         "should be",
                         c->what);
}

/* What lives on the other domain alone is 404 on the first (models.md 1.6). */
static tt_status ask_either(civitai *c, const char *path, int64_t id, tt__answer *answer,
                            json_object **tree) {
    tt_status status = ask_json(c, path, id, answer, tree);
    if (status == TT_OK || answer->status != 404 || strcmp(c->base, SITE) != 0) return status;
    c->base = RED;
    return ask_json(c, path, id, answer, tree);
}

/* ---- which file -------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

static bool is_readable(json_object *file) {
    const char *format = tt_json_text(tt_json_value(file, "metadata"), "format", "");
    return ends_with(tt_json_text(file, "name", ""), ".safetensors") &&
           (!format[0] || strcmp(format, "SafeTensor") == 0);
}

/* A wish's value; "" for none. */
static const char *wish_of(const civitai *c, const char *name, char out[64]) {
    const char *wish = c->reference->wish;
    tt__span value = tt__query_value(tt__span_of(wish, strlen(wish)), name);
    if (!value.at || !tt__span_copy(value, out, 64)) out[0] = '\0';
    for (char *p = out; *p; p++)
        if (*p == '+') *p = ' ';
    return out;
}

static int points(const char *value, const char *wanted, const char *usual, int weight) {
    if (!value[0]) return 0;
    return strcmp(value, wanted[0] ? wanted : usual) == 0 ? weight : -weight;
}

/* The site's own way of choosing (models.md 1.1) with the site's defaults: -1 when it will not do. */
static int score_of(const civitai *c, json_object *file) {
    enum { BASE = 1000, PRIMARY = 1000, SIZE = 20, FP = 2 };
    char type[64], size[64], fp[64];
    json_object *metadata = tt_json_value(file, "metadata");
    const char *is = tt_json_text(file, "type", "");
    if (!is_readable(file)) return -1;
    if (wish_of(c, "type", type)[0] && strcmp(type, is) != 0) return -1;
    if (wish_of(c, "size", size)[0] && strcmp(tt_json_text(metadata, "size", ""), size) != 0)
        return -1;
    if (wish_of(c, "fp", fp)[0] && strcmp(tt_json_text(metadata, "fp", ""), fp) != 0) return -1;
    int score = BASE + points(tt_json_text(metadata, "size", ""), size, "pruned", SIZE) +
                points(tt_json_text(metadata, "fp", ""), fp, "fp16", FP);
    bool is_model = strcmp(is, "Model") == 0 || strcmp(is, "Pruned Model") == 0;
    return score + (is_model ? PRIMARY : 0);
}

static json_object *best_of(const civitai *c, json_object *files) {
    json_object *best = NULL;
    int most = -1;
    for (size_t i = 0; i < tt_json_length(files); i++) {
        json_object *file = json_object_array_get_idx(files, i);
        bool is_asked = c->file_id && tt_json_i64(file, "id", 0) == c->file_id;
        int score = c->file_id ? (is_asked ? 1 : -1) : score_of(c, file);
        if (score > most) {
            most = score;
            best = file;
        }
    }
    return best;
}

static tt_status fail_choice(const civitai *c, json_object *version, json_object *files) {
    if (strcmp(tt_json_text(tt_json_value(version, "model"), "mode", ""), "Archived") == 0)
        return tt_fetch_fail(c->error, TT_FETCH_GONE, "%s: archived by its creator", c->what);
    if (c->file_id)
        return tt_fetch_fail(c->error, TT_FETCH_GONE, "%s: the version has no file %lld", c->what,
                             (long long)c->file_id);
    if (c->reference->wish[0])
        return tt_fetch_fail(c->error, TT_FETCH_GONE,
                             "%s: the version has no safetensors file with %s", c->what,
                             c->reference->wish);
    return tt_fetch_fail(
        c->error, TT_FETCH_CONTENT,
        "%s: none of its %zu files is a safetensors file (pickles are not read here)", c->what,
        tt_json_length(files));
}

/* ---- what is promised -------------------------------------------------------------------------------------------- */

static void set_kind(tt_source_file *out, const char *model_type, const char *file_type) {
    static const struct {
        const char *type;
        tt_model_kind kind;
    } types[] = {
        {"Checkpoint", TT_MODEL_CHECKPOINT},
        {"LORA", TT_MODEL_LORA},
        {"LoCon", TT_MODEL_LORA},
        {"DoRA", TT_MODEL_LORA},
        {"VAE", TT_MODEL_VAE},
        {"TextualInversion", TT_MODEL_EMBEDDING},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcasecmp(types[i].type, model_type) == 0) {
            out->has_kind = true;
            out->kind = types[i].kind;
        }
    if (strcmp(file_type, "VAE") == 0) {
        out->has_kind = true;
        out->kind = TT_MODEL_VAE;
    }
}

static void set_names(civitai *c, json_object *version) {
    tt_source_file *out = c->out;
    char name[2 * TT_MODEL_NAME_BYTES];
    const char *model = tt_json_text(tt_json_value(version, "model"), "name", "");
    snprintf(name, sizeof name, "%s%s%s", model, model[0] ? " " : "",
             tt_json_text(version, "name", ""));
    tt__name_of(name, out->name);
    tt__name_of(tt_json_text(version, "name", ""), out->version);
    char base[TT_MODEL_NAME_BYTES];
    tt__name_of(tt_json_text(version, "baseModel", ""), base);
    snprintf(out->base_model, sizeof out->base_model, "%.*s", (int)sizeof out->base_model - 1,
             base);
    snprintf(out->resolved, sizeof out->resolved, "civitai:%lld+%lld", (long long)c->version_id,
             (long long)c->file_id);
}

static void set_promises(tt_source_file *out, json_object *file) {
    enum { KB = 1024 };
    double kb = tt_json_double(file, "sizeKB", 0);
    const char *hash = tt_json_text(tt_json_value(file, "hashes"), "SHA256", "");
    if (!tt_digest_parse(hash, strlen(hash), out->digest)) out->digest[0] = '\0';
    if (kb > 0 && kb < (double)INT64_MAX / KB) out->size = (uint64_t)llround(kb * KB);
    out->size_is_exact = false;
}

static tt_status check_scans(const civitai *c, json_object *file) {
    if (strcmp(tt_json_text(file, "pickleScanResult", ""), "Danger") != 0 &&
        strcmp(tt_json_text(file, "virusScanResult", ""), "Danger") != 0)
        return TT_OK;
    return tt_fetch_fail(c->error, TT_FETCH_FORBIDDEN,
                         "%s: CivitAI's scan calls the file dangerous", c->what);
}

static tt_status check_use(const civitai *c, json_object *version) {
    const char *usage = tt_json_text(version, "usageControl", "");
    if (!usage[0] || strcmp(usage, "Download") == 0) return TT_OK;
    return fail_401(c, "disabled downloads");
}

static tt_status take_file(civitai *c, json_object *version) {
    json_object *files = tt_json_value(version, "files"), *file = best_of(c, files);
    TT_TRY(check_use(c, version));
    if (!file) return fail_choice(c, version, files);
    if (!is_readable(file))
        return tt_fetch_fail(c->error, TT_FETCH_CONTENT,
                             "%s: file %lld is no safetensors file (pickles are not read here)",
                             c->what, (long long)c->file_id);
    TT_TRY(check_scans(c, file));
    c->file_id = tt_json_i64(file, "id", 0);
    set_promises(c->out, file);
    set_names(c, version);
    set_kind(c->out, tt_json_text(tt_json_value(version, "model"), "type", ""),
             tt_json_text(file, "type", ""));
    return TT_OK;
}

static tt_status read_version(civitai *c, tt__answer *answer) {
    json_object *version;
    TT_TRY(ask_either(c, "model-versions", c->version_id, answer, &version));
    tt_status status = take_file(c, version);
    json_object_put(version);
    return status;
}

/* The newest version that a model offers stands first. */
static tt_status find_version(civitai *c, tt__answer *answer) {
    json_object *model;
    if (c->version_id) return TT_OK;
    TT_TRY(ask_either(c, "models", c->reference->model_id, answer, &model));
    json_object *versions = tt_json_value(model, "modelVersions");
    if (tt_json_length(versions) > 0)
        c->version_id = tt_json_i64(json_object_array_get_idx(versions, 0), "id", 0);
    json_object_put(model);
    if (c->version_id > 0) return TT_OK;
    return tt_fetch_fail(c->error, TT_FETCH_GONE, "%s: the model has no published version",
                         c->what);
}

/* ---- where the bytes are ----------------------------------------------------------------------------------------- */

static bool is_login(const char *url) {
    return strstr(url, "/login?") || strstr(url, "reason=download-auth");
}

static tt_status ask_endpoint(civitai *c, const char *url, tt__answer *answer) {
    const tt__question q = {.method = "GET", .url = url, .bearer = key_of(c, url), .whom = WHOM};
    for (int n = 1;; n++) {
        TT_TRY(tt__ask(c->ask, &q, answer, c->error));
        /* The metadata lists it, so 404 may be the storage's trouble (models.md 1.1). */
        if (answer->status != 404 || n == MISSING_TRIES) return TT_OK;
        TT_TRY(tt__ask_wait(c->ask, MISSING_WAIT_MS, c->error));
    }
}

/* Hops until a host that is none of the service's: there the bytes are, and no key goes there. */
static tt_status follow(civitai *c, tt__answer *answer) {
    const tt_source_services *s = c->ask->services;
    tt_source_file *out = c->out;
    snprintf(out->url, sizeof out->url, "%s/api/download/models/%lld?fileId=%lld", c->base,
             (long long)c->version_id, (long long)c->file_id);
    for (int n = 1;; n++) {
        TT_TRY(ask_endpoint(c, out->url, answer));
        if (answer->status < 300 || answer->status >= 400) break;
        if (is_login(answer->location)) return fail_auth(c);
        if (tt__check_hop(s, answer->location, n, c->error) != TT_OK)
            return tt_fetch_fail(c->error, TT_FETCH_REFUSED, "%s: %s", c->what,
                                 c->error->err.message);
        snprintf(out->url, sizeof out->url, "%s", answer->location);
        out->is_signed = true;
        if (!tt__may_tell(s, out->url, s->civitai_url, DOMAINS)) return TT_OK;
    }
    if (answer->status != 200 && answer->status != 206) return fail_answer(c, answer);
    if (answer->is_page) return fail_auth(c); /* a login page that says 200 */
    return TT_OK;                             /* a mirror that sends the bytes itself */
}

tt_status tt__resolve_civitai(tt__ask_state *a, const tt_reference *r, tt_source_file *out,
                              tt_fetch_error *error) {
    const char *base = a->services->civitai_url;
    civitai c = {.ask = a,
                 .reference = r,
                 .what = r->identity,
                 .base = base && base[0] ? base : SITE,
                 .version_id = r->version_id,
                 .file_id = r->file_id,
                 .out = out,
                 .error = error};
    tt__answer answer = {0};
    tt_status status = find_version(&c, &answer);
    if (status == TT_OK) status = read_version(&c, &answer);
    if (status == TT_OK) status = follow(&c, &answer);
    tt__answer_release(&answer);
    return status;
}
