/* What a request names is opened; see request.h. Whatever was found stays held until the request is released, also what the
 * prompt names while the engine works. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "app/model_check.h"
#include "app/request_parts.h"
#include "app/values.h"
#include "base/alloc.h"
#include "base/limits.h"

void tt__request_unused(tt_app_request *r, const char *field, const char *why) {
    if (r->n_unused < TT_APP_MAX_UNUSED) r->unused[r->n_unused++] = (tt_app_unused){field, why};
}

tt_status tt__request_fault(tt_problems *problems, const char *where, tt_err *err) {
    bool is_theirs = err->code == TT_E_INVALID || err->code == TT_E_NOT_FOUND ||
                     err->code == TT_E_UNSUPPORTED || err->code == TT_E_FORMAT;
    if (!is_theirs) return tt_fail_prefix(err, err->code, "%s", where);
    tt_problems_add(problems, "%s: %s", where, err->message);
    return TT_OK;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static tt_status hold(tt_app_request *r, const tt_app_ask *ask, const char *called,
                      tt_app_found **out, tt_err *err) {
    tt_app_held *held = tt_arena_alloc(&r->memory, sizeof *held);
    if (!held) return tt_fail_nomem(err, "a found file", sizeof *held);
    TT_TRY(tt_app_models_find(r->models, ask, &held->found, err));
    held->called = called ? called : held->found.name;
    held->next = r->held;
    r->held = held;
    *out = &held->found;
    return TT_OK;
}

/* For tt_request.find_adapter: a prompt is never trusted with a path. */
static tt_status find_named(void *context, const char *name, char *path, size_t path_size,
                            tt_err *err) {
    tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = name};
    tt_app_request *r = context;
    tt_app_found *found;
    const char *called = tt_arena_strndup(&r->memory, name, strlen(name));
    if (!called) return tt_fail_nomem(err, "a LoRA's name", strlen(name));
    TT_TRY(hold(r, &ask, called, &found, err));
    int n = snprintf(path, path_size, "%s", found->path);
    bool fits = n >= 0 && (size_t)n < path_size;
    return fits ? TT_OK : tt_fail(err, TT_E_INVALID, "the path of a LoRA is too long");
}

static tt_status load_loras(tt_app_request *r, const tt_app_loading *how, tt_problems *problems,
                            tt_err *err) {
    size_t size = (size_t)r->n_loras * sizeof(tt_request_adapter);
    tt_request_adapter *adapters = tt_arena_alloc(&r->memory, size + 1);
    if (!adapters) return tt_fail_nomem(err, "a list of LoRAs", size);
    int n = 0;
    for (int i = 0; i < r->n_loras; i++) {
        const tt_app_lora *lora = &r->loras[i];
        tt_app_found *found;
        tt_app_ask ask = {TT_MODEL_LORA, lora->source,          lora->is_trusted,
                          how->fetching, how->fetching_context, NULL};
        if (hold(r, &ask, lora->name, &found, err) != TT_OK)
            TT_TRY(tt__request_fault(problems, lora->where, err));
        else
            adapters[n++] = (tt_request_adapter){found->path, lora->name ? lora->name : found->name,
                                                 lora->scale, lora->parts};
    }
    r->engine.adapters = adapters;
    r->engine.n_adapters = n;
    return TT_OK;
}

/* ---- embeddings -------------------------------------------------------------------------------------------------- */

/* Whether a prompt may mean it: its letters occur, in either case. */
static bool is_in(const char *text, const char *name) {
    size_t n = strlen(name);
    for (; text && *text; text++) {
        size_t same = 0;
        while (same < n && tolower((unsigned char)text[same]) == tolower((unsigned char)name[same]))
            same++;
        if (same == n) return true;
    }
    return false;
}

typedef struct embeddings {
    tt_app_request *request;
    const char *paths[TT_MAX_EMBEDDINGS], *names[TT_MAX_EMBEDDINGS];
    int n;
    tt_status status;
    tt_err *err;
} embeddings;

static tt_status keep_name(embeddings *e, const char *name) {
    e->names[e->n] = tt_arena_strndup(&e->request->memory, name, strlen(name));
    return e->names[e->n] ? TT_OK : tt_fail_nomem(e->err, "an embedding's name", strlen(name));
}

