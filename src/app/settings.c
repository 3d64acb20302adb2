/* See settings.h. */
#include "app/settings.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/show.h"
#include "base/json.h"
#include "base/nearest.h"

enum { DASHES = 2 }; /* in front of a flag's name */

/* Takes `value`. A weaker origin never replaces a stronger one. */
static void set(tt_settings *s, tt_option_id id, tt_origin origin, const char *spelling,
                json_object *value) {
    tt_setting *setting = &s->of[id];
    if (origin < setting->origin) {
        json_object_put(value);
        return;
    }
    json_object_put(setting->value);
    *setting = (tt_setting){.value = value, .origin = origin, .spelling = spelling};
}

/* A whole number of any size up to 64 bits; NULL when the text is something else. */
static json_object *integer_from_text(const char *text) {
    const char *digits = text + (text[0] == '-');
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0') return NULL;
    errno = 0;
    if (text[0] == '-') {
        long long v = strtoll(text, NULL, 10);
        return errno ? NULL : json_object_new_int64(v);
    }
    unsigned long long v = strtoull(text, NULL, 10);
    return errno ? NULL : json_object_new_uint64(v);
}

/* Decimal only: strtod would also take hexadecimal, "inf" and "nan". */
static json_object *number_from_text(const char *text) {
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') return NULL;
    char *end;
    double v = strtod(text, &end);
    if (*end != '\0' || !isfinite(v)) return NULL;
    return json_object_new_double_s(v, text);
}

static json_object *switch_from_text(const char *text) {
    static const char *const words[2][4] = {{"0", "false", "no", "off"},
                                            {"1", "true", "yes", "on"}};
    for (int is_on = 0; is_on < 2; is_on++)
        for (int i = 0; i < 4; i++)
            if (strcmp(text, words[is_on][i]) == 0) return json_object_new_boolean(is_on);
    return NULL;
}

static json_object *value_from_text(tt_option_type type, const char *text) {
    json_object *value = NULL;
    if (type == TT_OPTION_SWITCH) value = switch_from_text(text);
    if (type == TT_OPTION_INTEGER || type == TT_OPTION_SEED || type == TT_OPTION_NUMBER) {
        value = integer_from_text(text);
        if (!value) value = number_from_text(text);
    }
    return value ? value : json_object_new_string(text);
}

/* The entries so far, when they came from the same place, and this one; or a whole list that is written as JSON. NULL:
 * out of memory. */
static json_object *list_from_text(const tt_setting *before, tt_origin origin, const char *text) {
    json_object *list = NULL;
    tt_err ignored;
    if (text[0] == '[' && tt_json_parse(text, strlen(text), &list, &ignored) == TT_OK) return list;
    list = json_object_new_array();
    bool goes_on = before->origin == origin && json_object_is_type(before->value, json_type_array);
    size_t n = goes_on ? json_object_array_length(before->value) : 0;
    bool is_whole = list != NULL;
    for (size_t i = 0; is_whole && i < n; i++)
        is_whole = json_object_array_add(
                       list, json_object_get(json_object_array_get_idx(before->value, i))) == 0;
    if (is_whole && json_object_array_add(list, json_object_new_string(text)) == 0) return list;
    json_object_put(list);
    return NULL;
}

tt_status tt_settings_set_text(tt_settings *s, tt_option_id id, tt_origin origin,
                               const char *spelling, const char *text, tt_err *err) {
    tt_option_type type = tt_option_get(id)->type;
    json_object *value = type == TT_OPTION_LIST ? list_from_text(&s->of[id], origin, text)
                                                : value_from_text(type, text);
    if (!value) return tt_fail_nomem(err, spelling, strlen(text));
    set(s, id, origin, spelling, value);
    return TT_OK;
}

tt_status tt_settings_init(tt_settings *s, tt_err *err) {
    *s = (tt_settings){0};
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        const char *name = row->field ? row->field : row->flag;
        if (!row->fixed_default) continue;
        TT_TRY(tt_settings_set_text(s, (tt_option_id)i, TT_FROM_DEFAULT, name, row->fixed_default,
                                    err));
    }
    return TT_OK;
}

void tt_settings_release(tt_settings *s) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) json_object_put(s->of[i].value);
    *s = (tt_settings){0};
}

void tt_settings_forget(tt_settings *s, tt_option_id id) {
    json_object_put(s->of[id].value);
    s->of[id] = (tt_setting){.value = NULL};
}

void tt_settings_copy(tt_settings *out, const tt_settings *s) {
    *out = *s;
    for (int i = 0; i < TT_OPTION_COUNT; i++) json_object_get(out->of[i].value);
}

/* The row that has a flag of this name, but no field: chosen when the program starts. */
static const tt_option *find_startup_option(const char *name) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        if (!row->field && row->flag && tt_edit_distance(name, row->flag + DASHES) == 0) return row;
    }
    return NULL;
}

static void report_unknown(const char *name, tt_problems *problems) {
    char shown[TT_SHOWN_BYTES];
    tt_show_text(shown, name, strlen(name));
    const tt_option *row = find_startup_option(name);
    const char *nearest = tt_option_nearest_field(name);
    if (row)
        tt_problems_add(problems,
                        "%s: not a field of a job; it is set with %s or %s when the program starts",
                        shown, row->flag, row->environment);
    else if (nearest)
        tt_problems_add(problems, "%s: unknown field, did you mean %s?", shown, nearest);
    else
        tt_problems_add(problems, "%s: unknown field, \"tintype schema\" lists the known ones",
                        shown);
}

static void read_field(tt_settings *s, const char *name, json_object *value,
                       tt_problems *problems) {
    tt_option_id id;
    const char *spelling;
    if (!tt_option_find_field(name, &id, &spelling)) {
        report_unknown(name, problems);
        return;
    }
    if (!value) return;
    const tt_setting *before = &s->of[id];
    if (before->origin == TT_FROM_JOB && !json_object_equal(before->value, value)) {
        tt_problems_add(problems, "%s and %s: two names of one option with different values",
                        before->spelling, spelling);
        return;
    }
    set(s, id, TT_FROM_JOB, spelling, json_object_get(value));
}

void tt_settings_read_fields(tt_settings *s, json_object *fields, tt_origin origin) {
    struct json_object_iterator at = json_object_iter_begin(fields);
    struct json_object_iterator end = json_object_iter_end(fields);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        tt_option_id id;
        const char *spelling;
        json_object *value = json_object_iter_peek_value(&at);
        if (value && tt_option_find_field(json_object_iter_peek_name(&at), &id, &spelling))
            set(s, id, origin, spelling, json_object_get(value));
    }
}

void tt_settings_read_job(tt_settings *s, json_object *job, tt_problems *problems) {
    json_object *input = NULL;
    if (!json_object_is_type(job, json_type_object)) {
        tt_problems_add(problems, "job: expected an object {\"input\": {...}}, found %s",
                        tt_json_type_name(job));
        return;
    }
    bool has_input = json_object_object_get_ex(job, "input", &input);
    if (!has_input) {
        tt_problems_add(problems, "input: expected an object with the job's fields, found nothing");
    } else if (!json_object_is_type(input, json_type_object)) {
        tt_problems_add(problems, "input: expected an object with the job's fields, found %s",
                        tt_json_type_name(input));
    } else {
        struct json_object_iterator at = json_object_iter_begin(input);
        struct json_object_iterator end = json_object_iter_end(input);
        for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
            read_field(s, json_object_iter_peek_name(&at), json_object_iter_peek_value(&at),
                       problems);
    }
}
