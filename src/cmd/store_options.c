/* See store_options.h. */
#include "cmd/store_options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cmd/program_path.h"
#include "cmd/store_text.h"
#include "tintype/engine.h"

static const char VOLUME[] = "/runpod-volume"; /* where the platform mounts a network volume */
static const char VOLUME_MODELS[] = "/runpod-volume/models";
static const char VOLUME_CACHE[] = "/runpod-volume/huggingface-cache/hub";
static const char LAST_RESORT[] = "./tintype-models";

enum { MAX_TIME_DIVISOR = 1000 };

/* The first of the variables that is set and not empty; NULL. */
static const char *first_of(const char *const names[]) {
    for (int i = 0; names[i]; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0]) return value;
    }
    return NULL;
}

static const char *said(const char *name) {
    const char *const names[] = {name, NULL};
    return first_of(names);
}

static bool is_one_of(const char *value, const char *const words[]) {
    for (int i = 0; words[i]; i++)
        if (strcasecmp(value, words[i]) == 0) return true;
    return false;
}

static tt_status read_switch(const char *name, bool *out, tt_err *err) {
    static const char *const yes[] = {"1", "true", "yes", "on", NULL};
    static const char *const no[] = {"0", "false", "no", "off", NULL};
    const char *value = said(name);
    if (!value || is_one_of(value, no)) return TT_OK;
    if (!is_one_of(value, yes))
        return tt_fail(err, TT_E_INVALID, "%s: expected 1 or 0, found \"%.40s\"", name, value);
    *out = true;
    return TT_OK;
}

static bool join(char out[TT_MODEL_PATH_BYTES], const char *folder, const char *name) {
    return tt_path_join(out, TT_MODEL_PATH_BYTES, folder, name, NULL) == TT_OK;
}

/* $`name`/`tail`, or ~/`usual`/`tail`: what the freedesktop.org rules for folders say. Relative ones are to be ignored. */
static bool in_home(char out[TT_MODEL_PATH_BYTES], const char *name, const char *usual,
                    const char *tail) {
    const char *folder = said(name), *home = said("HOME");
    char path[TT_MODEL_PATH_BYTES];
    if (folder && folder[0] == '/') return join(out, folder, tail);
    return home && join(path, home, usual) && join(out, path, tail);
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static tt_status choose_root(tt__store_options *o, tt_err *err) {
    const char *wanted = said("TINTYPE_MODELS");
    if (!wanted && tt_file_is_directory(VOLUME)) wanted = VOLUME_MODELS;
    if (!wanted && in_home(o->root, "XDG_DATA_HOME", ".local/share", "tintype/models"))
        wanted = o->root;
    if (!wanted) wanted = LAST_RESORT;
    o->store.library.root = o->root;
    if (wanted == o->root) return TT_OK;
    int n = snprintf(o->root, sizeof o->root, "%s", wanted);
    if (n >= 0 && n < (int)sizeof o->root) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "TINTYPE_MODELS: a path of %zu bytes, expected at most %zu",
                   strlen(wanted), sizeof o->root - 1);
}

static tt_status add_folder(tt__store_options *o, const char *path, tt_err *err) {
    if (o->store.library.n_read_only == TT_LIBRARY_MAX_ROOTS)
        return tt_fail(err, TT_E_INVALID,
                       "TINTYPE_MODELS_READONLY: more folders than the %d that are looked at, "
                       "those of the program included",
                       TT_LIBRARY_MAX_ROOTS);
    o->read_only[o->store.library.n_read_only++] = path;
    return TT_OK;
}

static tt_status add_said_folders(tt__store_options *o, tt_err *err) {
    const char *list = said("TINTYPE_MODELS_READONLY");
    if (!list) return TT_OK;
    o->folders = tt_strdup(list);
    if (!o->folders) return tt_fail_nomem(err, "folders of models", strlen(list) + 1);
    for (char *at = o->folders, *next; at; at = next) {
        next = strchr(at, ':');
        if (next) *next++ = '\0';
        if (*at) TT_TRY(add_folder(o, at, err));
    }
    return TT_OK;
}

/* What an image of a container brings along. */
static tt_status add_own_folders(tt__store_options *o, tt_err *err) {
    static const char *const places[] = {"models", "../share/tintype/models"};
    char program[PATH_MAX];
    tt__program_directory(program);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (join(o->beside[i], program, places[i]) && tt_file_is_directory(o->beside[i]))
            TT_TRY(add_folder(o, o->beside[i], err));
    return TT_OK;
}

