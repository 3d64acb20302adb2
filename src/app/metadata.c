/* See metadata.h. Written member by member: the order is the order in which people read it. */
#include "app/metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static tt_status put_string(tt_buf *out, const char *name, const char *text, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, ", \"%s\": ", name));
    return text ? tt_json_append_string(out, text, strlen(text), err)
                : tt_buf_puts(out, "null", err);
}

/* A file name need not be UTF-8, JSON must be: what is not becomes '?'. */
static tt_status put_name(tt_buf *out, const char *name, const char *text, tt_err *err) {
    tt_err clean;
    tt_fail(&clean, TT_E_INVALID, "%s", text);
    return put_string(out, name, clean.message, err);
}

/* The shortest decimal that reads back as the same float: 0.7, not 0.699999988. */
static tt_status put_float(tt_buf *out, const char *name, float value, tt_err *err) {
    enum { USUAL_DIGITS = 6, SURE_DIGITS = 9, NUMBER_BYTES = 32 };
    char text[NUMBER_BYTES];
    for (int digits = USUAL_DIGITS; digits <= SURE_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return tt_buf_printf(out, err, ", \"%s\": %s", name, text);
}

static tt_status put_integer(tt_buf *out, const char *name, uint64_t value, tt_err *err) {
    return tt_buf_printf(out, err, ", \"%s\": %" PRIu64, name, value);
}

static tt_status put_request(tt_buf *out, const tt_app_facts *f, uint64_t seed, tt_err *err) {
    const tt_request *r = &f->request->engine;
    TT_TRY(tt_buf_puts(out, "{\"prompt\": ", err));
    TT_TRY(tt_json_append_string(out, r->prompt, strlen(r->prompt), err));
    TT_TRY(put_string(out, "negative_prompt", r->negative_prompt, err));
    TT_TRY(put_integer(out, "steps", (uint64_t)r->steps, err));
    TT_TRY(put_float(out, "cfg_scale", r->guidance, err));
    TT_TRY(put_float(out, "guidance_rescale", r->guidance_rescale, err));
    TT_TRY(put_string(out, "sampler", f->result->sampler, err));
    TT_TRY(put_string(out, "sampler_label", f->result->sampler_label, err));
    TT_TRY(put_string(out, "schedule", f->result->schedule, err));
    TT_TRY(put_integer(out, "seed", seed, err));
    TT_TRY(put_integer(out, "width", (uint64_t)r->width, err));
    TT_TRY(put_integer(out, "height", (uint64_t)r->height, err));
    return put_integer(out, "clip_skip", 2, err); /* the penultimate layer: the only one built */
}

static tt_status put_model(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_result *result = f->result;
    TT_TRY(put_name(out, "model", f->info->model_name, err));
    TT_TRY(put_string(out, "precision", f->info->precision, err));
    TT_TRY(put_string(out, "vae_precision", f->info->vae_precision, err));
    TT_TRY(put_string(out, "prediction", result->prediction, err));
    TT_TRY(put_string(out, "noise", result->noise, err));
    TT_TRY(put_string(out, "negative_policy", result->negative_policy, err));
    TT_TRY(put_integer(out, "prompt_tokens", (uint64_t)result->prompt_tokens, err));
    TT_TRY(put_integer(out, "prompt_tokens_used", (uint64_t)result->prompt_tokens_used, err));
    TT_TRY(tt_buf_puts(out, ", \"loras\": []", err));
    TT_TRY(put_string(out, "format", f->request->format, err));
    return put_string(out, "version", tt_version(), err);
}

tt_status tt_metadata_of_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err) {
    TT_TRY(put_request(out, facts, facts->result->pictures[picture].seed, err));
    TT_TRY(put_model(out, facts, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status put_warnings(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_result *result = f->result;
    bool is_cut = result->prompt_tokens > result->prompt_tokens_used;
    if (!is_cut && f->request->n_unused == 0) return TT_OK;
    const char *between = "";
    TT_TRY(tt_buf_puts(out, ", \"warnings\": [", err));
    if (is_cut) {
        TT_TRY(tt_buf_printf(out, err, "\"the prompt has %d tokens, only the first %d were used\"",
                             result->prompt_tokens, result->prompt_tokens_used));
        between = ", ";
    }
    for (int i = 0; i < f->request->n_unused; i++, between = ", ")
        TT_TRY(tt_buf_printf(out, err, "%s\"%s was not used: %s\"", between,
                             f->request->unused[i].field, f->request->unused[i].why));
    return tt_buf_puts(out, "]", err);
}

static tt_status put_timings(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_timings *t = &f->result->timings;
    double steps = (double)f->request->engine.steps * f->result->n_pictures;
    double steps_per_s = t->denoise_ms > 0 ? steps * 1000 / t->denoise_ms : 0;
    return tt_buf_printf(out, err,
                         ", \"timings\": {\"load_ms\": %.1f, \"plan_ms\": %.1f, \"text_ms\": %.1f, "
                         "\"denoise_ms\": %.1f, \"vae_ms\": %.1f, \"encode_ms\": %.1f, "
                         "\"total_ms\": %.1f, \"steps_per_s\": %.4g}",
                         f->info->load_ms, t->plan_ms, t->text_ms, t->denoise_ms, t->vae_ms,
                         f->encode_ms, t->total_ms + f->encode_ms, steps_per_s);
}

tt_status tt_metadata_of_job(const tt_app_facts *facts, tt_buf *out, tt_err *err) {
    TT_TRY(put_request(out, facts, facts->result->pictures[0].seed, err));
    TT_TRY(put_model(out, facts, err));
    TT_TRY(put_warnings(out, facts, err));
    TT_TRY(put_timings(out, facts, err));
    return tt_buf_printf(out, err, ", \"peak_memory_bytes\": %zu}", facts->result->peak_bytes);
}
