/* Writes the A1111 form (parameters.h). The settings line always begins with "Steps: N": that is
 * how the reader knows it, whatever the prompt's own last line looks like. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "image/parameters.h"
#include "image/parameters_form.h"

static tt_status check_utf8(const char *what, const char *text, tt_err *err) {
    size_t bad_at = 0;
    if (!text || tt_utf8_is_valid(text, strlen(text), &bad_at)) return TT_OK;
    return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at, "%s is not valid UTF-8 at byte %zu", what,
                      bad_at);
}

static tt_status check_extra(const tt_image_parameter *pair, tt_err *err) {
    TT_TRY(check_utf8("an extra key", pair->key, err));
    size_t n = strlen(pair->key);
    if (n < TT__MIN_KEY_BYTES || n > TT__MAX_KEY_BYTES || tt__key_length(pair->key, n) != n ||
        tt__is_space(pair->key[n - 1]))
        return tt_fail(
            err, TT_E_INVALID,
            "extra key \"%s\": expected %d to %d letters, digits or _, inside also space, - and /",
            pair->key, TT__MIN_KEY_BYTES, TT__MAX_KEY_BYTES);
    if (tt__field_of_key(pair->key, n) != TT__N_FIELDS)
        return tt_fail(err, TT_E_INVALID, "extra key \"%s\" has a field of its own", pair->key);
    return check_utf8(pair->key, pair->value, err);
}

static tt_status check_numbers(const tt_image_parameters *p, tt_err *err) {
    if (p->steps < 0)
        return tt_fail(err, TT_E_INVALID, "steps is %d, expected 0 or more", p->steps);
    if (p->has_cfg && !isfinite(p->cfg))
        return tt_fail(err, TT_E_INVALID, "cfg scale is not a finite number");
    if (p->width < 0 || p->height < 0 || !p->width != !p->height)
        return tt_fail(err, TT_E_INVALID,
                       "size is %dx%d, expected two positive numbers (or 0x0: unknown)", p->width,
                       p->height);
    if (p->n_extra < 0 || p->n_extra > TT_MAX_IMAGE_TEXT_PAIRS)
        return tt_fail(err, TT_E_INVALID, "%d extra pairs, the limit is %d", p->n_extra,
                       TT_MAX_IMAGE_TEXT_PAIRS);
    return TT_OK;
}

static tt_status check(const tt_image_parameters *p, tt_err *err) {
    TT_TRY(check_utf8("prompt", p->prompt, err));
    TT_TRY(check_utf8("negative prompt", p->negative, err));
    TT_TRY(check_utf8("sampler", p->sampler, err));
    TT_TRY(check_utf8("schedule", p->schedule, err));
    TT_TRY(check_utf8("model", p->model, err));
    TT_TRY(check_utf8("version", p->version, err));
    TT_TRY(check_numbers(p, err));
    for (int i = 0; i < p->n_extra; i++) TT_TRY(check_extra(&p->extra[i], err));
    return TT_OK;
}

/* A1111 quotes what has a comma, colon or line break; we also quote what would not come back as it
 * was. */
static bool needs_quotes(const char *value) {
    size_t n = strlen(value);
    if (n == 0 || value[0] == '"' || tt__is_space(value[0]) || tt__is_space(value[n - 1]))
        return true;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == ',' || value[i] == ':') return true;
    return false;
}

static tt_status put_pair(tt_buf *out, const char *key, const char *value, bool quoted,
                          tt_err *err) {
    if (!value) return TT_OK;
    TT_TRY(tt_buf_printf(out, err, ", %s: ", key));
    return quoted || needs_quotes(value) ? tt_json_append_string(out, value, strlen(value), err)
                                         : tt_buf_puts(out, value, err);
}

static tt_status put_field(tt_buf *out, int field, const char *value, tt_err *err) {
    return put_pair(out, tt__field_keys[field], value, false, err);
}

