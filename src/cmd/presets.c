/* See presets.h. */
#include "cmd/presets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/presets.h"
#include "base/file.h"
#include "base/json.h"
#include "cmd/store_text.h"
#include "cmd/store_words.h"

static const char DEFAULT_FILE[] = "tintype.json";

int tt__presets_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype presets: lists and checks the settings of a presets file.\n"
        "\n"
        "  tintype presets                    what ./tintype.json holds (or the file of "
        "TINTYPE_CONFIG)\n"
        "  tintype presets --config FILE      another file\n"
        "  tintype presets --check            says only what is wrong; exit code 2 when something "
        "is\n"
        "  tintype presets --json             the list as JSON\n"
        "  tintype presets --schema           the JSON schema of such files, for editors\n"
        "\n"
        "Every mistake is told at once, each with file, line and column.\n");
}

static int print_schema(void) {
    tt_buf text;
    tt_err err;
    int code = TT_EXIT_FAILED;
    tt_buf_init(&text, TT_MAX_PRESETS_BYTES);
    if (tt_presets_schema(&text, &err) == TT_OK)
        code = tt__print(text.data, text.size);
    else
        tt__store_tell(err.message);
    tt_buf_release(&text);
    return code;
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

/* A URL may be signed or hold a key: it is shown as the store knows it, without. The rest is as it is written. */
static const char *shown(const char *source, char out[TT_REFERENCE_BYTES]) {
    tt_reference r;
    bool may_hold_a_key = strchr(source, '?') && tt_reference_parse(source, &r, NULL) == TT_OK &&
                          r.type != TT_REF_PATH;
    tt__clean(out, TT_REFERENCE_BYTES, may_hold_a_key ? r.identity : source);
    return out;
}

static void print_source(const char *what, const char *source) {
    char text[TT_REFERENCE_BYTES];
    if (source) printf("    %-11s %s\n", what, shown(source, text));
}

static void print_preset(const tt_presets *p, const tt_preset *preset) {
    const char *name = tt_presets_default(p);
    bool is_default = name && strcmp(name, preset->name) == 0;
    char text[TT_REFERENCE_BYTES], called[TT_MODEL_NAME_BYTES];
    tt__clean(called, sizeof called, preset->name);
    tt__clean(text, sizeof text, preset->description);
    printf("%s%s%s%s\n", called, is_default ? " (default)" : "", text[0] ? ": " : "", text);
    print_source("checkpoint", preset->checkpoint.source);
    print_source("vae", preset->vae.source);
    print_source("refiner", preset->refiner.source);
    for (size_t i = 0; i < tt_json_length(preset->loras); i++) {
        json_object *lora = json_object_array_get_idx(preset->loras, i);
        tt__clean(called, sizeof called, tt_json_text(lora, "name", ""));
        printf("    lora        %-24s %6.2f  %s%s\n", called, tt_json_double(lora, "scale", 1),
               shown(tt_json_text(lora, "source", ""), text),
               tt_json_bool(lora, "active", true) ? "" : "  (only when asked for)");
    }
    for (int i = 0; i < preset->n_embeddings; i++) {
        tt__clean(called, sizeof called, preset->embeddings[i].name);
        printf("    embedding   %-24s         %s\n", called,
               shown(preset->embeddings[i].source, text));
    }
    if (preset->defaults)
        printf("    defaults    %s\n",
               json_object_to_json_string_ext(
                   preset->defaults, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void put_source(json_object *o, const char *name, const char *source) {
    char text[TT_REFERENCE_BYTES];
    if (source) tt__put_text(o, name, shown(source, text));
}

/* As they are written, but for what a source must not show. */
static json_object *json_of_loras(json_object *loras) {
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < tt_json_length(loras); i++) {
        json_object *copy = NULL, *lora = json_object_array_get_idx(loras, i);
        if (json_object_deep_copy(lora, &copy, NULL) != 0) continue;
        put_source(copy, "source", tt_json_text(lora, "source", NULL));
        json_object_array_add(list, copy);
    }
    return list;
}

static json_object *json_of_embeddings(const tt_preset *preset) {
    json_object *list = json_object_new_array();
    for (int i = 0; i < preset->n_embeddings; i++) {
        json_object *one = json_object_new_object();
        tt__put_text(one, "name", preset->embeddings[i].name);
        put_source(one, "source", preset->embeddings[i].source);
        json_object_array_add(list, one);
    }
    return list;
}

static json_object *json_of(const tt_preset *preset) {
    json_object *o = json_object_new_object();
    tt__put_text(o, "name", preset->name);
    tt__put_text(o, "description", preset->description);
    put_source(o, "checkpoint", preset->checkpoint.source);
    put_source(o, "vae", preset->vae.source);
    put_source(o, "refiner", preset->refiner.source);
    if (preset->loras) tt__put_object(o, "loras", json_of_loras(preset->loras));
    if (preset->n_embeddings) tt__put_object(o, "embeddings", json_of_embeddings(preset));
    if (preset->defaults) tt__put_object(o, "defaults", json_object_get(preset->defaults));
    return o;
}

static int print_all_json(const tt_presets *p) {
    json_object *root = json_object_new_object(), *list = json_object_new_array();
    if (tt_presets_default(p)) tt__put_text(root, "default", tt_presets_default(p));
    for (int i = 0; i < tt_presets_count(p); i++)
        json_object_array_add(list, json_of(tt_presets_at(p, i)));
    tt__put_object(root, "presets", list);
    return tt__print_json(root);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int tell_mistakes(const char *path, const tt_problems *problems, const tt_err *err) {
    if (problems->count == 0) {
        fprintf(stderr, "tintype: presets: %s\n", err->message);
        return TT_EXIT_USAGE;
    }
    for (int i = 0; i < problems->count && i < TT_MAX_PROBLEMS; i++)
        fprintf(stderr, "%s\n", problems->list[i].message);
    if (problems->count > TT_MAX_PROBLEMS)
        fprintf(stderr, "%s: and %d more\n", path, problems->count - TT_MAX_PROBLEMS);
    return TT_EXIT_USAGE;
}

static const char *default_path(void) {
    const char *path = getenv("TINTYPE_CONFIG");
    return path && path[0] ? path : DEFAULT_FILE;
}

static int show(const char *path, bool only_checks, bool is_json) {
    tt_presets *presets;
    tt_problems problems;
    tt_err err;
    tt_problems_init(&problems);
    if (tt_presets_open(path, &presets, &problems, &err) != TT_OK)
        return tell_mistakes(path, &problems, &err);
    int code = TT_EXIT_OK;
    if (only_checks)
        printf("%s: %d presets, nothing wrong\n", path, tt_presets_count(presets));
    else if (is_json)
        code = print_all_json(presets);
    else
        for (int i = 0; i < tt_presets_count(presets); i++)
            print_preset(presets, tt_presets_at(presets, i));
    tt_presets_release(presets);
    return code;
}

int tt__presets(int argc, char **argv) {
    const char *path = NULL;
    bool wants_schema = false, only_checks = false;
    const tt__store_flag flags[] = {{.name = "--config", .value = &path},
                                    {.name = "--check", .is_said = &only_checks},
                                    {.name = "--schema", .is_said = &wants_schema},
                                    {.name = NULL}};
    tt__store_words words;
    if (!tt__store_words_read("presets", flags, argc, argv, &words)) return TT_EXIT_USAGE;
    if (words.wants_help) return tt__presets_help(false);
    if (wants_schema) return print_schema();
    if (!tt__store_words_count("presets", &words, 0, 1, "one file at most")) return TT_EXIT_USAGE;
    if (words.n_operands == 1) path = words.operands[0];
    return show(path ? path : default_path(), only_checks, words.is_json);
}
