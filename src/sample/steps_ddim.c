/* Samplers that keep the variance and go by the noise the model means: x0 and noise, mixed anew for
 * the next point. */
#include <math.h>
#include <string.h>

#include "sample/steps.h"

/* r->output becomes the noise the model means. */
static void to_noise(tt__run *r, const tt__point *from) {
    const float alpha = (float)from->alpha, s = (float)from->s;
    if (r->sigma_data > 0) /* x0 knows what the answer meant */
        for (int64_t k = 0; k < r->n; k++) r->output[k] = (r->x[k] - alpha * r->x0[k]) / s;
    else if (r->prediction == TT_SAMPLE_V)
        for (int64_t k = 0; k < r->n; k++) r->output[k] = alpha * r->output[k] + s * r->x[k];
}

/* ---- DDIM (Song et al. 2020) ---- */

tt_status tt__step_ddim(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    TT_TRY(tt__estimate_vp(r, i));
    to_noise(r, from);
    double kept = from->alpha / to->alpha;
    double fresh = r->eta * to->s / from->s * sqrt(1 - kept * kept);
    const float of_x0 = (float)to->alpha, of_noise = (float)sqrt(to->s * to->s - fresh * fresh);
    for (int64_t k = 0; k < r->n; k++) r->x[k] = of_x0 * r->x0[k] + of_noise * r->output[k];
    if (r->eta > 0) {
        tt__draw(r, from->sigma, to->sigma, false, r->input);
        for (int64_t k = 0; k < r->n; k++) r->x[k] += (float)fresh * r->input[k];
    }
    return TT_OK;
}

/* ---- PNDM (Liu et al. 2022), the linear multistep part: diffusers' class with skip_prk_steps ---- */

/* out = x at `from` carried to `to` with r->input for the model's answer: formula 9 of the paper, for
 * velocities written so that it also starts from pure noise. */
static void pndm_move(tt__run *r, const float *x, const tt__point *from, const tt__point *to,
                      float *out) {
    double a = from->alpha, s = from->s, to_a = to->alpha, to_s = to->s;
    bool v = r->prediction == TT_SAMPLE_V;
    const float of_x = (float)(v ? to_a * a + to_s * s : to_a / a);
    const float of_answer = (float)(v ? to_s * a - to_a * s : to_s - to_a / a * s);
    for (int64_t k = 0; k < r->n; k++) out[k] = of_x * x[k] + of_answer * r->input[k];
}

/* r->input = the answers, newest first, mixed by Adams and Bashforth's even weights. */
static void pndm_mix(tt__run *r, int n_answers) {
    static const float weights[TT__HISTORY][TT__HISTORY] = {
        {1},
        {3 / 2.f, -1 / 2.f},
        {23 / 12.f, -16 / 12.f, 5 / 12.f},
        {55 / 24.f, -59 / 24.f, 37 / 24.f, -9 / 24.f}};
    memset(r->input, 0, (size_t)r->n * sizeof *r->input);
    for (int j = 0; j < n_answers; j++) {
        const float weight = weights[n_answers - 1][j], *answer = r->history[j];
        for (int64_t k = 0; k < r->n; k++) r->input[k] += weight * answer[k];
    }
}

/* The first step has nothing to look back on: it goes to its end, asks there, and starts again with
 * the mean of both answers. */
static tt_status pndm_start(tt__run *r) {
    float *x = r->x, *trial = r->history[1];
    pndm_mix(r, 1);
    pndm_move(r, x, &r->from[0], &r->to[0], trial);
    if (r->steps == 1) {
        memcpy(x, trial, (size_t)r->n * sizeof *x);
        return TT_OK;
    }
    const tt_denoiser *d = r->denoiser;
    TT_TRY(d->model(d->context, trial, r->timesteps[1], r->output, r->err));
    for (int64_t k = 0; k < r->n; k++) r->input[k] = (r->output[k] + r->history[0][k]) / 2;
    pndm_move(r, x, &r->from[0], &r->to[0], x);
    return TT_OK;
}

tt_status tt__step_pndm(tt__run *r, int i) {
    float *answer = r->history[TT__HISTORY - 1];
    TT_TRY(tt__estimate_vp(r, i));
    for (int j = TT__HISTORY - 1; j > 0; j--) r->history[j] = r->history[j - 1];
    r->history[0] = answer;
    memcpy(answer, r->output, (size_t)r->n * sizeof *answer);
    if (i == 0) return pndm_start(r);
    pndm_mix(r, i + 1 < TT__HISTORY ? i + 1 : TT__HISTORY);
    pndm_move(r, r->x, &r->from[i], &r->to[i], r->x);
    return TT_OK;
}

/* ---- LCM (Luo et al. 2023) ---- */

/* The boundary condition that makes the estimate equal x at timestep 0. */
static const double lcm_timestep_scale = 10.0, lcm_sigma_data = 0.5;

static void keep_boundary(tt__run *r, int i) {
    double t = r->timesteps[i] * lcm_timestep_scale;
    double square = t * t + lcm_sigma_data * lcm_sigma_data;
    const float of_x0 = (float)(t / sqrt(square)),
                of_x = (float)(lcm_sigma_data * lcm_sigma_data / square);
    for (int64_t k = 0; k < r->n; k++) r->x0[k] = of_x0 * r->x0[k] + of_x * r->x[k];
}

tt_status tt__step_lcm(tt__run *r, int i) {
    TT_TRY(tt__estimate_vp(r, i));
    if (r->like_classes) keep_boundary(r, i);
    bool last = tt__is_last(r, i);
    if (!last) tt__draw(r, r->from[i].sigma, r->to[i].sigma, false, r->input);
    const float alpha = (float)r->to[i].alpha, s = (float)r->to[i].s;
    for (int64_t k = 0; k < r->n; k++)
        r->x[k] = last ? r->x0[k] : alpha * r->x0[k] + s * r->input[k];
    return TT_OK;
}

/* ---- TCD (Zheng et al. 2024): eta is the paper's gamma ---- */

/* Goes to a less noisy entry s of the table than asked, and from there back up with fresh noise. */
tt_status tt__step_tcd(tt__run *r, int i) {
    const tt__point *from = &r->from[i], *to = &r->to[i];
    bool last = tt__is_last(r, i);
    TT_TRY(tt__estimate_vp(r, i));
    to_noise(r, from);
    float next = last ? 0 : (float)tt_noise_table_timestep(r->table, to->sigma);
    int entry = (int)floorf((1.0f - r->eta) * nearbyintf(next));
    tt__point lower = tt__point_at(r->table->sigmas[entry]);
    const float of_x0 = (float)lower.alpha, of_noise = (float)lower.s;
    for (int64_t k = 0; k < r->n; k++) r->x[k] = of_x0 * r->x0[k] + of_noise * r->output[k];
    if (last || !(r->eta > 0)) return TT_OK;
    double kept = to->alpha / lower.alpha;
    const float of_x = (float)kept, fresh = (float)sqrt(fmax(0, 1 - kept * kept));
    tt__draw(r, from->sigma, to->sigma, false, r->input);
    for (int64_t k = 0; k < r->n; k++) r->x[k] = of_x * r->x[k] + fresh * r->input[k];
    return TT_OK;
}
