/* Models in folders of this machine; see models.h. A name is one entry of a folder: what could lead elsewhere (separators, dots in
 * front) never comes to the file system. Links are followed: whoever fills the folder decides. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "app/models.h"
#include "app/show.h"
#include "base/file.h"
#include "base/limits.h"

#define ENDING ".safetensors"
enum { ENDING_BYTES = sizeof ENDING - 1 };

static size_t length_without_ending(const char *name) {
    size_t n = strlen(name);
    bool has_ending = n > ENDING_BYTES && strcmp(name + n - ENDING_BYTES, ENDING) == 0;
    return has_ending ? n - ENDING_BYTES : n;
}

/* The last part, without its ending, for people. */
static void name_of(const char *path, char name[TT_MODEL_NAME_BYTES]) {
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    char shown[TT_SHOWN_BYTES];
    tt_show_text(shown, last, length_without_ending(last));
    snprintf(name, TT_MODEL_NAME_BYTES, "%s", shown);
}

static tt_status take(const char *path, tt_app_found *out, tt_err *err) {
    int n = snprintf(out->path, sizeof out->path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof out->path)
        return tt_fail(err, TT_E_INVALID, "expected a path of less than %zu bytes, found %d",
                       sizeof out->path, n);
    name_of(path, out->name);
    return TT_OK;
}

/* "<folder>/<name>", then with the ending. Directories are no models here. */
static bool look(const char *folder, const char *name, char *path, size_t size) {
    static const char *const endings[] = {"", ENDING};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        int n = snprintf(path, size, "%s/%s%s", folder, name, endings[i]);
        bool fits = n > 0 && (size_t)n < size;
        if (fits && tt_file_exists(path) && !tt_file_is_directory(path)) return true;
    }
    return false;
}

static const char *folder_option(tt_model_kind kind) {
    return kind == TT_MODEL_EMBEDDING ? "--embeddings" : "--lora-folder";
}

static tt_status refuse(const tt_app_ask *ask, const char *folder, tt_err *err) {
    char shown[TT_SHOWN_BYTES];
    const char *kind = ask->kind == TT_MODEL_LORA ? "LoRA" : tt_model_kind_name(ask->kind);
    tt_show_text(shown, ask->text, strlen(ask->text));
    if (strchr(ask->text, ':'))
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "no %s \"%s\": only names of files here are known, nothing is downloaded",
                       kind, shown);
    if (!folder)
        return tt_fail(err, TT_E_NOT_FOUND,
                       "no %s \"%s\": there is no folder to look for names in (%s)", kind, shown,
                       folder_option(ask->kind));
    return tt_fail(err, TT_E_NOT_FOUND, "no %s \"%s\" in the folder of %s", kind, shown,
                   folder_option(ask->kind));
}

static tt_status find(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    const tt_app_folders *folders = context;
    const char *folder = folders->of_kind[ask->kind];
    char path[TT_MODEL_PATH_BYTES];
    bool is_name = !tt_app_is_path(ask->text) && !strchr(ask->text, '/');
    if (ask->is_trusted && tt_file_exists(ask->text)) return take(ask->text, out, err);
    if (is_name && folder && look(folder, ask->text, path, sizeof path))
        return take(path, out, err);
    if (ask->is_trusted && (!is_name || !folder))
        return tt_fail(err, TT_E_NOT_FOUND, "no file %s", ask->text);
    return refuse(ask, folder, err);
}

static tt_status walk(DIR *entries, tt_app_name_fn each, void *each_context) {
    const struct dirent *entry;
    for (int n = 0; n < TT_MAX_FOLDER_ENTRIES && (entry = readdir(entries)) != NULL; n++) {
        char name[NAME_MAX + 1];
        size_t length = length_without_ending(entry->d_name);
        if (entry->d_name[0] == '.' || entry->d_name[length] == '\0') continue;
        memcpy(name, entry->d_name, length);
        name[length] = '\0';
        if (!each(each_context, name)) break;
    }
    return TT_OK;
}

static tt_status list(void *context, tt_model_kind kind, tt_app_name_fn each, void *each_context,
                      tt_err *err) {
    const tt_app_folders *folders = context;
    if (!folders->of_kind[kind]) return TT_OK;
    DIR *entries = opendir(folders->of_kind[kind]);
    if (!entries)
        return tt_fail(err, TT_E_IO, "the folder of %s cannot be read: %s", folder_option(kind),
                       strerror(errno));
    tt_status status = walk(entries, each, each_context);
    closedir(entries);
    return status;
}

tt_app_models tt_app_models_of_folders(const tt_app_folders *folders) {
    /* the functions only read it */
    return (tt_app_models){.context = (void *)(uintptr_t)folders, .find = find, .list = list};
}
