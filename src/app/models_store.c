/* See models_store.h. What a preset lists is asked for as the person who wrote it would: its author is trusted, whoever names it. */
#include "app/models_store.h"

#include <stdio.h>
#include <string.h>

#include "app/model_check.h"
#include "app/show.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "store/picture.h"

#define ENDING ".safetensors"
enum { ENDING_BYTES = sizeof ENDING - 1, PICTURE_MS = 30 * 1000 };

static const tt_app_folders NO_FOLDERS = {.of_kind = {NULL}};

static tt_app_models folders_of(const tt_app_stock *s) {
    return tt_app_models_of_folders(s->folders ? s->folders : &NO_FOLDERS);
}

static const char *kind_for_people(tt_model_kind kind) {
    return kind == TT_MODEL_LORA ? "LoRA" : tt_model_kind_name(kind);
}

/* ---- what the preset lists --------------------------------------------------------------------------------------- */

/* The name of the preset's i-th model of the kind; NULL behind the last. */
static const char *listed_at(const tt_preset *p, tt_model_kind kind, size_t i,
                             const char **source) {
    if (kind == TT_MODEL_EMBEDDING && i < (size_t)p->n_embeddings) {
        *source = p->embeddings[i].source;
        return p->embeddings[i].name;
    }
    if (kind != TT_MODEL_LORA || i >= tt_json_length(p->loras)) return NULL;
    json_object *lora = json_object_array_get_idx(p->loras, i);
    *source = tt_json_text(lora, "source", NULL);
    return tt_json_text(lora, "name", NULL);
}

/* NULL: the preset lists none of this name. */
static const char *listed_source(const tt_app_stock *s, tt_model_kind kind, const char *name) {
    const char *source = NULL, *listed;
    for (size_t i = 0; s->preset && (listed = listed_at(s->preset, kind, i, &source)); i++)
        if (strcmp(listed, name) == 0) return source;
    return NULL;
}

