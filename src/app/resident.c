/* See resident.h. */
#include "app/resident.h"

#include <stdio.h>
#include <string.h>

#include "app/presets.h"
#include "base/file.h"

/* ---- wishes ------------------------------------------------------------------------------------------------------ */

static const char *choose(const tt_settings *s, tt_option_id id, const tt_preset_model *listed,
                          const char *base) {
    bool is_flag = s->of[id].value && s->of[id].origin == TT_FROM_FLAG;
    return is_flag || !listed || !listed->source ? base : listed->source;
}

void tt_app_wish_read(const tt_settings *s, const tt_engine_options *base, tt_app_wish *out) {
    const tt_preset *p = s->preset;
    out->model = choose(s, TT_OPT_MODEL, p ? &p->checkpoint : NULL, base->model_path);
    out->vae = choose(s, TT_OPT_VAE, p ? &p->vae : NULL, base->vae_path);
    out->refiner = choose(s, TT_OPT_REFINER, p ? &p->refiner : NULL, base->refiner_path);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

typedef struct opening {
    const tt_app_models *models;
    tt_app_fetching_fn fetching;
    void *fetching_context;
    tt_app_found model, vae, refiner;
    bool lacks_room;
} opening;

static void let_go(const tt_app_models *models, tt_app_found *a, tt_app_found *b, tt_app_found *c) {
    tt_app_models_release(models, a);
    tt_app_models_release(models, b);
    tt_app_models_release(models, c);
}

/* A file or folder of this machine: the engine says best what is wrong with it. "~" is for the store to resolve. */
static bool is_here(const char *text) {
    tt_reference r;
    bool is_path = tt_reference_parse(text, &r, NULL) == TT_OK && r.type == TT_REF_PATH;
    return text[0] != '~' && (is_path || tt_app_is_path(text) || tt_file_exists(text));
}

/* Inside a cache of Hugging Face's a folder has its commit for a name: results name the repository. */
static void name_cached(tt_app_found *out) {
    if (!tt_hf_cache_name(out->path, out->reference)) {
        out->reference[0] = '\0';
        return;
    }
    const char *at = strchr(out->reference, '@'), *slash = at ? strrchr(at, '/') : NULL;
    const char *repo = out->reference + strlen("hf://");
    int n = slash ? snprintf(out->name, sizeof out->name, "%s", slash + 1)
                  : snprintf(out->name, sizeof out->name, "%.*s", (int)(at - repo), repo);
    if (n < 0) out->name[0] = '\0';
}

static tt_status find(opening *o, tt_model_kind kind, const char *text, tt_app_found *out,
                      tt_err *err) {
    const tt_app_ask ask = {kind, text, true, o->fetching, o->fetching_context, &o->lacks_room};
    *out = (tt_app_found){.lease = NULL};
    if (!text || !text[0]) return TT_OK;
    if (!is_here(text)) return tt_app_models_find(o->models, &ask, out, err);
    int n = snprintf(out->path, sizeof out->path, "%s", text);
    if (n >= 0 && (size_t)n < sizeof out->path) {
        name_cached(out);
        return TT_OK;
    }
    return tt_fail(err, TT_E_INVALID, "a path of %d bytes, expected at most %zu", n,
                   sizeof out->path - 1);
}

static tt_status find_all(opening *o, const tt_app_wish *wish, tt_err *err) {
    if (!wish->model) return tt_fail(err, TT_E_NOT_FOUND, "no model: nobody named one");
    TT_TRY(find(o, TT_MODEL_CHECKPOINT, wish->model, &o->model, err));
    tt_status status = find(o, TT_MODEL_VAE, wish->vae, &o->vae, err);
    if (status == TT_OK) status = find(o, TT_MODEL_CHECKPOINT, wish->refiner, &o->refiner, err);
    if (status != TT_OK) let_go(o->models, &o->model, &o->vae, &o->refiner);
    return status;
}

static const char *path_of(const tt_app_found *found) {
    return found->path[0] ? found->path : NULL;
}

/* Bytes in the store have their digest for a name: people see the one that their source gave them. */
static tt_status open_engine(tt_app_resident *r, tt_err *err) {
    tt_engine_options options = r->base;
    options.model_path = r->model.path;
    options.model_name = r->model.reference[0] ? r->model.name : NULL;
    options.vae_path = path_of(&r->vae);
    options.refiner_path = path_of(&r->refiner);
    return tt_engine_open(&options, &r->engine, err);
}

static const char *text_of(const char *text) {
    return text ? text : "";
}

static void remember(tt_app_resident *r, const tt_app_wish *wish) {
    const char *const texts[TT_APP_PARTS] = {wish->model, wish->vae, wish->refiner};
    for (int i = 0; i < TT_APP_PARTS; i++)
        snprintf(r->wished[i], sizeof r->wished[i], "%s", text_of(texts[i]));
}

bool tt_app_resident_is(const tt_app_resident *r, const tt_app_wish *wish) {
    return r->engine && strcmp(r->wished[0], text_of(wish->model)) == 0 &&
           strcmp(r->wished[1], text_of(wish->vae)) == 0 &&
           strcmp(r->wished[2], text_of(wish->refiner)) == 0;
}

void tt_app_resident_close(tt_app_resident *r) {
    tt_engine_close(r->engine);
    r->engine = NULL;
    let_go(r->models, &r->model, &r->vae, &r->refiner);
}

/* Finds, closes what is open, and opens. */
static tt_status exchange(tt_app_resident *r, const tt_app_wish *wish, opening *o, tt_err *err) {
    tt_status status = find_all(o, wish, err);
    if (status != TT_OK && o->lacks_room && r->engine) { /* a store that holds one model only */
        tt_app_resident_close(r);
        status = find_all(o, wish, err);
    }
    if (status != TT_OK) return status;
    tt_app_resident_close(r);
    r->model = o->model;
    r->vae = o->vae;
    r->refiner = o->refiner;
    remember(r, wish);
    status = open_engine(r, err);
    if (status != TT_OK) r->engine = NULL;
    return status;
}

/* A disk that lost what it had promised to keep. Reading it all takes seconds, so a model that is no good by itself is
 * doubted once. */
static bool is_spoilt(tt_app_resident *r) {
    const tt_app_found *const found[TT_APP_PARTS] = {&r->model, &r->vae, &r->refiner};
    bool is_any = false;
    if (!r->models->is_spoilt || strcmp(r->doubted, r->model.digest) == 0) return false;
    memcpy(r->doubted, r->model.digest, sizeof r->doubted);
    for (int i = 0; i < TT_APP_PARTS; i++)
        if (found[i]->digest[0] && r->models->is_spoilt(r->models->context, found[i]))
            is_any = true;
    return is_any;
}

tt_status tt_app_resident_open(tt_app_resident *r, const tt_app_wish *wish,
                               tt_app_fetching_fn fetching, void *fetching_context, tt_err *err) {
    if (tt_app_resident_is(r, wish)) return TT_OK;
    opening o = {.models = r->models, .fetching = fetching, .fetching_context = fetching_context};
    tt_status status = exchange(r, wish, &o, err);
    if (status == TT_E_FORMAT && is_spoilt(r)) status = exchange(r, wish, &o, err);
    if (status == TT_OK) return TT_OK;
    tt_app_found_name(&r->model, err);
    tt_app_found_name(&r->vae, err);
    tt_app_found_name(&r->refiner, err);
    return status;
}
