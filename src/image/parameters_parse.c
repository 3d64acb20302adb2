/* Reads the A1111 form (parameters.h), which has no grammar, only habits:
 *
 *     text      = [prompt] ["\nNegative prompt:" negative] ["\n" settings]
 *     settings  = pair *("," pair)      the last line if it begins with "Steps: <digits>" or has
 *                                       three pairs; else it is prompt
 *     pair      = key ":" value
 *     value     = JSON string | anything up to a comma that a pair, or nothing, follows
 *
 * A comma that no key follows belongs to the value before it: older programs wrote values with
 * commas unquoted. Nothing is copied before it is known to be kept: slices point into the text. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "image/parameters.h"
#include "image/parameters_form.h"

enum { SURE_PAIRS = 3, MAX_PAIRS = TT_MAX_IMAGE_TEXT_PAIRS + TT__N_FIELDS };

typedef struct slice {
    const char *at; /* borrowed from the text, not terminated */
    size_t size;
} slice;

typedef struct pair {
    slice key, value;
    bool is_quoted; /* value is a JSON string with its quotes */
} pair;

static slice trim(slice s) {
    while (s.size > 0 && tt__is_space(s.at[0])) s.at++, s.size--;
    while (s.size > 0 && tt__is_space(s.at[s.size - 1])) s.size--;
    return s;
}

static slice drop(slice s, size_t n) {
    return (slice){s.at + n, s.size - n};
}

/* "key:" at the start of `s`, after white space. */
static bool take_key(slice *s, slice *key) {
    slice rest = *s;
    while (rest.size > 0 && tt__is_space(rest.at[0])) rest = drop(rest, 1);
    size_t n = tt__key_length(rest.at, rest.size);
    if (n >= rest.size || rest.at[n] != ':') return false;
    *key = trim((slice){rest.at, n});
    if (key->size < TT__MIN_KEY_BYTES || key->size > TT__MAX_KEY_BYTES) return false;
    *s = drop(rest, n + 1);
    return true;
}

static size_t until_comma(slice s) {
    const char *comma = s.size ? memchr(s.at, ',', s.size) : NULL;
    return comma ? (size_t)(comma - s.at) : s.size;
}

/* Bytes of a JSON string at the start of `s` that a comma or the end follows; 0: there is none. */
static size_t quoted_length(slice s) {
    if (s.size == 0 || s.at[0] != '"') return 0;
    size_t n = 1;
    while (n < s.size && s.at[n] != '"') n += s.at[n] == '\\' ? 2 : 1;
    if (n >= s.size) return 0;
    slice after = trim(drop(s, n + 1));
    return after.size == 0 || after.at[0] == ',' ? n + 1 : 0;
}

static bool starts_with_key(slice s) {
    slice key;
    return take_key(&s, &key);
}

/* The next pair, and `s` after the comma that ends it. */
static bool take_pair(slice *s, pair *out) {
    if (!take_key(s, &out->key)) return false;
    while (s->size > 0 && tt__is_space(s->at[0])) *s = drop(*s, 1);
    size_t n = quoted_length(*s);
    out->is_quoted = n > 0;
    size_t end = n + until_comma(drop(*s, n));
    while (end < s->size && !starts_with_key(drop(*s, end + 1)))
        end += 1 + until_comma(drop(*s, end + 1));
    out->value = out->is_quoted ? (slice){s->at, n} : trim((slice){s->at, end});
    *s = drop(*s, end < s->size ? end + 1 : end);
    return true;
}

static bool all_digits(slice s) {
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] < '0' || s.at[i] > '9') return false;
    return s.size > 0;
}

static bool looks_like_settings(slice line) {
    pair p;
    int n = 0;
    for (; n < SURE_PAIRS && take_pair(&line, &p); n++)
        if (n == 0 && tt__field_of_key(p.key.at, p.key.size) == TT__FIELD_STEPS &&
            all_digits(p.value))
            return true;
    return n == SURE_PAIRS;
}

static tt_status copy(slice s, tt_arena *arena, const char **out, tt_err *err) {
    *out = tt_arena_strndup(arena, s.size ? s.at : "", s.size);
    return *out ? TT_OK : tt_fail_nomem(err, "generation settings", s.size + 1);
}

/* A quoted value that is no valid JSON after all stays as it stands, quotes included. */
static tt_status copy_value(const pair *p, tt_arena *arena, const char **out, tt_err *err) {
    json_object *parsed = NULL;
    if (!p->is_quoted) return copy(p->value, arena, out, err);
    tt_status status = tt_json_parse(p->value.at, p->value.size, &parsed, NULL);
    if (status == TT_E_NOMEM) return tt_fail_nomem(err, "generation settings", p->value.size);
    if (status != TT_OK) return copy(p->value, arena, out, err);
    slice text = {json_object_get_string(parsed), (size_t)json_object_get_string_len(parsed)};
    bool has_nul = memchr(text.at, '\0', text.size) != NULL;
    status = copy(has_nul ? p->value : text, arena, out, err);
    json_object_put(parsed);
    return status;
}

/* Digits only, no sign, up to `max`. */
static bool read_integer(const char *text, size_t n, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    if (!all_digits((slice){text, n})) return false;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    *out = value;
    return value <= max;
}

static bool set_steps(tt_image_parameters *p, const char *value) {
    uint64_t steps;
    if (!read_integer(value, strlen(value), INT_MAX, &steps)) return false;
    p->steps = (int)steps;
    return true;
}

