/* The published schema of a presets file, from the table in presets_shape.c and, for "defaults", from the options. */
#include <string.h>

#include "app/help.h"
#include "app/presets.h"
#include "app/presets_shape.h"
#include "base/json.h"

static tt_status write_shape(tt_buf *out, const tt__shape *shape, tt_err *err);

static tt_status write_string(tt_buf *out, const char *text, tt_err *err) {
    return tt_json_append_string(out, text, strlen(text), err);
}

static tt_status write_fields(tt_buf *out, const tt__shape *fields, tt_err *err) {
    bool is_first = true;
    TT_TRY(tt_buf_puts(
        out, "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {", err));
    for (const tt__shape *f = fields; f->name; f++) {
        TT_TRY(tt_buf_puts(out, f == fields ? "" : ", ", err));
        TT_TRY(write_string(out, f->name, err));
        TT_TRY(tt_buf_puts(out, ": ", err));
        TT_TRY(write_shape(out, f, err));
    }
    TT_TRY(tt_buf_puts(out, "}", err));
    for (const tt__shape *f = fields; f->name; f++) {
        if (!f->is_required) continue;
        TT_TRY(tt_buf_puts(out, is_first ? ", \"required\": [" : ", ", err));
        TT_TRY(write_string(out, f->name, err));
        is_first = false;
    }
    return is_first ? TT_OK : tt_buf_puts(out, "]", err);
}

static tt_status write_choices(tt_buf *out, const char *const *choices, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "\"enum\": [", err));
    for (int i = 0; choices[i]; i++) {
        TT_TRY(tt_buf_puts(out, i ? ", " : "", err));
        TT_TRY(write_string(out, choices[i], err));
    }
    return tt_buf_puts(out, "]", err);
}

static tt_status write_list(tt_buf *out, const tt__shape *shape, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "\"type\": \"array\", \"maxItems\": %d, \"items\": {",
                         shape->max_items));
    if (shape->fields)
        TT_TRY(write_fields(out, shape->fields, err));
    else
        TT_TRY(tt_buf_puts(out, "\"type\": \"string\"", err));
    if (shape->choices) {
        TT_TRY(tt_buf_puts(out, ", ", err));
        TT_TRY(write_choices(out, shape->choices, err));
    }
    return tt_buf_puts(out, "}", err);
}

static tt_status write_map(tt_buf *out, const tt__shape *shape, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err,
                         "\"type\": \"object\", \"minProperties\": 1, \"maxProperties\": %d, "
                         "\"additionalProperties\": {",
                         shape->max_items));
    TT_TRY(write_fields(out, shape->fields, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status write_numbers(tt_buf *out, const tt__shape *shape, tt_err *err) {
    const char *type = shape->type == TT__SHAPE_INTEGER ? "integer" : "number";
    return tt_buf_printf(out, err, "\"type\": \"%s\", \"minimum\": %.15g, \"maximum\": %.15g", type,
                         shape->minimum, shape->maximum);
}

static tt_status write_type(tt_buf *out, const tt__shape *shape, tt_err *err) {
    switch (shape->type) {
    case TT__SHAPE_STRING:
        return tt_buf_puts(out, "\"type\": \"string\"", err);
    case TT__SHAPE_NAME:
    case TT__SHAPE_REFERENCE:
        return tt_buf_puts(out, "\"type\": \"string\", \"minLength\": 1", err);
    case TT__SHAPE_NUMBER:
    case TT__SHAPE_INTEGER:
        return write_numbers(out, shape, err);
    case TT__SHAPE_BOOLEAN:
        return tt_buf_puts(out, "\"type\": \"boolean\"", err);
    case TT__SHAPE_CHOICE:
        return write_choices(out, shape->choices, err);
    case TT__SHAPE_OBJECT:
        return write_fields(out, shape->fields, err);
    case TT__SHAPE_MAP:
        return write_map(out, shape, err);
    case TT__SHAPE_LIST:
        return write_list(out, shape, err);
    case TT__SHAPE_NUMBERS:
        return tt_buf_puts(
            out, "\"type\": \"object\", \"additionalProperties\": {\"type\": \"number\"}", err);
    case TT__SHAPE_JOB:
        return tt_buf_puts(out, "\"$ref\": \"#/$defs/job\"", err);
    }
    return TT_OK;
}

static tt_status write_shape(tt_buf *out, const tt__shape *shape, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"description\": ", err));
    TT_TRY(write_string(out, shape->help ? shape->help : "", err));
    TT_TRY(tt_buf_puts(out, ", ", err));
    TT_TRY(write_type(out, shape, err));
    return tt_buf_puts(out, "}", err);
}

/* A job's fields are described once, whatever preset has them. */
tt_status tt_presets_schema(tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(
        out,
        "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": \"Presets of "
        "Tintype\", ",
        err));
    TT_TRY(write_fields(out, tt__presets_shape.fields, err));
    TT_TRY(tt_buf_puts(
        out,
        ", \"$defs\": {\"job\": {\"type\": \"object\", \"additionalProperties\": false, "
        "\"properties\": {\n",
        err));
    TT_TRY(tt_help_schema_fields(out, "#/$defs/job", err));
    return tt_buf_puts(out, "\n}}}}\n", err);
}
