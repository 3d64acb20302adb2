/* The denoise loop's body: what the sampler asks for is one UNet pass over [negative, positive] and guidance; over the positive
 * row alone in steps without it. It allocates nothing, but for the UNet's keys and values when the text changes on the way
 * (conditioning.c). */
#include <string.h>

#include "base/clock.h"
#include "pipeline/parts.h"
#include "sample/guidance.h"

bool tt__step_is_guided(const tt_generation *g, int step) {
    const tt_request *r = g->request;
    return r->guidance > 1 && tt_guidance_acts(r->guidance_start, r->guidance_end,
                                               g->walk_first + step, g->walk_steps);
}

/* One row of the UNet's input; inpainting models take [latents, mask, latents of what is kept]. */
static void fill_row(const tt_generation *g, const float *latents, float *row) {
    int64_t positions = g->latent_h * g->latent_w, c = g->channels;
    if (!g->model.paints_in) {
        tt__to_channels_last(latents, c, positions, row);
        return;
    }
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t i = 0; i < c; i++) *row++ = latents[i * positions + p];
        *row++ = g->start.mask[p];
        for (int64_t i = 0; i < c; i++) *row++ = g->start.masked[p * c + i];
    }
}

/* What the guidance of this step makes of unet_out [rows, h, w, channels], in its first row. */
static void guide(const tt_generation *g, int64_t rows, bool acts) {
    const tt_request *r = g->request;
    float *positive = g->unet_out + (rows - 1) * g->n_values;
    if (acts)
        tt_guidance_combine(g->unet_out, positive, r->guidance, r->guidance_rescale, g->unet_out,
                            g->n_values);
    else if (rows == 2)
        memcpy(g->unet_out, positive, (size_t)g->n_values * sizeof *positive);
}

static tt_status predict_both(void *context, const float *input, float timestep, float *output,
                              float *uncond, tt_err *err) {
    tt_generation *g = context;
    bool acts = tt__step_is_guided(g, g->step);
    int64_t rows = acts || g->always_both ? g->n_rows : 1;
    int64_t positions = g->latent_h * g->latent_w;
    int64_t row_values = positions * tt_unet_in_channels(g->model.unet);
    TT_TRY(tt__condition(g, g->call++, rows, err));
    for (int64_t i = 0; i < rows; i++) fill_row(g, input, g->unet_in + i * row_values);
    TT_TRY(tt_unet_forward(g->model.unet, g->unet_in, g->latent_h, g->latent_w, timestep,
                           g->unet_out, err));
    if (uncond) tt__to_planes(g->unet_out, g->channels, positions, uncond);
    guide(g, rows, acts);
    tt__to_planes(g->unet_out, g->channels, positions, output);
    return TT_OK;
}

static tt_status predict(void *context, const float *input, float timestep, float *output,
                         tt_err *err) {
    return predict_both(context, input, timestep, output, NULL, err);
}

tt_status tt__report_progress(tt_generation *g, int step, const float *x0, tt_err *err) {
    const tt_request *r = g->request;
    int of_all = g->steps_before + step;
    g->step = step;
    if (!r->progress) return TT_OK;
    tt_progress p = {.picture = g->picture,
                     .n_pictures = r->count,
                     .step = of_all,
                     .n_steps = g->result->steps,
                     .elapsed_ms = (double)(tt_clock_us() - g->start_us) / 1000};
    if (x0 && g->preview) {
        TT_TRY(tt__preview(g, x0, err));
        p.preview = g->preview;
        p.preview_width = g->preview_width;
        p.preview_height = g->preview_height;
    }
    if (r->progress(r->progress_context, &p)) return TT_OK;
    return tt_fail(err, TT_E_CANCELLED, "cancelled after step %d of %d", of_all, g->result->steps);
}

static tt_status step_done(void *context, int step, const float *x0, tt_err *err) {
    return tt__report_progress(context, step, x0, err);
}

static tt_status keep_unmasked(void *context, int step, float *x, tt_err *err) {
    (void)err;
    tt__keep_unmasked(context, step, x);
    return TT_OK;
}

tt_status tt__denoise(tt_generation *g, tt_noise *noise, tt_err *err) {
    const bool keeps = g->request->mask && !g->model.paints_in;
    const tt_denoiser denoiser = {.context = g,
                                  .model = predict,
                                  .model_both = predict_both,
                                  .adjust = keeps ? keep_unmasked : NULL,
                                  .step_done = step_done};
    g->call = 0;
    if (!g->before) tt__start(g, noise);
    g->step = 0;
    if (g->steps_before == 0) TT_TRY(tt__report_progress(g, 0, NULL, err));
    TT_TRY(tt_sampler_run(g->sampler, g->latents, &denoiser, noise, err));
    if (tt__all_finite(g->latents, g->n_values)) return TT_OK;
    return tt_fail(
        err, TT_E_FORMAT,
        "denoising ended in values that are not numbers: the model file is damaged, or its "
        "prediction type is not %s",
        g->model.trained.name);
}
