/* The JSON reader on any bytes. What it accepts, json-c's own lenient reader accepts as well (its strict mode refuses
 * integers beyond 64 bits in some versions), and writing the tree and
 * reading it again gives the same text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int HOW = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

static void must(int is_true) {
    if (!is_true) abort();
}

static void json_c_accepts(const char *text, size_t size) {
    struct json_tokener *tokener = json_tokener_new();
    json_object *o = json_tokener_parse_ex(tokener, text, (int)size);
    if (json_tokener_get_error(tokener) == json_tokener_continue) /* a number may go on */
        o = json_tokener_parse_ex(tokener, " ", 1);
    must(json_tokener_get_error(tokener) == json_tokener_success);
    json_object_put(o);
    json_tokener_free(tokener);
}

static void comes_back(json_object *o) {
    const char *text = json_object_to_json_string_ext(o, HOW);
    json_object *again;
    must(tt_json_parse(text, strlen(text), &again, NULL) == TT_OK);
    must(strcmp(json_object_to_json_string_ext(again, HOW), text) == 0);
    json_object_put(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_object *o;
    tt_err err;
    if (tt_json_parse((const char *)data, size, &o, &err) == TT_OK) {
        json_c_accepts((const char *)data, size);
        comes_back(o);
        json_object_put(o);
    } else {
        must(tt_utf8_is_valid(err.message, strlen(err.message), NULL));
        must(err.position >= -1 && err.position <= (int64_t)size);
    }
    return 0;
}
