/* Answers of the platform taken apart: see wire.h.
 *
 * The walk over a take's answer knows of JSON only strings and brackets:
 *
 *     answer = object | '[' [ value { ',' value } ] ']'          with spaces anywhere
 *     value  = a bracketed group | a string | a run without  , ] }
 *
 * so its result for well-formed text is exact, and for other text the damage stays inside one item as long as quotes and
 * brackets pair up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "worker/wire.h"

/* The platform's range of policy.executionTimeout (runpod.md 4.2): 5 s to 7 days. */
enum { MIN_EXECUTION_MS = 5 * 1000, MAX_EXECUTION_MS = 7 * 24 * 3600 * 1000 };

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const char *text, size_t size, size_t at) {
    while (at < size && is_space(text[at])) at++;
    return at;
}

/* Behind the string that begins at *at; false when it does not end. */
static bool skip_string(const char *text, size_t size, size_t *at) {
    size_t from = *at + 1;
    while (from < size) {
        const char *quote = memchr(text + from, '"', size - from);
        if (!quote) break;
        size_t end = (size_t)(quote - text), n_slashes = 0;
        while (end - n_slashes > from && text[end - n_slashes - 1] == '\\') n_slashes++;
        from = end + 1;
        if (n_slashes % 2 == 0) {
            *at = from;
            return true;
        }
    }
    *at = size;
    return false;
}

/* Behind the group of brackets that begins at `at`; false when it does not close. */
static bool skip_group(const char *text, size_t size, size_t *at) {
    size_t depth = 0;
    while (*at < size) {
        char c = text[*at];
        if (c == '"') {
            if (!skip_string(text, size, at)) return false;
            continue;
        }
        (*at)++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return false;
}

/* Behind any value; false when the text ends first or there is none. */
static bool skip_value(const char *text, size_t size, size_t *at) {
    if (*at >= size) return false;
    char c = text[*at];
    if (c == '{' || c == '[') return skip_group(text, size, at);
    if (c == '"') return skip_string(text, size, at);
    size_t start = *at;
    while (*at < size && !memchr(",]}", text[*at], 3) && !is_space(text[*at])) (*at)++;
    return *at > start;
}

/* ---- take -------------------------------------------------------------------------------------------------------- */

void tt_wire_items_begin(tt_wire_items *items, const char *text, size_t size) {
    *items = (tt_wire_items){text, size, skip_space(text, size, 0), false, false};
    if (items->at >= size) return;
    if (text[items->at] == '[') {
        items->is_list = true;
        items->at = skip_space(text, size, items->at + 1);
        if (items->at < size && text[items->at] == ']')
            items->at = items->size;
        else if (items->at >= size)
            items->is_broken = true;
    } else if (text[items->at] != '{') {
        /* null is how some say that there is none; anything else is no answer to a take. */
        items->is_broken = size - items->at < 4 || memcmp(text + items->at, "null", 4) != 0;
        items->at = items->size;
    }
}

/* After an item of a list: a comma, or the end. */
static void skip_separator(tt_wire_items *items) {
    items->at = skip_space(items->text, items->size, items->at);
    char c = items->at < items->size ? items->text[items->at] : '\0';
    if (c == ',') {
        items->at = skip_space(items->text, items->size, items->at + 1);
        if (items->at < items->size) return;
    }
    if (c != ']') items->is_broken = true;
    items->at = items->size;
}

bool tt_wire_items_next(tt_wire_items *items, const char **item, size_t *size) {
    size_t start = items->at;
    if (start >= items->size) return false;
    if (!skip_value(items->text, items->size, &items->at)) {
        items->is_broken = true;
        items->at = items->size;
        return false;
    }
    *item = items->text + start;
    *size = items->at - start;
    if (items->is_list)
        skip_separator(items);
    else
        items->at = items->size;
    return true;
}

/* The next member of an object by structure alone; *at is behind the opening brace or the last member. */
static bool next_member(const char *text, size_t size, size_t *at, const char **name,
                        size_t *name_size, const char **value, size_t *value_size) {
    *at = skip_space(text, size, *at);
    if (*at >= size || text[*at] != '"') return false;
    size_t start = *at;
    if (!skip_value(text, size, at)) return false;
    *name = text + start + 1;
    *name_size = *at - start - 2;
    *at = skip_space(text, size, *at);
    if (*at >= size || text[*at] != ':') return false;
    *at = start = skip_space(text, size, *at + 1);
    if (!skip_value(text, size, at)) return false;
    *value = text + start;
    *value_size = *at - start;
    *at = skip_space(text, size, *at);
    if (*at < size && text[*at] == ',') (*at)++;
    return true;
}

bool tt_wire_item_id(const char *item, size_t size, char id[TT_JOB_ID_BYTES]) {
    const char *name, *value;
    size_t name_size, value_size, at = 1;
    if (size == 0 || item[0] != '{') return false;
    while (next_member(item, size, &at, &name, &name_size, &value, &value_size)) {
        if (name_size != 2 || memcmp(name, "id", 2) != 0) continue;
        if (value_size < 2 || value[0] != '"' || value_size - 2 >= TT_JOB_ID_BYTES) return false;
        if (memchr(value, '\\', value_size)) return false; /* no id of the platform has escapes */
        memcpy(id, value + 1, value_size - 2);
        id[value_size - 2] = '\0';
        return tt_job_id_is_valid(id);
    }
    return false;
}

int64_t tt_wire_execution_timeout_ms(const tt_envelope *envelope) {
    tt_span policy = tt_envelope_member(envelope, "policy");
    const char *value;
    size_t size;
    char number[32], *end;
    if (!policy.text) return 0;
    if (!tt_json_member(policy.text, policy.size, "executionTimeout", &value, &size)) return 0;
    if (size >= sizeof number) return 0;
    memcpy(number, value, size);
    number[size] = '\0';
    double ms = strtod(number, &end);
    if (end == number || *end || !(ms > 0)) return 0;
    if (ms < MIN_EXECUTION_MS) return MIN_EXECUTION_MS;
    return ms > MAX_EXECUTION_MS ? MAX_EXECUTION_MS : (int64_t)ms;
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */

static tt_status read_list(json_object *root, void (*stop)(void *context, const char *id),
                           void *context, tt_err *err) {
    json_object *list = NULL;
    if (!json_object_is_type(root, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "expected an object with jobsToStop, found %s",
                       tt_json_type_name(root));
    if (!json_object_object_get_ex(root, "jobsToStop", &list) || !list) return TT_OK;
    if (!json_object_is_type(list, json_type_array))
        return tt_fail(err, TT_E_FORMAT, "jobsToStop: expected a list of ids, found %s",
                       tt_json_type_name(list));
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *id = json_object_array_get_idx(list, i);
        if (json_object_is_type(id, json_type_string)) stop(context, json_object_get_string(id));
    }
    return TT_OK;
}

tt_status tt_wire_read_stops(const char *text, size_t size,
                             void (*stop)(void *context, const char *id), void *context,
                             tt_err *err) {
    json_object *root = NULL;
    TT_TRY(tt_json_parse(text, size, &root, err));
    tt_status status = read_list(root, stop, context, err);
    json_object_put(root);
    return status;
}