static bool set_cfg(tt_image_parameters *p, const char *value) {
    char *end;
    double cfg = strtod(value, &end);
    if (end == value || *end || tt__is_space(value[0]) || !isfinite(cfg)) return false;
    p->has_cfg = true;
    p->cfg = cfg;
    return true;
}

static bool set_seed(tt_image_parameters *p, const char *value) {
    p->has_seed = read_integer(value, strlen(value), UINT64_MAX, &p->seed);
    return p->has_seed;
}

static bool set_size(tt_image_parameters *p, const char *value) {
    uint64_t width, height;
    const char *x = strchr(value, 'x');
    if (!x || !read_integer(value, (size_t)(x - value), INT_MAX, &width) ||
        !read_integer(x + 1, strlen(x + 1), INT_MAX, &height) || width == 0 || height == 0)
        return false;
    p->width = (int)width;
    p->height = (int)height;
    return true;
}

static bool set_text(const char **slot, const char *value) {
    *slot = value;
    return true;
}

/* False: the value makes no sense for the field. */
static bool set_field(tt_image_parameters *p, int field, const char *value) {
    switch (field) {
    case TT__FIELD_STEPS:
        return set_steps(p, value);
    case TT__FIELD_SAMPLER:
        return set_text(&p->sampler, value);
    case TT__FIELD_SCHEDULE:
        return set_text(&p->schedule, value);
    case TT__FIELD_CFG:
        return set_cfg(p, value);
    case TT__FIELD_SEED:
        return set_seed(p, value);
    case TT__FIELD_SIZE:
        return set_size(p, value);
    case TT__FIELD_MODEL:
        return set_text(&p->model, value);
    case TT__FIELD_VERSION:
        return set_text(&p->version, value);
    case TT__FIELD_EXACT_PROMPT:
        return set_text(&p->prompt, value);
    case TT__FIELD_EXACT_NEGATIVE:
        return set_text(&p->negative, value);
    default:
        return false;
    }
}

static size_t count_pairs(slice line) {
    pair p;
    size_t n = 0;
    while (n < MAX_PAIRS && take_pair(&line, &p)) n++;
    return n;
}

static tt_status read_settings(slice line, tt_arena *arena, tt_image_parameters *out, tt_err *err) {
    bool seen[TT__N_FIELDS] = {false};
    pair p;
    size_t n_pairs = count_pairs(line);
    tt_image_parameter *extra = tt_arena_alloc(arena, n_pairs * sizeof *extra);
    if (!extra) return tt_fail_nomem(err, "generation settings", n_pairs * sizeof *extra);
    out->extra = extra;
    for (size_t i = 0; i < n_pairs && take_pair(&line, &p); i++) {
        const char *value;
        TT_TRY(copy_value(&p, arena, &value, err));
        int field = tt__field_of_key(p.key.at, p.key.size);
        if (field < TT__N_FIELDS && !seen[field] && set_field(out, field, value)) {
            seen[field] = true;
            continue;
        }
        if (out->n_extra == TT_MAX_IMAGE_TEXT_PAIRS) continue;
        TT_TRY(copy(p.key, arena, &extra[out->n_extra].key, err));
        extra[out->n_extra++].value = value;
    }
    if (seen[TT__FIELD_EXACT_PROMPT] && !seen[TT__FIELD_EXACT_NEGATIVE]) out->negative = NULL;
    return TT_OK;
}

/* The offset of the first line that begins with "Negative prompt:"; text.size when none does. */
static size_t find_negative(slice text) {
    size_t mark_size = strlen(tt__negative_mark);
    for (size_t at = 0; at < text.size;) {
        if (text.size - at >= mark_size && !memcmp(text.at + at, tt__negative_mark, mark_size))
            return at;
        const char *newline = memchr(text.at + at, '\n', text.size - at);
        if (!newline) break;
        at = (size_t)(newline - text.at) + 1;
    }
    return text.size;
}

static tt_status read_prompts(slice text, tt_arena *arena, tt_image_parameters *out, tt_err *err) {
    size_t at = find_negative(text);
    TT_TRY(copy(trim((slice){text.at, at}), arena, &out->prompt, err));
    if (at == text.size) return TT_OK;
    return copy(trim(drop(text, at + strlen(tt__negative_mark))), arena, &out->negative, err);
}

static tt_status check_text(const char *text, size_t size, tt_err *err) {
    size_t bad_at = 0;
    if (size > TT_MAX_IMAGE_TEXT_BYTES)
        return tt_fail(err, TT_E_INVALID, "generation settings: %zu bytes, the limit is %zu", size,
                       TT_MAX_IMAGE_TEXT_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_FORMAT, (int64_t)bad_at,
                          "generation settings: not valid UTF-8 at byte %zu", bad_at);
    return TT_OK;
}

tt_status tt_image_parameters_parse(const char *text, tt_arena *arena, tt_image_parameters *out,
                                    tt_err *err) {
    *out = (tt_image_parameters){0};
    TT_TRY(check_text(text, strlen(text), err));
    slice all = {text, strlen(text)};
    while (all.size > 0 && tt__is_space(all.at[all.size - 1])) all.size--;
    const char *newline = memrchr(all.at, '\n', all.size);
    size_t head_size = newline ? (size_t)(newline - all.at) : 0;
    slice last_line = newline ? drop(all, head_size + 1) : all;
    bool has_settings = looks_like_settings(last_line);
    TT_TRY(read_prompts(has_settings ? (slice){all.at, head_size} : all, arena, out, err));
    return has_settings ? read_settings(last_line, arena, out, err) : TT_OK;
}