static tt_status read_folders(tt__store_options *o, tt_err *err) {
    const char *most = said("TINTYPE_MODELS_MAX_BYTES");
    o->store.library.read_only = o->read_only;
    TT_TRY(choose_root(o, err));
    TT_TRY(add_said_folders(o, err));
    TT_TRY(add_own_folders(o, err));
    if (most && !tt__size_read(most, &o->store.library.max_bytes))
        return tt_fail(err, TT_E_INVALID,
                       "TINTYPE_MODELS_MAX_BYTES: expected a size such as 200GB, found \"%.40s\"",
                       most);
    return TT_OK;
}

/* ---- Hugging Face ------------------------------------------------------------------------------------------------ */

/* A name in the folder where Hugging Face's tools keep what is theirs. */
static bool in_hf_home(char out[TT_MODEL_PATH_BYTES], const char *name) {
    const char *home = said("HF_HOME");
    char folder[TT_MODEL_PATH_BYTES];
    if (home) return join(out, home, name);
    return in_home(folder, "XDG_CACHE_HOME", ".cache", "huggingface") && join(out, folder, name);
}

static void add_cache(tt__store_options *o, const char *path) {
    int n = o->store.n_hf_caches;
    if (n == TT_STORE_MAX_HF_CACHES || !tt_file_is_directory(path)) return;
    for (int i = 0; i < n; i++)
        if (strcmp(o->caches[i], path) == 0) return;
    snprintf(o->caches[n], sizeof o->caches[n], "%s", path);
    o->hf_caches[n] = o->caches[n];
    o->store.n_hf_caches = n + 1;
}

static void find_caches(tt__store_options *o) {
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", NULL};
    const char *said_cache = first_of(names);
    char path[TT_MODEL_PATH_BYTES];
    o->store.hf_caches = o->hf_caches;
    if (said_cache && strlen(said_cache) < sizeof path) add_cache(o, said_cache);
    if (!said_cache && in_hf_home(path, "hub")) add_cache(o, path);
    add_cache(o, VOLUME_CACHE);
}

/* Keys are pasted with blanks and ends of lines around them. */
static tt_status copy_key(const char *name, const char *text, char out[TT__KEY_BYTES],
                          tt_err *err) {
    size_t start = strspn(text, " \t\r\n"), n = strcspn(text + start, " \t\r\n");
    bool is_one_word = text[start + n + strspn(text + start + n, " \t\r\n")] == '\0';
    if (!is_one_word || n >= TT__KEY_BYTES)
        return tt_fail(err, TT_E_INVALID, "%s: expected one word of at most %d bytes", name,
                       TT__KEY_BYTES - 1);
    snprintf(out, TT__KEY_BYTES, "%.*s", (int)n, text + start);
    return TT_OK;
}

/* One line, as `hf auth login` writes it. A file that is not there or odd is no token. */
static void read_token_file(tt__store_options *o) {
    const char *said_path = said("HF_TOKEN_PATH");
    char path[TT_MODEL_PATH_BYTES];
    tt_buf text;
    if (!said_path && !in_hf_home(path, "token")) return;
    tt_buf_init(&text, TT__KEY_BYTES);
    if (tt_file_read(said_path ? said_path : path, &text, NULL) == TT_OK && text.size > 0)
        copy_key("HF_TOKEN_PATH", text.data, o->hf_token, NULL);
    tt_buf_release(&text);
}

static tt_status read_keys(tt__store_options *o, tt_err *err) {
    static const char *const civitai_names[] = {"CIVITAI_API_KEY", "CIVITAI_TOKEN", NULL};
    static const char *const hf_names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", NULL};
    const char *civitai = first_of(civitai_names), *hf = first_of(hf_names);
    if (civitai) TT_TRY(copy_key("CIVITAI_API_KEY", civitai, o->civitai_key, err));
    if (hf) TT_TRY(copy_key("HF_TOKEN", hf, o->hf_token, err));
    if (!hf) read_token_file(o);
    o->store.services.civitai_key = o->civitai_key;
    o->store.services.hf_token = o->hf_token;
    return TT_OK;
}

/* ---- services ---------------------------------------------------------------------------------------------------- */

