/* See presets_shape.h. What a file may hold, field by field; then the check of a tree against it. */
#include "app/presets_shape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/options.h"
#include "app/presets.h"
#include "app/show.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/nearest.h"
#include "base/utf8.h"

/* ---- the form ---------------------------------------------------------------------------------------------------- */

enum { MAX_NAME_BYTES = 63, MAX_LIST = 64, MAX_PIXELS = 1 << 26 };

static const char *const LORA_POLICIES[] = {"listed", "open", NULL};
static const char *const SOURCES[] = {"civitai", "huggingface", "url", "s3", NULL};
static const char *const FETCHES[] = {"start", "first_use", NULL};

static const tt__shape POLICY[] = {
    {.name = "loras",
     .type = TT__SHAPE_CHOICE,
     .choices = LORA_POLICIES,
     .help = "Which LoRAs a request may use: \"listed\", only those of its preset, by name; "
             "\"open\", any that its "
             "source allows, by reference. Default: listed."},
    {.name = "sources",
     .type = TT__SHAPE_LIST,
     .choices = SOURCES,
     .max_items = 4,
     .help =
         "Where requests may take LoRAs from under \"open\". Default: civitai and huggingface."},
    {.name = "urls",
     .type = TT__SHAPE_LIST,
     .max_items = MAX_LIST,
     .help = "Beginnings that a URL of a request must have, each with https://, a host and a "
             "slash. Default: any, where "
             "sources names url."},
    {.name = "fetch",
     .type = TT__SHAPE_CHOICE,
     .choices = FETCHES,
     .help = "When missing models are downloaded: at the \"start\" of a worker, or at their "
             "\"first_use\" while the job "
             "waits. Default: start."},
    {.name = NULL},
};

static const tt__shape LORA[] = {
    {.name = "name",
     .type = TT__SHAPE_NAME,
     .is_required = true,
     .help = "What requests and results call it."},
    {.name = "source",
     .type = TT__SHAPE_REFERENCE,
     .is_required = true,
     .help = "Where it comes from: civitai:VERSION, a CivitAI or Hugging Face URL, "
             "hf://org/repo/file, s3://bucket/key, an "
             "https URL with #sha256=, or a file beside this one."},
    {.name = "scale",
     .type = TT__SHAPE_NUMBER,
     .minimum = -100,
     .maximum = 100,
     .help = "How strongly it acts. Default: 1."},
    {.name = "unet",
     .type = TT__SHAPE_NUMBER,
     .minimum = -100,
     .maximum = 100,
     .help = "Another scale for the UNet."},
    {.name = "te",
     .type = TT__SHAPE_NUMBER,
     .minimum = -100,
     .maximum = 100,
     .help = "Another scale for both text encoders."},
    {.name = "te1",
     .type = TT__SHAPE_NUMBER,
     .minimum = -100,
     .maximum = 100,
     .help = "For the first text encoder."},
    {.name = "te2",
     .type = TT__SHAPE_NUMBER,
     .minimum = -100,
     .maximum = 100,
     .help = "For the second text encoder."},
    {.name = "blocks",
     .type = TT__SHAPE_NUMBERS,
     .help =
         "Factors for parts of the UNet: in, mid, out, or single blocks such as in04 and out03."},
    {.name = "active",
     .type = TT__SHAPE_BOOLEAN,
     .help = "false: there for requests that name it, but not used by itself. Default: true."},
    {.name = NULL},
};

static const tt__shape EMBEDDING[] = {
    {.name = "name",
     .type = TT__SHAPE_NAME,
     .is_required = true,
     .help = "The word that stands for it in prompts."},
    {.name = "source",
     .type = TT__SHAPE_REFERENCE,
     .is_required = true,
     .help = "Where it comes from, as for LoRAs."},
    {.name = NULL},
};

static const tt__shape LIMITS[] = {
    {.name = "max_steps",
     .type = TT__SHAPE_INTEGER,
     .minimum = 1,
     .maximum = TT_MAX_STEPS,
     .help = "Denoising steps."},
    {.name = "max_pixels",
     .type = TT__SHAPE_INTEGER,
     .minimum = 64 * 64,
     .maximum = MAX_PIXELS,
     .help = "Width times height, after a hires fix. 1048576 is 1024 x 1024."},
    {.name = "max_images",
     .type = TT__SHAPE_INTEGER,
     .minimum = 1,
     .maximum = TT_MAX_PICTURES,
     .help = "Pictures of one request."},
    {.name = "max_loras",
     .type = TT__SHAPE_INTEGER,
     .minimum = 0,
     .maximum = MAX_LIST,
     .help = "LoRAs that a request adds to the preset's."},
    {.name = "max_lora_scale",
     .type = TT__SHAPE_NUMBER,
     .minimum = 0,
     .maximum = 100,
     .help = "The largest scale, up or down, that a request may ask for."},
    {.name = NULL},
};

