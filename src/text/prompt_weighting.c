/* See the header. A1111's restoring of the mean is skipped where it has no meaning: a new mean of zero. */
#include "text/prompt_weighting.h"

#include <math.h>

tt_weighting tt_weighting_for(tt_prompt_syntax syntax) {
    switch (syntax) {
    case TT_PROMPT_A1111:
        return TT_WEIGHTING_A1111;
    case TT_PROMPT_COMFY:
        return TT_WEIGHTING_COMFY;
    case TT_PROMPT_COMPEL:
        return TT_WEIGHTING_COMPEL;
    default:
        return TT_WEIGHTING_NONE;
    }
}

bool tt_weighting_needs_empty(tt_weighting mode) {
    return mode == TT_WEIGHTING_COMFY || mode == TT_WEIGHTING_COMPEL;
}

static bool all_one(const float *weights, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (weights[i] != 1) return false;
    return true;
}

static double sum_of(const float *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i];
    return sum;
}

static void multiply(float *values, double factor, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = (float)(values[i] * factor);
}

static void restore_mean(float *states, double old_sum, int64_t count) {
    double factor = old_sum / sum_of(states, count);
    if (isfinite(factor)) multiply(states, factor, count);
}

/* row = empty + w (row - empty) */
static void move_from_empty(float *row, const float *empty, double weight, int64_t width) {
    for (int64_t i = 0; i < width; i++)
        row[i] = (float)(empty[i] + weight * ((double)row[i] - empty[i]));
}

void tt_weighting_apply(tt_weighting mode, const float *weights, const float *empty,
                        int64_t n_tokens, int64_t width, float *states) {
    if (mode == TT_WEIGHTING_NONE || all_one(weights, n_tokens)) return;
    double old_sum = sum_of(states, n_tokens * width);
    for (int64_t t = 0; t < n_tokens; t++) {
        float *row = states + t * width;
        double w = (double)weights[t];
        if (mode == TT_WEIGHTING_COMPEL && w < 1) w = 1;
        if (w == 1) continue;
        if (tt_weighting_needs_empty(mode))
            move_from_empty(row, empty + t * width, w, width);
        else
            multiply(row, w, width);
    }
    if (mode == TT_WEIGHTING_A1111) restore_mean(states, old_sum, n_tokens * width);
}

double tt_weighting_share(double weight) {
    static const double LEAST_WEIGHT = 1e-5, HALF_PI = 1.57079632679489661923;
    if (weight >= 1) return 0;
    return tan((1 - (weight > LEAST_WEIGHT ? weight : LEAST_WEIGHT)) * HALF_PI);
}

void tt_weighting_add(float *states, const float *without, double share, int64_t count) {
    for (int64_t i = 0; i < count; i++) states[i] = (float)(states[i] + share * without[i]);
}

void tt_weighting_finish(float *states, double sum_of_shares, int64_t count) {
    multiply(states, 1 / (1 + sum_of_shares), count);
}
