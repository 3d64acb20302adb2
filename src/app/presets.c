/* See presets.h. What a checked tree means. The tree is kept: texts point into it. */
#include "app/presets.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "app/presets_shape.h"
#include "app/request.h"
#include "app/show.h"
#include "app/values.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"

struct tt_presets {
    atomic_int n_holders;
    json_object *tree;        /* owned */
    tt_arena memory;          /* of what is not in the tree */
    const char *default_name; /* NULL: none */
    bool is_open;             /* policy.loras */
    json_object *sources, *urls;
    tt_preset_fetch fetch;
    tt_preset *list; /* in memory */
    int n;
};

typedef struct builder {
    tt_presets *p;
    tt__checker checker;
    tt_err *err;
} builder;

/* ---- sources ----------------------------------------------------------------------------------------------------- */

/* A file's path that is not absolute is meant from where the presets' file lies. */
static tt_status place_source(builder *b, const char *source, const char **out) {
    const char *file = b->checker.file;
    char path[2 * TT_MODEL_PATH_BYTES];
    tt_reference r;
    *out = source;
    if (!source || tt_reference_parse(source, &r, NULL) != TT_OK || r.type != TT_REF_PATH ||
        source[0] == '/' || source[0] == '~')
        return TT_OK;
    const char *slash = strrchr(file, '/');
    int n =
        snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - file) + 1 : 0, file, source);
    if ((size_t)n >= sizeof path)
        return tt_fail(b->err, TT_E_INVALID,
                       "%s: a model's path of %d bytes, expected less than %zu", source, n,
                       sizeof path);
    *out = tt_arena_strndup(&b->p->memory, path, (size_t)n);
    return *out ? TT_OK : tt_fail_nomem(b->err, "a model's path", (size_t)n);
}

static tt_status read_model(builder *b, json_object *preset, const char *name,
                            tt_preset_model *out) {
    return place_source(b, tt_json_text(preset, name, NULL), &out->source);
}

/* The list itself gets the absolute path: whoever reads it later does not know this file. */
static tt_status place_loras(builder *b, json_object *loras) {
    for (size_t i = 0; i < tt_json_length(loras); i++) {
        json_object *lora = json_object_array_get_idx(loras, i);
        const char *source = tt_json_text(lora, "source", NULL), *placed;
        TT_TRY(place_source(b, source, &placed));
        if (placed != source &&
            json_object_object_add(lora, "source", json_object_new_string(placed)) != 0)
            return tt_fail_nomem(b->err, "a LoRA's path", strlen(placed));
    }
    return TT_OK;
}

static tt_status read_embeddings(builder *b, json_object *list, tt_preset *out) {
    size_t n = tt_json_length(list);
    tt_preset_model *embeddings = tt_arena_alloc(&b->p->memory, (n + 1) * sizeof *embeddings);
    if (!embeddings) return tt_fail_nomem(b->err, "embeddings", n * sizeof *embeddings);
    for (size_t i = 0; i < n; i++) {
        json_object *one = json_object_array_get_idx(list, i);
        embeddings[i].name = tt_json_text(one, "name", NULL);
        TT_TRY(read_model(b, one, "source", &embeddings[i]));
    }
    out->embeddings = embeddings;
    out->n_embeddings = (int)n;
    return TT_OK;
}

/* ---- one preset -------------------------------------------------------------------------------------------------- */

static void read_limits(json_object *limits, tt_preset_limits *out) {
    *out = (tt_preset_limits){.max_steps = (int)tt_json_i64(limits, "max_steps", 0),
                              .max_images = (int)tt_json_i64(limits, "max_images", 0),
                              .max_pixels = tt_json_i64(limits, "max_pixels", 0),
                              .max_loras = (int)tt_json_i64(limits, "max_loras", -1),
                              .max_lora_scale = tt_json_double(limits, "max_lora_scale", -1)};
}

/* The defaults are judged as a job's own fields would be. */
static tt_status check_defaults(builder *b, const tt_preset *preset) {
    tt_settings settings;
    tt_app_request request;
    tt_request model;
    tt_problems problems;
    tt_err ignored;
    if (!preset->defaults) return TT_OK;
    json_object *job = json_object_new_object();
    if (!job || json_object_object_add(job, "input", json_object_get(preset->defaults)) != 0)
        return tt_fail_nomem(b->err, "a preset's defaults", sizeof settings);
    tt_problems_init(&problems);
    tt_status status = tt_settings_init(&settings, b->err);
    if (status == TT_OK) {
        tt_settings_read_job(&settings, job, &problems);
        if (!settings.of[TT_OPT_PROMPT].value)
            status = tt_settings_set_text(&settings, TT_OPT_PROMPT, TT_FROM_DEFAULT, "prompt", "",
                                          b->err);
        tt_request_defaults(NULL, &model);
        if (status == TT_OK &&
            tt_app_request_read(&settings, &model, &request, &problems, &ignored) == TT_OK)
            tt_app_request_release(&request);
    }
    for (int i = 0; i < problems.count && i < TT_MAX_PROBLEMS; i++)
        tt__checker_say(&b->checker, false, "%s", problems.list[i].message);
    tt_settings_release(&settings);
    json_object_put(job);
    return status;
}

