/* Finding and reading expected results; failing the test when they are not what they should be. */
#include "support/golden_data.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "support/json_tree.h"

const char *tt_golden_data_path(const char *relative) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tests/golden/data/%s", TT_SOURCE_DIR, relative);
    return path;
}

json_object *tt_golden_cases(const char *relative) {
    json_object *cases = NULL;
    tt_err err;
    if (tt_json_read_file(tt_golden_data_path(relative), &cases, &err)) fail_msg("%s", err.message);
    if (!json_object_is_type(cases, json_type_array)) fail_msg("%s is not a list", relative);
    return cases;
}

json_object *tt_golden_cases_of(const char *relative, const char *model) {
    json_object *all = tt_golden_cases(relative), *some = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        json_object *c = json_object_array_get_idx(all, i);
        if (strcmp(tt_golden_string(c, "model"), model) == 0)
            json_object_array_add(some, json_object_get(c));
    }
    json_object_put(all);
    if (json_object_array_length(some) == 0) fail_msg("%s has none of %s", relative, model);
    return some;
}

tt_npy tt_golden_array(const char *format, ...) {
    char relative[PATH_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(relative, sizeof relative, format, args);
    va_end(args);
    tt_npy array;
    tt_err err;
    if (tt_npy_read(tt_golden_data_path(relative), &array, &err)) fail_msg("%s", err.message);
    return array;
}

const char *tt_golden_string(json_object *c, const char *name) {
    json_object *value = tt_json_value(c, name);
    return value ? json_object_get_string(value) : NULL;
}

double tt_golden_number(json_object *c, const char *name) {
    return json_object_get_double(member(c, name));
}

int tt_golden_int(json_object *c, const char *name) {
    return (int)tt_golden_number(c, name);
}