/* One family of names is taken whole: a key of one with the endpoint of the other would go where it does not belong. */
static void find_s3(tt_s3_account *s3) {
    static const char *const endpoints[] = {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", NULL};
    static const char *const regions[] = {"AWS_REGION", "AWS_DEFAULT_REGION", NULL};
    bool is_aws = said("AWS_ACCESS_KEY_ID") != NULL;
    s3->access_key_id = said(is_aws ? "AWS_ACCESS_KEY_ID" : "BUCKET_ACCESS_KEY_ID");
    s3->secret_access_key = said(is_aws ? "AWS_SECRET_ACCESS_KEY" : "BUCKET_SECRET_ACCESS_KEY");
    s3->endpoint_url = is_aws ? first_of(endpoints) : said("BUCKET_ENDPOINT_URL");
    s3->region = is_aws ? first_of(regions) : NULL;
}

/* A mirror is told keys, and its address is shown: it must not have any of its own. */
static tt_status read_mirror(const char *name, const char *whom, bool allow_private,
                             const tt_log *log, const char **out, tt_err *err) {
    const char *url = said(name);
    if (!url) return TT_OK;
    bool is_https = strncmp(url, "https://", 8) == 0;
    bool is_http = strncmp(url, "http://", 7) == 0;
    if ((!is_https && !is_http) || strpbrk(url, "@?# \t\r\n"))
        return tt_fail(err, TT_E_INVALID,
                       "%s: expected https://HOST without user, query or fragment", name);
    if (!is_https && !allow_private)
        return tt_fail(err, TT_E_INVALID,
                       "%s: expected https://; http:// needs TINTYPE_ALLOW_PRIVATE=1", name);
    *out = url;
    tt_log_write(log, TT_LOG_WARN, NULL, "%s: %s is asked at %s.", name, whom, url);
    return TT_OK;
}

static tt_status read_number(const char *name, int most, int *out, tt_err *err) {
    const char *text = said(name);
    char *end;
    if (!text) return TT_OK;
    long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > most)
        return tt_fail(err, TT_E_INVALID, "%s: expected 1 to %d, found \"%.40s\"", name, most,
                       text);
    *out = (int)n;
    return TT_OK;
}

static tt_status read_services(tt__store_options *o, const tt_log *log, tt_err *err) {
    tt_source_services *services = &o->store.services;
    const char *hf_mirror = said("TINTYPE_HF_URL") ? "TINTYPE_HF_URL" : "HF_ENDPOINT";
    snprintf(o->user_agent, sizeof o->user_agent, "tintype/%s", tt_version());
    services->user_agent = o->user_agent;
    services->ca_file = said("TINTYPE_CA_FILE");
    TT_TRY(read_keys(o, err));
    find_s3(&services->s3);
    TT_TRY(read_switch("TINTYPE_ALLOW_PRIVATE", &services->allow_private, err));
    if (services->allow_private)
        tt_log_write(log, TT_LOG_WARN, NULL,
                     "TINTYPE_ALLOW_PRIVATE: models may come from private addresses and by http.");
    TT_TRY(read_mirror("TINTYPE_CIVITAI_URL", "CivitAI", services->allow_private, log,
                       &services->civitai_url, err));
    return read_mirror(hf_mirror, "Hugging Face", services->allow_private, log, &services->hf_url,
                       err);
}

tt_status tt__store_options_read(tt__store_options *o, const tt_log *log, tt_err *err) {
    memset(o, 0, sizeof *o);
    o->store.log = log;
    TT_TRY(read_folders(o, err));
    find_caches(o);
    TT_TRY(read_services(o, log, err));
    TT_TRY(read_number("TINTYPE_DOWNLOAD_CONNECTIONS", TT_DOWNLOAD_MAX_CONNECTIONS,
                       &o->store.n_connections, err));
    TT_TRY(read_number("TINTYPE_TEST_TIME_DIVISOR", MAX_TIME_DIVISOR,
                       &o->store.services.time_divisor, err));
    TT_TRY(read_switch("TINTYPE_TRUST_FIRST_USE", &o->store.trust_first_use, err));
    TT_TRY(read_switch("HF_HUB_OFFLINE", &o->store.is_offline, err));
    return read_switch("TINTYPE_OFFLINE", &o->store.is_offline, err);
}

void tt__store_options_release(tt__store_options *o) {
    tt_free(o->folders);
    o->folders = NULL;
}
