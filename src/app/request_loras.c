/* The list of LoRAs, as words; see request_parts.h. An entry is text or an object:
 *
 *     "old-photo"   "old-photo:0.8"   "old-photo:unet=0.8,te=0"   "old-photo:1,in=0.5,out03=1.2"
 *     {"name": "old-photo", "scale": 0.8, "unet": 0.8, "te": 0, "blocks": {"in": 0.5}}
 *
 * A preset's list comes first, in its order. What a request asks for by the name of one of its entries changes that entry, and
 * switches it on where it is not active by itself; everything else follows in the request's order.
 *
 * References have colons of their own ("civitai:128078"): what follows the last one is a scale only where it is written as one
 * and what is before it is more than the name of a source. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/presets.h"
#include "app/request_parts.h"
#include "app/show.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/nearest.h"

/* The engine's own limit for a scale: people use -2 to 5, sliders go to 20. */
static const double MAX_SCALE = 100;
/* There are some forty parts; their names have five letters. */
enum {
    MAX_PARTS = 64,
    MAX_PART_NAME_BYTES = 16,
    MAX_PARTS_BYTES = MAX_PARTS * 40,
    WHERE_BYTES = 64
};

/* Every member that an entry may have, and what it sets. TOLD ones stand in a picture's own record, which may be asked again. */
typedef enum role {
    NAME,
    SOURCE,
    SCALE,
    UNET,
    TE,
    TE1,
    TE2,
    BLOCKS,
    PARTS,
    FROM_PROMPT,
    ACTIVE,
    TOLD,
    ROLES
} role;
static const struct {
    const char *name;
    role role;
} MEMBERS[] = {
    {"name", NAME},
    {"source", SOURCE},
    {"path", SOURCE},
    {"url", SOURCE},
    {"file", SOURCE},
    {"model", SOURCE},
    {"lora", SOURCE},
    {"scale", SCALE},
    {"weight", SCALE},
    {"strength", SCALE},
    {"multiplier", SCALE},
    {"unet", UNET},
    {"strength_model", UNET},
    {"te", TE},
    {"strength_clip", TE},
    {"te1", TE1},
    {"te2", TE2},
    {"blocks", BLOCKS},
    {"parts", PARTS},
    {"from_prompt", FROM_PROMPT},
    {"active", ACTIVE},
    {"kind", TOLD},
    {"rank", TOLD},
    {"rank_min", TOLD},
    {"matched", TOLD},
    {"unmatched", TOLD},
    {"modules", TOLD},
    {"base_model", TOLD},
    {"sha256", TOLD},
    {"reference", TOLD},
};
enum { N_MEMBERS = sizeof MEMBERS / sizeof *MEMBERS };
/* What a part is called in tt_request_adapter.parts. */
static const char *const PART_NAMES[ROLES] = {
    [UNET] = "unet", [TE] = "te", [TE1] = "te1", [TE2] = "te2"};

typedef struct reader {
    tt_app_request *out;
    tt_problems *problems;
    tt_app_lora *lora; /* the entry at hand */
    tt_buf parts;      /* owned */
    int n_parts;
    bool is_of_prompt; /* the prompt names it, and will again */
    bool has_scale;
    int n_preset; /* entries at the list's beginning that the preset lists, active or not */
    const tt_preset *preset; /* NULL: none */
    tt_err *err;
} reader;

