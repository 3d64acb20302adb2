/* See envelope.h. No tree is built: a job's input may be 20 MB of base64, and only its id is read here. */
#include "job/envelope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"

/* ---- ids --------------------------------------------------------------------------------------------------------- */

static bool is_id_character(char c) {
    return c > ' ' && c < 0x7f && !strchr("/?#%", c);
}

bool tt_job_id_is_valid(const char *id) {
    size_t length = strnlen(id, TT_JOB_ID_BYTES);
    if (length == 0 || length == TT_JOB_ID_BYTES) return false;
    for (size_t i = 0; i < length; i++)
        if (!is_id_character(id[i])) return false;
    return strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

static tt_status fill_random(unsigned char *bytes, size_t size, tt_err *err) {
    for (size_t n = 0; n < size;) {
        ssize_t got = getrandom(bytes + n, size - n, 0);
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            return tt_fail_errno(err, "cannot read", "the system's random numbers");
    }
    return TT_OK;
}

/* RFC 9562, section 5.4: version 4 in the upper half of byte 6, variant 10 in the two top bits of byte 8. */
tt_status tt_job_id_new(const char *prefix, char out[TT_JOB_ID_BYTES], tt_err *err) {
    unsigned char b[16];
    TT_TRY(fill_random(b, sizeof b, err));
    b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    int n = snprintf(out, TT_JOB_ID_BYTES,
                     "%s%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x-u1",
                     prefix, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
                     b[11], b[12], b[13], b[14], b[15]);
    if (n < 0 || n >= TT_JOB_ID_BYTES || !tt_job_id_is_valid(out))
        return tt_fail(err, TT_E_INVALID, "job id: the prefix %.40s cannot begin one", prefix);
    return TT_OK;
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

tt_span tt_envelope_member(const tt_envelope *e, const char *name) {
    tt_span span = {.text = NULL};
    if (e->text) tt_json_member(e->text, e->size, name, &span.text, &span.size);
    return span;
}

static tt_status wrong_id(const char *id, tt_err *err) {
    return tt_fail(err, TT_E_INVALID,
                   "job id: expected 1 to %d printable ASCII characters without spaces, '/', '?', "
                   "'#', '%%', found \"%.140s\"",
                   TT_JOB_ID_BYTES - 1, id);
}

static tt_status copy_id(const char *id, char out[TT_JOB_ID_BYTES], tt_err *err) {
    if (!tt_job_id_is_valid(id)) return wrong_id(id, err);
    memcpy(out, id, strlen(id) + 1);
    return TT_OK;
}

/* The id's JSON is decoded by the parser: it may be written with escapes. */
static tt_status read_id(const tt_envelope *e, const char *default_id, char out[TT_JOB_ID_BYTES],
                         tt_err *err) {
    enum { MAX_ID_JSON_BYTES = 6 * TT_JOB_ID_BYTES + 2 }; /* every character as \uXXXX */
    tt_span span = tt_envelope_member(e, "id");
    if (!span.text && default_id) return copy_id(default_id, out, err);
    if (!span.text) return tt_fail(err, TT_E_INVALID, "job has no id");
    if (span.text[0] == '"' && span.size > MAX_ID_JSON_BYTES)
        return tt_fail(err, TT_E_INVALID, "job id: expected at most %d characters, found more",
                       TT_JOB_ID_BYTES - 1);
    json_object *id;
    TT_TRY(tt_json_parse(span.text, span.size, &id, err));
    tt_status status;
    if (!json_object_is_type(id, json_type_string))
        status = tt_fail(err, TT_E_INVALID, "job id: expected a string, found %s",
                         tt_json_type_name(id));
    else if (strlen(json_object_get_string(id)) != (size_t)json_object_get_string_len(id))
        status = tt_fail(err, TT_E_INVALID, "job id: it contains a NUL character");
    else
        status = copy_id(json_object_get_string(id), out, err);
    json_object_put(id);
    return status;
}

static tt_status read_members(tt_envelope *e, const char *default_id, tt_err *err) {
    size_t first = strspn(e->text, " \t\r\n");
    if (e->text[first] != '{') return tt_fail(err, TT_E_INVALID, "a job must be a JSON object");
    TT_TRY(read_id(e, default_id, e->id, err));
    e->input = tt_envelope_member(e, "input");
    if (!e->input.text) return tt_fail(err, TT_E_INVALID, "job has no input");
    return TT_OK;
}

tt_status tt_envelope_parse(const char *text, size_t size, const char *default_id, tt_envelope *out,
                            tt_err *err) {
    *out = (tt_envelope){.text = NULL};
    TT_TRY(tt_json_check(text, size, TT_MAX_JSON_BYTES, err));
    out->text = tt_alloc(size + 1);
    if (!out->text) return tt_fail_nomem(err, "job", size + 1);
    memcpy(out->text, text, size);
    out->size = size;
    tt_status status = read_members(out, default_id, err);
    if (status != TT_OK) tt_envelope_release(out);
    return status;
}

void tt_envelope_release(tt_envelope *e) {
    tt_free(e->text);
    *e = (tt_envelope){.text = NULL};
}