/* The shortest decimal that reads back as the same double: 4.5, not 4.5000000000000000. */
static tt_status put_cfg(tt_buf *out, double cfg, tt_err *err) {
    enum { SURE_DIGITS = 17, NUMBER_BYTES = 32 };
    char text[NUMBER_BYTES];
    for (int digits = 1; digits <= SURE_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, cfg);
        if (strtod(text, NULL) == cfg) break;
    }
    return put_field(out, TT__FIELD_CFG, text, err);
}

static tt_status put_numbers(tt_buf *out, const tt_image_parameters *p, tt_err *err) {
    if (p->has_cfg) TT_TRY(put_cfg(out, p->cfg, err));
    if (p->has_seed)
        TT_TRY(tt_buf_printf(out, err, ", %s: %" PRIu64, tt__field_keys[TT__FIELD_SEED], p->seed));
    if (p->width)
        TT_TRY(tt_buf_printf(out, err, ", %s: %dx%d", tt__field_keys[TT__FIELD_SIZE], p->width,
                             p->height));
    return TT_OK;
}

static bool has_outer_space(const char *text) {
    size_t n = strlen(text);
    return n > 0 && (tt__is_space(text[0]) || tt__is_space(text[n - 1]));
}

static bool has_negative_mark(const char *text) {
    for (const char *p = text; (p = strstr(p, tt__negative_mark)); p++)
        if (p == text || p[-1] == '\n') return true;
    return false;
}

/* Would the reader, trimming and looking for the mark, take the two prompts for something else? */
static bool needs_exact(const tt_image_parameters *p) {
    return (p->prompt && (has_outer_space(p->prompt) || has_negative_mark(p->prompt))) ||
           (p->negative && has_outer_space(p->negative));
}

/* Both or none: a prompt with a mark inside would also spoil the negative one. */
static tt_status put_exact(tt_buf *out, const tt_image_parameters *p, tt_err *err) {
    const char *prompt = p->prompt ? p->prompt : "";
    TT_TRY(put_pair(out, tt__field_keys[TT__FIELD_EXACT_PROMPT], prompt, true, err));
    return put_pair(out, tt__field_keys[TT__FIELD_EXACT_NEGATIVE], p->negative, true, err);
}

static tt_status put_settings(tt_buf *out, const tt_image_parameters *p, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "%s: %d", tt__field_keys[TT__FIELD_STEPS], p->steps));
    TT_TRY(put_field(out, TT__FIELD_SAMPLER, p->sampler, err));
    TT_TRY(put_field(out, TT__FIELD_SCHEDULE, p->schedule, err));
    TT_TRY(put_numbers(out, p, err));
    TT_TRY(put_field(out, TT__FIELD_MODEL, p->model, err));
    for (int i = 0; i < p->n_extra; i++)
        TT_TRY(put_pair(out, p->extra[i].key, p->extra[i].value, false, err));
    if (needs_exact(p)) TT_TRY(put_exact(out, p, err));
    return put_field(out, TT__FIELD_VERSION, p->version, err);
}

static tt_status put_all(tt_buf *out, const tt_image_parameters *p, tt_err *err) {
    size_t start = out->size;
    if (p->prompt && p->prompt[0]) TT_TRY(tt_buf_printf(out, err, "%s\n", p->prompt));
    if (p->negative) TT_TRY(tt_buf_printf(out, err, "%s %s\n", tt__negative_mark, p->negative));
    TT_TRY(put_settings(out, p, err));
    if (out->size - start > TT_MAX_IMAGE_TEXT_BYTES)
        return tt_fail(err, TT_E_INVALID, "the settings text has %zu bytes, the limit is %zu",
                       out->size - start, TT_MAX_IMAGE_TEXT_BYTES);
    return TT_OK;
}

tt_status tt_image_parameters_write(const tt_image_parameters *p, tt_buf *out, tt_err *err) {
    size_t size_before = out->size;
    tt_status status = check(p, err);
    if (status == TT_OK) status = put_all(out, p, err);
    if (status == TT_OK) return TT_OK;
    out->size = size_before;
    if (out->data) out->data[size_before] = '\0';
    return tt_fail_prefix(err, status, "generation settings");
}
