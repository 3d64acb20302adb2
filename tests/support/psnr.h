/* How alike two arrays are, in decibels: 10 log10(peak^2 / mean squared error); INFINITY when
 * equal. */
#ifndef TT_SUPPORT_PSNR_H
#define TT_SUPPORT_PSNR_H

#include <stddef.h>
#include <stdint.h>

double tt_psnr_u8(const uint8_t *a, const uint8_t *b, size_t count); /* peak 255 */
double tt_psnr_f32(const float *a, const float *b, size_t count, double peak);

/* Largest |a - b|; INFINITY when either holds a NaN. */
double tt_max_error(const float *a, const float *b, size_t count);
/* sqrt(sum (a - b)^2 / sum b^2) */
double tt_relative_error(const float *a, const float *b, size_t count);

#endif
