/* See metadata.h. Written member by member: the order is the order in which people read it. Members have the names of the job's
 * fields, so that an answer can be asked again. Paths are told by no member. */
#include "app/metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/presets.h"
#include "app/resident.h"
#include "app/warnings.h"
#include "base/json.h"

static tt_status put_string(tt_buf *out, const char *name, const char *text, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, ", \"%s\": ", name));
    return text ? tt_json_append_string(out, text, strlen(text), err)
                : tt_buf_puts(out, "null", err);
}

/* A file name need not be UTF-8, JSON must be: what is not becomes '?'. */
static tt_status put_name(tt_buf *out, const char *name, const char *text, tt_err *err) {
    tt_err clean;
    if (!text) return put_string(out, name, NULL, err);
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

static tt_status put_int(tt_buf *out, const char *name, int value, tt_err *err) {
    return tt_buf_printf(out, err, ", \"%s\": %d", name, value);
}

static tt_status put_switch(tt_buf *out, const char *name, bool is_on, tt_err *err) {
    return tt_buf_printf(out, err, ", \"%s\": %s", name, is_on ? "true" : "false");
}

/* ---- what was asked for ------------------------------------------------------------------------------------------ */

static tt_status put_words(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_request *r = &f->request->engine;
    const tt_result *result = f->result;
    TT_TRY(tt_buf_puts(out, "{\"prompt\": ", err));
    TT_TRY(tt_json_append_string(out, r->prompt, strlen(r->prompt), err));
    TT_TRY(put_string(out, "negative_prompt", r->negative_prompt, err));
    if (r->prompt_2) TT_TRY(put_string(out, "prompt_2", r->prompt_2, err));
    if (r->negative_prompt_2)
        TT_TRY(put_string(out, "negative_prompt_2", r->negative_prompt_2, err));
    TT_TRY(put_string(out, "prompt_syntax", result->prompt_syntax, err));
    TT_TRY(put_string(out, "negative_policy", result->negative_policy, err));
    return put_int(out, "clip_skip", result->clip_skip, err);
}

static tt_status put_drawing(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_request *r = &f->request->engine;
    const tt_result *result = f->result;
    TT_TRY(put_int(out, "steps", r->steps, err));
    TT_TRY(put_float(out, "cfg_scale", r->guidance, err));
    TT_TRY(put_float(out, "guidance_rescale", r->guidance_rescale, err));
    TT_TRY(put_float(out, "guidance_start", r->guidance_start, err));
    TT_TRY(put_float(out, "guidance_end", r->guidance_end, err));
    TT_TRY(put_string(out, "sampler", result->sampler, err));
    TT_TRY(put_string(out, "sampler_label", result->sampler_label, err));
    TT_TRY(put_string(out, "schedule", result->schedule, err));
    if (r->eta >= 0) TT_TRY(put_float(out, "eta", r->eta, err));
    TT_TRY(put_name(out, "recipe", f->request->recipe, err));
    TT_TRY(put_string(out, "compat", result->compat, err));
    return put_string(out, "noise", result->noise, err);
}

static tt_status put_seed(tt_buf *out, const tt_app_facts *f, int picture, tt_err *err) {
    const tt_request *r = &f->request->engine;
    const tt_picture *p = &f->result->pictures[picture];
    bool is_variation = r->variation_strength > 0;
    TT_TRY(put_integer(out, "seed", is_variation ? r->seed : p->seed, err));
    TT_TRY(put_float(out, "variation_strength", r->variation_strength, err));
    if (!is_variation) return TT_OK;
    return put_integer(out, "variation_seed", r->variation_seed + (uint64_t)picture, err);
}

static tt_status put_sizes(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_request *r = &f->request->engine;
    TT_TRY(put_int(out, "width", r->width, err));
    TT_TRY(put_int(out, "height", r->height, err));
    TT_TRY(put_int(out, "original_width", r->original_width ? r->original_width : r->width, err));
    TT_TRY(
        put_int(out, "original_height", r->original_height ? r->original_height : r->height, err));
    TT_TRY(put_int(out, "target_width", r->target_width ? r->target_width : r->width, err));
    TT_TRY(put_int(out, "target_height", r->target_height ? r->target_height : r->height, err));
    TT_TRY(put_int(out, "crop_left", r->crop_left, err));
    return put_int(out, "crop_top", r->crop_top, err);
}

/* Pictures themselves are not repeated. */
static tt_status put_start(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_request *r = &f->request->engine;
    const tt_image_sides *o = &f->request->outpaint;
    TT_TRY(put_switch(out, "has_image", r->image != NULL, err));
    if (!r->image) return TT_OK;
    TT_TRY(put_float(out, "strength", r->strength, err));
    TT_TRY(put_switch(out, "has_mask", r->mask != NULL, err));
    if (!o->left && !o->top && !o->right && !o->bottom) return TT_OK;
    return tt_buf_printf(out, err, ", \"outpaint\": [%d, %d, %d, %d]", o->left, o->top, o->right,
                         o->bottom);
}

static tt_status put_passes(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_request *r = &f->request->engine;
    bool has_hires = r->hires_scale > 1;
    TT_TRY(put_float(out, "hires_scale", has_hires ? r->hires_scale : 1, err));
    if (has_hires) {
        TT_TRY(put_float(out, "hires_strength", r->hires_strength, err));
        TT_TRY(put_int(out, "hires_steps", r->hires_steps ? r->hires_steps : r->steps, err));
        TT_TRY(put_string(out, "hires_upscaler", r->hires_upscaler ? r->hires_upscaler : "latent",
                          err));
        TT_TRY(put_int(out, "final_width", f->result->pictures[0].width, err));
        TT_TRY(put_int(out, "final_height", f->result->pictures[0].height, err));
    }
    TT_TRY(put_float(out, "refiner_start", r->refiner_start, err));
    if (r->refiner_start <= 0) return TT_OK;
    TT_TRY(put_float(out, "aesthetic_score", r->aesthetic_score, err));
    return put_float(out, "negative_aesthetic_score", r->negative_aesthetic_score, err);
}

static tt_status put_request(tt_buf *out, const tt_app_facts *f, int picture, tt_err *err) {
    TT_TRY(put_words(out, f, err));
    TT_TRY(put_drawing(out, f, err));
    TT_TRY(put_seed(out, f, picture, err));
    TT_TRY(put_sizes(out, f, err));
    TT_TRY(put_start(out, f, err));
    return put_passes(out, f, err);
}

/* ---- LoRAs ------------------------------------------------------------------------------------------------------- */

static tt_status put_lora_numbers(tt_buf *out, const tt_result_adapter *a, tt_err *err) {
    TT_TRY(put_float(out, "scale", a->unet, err));
    if (a->te1 != a->unet || a->te2 != a->unet) {
        TT_TRY(put_float(out, "te1", a->te1, err));
        TT_TRY(put_float(out, "te2", a->te2, err));
    }
    if (a->parts[0]) TT_TRY(put_name(out, "parts", a->parts, err));
    if (a->rank_max > 0) TT_TRY(put_integer(out, "rank", (uint64_t)a->rank_max, err));
    if (a->rank_min < a->rank_max) TT_TRY(put_integer(out, "rank_min", (uint64_t)a->rank_min, err));
    TT_TRY(put_int(out, "matched", a->n_matched, err));
    TT_TRY(put_int(out, "unmatched", a->n_unmatched, err));
    return tt_buf_printf(out, err, ", \"modules\": {\"unet\": %d, \"te1\": %d, \"te2\": %d}",
                         a->n_unet, a->n_te1, a->n_te2);
}

static tt_status put_lora(tt_buf *out, const tt_app_facts *f, const tt_result_adapter *a,
                          tt_err *err) {
    const tt_app_found *found = tt_app_request_held(f->request, a->path, a->name);
    tt_err name;
    tt_fail(&name, TT_E_INVALID, "%s", a->name);
    TT_TRY(tt_buf_puts(out, "{\"name\": ", err));
    TT_TRY(tt_json_append_string(out, name.message, strlen(name.message), err));
    TT_TRY(put_name(out, "kind", a->kinds, err));
    TT_TRY(put_lora_numbers(out, a, err));
    if (a->base_model[0]) TT_TRY(put_name(out, "base_model", a->base_model, err));
    if (found && found->digest[0]) TT_TRY(put_string(out, "sha256", found->digest, err));
    if (found && found->reference[0]) TT_TRY(put_name(out, "reference", found->reference, err));
    if (a->from_prompt) TT_TRY(put_switch(out, "from_prompt", true, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status put_loras(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    TT_TRY(tt_buf_puts(out, ", \"loras\": [", err));
    for (int i = 0; i < f->result->n_adapters; i++) {
        if (i > 0) TT_TRY(tt_buf_puts(out, ", ", err));
        TT_TRY(put_lora(out, f, &f->result->adapters[i], err));
    }
    TT_TRY(tt_buf_puts(out, "]", err));
    return put_int(out, "embeddings", f->result->n_embeddings, err);
}

/* ---- the model, and what became of it ---------------------------------------------------------------------------- */

/* "<what>_sha256", "<what>_reference": where it came from, of files that the store knows. */
static tt_status put_origin(tt_buf *out, const char *what, const tt_app_found *found, tt_err *err) {
    enum { MEMBER_BYTES = 32 };
    char member[MEMBER_BYTES];
    if (!found->reference[0]) return TT_OK;
    snprintf(member, sizeof member, "%s_sha256", what);
    if (found->digest[0]) TT_TRY(put_string(out, member, found->digest, err));
    snprintf(member, sizeof member, "%s_reference", what);
    return put_name(out, member, found->reference, err);
}

static tt_status put_origins(tt_buf *out, const tt_app_request *r, tt_err *err) {
    if (r->preset) TT_TRY(put_name(out, "preset", r->preset, err));
    if (!r->resident) return TT_OK;
    TT_TRY(put_origin(out, "model", &r->resident->model, err));
    if (r->resident->vae.reference[0]) TT_TRY(put_name(out, "vae", r->resident->vae.name, err));
    TT_TRY(put_origin(out, "vae", &r->resident->vae, err));
    return put_origin(out, "refiner", &r->resident->refiner, err);
}

static tt_status put_model(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_result *result = f->result;
    const char *vae = result->vae_precision ? result->vae_precision : f->info->vae_precision;
    TT_TRY(put_name(out, "model", f->info->model_name, err));
    if (f->info->refiner_name) TT_TRY(put_name(out, "refiner", f->info->refiner_name, err));
    TT_TRY(put_origins(out, f->request, err));
    TT_TRY(put_string(out, "precision", f->info->precision, err));
    if (f->info->n_int8 > 0)
        TT_TRY(put_integer(out, "int8_parameters", (uint64_t)f->info->n_int8, err));
    TT_TRY(put_string(out, "vae_precision", vae, err));
    TT_TRY(put_switch(out, "vae_tiled", result->vae_tiled, err));
    TT_TRY(put_string(out, "prediction", result->prediction, err));
    TT_TRY(put_int(out, "prompt_tokens", result->prompt_tokens, err));
    TT_TRY(put_int(out, "prompt_tokens_used", result->prompt_tokens_used, err));
    TT_TRY(put_int(out, "prompt_chunks", result->prompt_chunks, err));
    TT_TRY(put_loras(out, f, err));
    TT_TRY(put_string(out, "format", f->request->format, err));
    return put_string(out, "version", tt_version(), err);
}

tt_status tt_metadata_of_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err) {
    TT_TRY(put_request(out, facts, picture, err));
    TT_TRY(put_model(out, facts, err));
    return tt_buf_puts(out, "}", err);
}

/* The list's opening comes with its first entry: no warnings, no member. */
typedef struct warning_list {
    tt_buf *out;
    const char *before;
} warning_list;

static tt_status put_warning(void *context, const char *sentence, tt_err *err) {
    warning_list *list = context;
    TT_TRY(tt_buf_puts(list->out, list->before, err));
    list->before = ", ";
    return tt_json_append_string(list->out, sentence, strlen(sentence), err);
}

static tt_status put_warnings(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    warning_list list = {out, ", \"warnings\": ["};
    const char *opening = list.before;
    TT_TRY(tt_app_warnings(f, put_warning, &list, err));
    return list.before == opening ? TT_OK : tt_buf_puts(out, "]", err);
}

static tt_status put_timings(tt_buf *out, const tt_app_facts *f, tt_err *err) {
    const tt_timings *t = &f->result->timings;
    int steps_each = f->result->steps ? f->result->steps : f->request->engine.steps;
    double steps = (double)steps_each * f->result->n_pictures;
    double steps_per_s = t->denoise_ms > 0 ? steps * 1000 / t->denoise_ms : 0;
    return tt_buf_printf(out, err,
                         ", \"timings\": {\"load_ms\": %.1f, \"plan_ms\": %.1f, "
                         "\"adapters_ms\": %.1f, \"text_ms\": %.1f, "
                         "\"denoise_ms\": %.1f, \"vae_ms\": %.1f, \"encode_ms\": %.1f, "
                         "\"total_ms\": %.1f, \"steps_per_s\": %.4g}",
                         f->info->load_ms, t->plan_ms, t->adapters_ms, t->text_ms, t->denoise_ms,
                         t->vae_ms, f->encode_ms, t->total_ms + f->encode_ms, steps_per_s);
}

tt_status tt_metadata_of_job(const tt_app_facts *facts, tt_buf *out, tt_err *err) {
    TT_TRY(put_request(out, facts, 0, err));
    TT_TRY(put_model(out, facts, err));
    TT_TRY(put_warnings(out, facts, err));
    TT_TRY(put_timings(out, facts, err));
    return tt_buf_printf(out, err, ", \"peak_memory_bytes\": %zu}", facts->result->peak_bytes);
}
