/* The job's JSON schema; see help.h. Written as text: its shape is fixed, and the order of the
 * table is kept. */
#include <string.h>

#include "app/help.h"
#include "app/options.h"
#include "base/json.h"
#include "base/limits.h"

#define PICTURE_EXAMPLE "data:image/png;base64,iVBORw0KGgo..."

static tt_status write_string(tt_buf *out, const char *text, tt_err *err) {
    return tt_json_append_string(out, text, strlen(text), err);
}

/* Names of types, in quotes; the first is what a form offers. */
static const char *schema_type(tt_option_type type) {
    switch (type) {
    case TT_OPTION_INTEGER:
    case TT_OPTION_SEED:
        return "\"integer\"";
    case TT_OPTION_NUMBER:
    case TT_OPTION_UNUSED:
        return "\"number\"";
    case TT_OPTION_SWITCH:
        return "\"boolean\"";
    case TT_OPTION_LIST:
        return "\"array\"";
    case TT_OPTION_SIDES:
        return "\"string\", \"array\", \"object\", \"integer\"";
    case TT_OPTION_TEXT:
    case TT_OPTION_STRING:
    case TT_OPTION_CHOICE:
    case TT_OPTION_NAME:
    case TT_OPTION_PICTURE:
        return "\"string\"";
    }
    return "\"string\"";
}

/* A value spelled as a flag would, as JSON. */
static tt_status write_value(tt_buf *out, const tt_option *row, const char *text, tt_err *err) {
    if (row->type == TT_OPTION_LIST) {
        TT_TRY(tt_buf_puts(out, "[", err));
        TT_TRY(write_string(out, text, err));
        return tt_buf_puts(out, "]", err);
    }
    bool is_string = strncmp(schema_type(row->type), "\"string\"", 8) == 0;
    return is_string ? write_string(out, text, err) : tt_buf_puts(out, text, err);
}

static tt_status write_limits(tt_buf *out, const tt_option *row, tt_err *err) {
    if (row->type == TT_OPTION_TEXT)
        return tt_buf_printf(out, err, ", \"maxLength\": %zu", TT_MAX_PROMPT_BYTES);
    if (row->type == TT_OPTION_SEED)
        return tt_buf_puts(out, ", \"minimum\": 0, \"maximum\": 18446744073709551615", err);
    if (row->type == TT_OPTION_LIST)
        return tt_buf_printf(out, err, ", \"maxItems\": %d, \"items\": %s", TT_MAX_REQUEST_ADAPTERS,
                             row->items);
    if (row->type == TT_OPTION_PICTURE)
        return tt_buf_puts(out, ", \"contentEncoding\": \"base64\"", err);
    if (row->type != TT_OPTION_INTEGER && row->type != TT_OPTION_NUMBER) return TT_OK;
    TT_TRY(
        tt_buf_printf(out, err, ", \"minimum\": %g, \"maximum\": %g", row->minimum, row->maximum));
    return row->multiple_of ? tt_buf_printf(out, err, ", \"multipleOf\": %d", row->multiple_of)
                            : TT_OK;
}

static tt_status write_choices(tt_buf *out, const tt_option *row, tt_err *err) {
    if (row->type != TT_OPTION_CHOICE) return TT_OK;
    TT_TRY(tt_buf_puts(out, ", \"enum\": [", err));
    for (const char *const *name = row->choices(); *name; name++) {
        TT_TRY(write_string(out, *name, err));
        TT_TRY(tt_buf_puts(out, ", ", err));
    }
    return tt_buf_puts(out, "null]", err);
}

static tt_status write_description(tt_buf *out, const tt_option *row, tt_err *err) {
    enum { MAX_DESCRIPTION_BYTES = 2048 };
    const char *fallback = row->default_text ? row->default_text : row->fixed_default;
    tt_buf text;
    tt_buf_init(&text, MAX_DESCRIPTION_BYTES);
    tt_status status = tt_buf_printf(&text, err, "%s Default: %s.", row->help, fallback);
    if (status == TT_OK) status = write_string(out, text.data, err);
    tt_buf_release(&text);
    return status;
}

/* A picture is told by base64, which no file name is: forms show what is expected. A sampler may have any name that people
 * paste: the plain ones are examples, for forms to offer. */
static tt_status write_examples(tt_buf *out, const tt_option *row, tt_err *err) {
    TT_TRY(tt_buf_puts(out, ",\n          \"examples\": [", err));
    bool is_picture = row->type == TT_OPTION_PICTURE;
    TT_TRY(write_value(out, row, is_picture ? PICTURE_EXAMPLE : row->example, err));
    const char *const *names = row->type == TT_OPTION_NAME ? row->choices() : NULL;
    for (; names && *names; names++) {
        TT_TRY(tt_buf_puts(out, ", ", err));
        TT_TRY(write_string(out, *names, err));
    }
    return tt_buf_puts(out, "]}", err);
}

static tt_status write_property(tt_buf *out, const tt_option *row, const char *here, tt_err *err) {
    bool is_required = strcmp(row->field, "prompt") == 0;
    TT_TRY(tt_buf_puts(out, "        ", err));
    TT_TRY(write_string(out, row->field, err));
    TT_TRY(tt_buf_printf(out, err, is_required ? ": {\"type\": %s" : ": {\"type\": [%s, \"null\"]",
                         schema_type(row->type)));
    TT_TRY(write_limits(out, row, err));
    TT_TRY(write_choices(out, row, err));
    if (row->fixed_default) {
        TT_TRY(tt_buf_puts(out, ", \"default\": ", err));
        TT_TRY(write_value(out, row, row->fixed_default, err));
    }
    TT_TRY(tt_buf_puts(out, ",\n          \"description\": ", err));
    TT_TRY(write_description(out, row, err));
    TT_TRY(write_examples(out, row, err));
    for (int i = 0; i < TT_OPTION_ALIASES && row->field_aliases[i]; i++)
        TT_TRY(tt_buf_printf(out, err, ",\n        \"%s\": {\"$ref\": \"%s/properties/%s\"}",
                             row->field_aliases[i], here, row->field));
    return TT_OK;
}

tt_status tt_help_schema_fields(tt_buf *out, const char *here, tt_err *err) {
    const char *between = "";
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        if (!row->field) continue;
        TT_TRY(tt_buf_puts(out, between, err));
        TT_TRY(write_property(out, row, here, err));
        between = ",\n";
    }
    return TT_OK;
}

tt_status tt_help_schema(tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out,
                       "{\n"
                       "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                       "  \"title\": \"Tintype job\",\n"
                       "  \"type\": \"object\",\n"
                       "  \"required\": [\"input\"],\n"
                       "  \"properties\": {\n"
                       "    \"input\": {\n"
                       "      \"type\": \"object\",\n"
                       "      \"additionalProperties\": false,\n"
                       "      \"required\": [\"prompt\"],\n"
                       "      \"properties\": {\n",
                       err));
    TT_TRY(tt_help_schema_fields(out, "#/properties/input", err));
    return tt_buf_puts(out, "\n      }\n    }\n  }\n}\n", err);
}