static const tt__shape PRESET[] = {
    {.name = "description", .type = TT__SHAPE_STRING, .help = "For people."},
    {.name = "checkpoint",
     .type = TT__SHAPE_REFERENCE,
     .help = "The SDXL model. Default: what the program was started with."},
    {.name = "vae", .type = TT__SHAPE_REFERENCE, .help = "Another VAE than the model's own."},
    {.name = "refiner", .type = TT__SHAPE_REFERENCE, .help = "An SDXL refiner model."},
    {.name = "loras",
     .type = TT__SHAPE_LIST,
     .fields = LORA,
     .max_items = TT_MAX_PRESET_LORAS,
     .help = "LoRAs, applied in this order."},
    {.name = "embeddings",
     .type = TT__SHAPE_LIST,
     .fields = EMBEDDING,
     .max_items = TT_MAX_PRESET_EMBEDDINGS,
     .help = "Textual inversions that prompts may name."},
    {.name = "defaults",
     .type = TT__SHAPE_JOB,
     .help = "Fields of a job and the values they have where a request does not say otherwise."},
    {.name = "limits",
     .type = TT__SHAPE_OBJECT,
     .fields = LIMITS,
     .help = "What requests may ask for at most."},
    {.name = NULL},
};

static const tt__shape FILE_FIELDS[] = {
    {.name = "$schema",
     .type = TT__SHAPE_STRING,
     .help = "For editors: where this form is described."},
    {.name = "default", .type = TT__SHAPE_NAME, .help = "The preset of requests that name none."},
    {.name = "policy", .type = TT__SHAPE_OBJECT, .fields = POLICY, .help = "What requests may do."},
    {.name = "presets",
     .type = TT__SHAPE_MAP,
     .fields = PRESET,
     .max_items = TT_MAX_PRESETS,
     .is_required = true,
     .help = "Each preset under its name."},
    {.name = NULL},
};

const tt__shape tt__presets_shape = {
    .name = "the file", .type = TT__SHAPE_OBJECT, .fields = FILE_FIELDS};

/* ---- saying what is wrong ---------------------------------------------------------------------------------------- */

static void write_path(const tt__checker *c, char *out, size_t size) {
    out[0] = '\0';
    for (size_t i = 0; i < c->depth; i++) {
        size_t used = strlen(out);
        char shown[TT_SHOWN_BYTES];
        if (c->path[i].name) {
            tt_show_text(shown, c->path[i].name, strlen(c->path[i].name));
            snprintf(out + used, size - used, "%s%s", i ? "." : "", shown);
        } else
            snprintf(out + used, size - used, "[%zu]", c->path[i].index);
    }
    if (c->depth > 0) snprintf(out + strlen(out), size - strlen(out), ": ");
}

void tt__checker_say(const tt__checker *c, bool of_name, const char *format, ...) {
    char sentence[TT_ERR_MESSAGE_BYTES], path[512];
    va_list args;
    if (c->problems->count >=
        TT_MAX_PROBLEMS) { /* counted, and a place in the text not looked for */
        c->problems->count++;
        return;
    }
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    write_path(c, path, sizeof path);
    tt_json_place place = tt_json_place_of(c->text, c->size, c->path, c->depth, of_name);
    tt_problems_add(c->problems, "%s:%zu:%zu: %s%s", c->file, place.line, place.column, path,
                    sentence);
}

static void expected(const tt__checker *c, json_object *found, const char *what) {
    char shown[TT_SHOWN_BYTES];
    tt_show_json(shown, found);
    tt__checker_say(c, false, "expected %s, found %s", what, shown);
}

/* ---- the check --------------------------------------------------------------------------------------------------- */

static const char *text_of(json_object *value) {
    bool is_whole =
        json_object_is_type(value, json_type_string) &&
        strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value);
    return is_whole ? json_object_get_string(value) : NULL;
}

static bool is_name(const char *text) {
    size_t n = text ? strlen(text) : 0;
    if (n == 0 || n > MAX_NAME_BYTES || strpbrk(text, "/\\<>:")) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    return text[0] != '.' && text[0] != ' ' && text[n - 1] != ' ';
}

