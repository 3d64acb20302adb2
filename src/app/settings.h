/* What was asked for, option by option, before anybody checked it, and who asked: a flag beats the
 * job's own field, which beats the preset, which beats the environment, which beats the table's default.
 *
 * Values are json-c objects of whatever type the user wrote; values.h reads them strictly. One
 * thread. */
#ifndef TT_APP_SETTINGS_H
#define TT_APP_SETTINGS_H

#include <json-c/json.h>

#include "app/options.h"
#include "app/problems.h"

typedef enum tt_origin {
    TT_FROM_NOWHERE,
    TT_FROM_DEFAULT, /* the table's fixed default */
    TT_FROM_ENVIRONMENT,
    TT_FROM_PRESET,
    TT_FROM_JOB,
    TT_FROM_FLAG,
} tt_origin;

typedef struct tt_setting {
    json_object *value; /* owned; NULL: not set */
    tt_origin origin;
    const char *spelling; /* the name as the user wrote it, for messages; static, from the table */
} tt_setting;

typedef struct tt_settings {
    tt_setting of[TT_OPTION_COUNT];
    const struct tt_preset *preset; /* borrowed; NULL: none. presets.h */
} tt_settings;

/* Fills in the fixed defaults. Release it also after a failure. */
tt_status tt_settings_init(tt_settings *s, tt_err *err);
void tt_settings_release(tt_settings *s);
/* out becomes a second holder of the same values: what a worker does per job before it reads the
 * job. */
void tt_settings_copy(tt_settings *out, const tt_settings *s);

/* Sets an option from text, as flags and environment variables bring it: numbers and switches
 * become JSON numbers and booleans where the text is one, and stay strings, for the check to name,
 * where not. A list grows by the text with every call from one origin. `spelling` is static. */
tt_status tt_settings_set_text(tt_settings *s, tt_option_id id, tt_origin origin,
                               const char *spelling, const char *text, tt_err *err);

/* As if nobody had set the option. */
void tt_settings_forget(tt_settings *s, tt_option_id id);

/* Takes values under their fields' names, those of a preset that was checked. */
void tt_settings_read_fields(tt_settings *s, json_object *fields, tt_origin origin);

/* Takes the fields of a job, {"input": {...}}, and reports what no option is called. Null counts as
 * absent. The settings share the job's values: the caller may put the job at once. */
void tt_settings_read_job(tt_settings *s, json_object *job, tt_problems *problems);

#endif