static bool take_embedding(void *context, const char *name) {
    embeddings *e = context;
    const tt_request *r = &e->request->engine;
    tt_app_ask ask = {.kind = TT_MODEL_EMBEDDING, .text = name};
    tt_app_found *found;
    bool is_mentioned = is_in(r->prompt, name) || is_in(r->negative_prompt, name) ||
                        is_in(r->prompt_2, name) || is_in(r->negative_prompt_2, name);
    if (!is_mentioned || name[0] == '\0') return true;
    e->status = hold(e->request, &ask, NULL, &found, e->err);
    if (e->status == TT_OK) e->status = keep_name(e, name);
    if (e->status != TT_OK) return false;
    e->paths[e->n++] = found->path;
    return e->n < TT_MAX_EMBEDDINGS;
}

static tt_status load_embeddings(tt_app_request *r, tt_problems *problems, tt_err *err) {
    embeddings e = {.request = r, .status = TT_OK, .err = err};
    tt_status status = tt_app_models_list(r->models, TT_MODEL_EMBEDDING, take_embedding, &e, err);
    if (status == TT_OK) status = e.status;
    if (status != TT_OK) return tt__request_fault(problems, "embeddings", err);
    if (e.n == 0) return TT_OK;
    size_t size = (size_t)e.n * sizeof *e.paths;
    const char **paths = tt_arena_alloc(&r->memory, size);
    const char **names = tt_arena_alloc(&r->memory, size);
    if (!paths || !names) return tt_fail_nomem(err, "a list of embeddings", size);
    memcpy(paths, e.paths, size);
    memcpy(names, e.names, size);
    r->engine.embeddings = paths;
    r->engine.embedding_names = names;
    r->engine.n_embeddings = e.n;
    return TT_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Settings that clients send by habit, to workers that have what we lack. */
static void note_unused(const tt_settings *s, const tt_engine_info *info, tt_app_request *r) {
    bool has_refiner = !info || info->refiner_name;
    if (tt_value_is_said(s, TT_OPT_STRENGTH) && !tt_value_is_said(s, TT_OPT_IMAGE))
        tt__request_unused(r, s->of[TT_OPT_STRENGTH].spelling, "there is no picture to start from");
    if (tt_value_is_said(s, TT_OPT_REFINER_STEPS))
        tt__request_unused(r, s->of[TT_OPT_REFINER_STEPS].spelling,
                           has_refiner ? "the refiner takes its share of the steps"
                                       : "there is no refiner here");
    if (r->engine.refiner_start > 0 && !has_refiner) {
        tt__request_unused(r, s->of[TT_OPT_REFINER_START].spelling, "there is no refiner here");
        r->engine.refiner_start = 0;
    }
}

static tt_status load_all(const tt_settings *s, const tt_app_loading *how, tt_app_request *r,
                          tt_problems *problems, tt_err *err) {
    TT_TRY(tt__request_load_image(s, how->models, r, problems, err));
    TT_TRY(load_loras(r, how, problems, err));
    TT_TRY(load_embeddings(r, problems, err));
    note_unused(s, how->info, r);
    r->engine.find_adapter = find_named;
    r->engine.find_adapter_context = r;
    return tt_problems_status(problems, err);
}

tt_status tt_app_request_load(const tt_settings *s, const tt_app_loading *how, tt_app_request *r,
                              tt_problems *problems, tt_err *err) {
    r->models = how->models;
    tt_status status = load_all(s, how, r, problems, err);
    if (status == TT_OK) return TT_OK;
    tt_app_request_hide_folders(r, err);
    tt_app_request_release(r);
    return status;
}

void tt_app_request_release(tt_app_request *r) {
    for (tt_app_held *held = r->held; held; held = held->next)
        tt_app_models_release(r->models, &held->found);
    tt_image_release(&r->image);
    tt_free(r->mask);
    tt_arena_release(&r->memory);
    r->mask = NULL;
    r->held = NULL;
    r->loras = NULL;
    r->n_loras = 0;
    r->engine.image = r->engine.mask = NULL;
    r->engine.adapters = NULL;
    r->engine.n_adapters = 0;
    r->engine.embeddings = r->engine.embedding_names = NULL;
    r->engine.n_embeddings = 0;
}

const tt_app_found *tt_app_request_held(const tt_app_request *r, const char *path,
                                        const char *called) {
    const tt_app_found *any = NULL;
    for (const tt_app_held *held = r->held; held; held = held->next) {
        if (!path[0] || strcmp(held->found.path, path) != 0) continue;
        if (strcmp(held->called, called) == 0) return &held->found;
        any = &held->found;
    }
    return any;
}

void tt_app_request_hide_folders(const tt_app_request *r, tt_err *err) {
    for (const tt_app_held *held = r->held; held; held = held->next) {
        tt_app_found_name(&held->found, err);
        tt__model_hide_folder(held->found.path, err);
    }
}
