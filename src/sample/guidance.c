/* Guidance, element by element; deviations are accumulated in double so that they do not depend on
 * the order of the values beyond the last bit of a float. */
#include "sample/guidance.h"

#include <math.h>

/* The unbiased standard deviation, as torch.std. */
static double deviation(const float *values, int64_t n) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(n - 1));
}

void tt_guidance_combine(const float *uncond, const float *cond, float scale, float rescale,
                         float *out, int64_t n) {
    bool rescales = rescale > 0 && n > 1;
    double cond_deviation = rescales ? deviation(cond, n) : 0; /* before out may overwrite it */
    for (int64_t i = 0; i < n; i++) out[i] = uncond[i] + scale * (cond[i] - uncond[i]);
    if (!rescales) return;
    double own_deviation = deviation(out, n);
    if (!(own_deviation > 0)) return; /* a constant picture has no contrast to correct */
    float factor = (float)(rescale * (cond_deviation / own_deviation) + (1.0 - rescale));
    for (int64_t i = 0; i < n; i++) out[i] *= factor;
}

/* Fractions are turned into whole steps: 0.4f of 20 is 8, whatever the float's last bit. */
bool tt_guidance_acts(float start, float end, int step, int n_steps) {
    return step >= lround((double)start * n_steps) && step < lround((double)end * n_steps);
}