static tt_status refuse_word(const tt_app_stock *s, const tt_app_ask *ask, tt_err *err) {
    char shown[TT_SHOWN_BYTES];
    const char *listed, *source;
    tt_nearest nearest;
    tt_nearest_init(&nearest, ask->text);
    for (size_t i = 0; (listed = listed_at(s->preset, ask->kind, i, &source)); i++)
        tt_nearest_offer(&nearest, listed);
    tt_show_text(shown, ask->text, strlen(ask->text));
    return tt_fail(err, TT_E_NOT_FOUND, "no %s \"%s\" in the preset %s%s%s%s",
                   kind_for_people(ask->kind), shown, s->preset->name,
                   nearest.best ? ", did you mean \"" : "", nearest.best ? nearest.best : "",
                   nearest.best ? "\"?" : "");
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void describe(const tt_store_model *model, tt_app_found *out) {
    const tt_library_entry *e = &model->entry;
    size_t n = strlen(e->name);
    bool has_ending = n > ENDING_BYTES && strcmp(e->name + n - ENDING_BYTES, ENDING) == 0;
    bool is_whole =
        e->kind == TT_MODEL_CHECKPOINT; /* goes by its file's name, as one that is just here */
    snprintf(out->path, sizeof out->path, "%s", e->path);
    snprintf(out->name, sizeof out->name, "%.*s",
             (int)(has_ending && !is_whole ? n - ENDING_BYTES : n), e->name);
    memcpy(out->digest, e->digest, sizeof out->digest);
    bool is_sure = e->digest[0] || !e->resolved[0]; /* else the commit says what it was */
    snprintf(out->reference, sizeof out->reference, "%s", is_sure ? e->identity : e->resolved);
    out->lease = model->lease;
}

static tt_status fetch(const tt_app_stock *s, const tt_app_ask *ask, tt_app_found *out,
                       tt_err *err) {
    bool has_own = ask->fetching != NULL;
    const tt_store_fetch_options options = {.kind = ask->kind,
                                            .deadline_ms = s->deadline_ms,
                                            .progress = has_own ? ask->fetching : s->fetching,
                                            .progress_context = has_own ? ask->fetching_context
                                                                        : s->fetching_context};
    tt_store *store = NULL;
    tt_store_model model;
    tt_fetch_error error;
    TT_TRY(s->store(s->store_context, &store, err));
    tt_status status = tt_store_fetch(store, ask->text, &options, &model, &error);
    if (s->asked) s->asked(s->asked_context, ask->text, status == TT_OK ? &model : NULL, &error);
    if (status != TT_OK && ask->lacks_room) *ask->lacks_room = error.class_ == TT_FETCH_DISK;
    if (status != TT_OK) return tt_fail(err, status, "%s", error.err.message);
    describe(&model, out);
    return TT_OK;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static bool is_in_home(const char *text) {
    return text[0] == '~';
}

/* Of this machine: a path as it is, or a name in the folder of its kind. */
static tt_status find_here(const tt_app_stock *s, const tt_app_ask *ask, tt_app_found *out,
                           tt_err *err) {
    const tt_app_models folders = folders_of(s);
    return folders.find(folders.context, ask, out, err);
}

static tt_status find_trusted(const tt_app_stock *s, const tt_app_ask *ask, tt_app_found *out,
                              tt_err *err) {
    tt_reference r;
    tt_err word;
    bool is_here = find_here(s, ask, out, err) == TT_OK;
    if (is_here || !s->store) return is_here ? TT_OK : err->code;
    if (tt_app_is_path(ask->text) && !is_in_home(ask->text)) return err->code;
    if (tt_reference_parse(ask->text, &r, &word) != TT_OK)
        return tt_fail(err, word.code, "%s", word.message);
    if (r.type == TT_REF_PATH && !is_in_home(ask->text)) return err->code;
    if (r.type != TT_REF_NAME) return fetch(s, ask, out, err);
    return fetch(s, ask, out, &word) == TT_OK ? TT_OK : err->code; /* what was said of the folder */
}

static tt_status find_listed(const tt_app_stock *s, const tt_app_ask *ask, const char *source,
                             tt_app_found *out, tt_err *err) {
    tt_app_ask listed = *ask;
    listed.text = source;
    listed.is_trusted = true;
    tt_status status = find_trusted(s, &listed, out, err);
    if (status != TT_OK && s->hides_folders) tt__model_hide_folder(source, err);
    return status;
}

/* By a job or a prompt, and not a word that means something here. */
static tt_status find_asked(const tt_app_stock *s, const tt_app_ask *ask, tt_app_found *out,
                            tt_err *err) {
    tt_reference r;
    if (!s->presets || !s->preset || !s->store) return find_here(s, ask, out, err);
    TT_TRY(tt_reference_parse(ask->text, &r, err));
    if (r.type == TT_REF_NAME || r.type == TT_REF_PATH) return refuse_word(s, ask, err);
    TT_TRY(tt_presets_allow(s->presets, &r, err));
    return fetch(s, ask, out, err);
}

static tt_status find(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    const tt_app_stock *s = context;
    const char *source = listed_source(s, ask->kind, ask->text);
    tt_err ignored, unwanted;
    if (!err) err = &unwanted; /* sentences are read on the way */
    if (source) return find_listed(s, ask, source, out, err);
    if (ask->is_trusted) return find_listed(s, ask, ask->text, out, err);
    if (find_here(s, ask, out, &ignored) == TT_OK) return TT_OK;
    return find_asked(s, ask, out, err);
}

static void release(void *context, tt_app_found *found) {
    const tt_app_stock *s = context;
    tt_store_model model = {.lease = found->lease};
    tt_store *store = NULL;
    if (found->lease && s->store(s->store_context, &store, NULL) == TT_OK)
        tt_store_release(store, &model);
}

static bool is_spoilt(void *context, const tt_app_found *found) {
    const tt_app_stock *s = context;
    tt_store *store = NULL;
    return found->lease && s->store(s->store_context, &store, NULL) == TT_OK &&
           tt_store_is_spoilt(store, found->digest);
}

/* ---- lists and pictures ------------------------------------------------------------------------------------------ */

typedef struct unlisted { /* names of folders that the preset does not have as well */
    const tt_app_stock *stock;
    tt_model_kind kind;
    tt_app_name_fn each;
    void *context;
} unlisted;

static bool pass_on(void *context, const char *name) {
    const unlisted *u = context;
    return listed_source(u->stock, u->kind, name) || u->each(u->context, name);
}

static tt_status list(void *context, tt_model_kind kind, tt_app_name_fn each, void *each_context,
                      tt_err *err) {
    const tt_app_stock *s = context;
    const char *listed, *source;
    for (size_t i = 0; s->preset && (listed = listed_at(s->preset, kind, i, &source)); i++)
        if (!each(each_context, listed)) return TT_OK;
    const tt_app_models folders = folders_of(s);
    unlisted u = {s, kind, each, each_context};
    return folders.list(folders.context, kind, pass_on, &u, err);
}

/* Whoever watches fetches may cancel them; a picture has nothing to tell but that it is being looked for. */
static bool picture_goes_on(void *context) {
    const tt_app_stock *s = context;
    const tt_store_progress p = {.phase = TT_PHASE_LOOKUP, .name = "", .download = {.eta_ms = -1}};
    return !s->fetching || s->fetching(s->fetching_context, &p);
}

static tt_status fetch_picture(void *context, const char *url, tt_buf *out, tt_err *err) {
    const tt_app_stock *s = context;
    const tt_picture_options options = {
        .deadline_ms = PICTURE_MS, .goes_on = picture_goes_on, .goes_on_context = context};
    tt_fetch_error error;
    tt_status status = tt_picture_fetch(s->services, url, &options, out, &error);
    return status == TT_OK ? TT_OK : tt_fail(err, status, "%s", error.err.message);
}

tt_app_models tt_app_models_of_stock(const tt_app_stock *stock) {
    /* the functions only read it */
    return (tt_app_models){.context = (void *)(uintptr_t)stock,
                           .find = find,
                           .release = release,
                           .is_spoilt = is_spoilt,
                           .list = list,
                           .fetch = stock->services ? fetch_picture : NULL};
}
