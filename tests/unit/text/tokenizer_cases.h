/* Reading what tools/golden/tokens.py writes, and comparing ids. Test programs only: a failure ends the test. */
#ifndef TESTS_UNIT_TEXT_TOKENIZER_CASES_H
#define TESTS_UNIT_TEXT_TOKENIZER_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "text/tokenizer.h"

#define DATA_FOLDER TT_SOURCE_DIR "/tests/golden/data"

static inline void check_ids(const tt_tokenizer *t, json_object *text, json_object *ids,
                             int32_t pad_id) {
    const char *bytes = json_object_get_string(text);
    size_t size = (size_t)json_object_get_string_len(text);
    tt_tokens tokens = {0};
    tt_err err;
    if (tt_tokenizer_encode(t, bytes, size, pad_id, &tokens, &err) != TT_OK)
        fail_msg("%s: %s", json_object_to_json_string(text), err.message);
    if (tokens.n != json_object_array_length(ids))
        fail_msg("%s: %zu tokens, expected %s", json_object_to_json_string(text), tokens.n,
                 json_object_to_json_string(ids));
    for (size_t i = 0; i < tokens.n; i++)
        if (tokens.ids[i] != json_object_get_int(json_object_array_get_idx(ids, i)))
            fail_msg("%s: token %zu is %d, expected %s", json_object_to_json_string(text), i,
                     tokens.ids[i], json_object_to_json_string(ids));
    tt_tokens_release(&tokens);
}

/* Checks all cases of a file; a case's "ids_pad0", where there is one, with pad_id 0. Returns how many. */
static inline size_t check_cases(const tt_tokenizer *t, const char *path, int32_t pad_id) {
    json_object *root, *cases;
    tt_err err;
    if (tt_json_read_file(path, &root, &err) != TT_OK) fail_msg("%s", err.message);
    assert_true(json_object_object_get_ex(root, "cases", &cases));
    size_t n = json_object_array_length(cases);
    for (size_t i = 0; i < n; i++) {
        json_object *one = json_object_array_get_idx(cases, i), *text, *ids;
        assert_true(json_object_object_get_ex(one, "text", &text));
        assert_true(json_object_object_get_ex(one, "ids", &ids));
        if (pad_id == 0) json_object_object_get_ex(one, "ids_pad0", &ids);
        if (pad_id == 0 && !ids) assert_true(json_object_object_get_ex(one, "ids", &ids));
        check_ids(t, text, ids, pad_id);
    }
    json_object_put(root);
    return n;
}

#endif
