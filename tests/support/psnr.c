/* Distances between pictures and between arrays, accumulated in double. */
#include "support/psnr.h"

#include <math.h>

static double decibels(double squares, size_t count, double peak) {
    if (isnan(squares)) return -INFINITY;
    return squares == 0 ? INFINITY : 10 * log10(peak * peak * (double)count / squares);
}

double tt_psnr_u8(const uint8_t *a, const uint8_t *b, size_t count) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - b[i];
        squares += d * d;
    }
    return decibels(squares, count, 255);
}

double tt_psnr_f32(const float *a, const float *b, size_t count, double peak) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        squares += d * d;
    }
    return decibels(squares, count, peak);
}

double tt_max_error(const float *a, const float *b, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (isnan(d)) return INFINITY;
        if (d > largest) largest = d;
    }
    return largest;
}

double tt_relative_error(const float *a, const float *b, size_t count) {
    double squares = 0, reference = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        squares += d * d;
        reference += (double)b[i] * (double)b[i];
    }
    return isnan(squares) ? INFINITY : sqrt(squares / reference);
}
