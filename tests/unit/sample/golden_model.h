/* The denoiser of the generator scripts: nonlinear, mixes channels and neighbours, knows the time. */
#ifndef TESTS_UNIT_SAMPLE_GOLDEN_MODEL_H
#define TESTS_UNIT_SAMPLE_GOLDEN_MODEL_H

#include <math.h>

#include "base/err.h"

enum {
    GOLDEN_CHANNELS = 4,
    GOLDEN_SIDE = 8,
    GOLDEN_N = GOLDEN_CHANNELS * GOLDEN_SIDE * GOLDEN_SIDE
};

static inline tt_status golden_model(void *context, const float *x, float t, float *out,
                                     tt_err *err) {
    (void)context, (void)err;
    float shift = 0.1f * sinf(t * 0.01f), gain = 0.6f + 0.0004f * t;
    for (int c = 0; c < GOLDEN_CHANNELS; c++)
        for (int row = 0; row < GOLDEN_SIDE; row++)
            for (int col = 0; col < GOLDEN_SIDE; col++) {
                float here = x[(c * GOLDEN_SIDE + row) * GOLDEN_SIDE + col];
                float right = x[((c + 1) % GOLDEN_CHANNELS * GOLDEN_SIDE + row) * GOLDEN_SIDE +
                                (col + 1) % GOLDEN_SIDE];
                float below = x[(c * GOLDEN_SIDE + (row + 1) % GOLDEN_SIDE) * GOLDEN_SIDE + col];
                float mixed = 0.8f * here + 0.3f * right - 0.2f * below + shift;
                out[(c * GOLDEN_SIDE + row) * GOLDEN_SIDE + col] = tanhf(mixed) * gain;
            }
    return TT_OK;
}

/* What the scripts keep of latents is every fourth value from the second on. */
enum { GOLDEN_KEPT = GOLDEN_N / 4 };

/* Largest difference of the kept latents over their standard deviation. */
static inline double golden_latent_error(const float *x, const float kept[GOLDEN_KEPT]) {
    double sum = 0, squares = 0, worst = 0;
    for (int k = 0; k < GOLDEN_KEPT; k++) {
        double expected = kept[k], difference = fabs(x[4 * k + 1] - expected);
        sum += expected;
        squares += expected * expected;
        if (!(difference <= worst)) worst = difference; /* a NaN stays */
    }
    return worst / sqrt(squares / GOLDEN_KEPT - sum / GOLDEN_KEPT * sum / GOLDEN_KEPT);
}

static inline double golden_relative_error(double found, double expected) {
    return fabs(found - expected) / fmax(fabs(expected), 1e-3);
}

#endif
