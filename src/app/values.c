/* See values.h. */
#include "app/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/show.h"
#include "base/json.h"
#include "base/limits.h"

enum { EXPECTED_BYTES = 320 };

static void refuse(const tt_setting *setting, const char *expected, tt_problems *problems) {
    char shown[TT_SHOWN_BYTES];
    tt_show_json(shown, setting->value);
    bool is_quoted_number = json_object_is_type(setting->value, json_type_string) &&
                            setting->origin == TT_FROM_JOB && expected[0] == 'a' &&
                            strstr(expected, "number");
    tt_problems_add(problems, "%s: expected %s, found %s%s", setting->spelling, expected, shown,
                    is_quoted_number ? ", a string" : "");
}

static void describe_range(const tt_option *row, char out[EXPECTED_BYTES]) {
    const char *kind = row->type == TT_OPTION_NUMBER ? "a number" : "a whole number";
    if (row->minimum == row->maximum)
        snprintf(out, EXPECTED_BYTES, "%g, nothing else is built yet", row->minimum);
    else if (row->multiple_of)
        snprintf(out, EXPECTED_BYTES, "%s from %g to %g, a multiple of %d", kind, row->minimum,
                 row->maximum, row->multiple_of);
    else
        snprintf(out, EXPECTED_BYTES, "%s from %g to %g", kind, row->minimum, row->maximum);
}

/* True for numbers only; infinities and NaN, which json-c lets through, are no numbers here. */
static bool get_number(json_object *value, double *out) {
    if (!json_object_is_type(value, json_type_int) && !json_object_is_type(value, json_type_double))
        return false;
    *out = json_object_get_double(value);
    return isfinite(*out);
}

void tt_value_integer(const tt_settings *s, tt_option_id id, int *out, tt_problems *problems) {
    const tt_option *row = tt_option_get(id);
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    double v = 0;
    bool is_right =
        get_number(setting->value, &v) && v == floor(v) && v >= row->minimum && v <= row->maximum;
    if (is_right && (!row->multiple_of || (int)v % row->multiple_of == 0)) {
        *out = (int)v;
        return;
    }
    char expected[EXPECTED_BYTES];
    describe_range(row, expected);
    refuse(setting, expected, problems);
}

void tt_value_number(const tt_settings *s, tt_option_id id, float *out, tt_problems *problems) {
    const tt_option *row = tt_option_get(id);
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    double v = 0;
    if (get_number(setting->value, &v) && v >= row->minimum && v <= row->maximum) {
        *out = (float)v;
        return;
    }
    char expected[EXPECTED_BYTES];
    describe_range(row, expected);
    refuse(setting, expected, problems);
}

/* json-c keeps integers as signed or unsigned 64 bits; a negative one reads as 0 when asked for
 * unsigned. */
static bool get_seed(json_object *value, uint64_t *out) {
    const double exact_limit =
        9007199254740992.0; /* 2^53: above, a double is no longer the number written */
    double v;
    if (json_object_is_type(value, json_type_int)) {
        *out = json_object_get_uint64(value);
        return json_object_get_int64(value) >= 0;
    }
    if (!get_number(value, &v) || v != floor(v) || v < 0 || v > exact_limit) return false;
    *out = (uint64_t)v;
    return true;
}

void tt_value_seed(const tt_settings *s, tt_option_id id, uint64_t *out, tt_problems *problems) {
    const tt_setting *setting = &s->of[id];
    uint64_t seed;
    if (!setting->value) return;
    if (get_seed(setting->value, &seed))
        *out = seed;
    else
        refuse(setting, "a whole number from 0 to 18446744073709551615, or none for a random one",
               problems);
}

void tt_value_switch(const tt_settings *s, tt_option_id id, bool *out, tt_problems *problems) {
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    if (json_object_is_type(setting->value, json_type_boolean))
        *out = json_object_get_boolean(setting->value);
    else
        refuse(setting, "true or false", problems);
}

static void describe_choices(const tt_option *row, char out[EXPECTED_BYTES]) {
    const char *const *names = row->choices();
    int n = snprintf(out, EXPECTED_BYTES, "one of");
    for (int i = 0; names[i] && n > 0 && n < EXPECTED_BYTES; i++)
        n += snprintf(out + n, EXPECTED_BYTES - (size_t)n, "%s %s", i ? "," : "", names[i]);
}

void tt_value_choice(const tt_settings *s, tt_option_id id, const char **out,
                     tt_problems *problems) {
    const tt_option *row = tt_option_get(id);
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    bool is_string = json_object_is_type(setting->value, json_type_string);
    const char *text = is_string ? json_object_get_string(setting->value) : "";
    const char *const *names = row->choices();
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = names[i];
        return;
    }
    char expected[EXPECTED_BYTES];
    describe_choices(row, expected);
    refuse(setting, expected, problems);
}