static tt_status read_preset(builder *b, const char *name, json_object *tree, tt_preset *out) {
    out->name = name;
    out->description = tt_json_text(tree, "description", "");
    TT_TRY(read_model(b, tree, "checkpoint", &out->checkpoint));
    TT_TRY(read_model(b, tree, "vae", &out->vae));
    TT_TRY(read_model(b, tree, "refiner", &out->refiner));
    out->loras = tt_json_value(tree, "loras");
    TT_TRY(place_loras(b, out->loras));
    TT_TRY(read_embeddings(b, tt_json_value(tree, "embeddings"), out));
    out->defaults = tt_json_value(tree, "defaults");
    read_limits(tt_json_value(tree, "limits"), &out->limits);
    b->checker.path[0] = (tt_json_step){.name = "presets"};
    b->checker.path[1] = (tt_json_step){.name = name};
    b->checker.path[2] = (tt_json_step){.name = "defaults"};
    b->checker.depth = 3;
    return check_defaults(b, out);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static tt_status read_list(builder *b, json_object *presets) {
    size_t n = (size_t)json_object_object_length(presets);
    b->p->list = tt_arena_alloc(&b->p->memory, n * sizeof *b->p->list);
    if (!b->p->list) return tt_fail_nomem(b->err, "presets", n * sizeof *b->p->list);
    struct json_object_iterator at = json_object_iter_begin(presets),
                                end = json_object_iter_end(presets);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
        TT_TRY(read_preset(b, json_object_iter_peek_name(&at), json_object_iter_peek_value(&at),
                           &b->p->list[b->p->n++]));
    return TT_OK;
}

static void check_default(builder *b) {
    tt_nearest nearest;
    const char *name = b->p->default_name;
    if (!name) return;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < b->p->n; i++) {
        if (strcmp(b->p->list[i].name, name) == 0) return;
        tt_nearest_offer(&nearest, b->p->list[i].name);
    }
    b->checker.path[0] = (tt_json_step){.name = "default"};
    b->checker.depth = 1;
    tt__checker_say(&b->checker, false, "there is no preset \"%s\"%s%s%s", name,
                    nearest.best ? ", did you mean \"" : "", nearest.best ? nearest.best : "",
                    nearest.best ? "\"?" : "");
}

static tt_status read_file(builder *b) {
    tt_presets *p = b->p;
    json_object *policy = tt_json_value(p->tree, "policy");
    const char *loras = tt_json_text(policy, "loras", NULL),
               *fetch = tt_json_text(policy, "fetch", NULL);
    p->default_name = tt_json_text(p->tree, "default", NULL);
    p->is_open = loras && strcmp(loras, "open") == 0;
    p->fetch = fetch && strcmp(fetch, "first_use") == 0 ? TT_FETCH_AT_FIRST_USE : TT_FETCH_AT_START;
    p->sources = tt_json_value(policy, "sources");
    p->urls = tt_json_value(policy, "urls");
    TT_TRY(read_list(b, tt_json_value(p->tree, "presets")));
    check_default(b);
    if (!p->default_name && p->n == 1) p->default_name = p->list[0].name;
    return tt_problems_status(b->checker.problems, b->err);
}

static tt_status parse_tree(builder *b) {
    tt_err err;
    if (tt_json_parse(b->checker.text, b->checker.size, &b->p->tree, &err) == TT_OK) {
        tt__shape_check(&b->checker, &tt__presets_shape, b->p->tree);
        return tt_problems_status(b->checker.problems, b->err);
    }
    tt_json_place place = tt_json_place_at(b->checker.text, b->checker.size,
                                           err.position > 0 ? (size_t)err.position : 0);
    tt_problems_add(b->checker.problems, "%s:%zu:%zu: %s", b->checker.file, place.line,
                    place.column, err.message);
    return tt_problems_status(b->checker.problems, b->err);
}

tt_status tt_presets_parse(const char *text, size_t size, const char *path, tt_presets **out,
                           tt_problems *problems, tt_err *err) {
    enum { MEMORY_BYTES = 8 << 20 };
    *out = NULL;
    tt_presets *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "presets", sizeof *p);
    atomic_init(&p->n_holders, 1);
    tt_arena_init(&p->memory, MEMORY_BYTES);
    builder b = {.p = p,
                 .checker = {.file = path, .text = text, .size = size, .problems = problems},
                 .err = err};
    tt_status status = parse_tree(&b);
    if (status == TT_OK) status = read_file(&b);
    if (status == TT_OK)
        *out = p;
    else
        tt_presets_release(p);
    return status;
}

