/* See parameters.h. What A1111 has a key for is written under it; LoRAs that a prompt does not name stand under a key of our own, and
 * their hashes under A1111's, where they are known. */
#include "app/parameters.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "image/parameters.h"

enum { MAX_EXTRA = 24, VALUE_BYTES = 48, MAX_LIST_BYTES = 16 * 1024, HASH_DIGITS = 12 };

typedef struct extras {
    tt_image_parameter of[MAX_EXTRA];
    char values[MAX_EXTRA][VALUE_BYTES];
    int n;
} extras;

static void add_text(extras *e, const char *key, const char *value) {
    if (value && e->n < MAX_EXTRA) e->of[e->n++] = (tt_image_parameter){key, value};
}

static void add(extras *e, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(extras *e, const char *key, const char *format, ...) {
    if (e->n == MAX_EXTRA) return;
    va_list args;
    va_start(args, format);
    vsnprintf(e->values[e->n], VALUE_BYTES, format, args);
    va_end(args);
    add_text(e, key, e->values[e->n]);
}

/* A1111's words for whose random numbers they are. */
static const char *rng_of(const char *noise) {
    if (!noise) return NULL;
    return strcmp(noise, "cuda") == 0 ? "NV" : strcmp(noise, "cpu") == 0 ? "CPU" : NULL;
}

static void add_passes(extras *e, const tt_app_facts *f) {
    const tt_request *r = &f->request->engine;
    bool has_hires = r->hires_scale > 1;
    if (r->image) add(e, "Denoising strength", "%g", (double)r->strength);
    if (has_hires) {
        add(e, "Denoising strength", "%g", (double)r->hires_strength);
        add(e, "Hires upscale", "%g", (double)r->hires_scale);
        if (r->hires_steps) add(e, "Hires steps", "%d", r->hires_steps);
        bool is_picture = r->hires_upscaler && strcmp(r->hires_upscaler, "picture") == 0;
        add_text(e, "Hires upscaler", is_picture ? "Lanczos" : "Latent");
    }
    if (r->refiner_start <= 0) return;
    add_text(e, "Refiner", f->info->refiner_name);
    add(e, "Refiner switch at", "%g", (double)r->refiner_start);
}

static void add_settings(extras *e, const tt_app_facts *f, int picture) {
    const tt_request *r = &f->request->engine;
    add(e, "Clip skip", "%d", f->result->clip_skip ? f->result->clip_skip : 2);
    add_text(e, "RNG", rng_of(f->result->noise));
    add_text(e, "Noise", f->result->noise);
    if (r->eta >= 0) add(e, "Eta", "%g", (double)r->eta);
    if (r->guidance_rescale > 0) add(e, "Guidance rescale", "%g", (double)r->guidance_rescale);
    if (r->variation_strength > 0) {
        add(e, "Variation seed", "%" PRIu64, r->variation_seed + (uint64_t)picture);
        add(e, "Variation seed strength", "%g", (double)r->variation_strength);
    }
    add_passes(e, f);
    add_text(e, "Compat", r->compat);
    add_text(e, "Second prompt", r->prompt_2);
    add_text(e, "Second negative prompt", r->negative_prompt_2);
}

/* "name: 0.8, other: 0.5", and "name: 0123456789ab" of those whose digest is known. Empty lists stay out. */
static tt_status write_loras(const tt_app_facts *f, tt_buf *scales, tt_buf *hashes, tt_err *err) {
    for (int i = 0; i < f->result->n_adapters; i++) {
        const tt_result_adapter *a = &f->result->adapters[i];
        const tt_app_found *found = tt_app_request_held(f->request, a->path, a->name);
        tt_err name;
        tt_fail(&name, TT_E_INVALID, "%s", a->name);
        if (!a->from_prompt)
            TT_TRY(tt_buf_printf(scales, err, "%s%s: %g", scales->size ? ", " : "", name.message,
                                 (double)a->unet));
        if (found && found->digest[0])
            TT_TRY(tt_buf_printf(hashes, err, "%s%s: %.*s", hashes->size ? ", " : "", name.message,
                                 HASH_DIGITS, found->digest));
    }
    return TT_OK;
}

static tt_status write_text(const tt_app_facts *facts, int picture, const extras *e, tt_buf *out,
                            tt_err *err) {
    const tt_request *r = &facts->request->engine;
    const tt_picture *p = &facts->result->pictures[picture];
    char version[VALUE_BYTES];
    tt_err model; /* a file name need not be UTF-8; a message always is */
    snprintf(version, sizeof version, "tintype %s", tt_version());
    tt_fail(&model, TT_E_INVALID, "%s", facts->info->model_name);
    tt_image_parameters text = {.prompt = r->prompt,
                                .negative = r->negative_prompt,
                                .steps = r->steps,
                                .sampler = facts->result->sampler_label,
                                .has_cfg = true,
                                .cfg = r->guidance,
                                .has_seed = true,
                                .seed = r->variation_strength > 0 ? r->seed : p->seed,
                                .width = r->width,
                                .height = r->height,
                                .model = model.message,
                                .version = version,
                                .extra = e->of,
                                .n_extra = e->n};
    return tt_image_parameters_write(&text, out, err);
}

tt_status tt__write_parameters(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err) {
    extras e = {.n = 0};
    tt_buf scales, hashes;
    tt_buf_init(&scales, MAX_LIST_BYTES);
    tt_buf_init(&hashes, MAX_LIST_BYTES);
    tt_status status = write_loras(facts, &scales, &hashes, err);
    if (status == TT_OK) {
        add_settings(&e, facts, picture);
        if (scales.size) add_text(&e, "Loras", scales.data);
        if (hashes.size) add_text(&e, "Lora hashes", hashes.data);
        status = write_text(facts, picture, &e, out, err);
    }
    tt_buf_release(&scales);
    tt_buf_release(&hashes);
    return status;
}