/* The string without a NUL inside; NULL after a problem. */
static const char *get_string(const tt_setting *setting, const char *expected,
                              tt_problems *problems) {
    if (!json_object_is_type(setting->value, json_type_string)) {
        refuse(setting, expected, problems);
        return NULL;
    }
    const char *text = json_object_get_string(setting->value);
    if (strlen(text) == (size_t)json_object_get_string_len(setting->value)) return text;
    tt_problems_add(problems, "%s: expected text without NUL characters, found one at byte %zu",
                    setting->spelling, strlen(text));
    return NULL;
}

void tt_value_text(const tt_settings *s, tt_option_id id, const char **out, tt_problems *problems) {
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    const char *text = get_string(setting, "text", problems);
    if (!text) return;
    size_t size = strlen(text), bad_at = 0;
    if (size > TT_MAX_PROMPT_BYTES)
        tt_problems_add(problems, "%s: expected at most %zu bytes, found %zu", setting->spelling,
                        TT_MAX_PROMPT_BYTES, size);
    else if (!tt_utf8_is_valid(text, size, &bad_at))
        tt_problems_add(problems,
                        "%s: expected UTF-8, found a byte that is none (0x%02x) at offset %zu",
                        setting->spelling, (unsigned char)text[bad_at], bad_at);
    else
        *out = text;
}

void tt_value_string(const tt_settings *s, tt_option_id id, const char **out,
                     tt_problems *problems) {
    const tt_setting *setting = &s->of[id];
    if (!setting->value) return;
    const char *text = get_string(setting, "text", problems);
    if (text && text[0] == '\0')
        tt_problems_add(problems, "%s: expected a name, found nothing", setting->spelling);
    else if (text)
        *out = text;
}

/* ---- sides ------------------------------------------------------------------------------------------------------- */

static const char *const SIDE_NAMES[TT_SIDES] = {"left", "top", "right", "bottom"};

static bool get_side(const tt_option *row, json_object *value, int *out) {
    double v = 0;
    if (!get_number(value, &v) || v != floor(v) || v < row->minimum || v > row->maximum)
        return false;
    *out = (int)v;
    return true;
}

/* "1,2,3,4" or "1". */
static bool sides_of_text(const tt_option *row, const char *text, int out[TT_SIDES]) {
    int n = 0;
    for (;; text++, n++) {
        int v = 0; /* at most ten times the maximum of any row, and 9 */
        size_t digits = strspn(text, "0123456789");
        if (n == TT_SIDES || digits == 0) return false;
        for (size_t i = 0; i < digits && v <= row->maximum; i++) v = v * 10 + (text[i] - '0');
        if (v > row->maximum) return false;
        out[n] = v;
        text += digits;
        if (*text != ',') break;
    }
    for (int i = 1; n == 0 && i < TT_SIDES; i++) out[i] = out[0];
    return *text == '\0' && (n == 0 || n == TT_SIDES - 1);
}

static bool sides_of_array(const tt_option *row, json_object *list, int out[TT_SIDES]) {
    if (json_object_array_length(list) != TT_SIDES) return false;
    for (size_t i = 0; i < TT_SIDES; i++)
        if (!get_side(row, json_object_array_get_idx(list, i), &out[i])) return false;
    return true;
}

static bool sides_of_object(const tt_option *row, json_object *o, int out[TT_SIDES]) {
    int n_known = 0;
    json_object *value;
    for (int i = 0; i < TT_SIDES; i++) {
        if (!json_object_object_get_ex(o, SIDE_NAMES[i], &value)) continue;
        n_known++;
        if (value && !get_side(row, value, &out[i])) return false;
    }
    return n_known == json_object_object_length(o);
}

void tt_value_sides(const tt_settings *s, tt_option_id id, int out[TT_SIDES],
                    tt_problems *problems) {
    const tt_option *row = tt_option_get(id);
    const tt_setting *setting = &s->of[id];
    json_object *value = setting->value;
    int sides[TT_SIDES] = {0};
    bool is_right = false;
    if (!value) return;
    if (json_object_is_type(value, json_type_string))
        is_right = sides_of_text(row, json_object_get_string(value), sides);
    else if (json_object_is_type(value, json_type_array))
        is_right = sides_of_array(row, value, sides);
    else if (json_object_is_type(value, json_type_object))
        is_right = sides_of_object(row, value, sides);
    else if ((is_right = get_side(row, value, &sides[0])))
        sides[1] = sides[2] = sides[3] = sides[0];
    char expected[EXPECTED_BYTES];
    snprintf(expected, sizeof expected,
             "one whole number from %g to %g, or four: left, top, right, bottom", row->minimum,
             row->maximum);
    if (is_right)
        memcpy(out, sides, sizeof sides);
    else
        refuse(setting, expected, problems);
}