tt_status tt_presets_open(const char *path, tt_presets **out, tt_problems *problems, tt_err *err) {
    tt_buf text;
    *out = NULL;
    tt_buf_init(&text, TT_MAX_PRESETS_BYTES);
    tt_status status = tt_file_read(path, &text, err);
    if (status == TT_OK)
        status = tt_presets_parse(text.data ? text.data : "", text.size, path, out, problems, err);
    tt_buf_release(&text);
    return status;
}

tt_presets *tt_presets_share(tt_presets *p) {
    atomic_fetch_add(&p->n_holders, 1);
    return p;
}

void tt_presets_release(tt_presets *p) {
    if (!p || atomic_fetch_sub(&p->n_holders, 1) > 1) return;
    json_object_put(p->tree);
    tt_arena_release(&p->memory);
    tt_free(p);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

int tt_presets_count(const tt_presets *p) {
    return p->n;
}

const tt_preset *tt_presets_at(const tt_presets *p, int i) {
    return &p->list[i];
}

const char *tt_presets_default(const tt_presets *p) {
    return p->default_name;
}

tt_preset_fetch tt_presets_fetch(const tt_presets *p) {
    return p->fetch;
}

static void list_names(const tt_presets *p, char *out, size_t size) {
    out[0] = '\0';
    for (int i = 0; i < p->n; i++) {
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s", i ? ", " : "", p->list[i].name);
    }
}

static tt_status fail_unknown(const tt_presets *p, const char *name, tt_err *err) {
    char names[400], shown[TT_SHOWN_BYTES];
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < p->n; i++) tt_nearest_offer(&nearest, p->list[i].name);
    tt_show_text(shown, name, strlen(name));
    list_names(p, names, sizeof names);
    if (nearest.best)
        return tt_fail(err, TT_E_INVALID, "preset: there is no \"%s\", did you mean \"%s\"?", shown,
                       nearest.best);
    return tt_fail(err, TT_E_INVALID, "preset: there is no \"%s\", expected one of: %s", shown,
                   names);
}

tt_status tt_presets_find(const tt_presets *p, const char *name, const tt_preset **out,
                          tt_err *err) {
    char names[400];
    const char *wanted = name && name[0] ? name : p->default_name;
    list_names(p, names, sizeof names);
    if (!wanted)
        return tt_fail(err, TT_E_INVALID, "preset: there is no default, expected one of: %s",
                       names);
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->list[i].name, wanted) == 0) {
            *out = &p->list[i];
            return TT_OK;
        }
    return fail_unknown(p, wanted, err);
}

/* ---- what requests may name themselves --------------------------------------------------------------------------- */

static bool has_word(json_object *list, const char *word) {
    for (size_t i = 0; i < tt_json_length(list); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(list, i)), word) == 0)
            return true;
    return false;
}

static bool allows_source(const tt_presets *p, const char *source) {
    if (p->sources) return has_word(p->sources, source);
    return strcmp(source, "civitai") == 0 || strcmp(source, "huggingface") == 0;
}

static bool allows_url(const tt_presets *p, const char *url) {
    if (!p->urls) return true;
    for (size_t i = 0; i < tt_json_length(p->urls); i++) {
        const char *begin = json_object_get_string(json_object_array_get_idx(p->urls, i));
        if (strncmp(url, begin, strlen(begin)) == 0) return true;
    }
    return false;
}

static const char *source_of(tt_reference_type type) {
    switch (type) {
    case TT_REF_CIVITAI:
        return "civitai";
    case TT_REF_HF:
        return "huggingface";
    case TT_REF_URL:
        return "url";
    case TT_REF_S3:
        return "s3";
    case TT_REF_DIGEST:
    case TT_REF_PATH:
    case TT_REF_NAME:
        break;
    }
    return NULL;
}

tt_status tt_presets_allow(const tt_presets *p, const tt_reference *reference, tt_err *err) {
    const char *source = source_of(reference->type);
    if (!p->is_open)
        return tt_fail(err, TT_E_INVALID,
                       "only LoRAs that the preset lists may be used here, by their names");
    if (!source) return tt_fail(err, TT_E_INVALID, "there is no LoRA of this name in the preset");
    if (!allows_source(p, source))
        return tt_fail(err, TT_E_INVALID, "models from %s may not be named by requests here",
                       source);
    if (reference->type == TT_REF_URL && !allows_url(p, reference->path))
        return tt_fail(err, TT_E_INVALID, "models may not be named by this URL here");
    return TT_OK;
}

void tt_settings_use_preset(tt_settings *s, const tt_preset *preset) {
    s->preset = preset;
    if (preset->defaults) tt_settings_read_fields(s, preset->defaults, TT_FROM_PRESET);
}

tt_status tt_settings_choose_preset(tt_settings *s, const tt_presets *p, tt_problems *problems,
                                    tt_err *err) {
    const char *name = NULL;
    const tt_preset *preset;
    tt_value_string(s, TT_OPT_PRESET, &name, problems);
    TT_TRY(tt_problems_status(problems, err));
    TT_TRY(tt_presets_find(p, name, &preset, err));
    tt_settings_use_preset(s, preset);
    return TT_OK;
}
