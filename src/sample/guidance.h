/* Classifier-free guidance: two predictions become one. */
#ifndef TT_SAMPLE_GUIDANCE_H
#define TT_SAMPLE_GUIDANCE_H

#include <stdbool.h>
#include <stdint.h>

/* out = uncond + scale * (cond - uncond); with rescale > 0 blended with itself brought to cond's
 * standard deviation over the whole picture (Lin et al. 2023, section 3.4; diffusers'
 * rescale_noise_cfg): all n values are one picture [c, h, w] in any order. out may be uncond or
 * cond. */
void tt_guidance_combine(const float *uncond, const float *cond, float scale, float rescale,
                         float *out, int64_t n);

/* Whether step `step` (0-based) of n_steps is guided, when guidance acts only from one fraction of the
 * steps to another, 0 <= start <= end <= 1 (Kynkaanniemi et al. 2024): an unguided step needs no pass
 * for the negative prompt. "Off after 8 of 20" is end = 0.4. */
bool tt_guidance_acts(float start, float end, int step, int n_steps);

#endif