static void check_name(tt__checker *c, json_object *value) {
    if (is_name(text_of(value))) return;
    char what[128];
    snprintf(what, sizeof what, "a name of 1 to %d bytes without / \\ : < >", MAX_NAME_BYTES);
    expected(c, value, what);
}

static void check_reference(tt__checker *c, json_object *value) {
    const char *text = text_of(value);
    tt_reference r;
    tt_err err;
    if (!text)
        expected(c, value, "a reference such as civitai:128078");
    else if (tt_reference_parse(text, &r, &err) != TT_OK)
        tt__checker_say(c, false, "%s", err.message);
}

static void check_number(tt__checker *c, const tt__shape *shape, json_object *value) {
    bool is_whole = json_object_is_type(value, json_type_int);
    bool is_number = is_whole || (shape->type == TT__SHAPE_NUMBER &&
                                  json_object_is_type(value, json_type_double));
    double number = is_number ? json_object_get_double(value) : NAN;
    char what[96];
    if (number >= shape->minimum && number <= shape->maximum) return;
    snprintf(what, sizeof what, "a %s from %.15g to %.15g",
             shape->type == TT__SHAPE_NUMBER ? "number" : "whole number", shape->minimum,
             shape->maximum);
    expected(c, value, what);
}

static void check_choice(tt__checker *c, const tt__shape *shape, json_object *value) {
    const char *text = text_of(value);
    char what[256] = "";
    tt_nearest nearest;
    tt_nearest_init(&nearest, text ? text : "");
    for (int i = 0; shape->choices[i]; i++) {
        if (text && strcmp(text, shape->choices[i]) == 0) return;
        size_t used = strlen(what);
        tt_nearest_offer(&nearest, shape->choices[i]);
        snprintf(what + used, sizeof what - used, "%s\"%s\"", i ? " or " : "", shape->choices[i]);
    }
    expected(c, value, what);
}

static void check_member(tt__checker *c, const tt__shape *shape, json_object *value) {
    if (c->depth < TT__MAX_DEPTH) tt__shape_check(c, shape, value);
}

static const tt__shape *field_of(const tt__shape *fields, const char *name) {
    for (; fields->name; fields++)
        if (strcmp(fields->name, name) == 0) return fields;
    return NULL;
}

static void say_unknown(const tt__checker *c, const tt__shape *fields, const char *name) {
    tt_nearest nearest;
    char known[512] = "";
    tt_nearest_init(&nearest, name);
    for (const tt__shape *f = fields; f->name; f++) {
        size_t used = strlen(known);
        tt_nearest_offer(&nearest, f->name);
        snprintf(known + used, sizeof known - used, "%s%s", f == fields ? "" : ", ", f->name);
    }
    if (nearest.best)
        tt__checker_say(c, true, "unknown, did you mean \"%s\"?", nearest.best);
    else
        tt__checker_say(c, true, "unknown, expected one of %s", known);
}

static void check_fields(tt__checker *c, const tt__shape *fields, json_object *value) {
    struct json_object_iterator at = json_object_iter_begin(value),
                                end = json_object_iter_end(value);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *name = json_object_iter_peek_name(&at);
        const tt__shape *field = field_of(fields, name);
        c->path[c->depth++] = (tt_json_step){.name = name};
        if (!field)
            say_unknown(c, fields, name);
        else
            check_member(c, field, json_object_iter_peek_value(&at));
        c->depth--;
    }
    for (; fields->name; fields++)
        if (fields->is_required && !json_object_object_get_ex(value, fields->name, NULL))
            tt__checker_say(c, false, "\"%s\" is missing", fields->name);
}

static void check_map(tt__checker *c, const tt__shape *shape, json_object *value) {
    struct json_object_iterator at = json_object_iter_begin(value),
                                end = json_object_iter_end(value);
    int n = json_object_object_length(value);
    if (n > shape->max_items || n == 0)
        tt__checker_say(c, false, "expected 1 to %d presets, found %d", shape->max_items, n);
    for (int i = 0; i < shape->max_items && !json_object_iter_equal(&at, &end);
         i++, json_object_iter_next(&at)) {
        const char *name = json_object_iter_peek_name(&at);
        json_object *member = json_object_iter_peek_value(&at);
        c->path[c->depth++] = (tt_json_step){.name = name};
        if (!is_name(name))
            tt__checker_say(c, true, "expected a name of 1 to %d bytes without / \\ : < >",
                            MAX_NAME_BYTES);
        if (json_object_is_type(member, json_type_object))
            check_fields(c, shape->fields, member);
        else
            expected(c, member, "an object, {...}");
        c->depth--;
    }
}

