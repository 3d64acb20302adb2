/* See job_source.h. A prompt among the flags is a job of its own, so that only a file or text named by a flag, too, is
 * read beside it; a prompt in the environment only helps where there is no job at all. */
#include "cmd/job_source.h"

#include <string.h>

#include "app/values.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"

#define DEFAULT_JOB_FILE "test_input.json"

static tt_status read_text(tt_settings *s, const char *name, const char *text, size_t size,
                           tt_problems *problems, tt_err *err) {
    json_object *job = NULL;
    tt_status status = tt_json_parse(text, size, &job, err);
    if (status != TT_OK) return tt_fail_prefix(err, status, "%s", name);
    tt_settings_read_job(s, job, problems);
    json_object_put(job);
    return TT_OK;
}

static tt_status read_file(tt_settings *s, const char *path, tt_problems *problems, tt_err *err) {
    bool is_stdin = strcmp(path, "-") == 0;
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    tt_status status = tt_file_read(is_stdin ? "/dev/stdin" : path, &text, err);
    if (status == TT_OK)
        status = read_text(s, is_stdin ? "standard input" : path, text.data ? text.data : "",
                           text.size, problems, err);
    tt_buf_release(&text);
    return status;
}

/* The option's text, when it is as close to the user as the prompt is. */
static const char *source(const tt_settings *s, tt_option_id id, tt_problems *problems) {
    const char *text = NULL;
    if (s->of[id].origin >= TT_FROM_FLAG || s->of[TT_OPT_PROMPT].origin < TT_FROM_FLAG)
        tt_value_string(s, id, &text, problems);
    return text;
}

tt_status tt__job_source_read(tt_settings *s, tt_problems *problems, tt_err *err) {
    const char *path = source(s, TT_OPT_INPUT, problems);
    const char *text = source(s, TT_OPT_TEST_INPUT, problems);
    const tt_setting *input = &s->of[TT_OPT_INPUT], *test_input = &s->of[TT_OPT_TEST_INPUT];
    if (path && text && input->origin == test_input->origin)
        return tt_fail(err, TT_E_INVALID, "%s and %s: expected one of them, found both",
                       input->spelling, test_input->spelling);
    if (text && (!path || test_input->origin > input->origin))
        return read_text(s, test_input->spelling, text, strlen(text), problems, err);
    if (path) return read_file(s, path, problems, err);
    if (tt_file_exists(DEFAULT_JOB_FILE) && s->of[TT_OPT_PROMPT].origin < TT_FROM_FLAG)
        return read_file(s, DEFAULT_JOB_FILE, problems, err);
    if (tt_value_is_set(s, TT_OPT_PROMPT)) return TT_OK;
    return tt_fail(err, TT_E_NOT_FOUND,
                   "nothing to draw: there is no " DEFAULT_JOB_FILE
                   " in the current directory; say "
                   "tintype run --prompt \"%s\"",
                   tt_option_get(TT_OPT_PROMPT)->example);
}
