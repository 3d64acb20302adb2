/* See models.h. */
#include "app/models.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "app/show.h"

static size_t scheme_length(const char *text) {
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (n > 0 && strchr("+-.", text[n]) && text[n])) n++;
    return n > 1 && text[n] == ':' ? n : 0; /* one letter would be a drive */
}

static bool has_dots(const char *text) {
    for (const char *at = strstr(text, ".."); at; at = strstr(at + 1, "..")) {
        bool begins = at == text || at[-1] == '/' || at[-1] == '\\';
        bool ends = at[2] == '\0' || at[2] == '/' || at[2] == '\\';
        if (begins && ends) return true;
    }
    return false;
}

bool tt_app_is_path(const char *text) {
    size_t scheme = scheme_length(text);
    if (has_dots(text) || text[0] == '.' || text[0] == '~') return true;
    if (scheme == 4 && strncmp(text, "file", scheme) == 0) return true;
    return scheme == 0 && strpbrk(text, "/\\") != NULL;
}

static bool replace(tt_err *err, const char *word, const char *by) {
    char text[TT_ERR_MESSAGE_BYTES];
    const char *at = word[0] ? strstr(err->message, word) : NULL;
    if (!at) return false;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - err->message), err->message, by,
             at + strlen(word));
    tt_fail(err, err->code, "%s", text);
    return true;
}

void tt_app_found_name(const tt_app_found *found, tt_err *err) {
    const char *slash = strrchr(found->path, '/');
    if (!err || !found->reference[0] || replace(err, found->path, found->name)) return;
    replace(err, slash ? slash + 1 : found->path, found->name);
}

tt_status tt_app_models_find(const tt_app_models *models, const tt_app_ask *ask, tt_app_found *out,
                             tt_err *err) {
    *out = (tt_app_found){.lease = NULL};
    char shown[TT_SHOWN_BYTES];
    tt_show_text(shown, ask->text, strlen(ask->text));
    if (ask->text[0] == '\0') return tt_fail(err, TT_E_INVALID, "expected a name, found nothing");
    if (!ask->is_trusted && tt_app_is_path(ask->text))
        return tt_fail(err, TT_E_INVALID,
                       "expected a name, found \"%s\": a job may not name files by their path",
                       shown);
    static const tt_app_folders none = {.of_kind = {NULL}};
    const tt_app_models paths = tt_app_models_of_folders(&none);
    const tt_app_models *asked = models && models->find ? models : &paths;
    tt_status status = asked->find(asked->context, ask, out, err);
    if (status != TT_OK) *out = (tt_app_found){.lease = NULL};
    return status;
}

void tt_app_models_release(const tt_app_models *models, tt_app_found *found) {
    if (models && models->release && found->path[0]) models->release(models->context, found);
    *found = (tt_app_found){.lease = NULL};
}

tt_status tt_app_models_list(const tt_app_models *models, tt_model_kind kind, tt_app_name_fn each,
                             void *each_context, tt_err *err) {
    if (!models || !models->list) return TT_OK;
    return models->list(models->context, kind, each, each_context, err);
}

tt_status tt_app_models_fetch(const tt_app_models *models, const char *url, tt_buf *out,
                              tt_err *err) {
    static const char secure[] = "https://";
    if (strncmp(url, secure, sizeof secure - 1) != 0)
        return tt_fail(err, TT_E_INVALID, "expected a URL that begins with https://");
    if (!models || !models->fetch)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "pictures behind URLs are not fetched here: send the picture itself, as "
                       "base64");
    return models->fetch(models->context, url, out, err);
}
