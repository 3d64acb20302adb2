/* See presets.h. */
#include "cmd/presets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/presets.h"
#include "base/file.h"
#include "base/json.h"
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

static void print_preset(const tt_presets *p, const tt_preset *preset) {
    const char *name = tt_presets_default(p);
    bool is_default = name && strcmp(name, preset->name) == 0;
    printf("%s%s%s%s\n", preset->name, is_default ? " (default)" : "",
           preset->description[0] ? ": " : "", preset->description);
    if (preset->checkpoint.source) printf("    checkpoint  %s\n", preset->checkpoint.source);
    if (preset->vae.source) printf("    vae         %s\n", preset->vae.source);
    if (preset->refiner.source) printf("    refiner     %s\n", preset->refiner.source);
    for (size_t i = 0; i < tt_json_length(preset->loras); i++) {
        json_object *lora = json_object_array_get_idx(preset->loras, i);
        printf("    lora        %-24s %6.2f  %s%s\n", tt_json_text(lora, "name", ""),
               tt_json_double(lora, "scale", 1), tt_json_text(lora, "source", ""),
               tt_json_bool(lora, "active", true) ? "" : "  (only when asked for)");
    }
    for (int i = 0; i < preset->n_embeddings; i++)
        printf("    embedding   %-24s         %s\n", preset->embeddings[i].name,
               preset->embeddings[i].source);
    if (preset->defaults)
        printf("    defaults    %s\n",
               json_object_to_json_string_ext(
                   preset->defaults, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static json_object *json_of(const tt_preset *preset) {
    json_object *o = json_object_new_object();
    tt__put_text(o, "name", preset->name);
    tt__put_text(o, "description", preset->description);
    if (preset->checkpoint.source) tt__put_text(o, "checkpoint", preset->checkpoint.source);
    if (preset->vae.source) tt__put_text(o, "vae", preset->vae.source);
    if (preset->refiner.source) tt__put_text(o, "refiner", preset->refiner.source);
    if (preset->loras) tt__put_object(o, "loras", json_object_get(preset->loras));
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
