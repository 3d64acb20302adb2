/* JSON that a test reads: what is not there fails the running test. */
#ifndef TT_SUPPORT_JSON_TREE_H
#define TT_SUPPORT_JSON_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

/* The caller puts it. */
static inline json_object *json_tree(const char *text) {
    json_object *tree;
    tt_err err;
    if (tt_json_parse(text, strlen(text), &tree, &err) != TT_OK)
        fail_msg("%s: %.200s", err.message, text);
    return tree;
}

static inline json_object *member(json_object *o, const char *name) {
    json_object *value = NULL;
    if (!json_object_object_get_ex(o, name, &value)) fail_msg("no member %s", name);
    return value;
}

static inline const char *text_of(json_object *o, const char *name) {
    return json_object_get_string(member(o, name));
}

#endif