/* Without fields a list holds texts: choices, or beginnings of URLs. */
static void check_item(tt__checker *c, const tt__shape *shape, json_object *item) {
    const char *text = text_of(item);
    if (shape->fields && json_object_is_type(item, json_type_object))
        check_fields(c, shape->fields, item);
    else if (shape->fields)
        expected(c, item, "an object, {...}");
    else if (shape->choices)
        check_choice(c, shape, item);
    else if (!text || strncmp(text, "https://", 8) != 0 || !strchr(text + 8, '/'))
        expected(c, item, "a URL's beginning such as \"https://example.org/loras/\"");
}

static void check_names_once(tt__checker *c, json_object *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        json_object *name = NULL, *other = NULL;
        json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_object) ||
            !json_object_object_get_ex(item, "name", &name))
            continue;
        for (size_t k = 0; k < i; k++) {
            json_object *before = json_object_array_get_idx(list, k);
            if (!json_object_is_type(before, json_type_object) ||
                !json_object_object_get_ex(before, "name", &other) ||
                !json_object_equal(name, other))
                continue;
            c->path[c->depth] = (tt_json_step){.index = i};
            c->path[c->depth + 1] = (tt_json_step){.name = "name"};
            c->depth += 2;
            char shown[TT_SHOWN_BYTES];
            tt_show_json(shown, name);
            tt__checker_say(c, false, "%s is there twice, the first time as [%zu]", shown, k);
            c->depth -= 2;
            break;
        }
    }
}

static void check_list(tt__checker *c, const tt__shape *shape, json_object *value) {
    size_t n = tt_json_length(value);
    if (!json_object_is_type(value, json_type_array)) {
        expected(c, value, "a list, [...]");
        return;
    }
    if (n > (size_t)shape->max_items) {
        tt__checker_say(c, false, "expected at most %d, found %zu", shape->max_items, n);
        n = (size_t)shape->max_items;
    }
    for (size_t i = 0; i < n; i++) {
        c->path[c->depth++] = (tt_json_step){.index = i};
        check_item(c, shape, json_object_array_get_idx(value, i));
        c->depth--;
    }
    if (shape->fields) check_names_once(c, value, n);
}

static void check_numbers(tt__checker *c, json_object *value) {
    static const tt__shape number = {
        .name = "", .type = TT__SHAPE_NUMBER, .minimum = -100, .maximum = 100};
    struct json_object_iterator at = json_object_iter_begin(value),
                                end = json_object_iter_end(value);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        c->path[c->depth++] = (tt_json_step){.name = json_object_iter_peek_name(&at)};
        check_number(c, &number, json_object_iter_peek_value(&at));
        c->depth--;
    }
}

static void check_object(tt__checker *c, const tt__shape *shape, json_object *value) {
    if (!json_object_is_type(value, json_type_object))
        expected(c, value, "an object, {...}");
    else if (shape->type == TT__SHAPE_MAP)
        check_map(c, shape, value);
    else if (shape->type == TT__SHAPE_NUMBERS)
        check_numbers(c, value);
    else if (shape->fields)
        check_fields(c, shape->fields, value);
}

void tt__shape_check(tt__checker *c, const tt__shape *shape, json_object *value) {
    switch (shape->type) {
    case TT__SHAPE_STRING:
        if (!text_of(value)) expected(c, value, "text in quotes");
        break;
    case TT__SHAPE_NAME:
        check_name(c, value);
        break;
    case TT__SHAPE_REFERENCE:
        check_reference(c, value);
        break;
    case TT__SHAPE_NUMBER:
    case TT__SHAPE_INTEGER:
        check_number(c, shape, value);
        break;
    case TT__SHAPE_BOOLEAN:
        if (!json_object_is_type(value, json_type_boolean)) expected(c, value, "true or false");
        break;
    case TT__SHAPE_CHOICE:
        check_choice(c, shape, value);
        break;
    case TT__SHAPE_LIST:
        check_list(c, shape, value);
        break;
    case TT__SHAPE_OBJECT:
    case TT__SHAPE_MAP:
    case TT__SHAPE_NUMBERS:
    case TT__SHAPE_JOB:
        check_object(c, shape, value);
        break;
    }
}