static tt_status keep(reader *r, const char *text, size_t size, const char **out) {
    *out = tt_arena_strndup(&r->out->memory, text, size);
    return *out ? TT_OK : tt_fail_nomem(r->err, "a LoRA's name", size);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* Decimal only, the whole text. */
static bool read_decimal(const char *text, size_t size, double *out) {
    char copy[WHERE_BYTES], *end;
    if (size == 0 || size >= sizeof copy || memchr(text, '\0', size)) return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (copy[strspn(copy, "0123456789+-.eE")] != '\0') return false;
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

static bool is_part_name(const char *text, size_t size) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    for (size_t i = 0; i < size; i++)
        if (!text[i] || !strchr(letters, text[i])) return false;
    return size > 0 && size <= MAX_PART_NAME_BYTES;
}

static void refuse_scale(reader *r, const char *of, const char *shown) {
    tt_problems_add(r->problems, "%s: expected %s%sa number from %g to %g, found %s",
                    r->lora->where, of, of[0] ? " to be " : "", -MAX_SCALE, MAX_SCALE, shown);
}

static tt_status add_part(reader *r, const char *name, size_t size, double value) {
    if (++r->n_parts == MAX_PARTS)
        tt_problems_add(r->problems, "%s: expected fewer than %d parts", r->lora->where, MAX_PARTS);
    if (r->n_parts >= MAX_PARTS) return TT_OK;
    const char *between = r->parts.size ? "," : "";
    return tt_buf_printf(&r->parts, r->err, "%s%.*s=%.9g", between, (int)size, name, value);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* "0.8" (only as the first) or "unet=0.8". */
static tt_status read_item(reader *r, const char *text, size_t size, bool is_first) {
    char shown[TT_SHOWN_BYTES];
    double value;
    const char *equals = memchr(text, '=', size);
    size_t name = equals ? (size_t)(equals - text) : 0;
    const char *number = equals ? equals + 1 : text;
    bool is_number =
        read_decimal(number, size - (size_t)(number - text), &value) && fabs(value) <= MAX_SCALE;
    if (equals && is_number && is_part_name(text, name)) return add_part(r, text, name, value);
    if (!equals && is_number && is_first) {
        r->lora->scale = (float)value;
        r->has_scale = true;
        return TT_OK;
    }
    tt_show_text(shown, text, size);
    tt_problems_add(
        r->problems,
        "%s: expected a scale from %g to %g, or part=scale, after the colon, found \"%s\"",
        r->lora->where, -MAX_SCALE, MAX_SCALE, shown);
    return TT_OK;
}

static bool is_source_word(const char *text, size_t size) {
    static const char *const words[] = {"civitai", "huggingface", "hf",   "air",   "urn",
                                        "sha256",  "s3",          "http", "https", "file"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0) return true;
    return false;
}

/* Where the scales begin, behind the last colon; NULL: there are none. */
static const char *find_scales(const char *text) {
    const char *colon = strrchr(text, ':');
    double ignored;
    if (!colon || colon == text) return NULL;
    const char *before = colon;
    while (before > text && before[-1] != ':') before--;
    if (is_source_word(before, (size_t)(colon - before))) return NULL;
    size_t first = strcspn(colon + 1, ",");
    bool is_scale = read_decimal(colon + 1, first, &ignored) || memchr(colon + 1, '=', first);
    return is_scale && !strchr(colon, '/') ? colon + 1 : NULL;
}

static tt_status read_items(reader *r, const char *items) {
    for (const char *at = items; *at;) {
        size_t item = strcspn(at, ",");
        TT_TRY(read_item(r, at, item, at == items));
        at += item + (at[item] == ',');
    }
    return TT_OK;
}

static tt_status read_text(reader *r, const char *text) {
    const char *scales = find_scales(text);
    size_t size = scales ? (size_t)(scales - text) - 1 : strlen(text);
    TT_TRY(keep(r, text, size, &r->lora->source));
    if (size == 0)
        tt_problems_add(r->problems, "%s: expected a name, found nothing", r->lora->where);
    return scales ? read_items(r, scales) : TT_OK;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static role find_role(const char *name) {
    for (int i = 0; i < N_MEMBERS; i++)
        if (strcmp(name, MEMBERS[i].name) == 0) return MEMBERS[i].role;
    return ROLES;
}

static void report_unknown(reader *r, const char *name) {
    char shown[TT_SHOWN_BYTES];
    tt_nearest nearest;
    tt_nearest_init(&nearest, name);
    for (int i = 0; i < N_MEMBERS; i++) tt_nearest_offer(&nearest, MEMBERS[i].name);
    tt_show_text(shown, name, strlen(name));
    if (nearest.best)
        tt_problems_add(r->problems, "%s: unknown member \"%s\", did you mean %s?", r->lora->where,
                        shown, nearest.best);
    else
        tt_problems_add(r->problems,
                        "%s: unknown member \"%s\", expected name, source, scale, unet, "
                        "te, te1, te2 or blocks",
                        r->lora->where, shown);
}

/* False after a problem. */
static bool get_scale(reader *r, const char *name, json_object *value, double *out) {
    char shown[TT_SHOWN_BYTES];
    bool is_number =
        json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    *out = is_number ? json_object_get_double(value) : 0;
    if (is_number && fabs(*out) <= MAX_SCALE) return true; /* false for NaN */
    tt_show_json(shown, value);
    refuse_scale(r, name, shown);
    return false;
}

static tt_status read_blocks(reader *r, json_object *blocks) {
    char shown[TT_SHOWN_BYTES];
    if (!json_object_is_type(blocks, json_type_object)) {
        tt_show_json(shown, blocks);
        tt_problems_add(r->problems, "%s: expected blocks to be an object of numbers, found %s",
                        r->lora->where, shown);
        return TT_OK;
    }
    struct json_object_iterator at = json_object_iter_begin(blocks),
                                end = json_object_iter_end(blocks);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *name = json_object_iter_peek_name(&at);
        double value;
        tt_show_text(shown, name, strlen(name));
        if (!is_part_name(name, strlen(name)))
            tt_problems_add(r->problems, "%s: unknown block \"%s\"", r->lora->where, shown);
        else if (get_scale(r, shown, json_object_iter_peek_value(&at), &value))
            TT_TRY(add_part(r, name, strlen(name), value));
    }
    return TT_OK;
}

static tt_status read_string(reader *r, const char *name, json_object *value, const char **out) {
    char shown[TT_SHOWN_BYTES];
    bool is_string = json_object_is_type(value, json_type_string);
    const char *text = is_string ? json_object_get_string(value) : "";
    size_t size = strlen(text);
    bool is_whole = is_string && size == (size_t)json_object_get_string_len(value);
    if (size > 0 && is_whole && size < TT_REFERENCE_BYTES) return keep(r, text, size, out);
    tt_show_json(shown, value);
    tt_problems_add(r->problems, "%s: expected %s to be text of 1 to %d bytes, found %s",
                    r->lora->where, name, TT_REFERENCE_BYTES - 1, shown);
    return TT_OK;
}

static tt_status read_member(reader *r, const char *name, json_object *value) {
    double scale = 0;
    const char *parts = NULL;
    role of = find_role(name);
    if (!value && of != ROLES) return TT_OK; /* null counts as absent */
    switch (of) {
    case NAME:
        return read_string(r, name, value, &r->lora->name);
    case SOURCE:
        return read_string(r, name, value, &r->lora->source);
    case SCALE:
        if (get_scale(r, name, value, &scale)) r->lora->scale = (float)scale;
        r->has_scale = true;
        return TT_OK;
    case BLOCKS:
        return read_blocks(r, value);
    case PARTS:
        TT_TRY(read_string(r, name, value, &parts));
        return parts ? read_items(r, parts) : TT_OK;
    case FROM_PROMPT:
        r->is_of_prompt = json_object_get_boolean(value);
        return TT_OK;
    case ACTIVE:
        r->lora->is_off = !json_object_get_boolean(value);
        return TT_OK;
    case TOLD:
        return TT_OK;
    case UNET:
    case TE:
    case TE1:
    case TE2:
        if (!get_scale(r, name, value, &scale)) return TT_OK;
        return add_part(r, PART_NAMES[of], strlen(PART_NAMES[of]), scale);
    case ROLES:
        break;
    }
    report_unknown(r, name);
    return TT_OK;
}

static tt_status read_object(reader *r, json_object *entry) {
    struct json_object_iterator at = json_object_iter_begin(entry),
                                end = json_object_iter_end(entry);
    int before = r->problems->count;
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
        TT_TRY(read_member(r, json_object_iter_peek_name(&at), json_object_iter_peek_value(&at)));
    if (!r->lora->source) r->lora->source = r->lora->name;
    if (!r->lora->source && r->problems->count == before)
        tt_problems_add(r->problems, "%s: expected a name or a source, found neither",
                        r->lora->where);
    return TT_OK;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static tt_status read_entry(reader *r, json_object *entry) {
    char shown[TT_SHOWN_BYTES];
    const char *text =
        json_object_is_type(entry, json_type_string) ? json_object_get_string(entry) : NULL;
    if (json_object_is_type(entry, json_type_object)) return read_object(r, entry);
    if (text && strlen(text) == (size_t)json_object_get_string_len(entry) &&
        (r->lora->is_trusted || tt_utf8_is_valid(text, strlen(text), NULL)))
        return read_text(r, text);
    tt_show_json(shown, entry);
    tt_problems_add(r->problems, "%s: expected a name or an object, found %s", r->lora->where,
                    shown);
    return TT_OK;
}

static tt_status name_place(reader *r, const tt_setting *setting, size_t i) {
    char where[WHERE_BYTES];
    if (!setting)
        snprintf(where, sizeof where, "the preset's loras[%zu]", i);
    else if (setting->origin == TT_FROM_JOB)
        snprintf(where, sizeof where, "%s[%zu]", setting->spelling, i);
    else
        snprintf(where, sizeof where, "%s", setting->spelling);
    return keep(r, where, strlen(where), &r->lora->where);
}

/* One entry into the place behind the list's end. setting NULL: of the preset. */
static tt_status read_one(reader *r, const tt_setting *setting, json_object *entry, size_t i) {
    r->lora = &r->out->loras[r->out->n_loras];
    *r->lora = (tt_app_lora){.scale = 1};
    r->lora->is_trusted = !setting || setting->origin != TT_FROM_JOB;
    r->parts.size = 0;
    r->n_parts = 0;
    r->is_of_prompt = false;
    r->has_scale = false;
    TT_TRY(name_place(r, setting, i));
    TT_TRY(read_entry(r, entry));
    return r->parts.size ? keep(r, r->parts.data, r->parts.size, &r->lora->parts) : TT_OK;
}

static tt_status read_preset_list(reader *r, json_object *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        TT_TRY(read_one(r, NULL, json_object_array_get_idx(list, i), i));
        r->out->n_loras++;
    }
    r->n_preset = (int)n;
    return TT_OK;
}

/* The preset's entry that a request's entry means; NULL. */
static tt_app_lora *find_listed(reader *r) {
    const char *name =
        r->lora->name && strcmp(r->lora->name, r->lora->source) != 0 ? NULL : r->lora->source;
    for (int i = 0; name && i < r->n_preset; i++)
        if (r->out->loras[i].name && strcmp(r->out->loras[i].name, name) == 0)
            return &r->out->loras[i];
    return NULL;
}

static void change_listed(const reader *r, tt_app_lora *listed) {
    bool says_how = r->has_scale || r->lora->parts;
    if (r->has_scale) listed->scale = r->lora->scale;
    if (says_how) listed->parts = r->lora->parts;
    listed->is_off = false;
    listed->where = r->lora->where;
}

static void check_scale(const reader *r) {
    const tt_preset *preset = r->preset;
    if (!preset || preset->limits.max_lora_scale < 0 || r->lora->is_trusted) return;
    if (fabs((double)r->lora->scale) <= preset->limits.max_lora_scale) return;
    tt_problems_add(r->problems, "%s: scale %g, the preset %s allows at most %g", r->lora->where,
                    (double)r->lora->scale, preset->name, preset->limits.max_lora_scale);
}

static tt_status read_list(reader *r, const tt_setting *setting, size_t n) {
    for (size_t i = 0; i < n; i++) {
        TT_TRY(read_one(r, setting, json_object_array_get_idx(setting->value, i), i));
        if (r->is_of_prompt || !r->lora->source) continue;
        tt_app_lora *listed = find_listed(r);
        check_scale(r);
        if (listed)
            change_listed(r, listed);
        else
            r->out->n_loras++;
    }
    return TT_OK;
}

/* What stays: the preset's that are on, and the request's. */
static void drop_inactive(reader *r) {
    int n = 0;
    for (int i = 0; i < r->out->n_loras; i++)
        if (!r->out->loras[i].is_off) r->out->loras[n++] = r->out->loras[i];
    int n_own = r->out->n_loras - r->n_preset;
    int most = r->preset ? r->preset->limits.max_loras : -1;
    if (most >= 0 && n_own > most)
        tt_problems_add(r->problems,
                        "loras: %d besides the preset's, the preset %s allows at most %d", n_own,
                        r->preset->name, most);
    r->out->n_loras = n;
}

/* How many entries the request's list has; 0 after a problem. */
static size_t count_entries(const tt_setting *setting, tt_problems *problems) {
    char shown[TT_SHOWN_BYTES];
    if (!setting->value) return 0;
    bool is_list = json_object_is_type(setting->value, json_type_array);
    size_t n = tt_json_length(setting->value);
    tt_show_json(shown, setting->value);
    if (!is_list)
        tt_problems_add(problems, "%s: expected a list, found %s", setting->spelling, shown);
    else if (n > TT_MAX_REQUEST_ADAPTERS)
        tt_problems_add(problems, "%s: expected at most %d, found %zu", setting->spelling,
                        TT_MAX_REQUEST_ADAPTERS, n);
    return n <= TT_MAX_REQUEST_ADAPTERS ? n : 0;
}

tt_status tt__request_read_loras(const tt_settings *s, tt_app_request *out, tt_problems *problems,
                                 tt_err *err) {
    const tt_setting *setting = &s->of[TT_OPT_LORAS];
    json_object *listed = s->preset ? s->preset->loras : NULL;
    size_t n = count_entries(setting, problems), n_listed = tt_json_length(listed);
    if (n + n_listed == 0) return TT_OK;
    size_t size = (n + n_listed) * sizeof *out->loras;
    out->loras = tt_arena_alloc(&out->memory, size);
    if (!out->loras) return tt_fail_nomem(err, "a list of LoRAs", size);
    reader r = {.out = out, .problems = problems, .preset = s->preset, .err = err};
    tt_buf_init(&r.parts, MAX_PARTS_BYTES);
    tt_status status = read_preset_list(&r, listed, n_listed);
    if (status == TT_OK) status = read_list(&r, setting, n);
    if (status == TT_OK) drop_inactive(&r);
    tt_buf_release(&r.parts);
    if (out->n_loras > TT_MAX_REQUEST_ADAPTERS)
        tt_problems_add(problems, "loras: %d with the preset's, expected at most %d", out->n_loras,
                        TT_MAX_REQUEST_ADAPTERS);
    return status;
}
