/* Jobs as they travel, on any bytes: the check says what the parser says, the spans of members are those of the tree and lie
 * within the text, and an envelope is as it came. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "job/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

/* The tree, or NULL; *is_valid tells a refusal from null. */
static json_object *check_and_parse(const char *text, size_t size, bool *is_valid) {
    json_object *tree;
    tt_err parsed = {.position = -1}, checked = {.position = -1};
    tt_status status = tt_json_parse(text, size, &tree, &parsed);
    must(tt_json_check(text, size, TT_MAX_JSON_BYTES, &checked) == status);
    must(checked.position == parsed.position && strcmp(checked.message, parsed.message) == 0);
    *is_valid = status == TT_OK;
    return tree;
}

/* Also on text that is not valid: spans stay inside, and the walk ends. */
static int walk(const char *text, size_t size, bool is_valid) {
    const char *name, *value;
    size_t at = 0, before = 0, name_size, value_size;
    int n = 0;
    for (; tt_json_next_member(text, size, &at, &name, &name_size, &value, &value_size); n++) {
        must(at > before && at <= size);
        must(name >= text && name + name_size <= text + size);
        must(value >= text && value_size > 0 && value + value_size <= text + size);
        must(!is_valid || tt_json_check(value, value_size, SIZE_MAX, NULL) == TT_OK);
        before = at;
    }
    return n;
}

static void members_are_those_of_the_tree(const char *text, size_t size, json_object *tree) {
    json_object_object_foreach(tree, key, expected) {
        const char *value;
        size_t value_size;
        json_object *found;
        must(tt_json_member(text, size, key, &value, &value_size));
        must(tt_json_parse(value, value_size, &found, NULL) == TT_OK);
        must(json_object_equal(found, expected));
        json_object_put(found);
    }
}

static void try_envelope(const char *text, size_t size, bool is_valid, json_object *tree) {
    tt_envelope e;
    tt_err err;
    bool has_input = json_object_is_type(tree, json_type_object) &&
                     json_object_object_get_ex(tree, "input", NULL);
    tt_status status = tt_envelope_parse(text, size, "local_test", &e, &err);
    if (status != TT_OK) {
        must(!e.text && tt_utf8_is_valid(err.message, strlen(err.message), NULL));
        return;
    }
    must(is_valid && has_input && tt_job_id_is_valid(e.id));
    must(e.size == size && memcmp(e.text, text, size) == 0 && e.text[size] == '\0');
    must(e.input.text >= e.text && e.input.text + e.input.size <= e.text + e.size);
    must(e.input.text == tt_envelope_member(&e, "input").text);
    tt_envelope_release(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    bool is_valid;
    if (size == 0) return 0; /* data may be NULL */
    json_object *tree = check_and_parse(text, size, &is_valid);
    int n = walk(text, size, is_valid);
    if (json_object_is_type(tree, json_type_object)) {
        must(n == json_object_object_length(tree));
        members_are_those_of_the_tree(text, size, tree);
    }
    must(n == 0 || !is_valid || json_object_is_type(tree, json_type_object));
    try_envelope(text, size, is_valid, tree);
    json_object_put(tree);
    return 0;
}
