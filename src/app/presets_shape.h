/* The form of the presets file as a table, its check and its schema. Inside the room. */
#ifndef TT_APP_PRESETS_SHAPE_H
#define TT_APP_PRESETS_SHAPE_H

#include <json-c/json.h>
#include <stdbool.h>

#include "app/json_place.h"
#include "app/problems.h"

typedef enum tt__shape_type {
    TT__SHAPE_STRING,
    TT__SHAPE_NAME, /* of a preset or a model: 1 to 63 bytes, no control characters, no path */
    TT__SHAPE_REFERENCE,
    TT__SHAPE_NUMBER, /* minimum to maximum */
    TT__SHAPE_INTEGER,
    TT__SHAPE_BOOLEAN,
    TT__SHAPE_CHOICE,
    TT__SHAPE_OBJECT,  /* of `fields` */
    TT__SHAPE_MAP,     /* any names, each an object of `fields` */
    TT__SHAPE_LIST,    /* of strings, or of objects of `fields` where there are some */
    TT__SHAPE_NUMBERS, /* an object of numbers, any names */
    TT__SHAPE_JOB,     /* an object of job fields */
} tt__shape_type;

typedef struct tt__shape {
    const char *name; /* NULL ends a list of fields */
    tt__shape_type type;
    const char *help;
    double minimum, maximum;
    const char *const *choices;
    const struct tt__shape *fields;
    int max_items;
    bool is_required;
} tt__shape;

extern const tt__shape tt__presets_shape; /* the whole file */

/* A place on the way down. */
enum { TT__MAX_DEPTH = 8 };
typedef struct tt__checker {
    const char *file, *text; /* for places */
    size_t size;
    tt_problems *problems;
    tt_json_step path[TT__MAX_DEPTH];
    size_t depth;
} tt__checker;

/* "file:line:column: a.b[2].c: " and the sentence. */
void tt__checker_say(const tt__checker *c, bool of_name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void tt__shape_check(tt__checker *c, const tt__shape *shape, json_object *value);

#endif
