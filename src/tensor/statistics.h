/* Mean and variance of group norms as values of their own: so that the tiles of a picture can be normalised as the whole is
 * (vae/tiles.c). On the host, whatever the back-end. */
#ifndef TT_TENSOR_STATISTICS_H
#define TT_TENSOR_STATISTICS_H

#include <stddef.h>

#include "base/err.h"

/* Of any number of values; all zeros: of none. In double: values of many tiles come together without loss. */
typedef struct tt_norm_statistics {
    double count, mean;
    double squares; /* the sum of (value - mean)^2 */
} tt_norm_statistics;

/* *s becomes the statistics of its own values and of more's (Chan, Golub and LeVeque 1979). */
void tt_norm_statistics_add(tt_norm_statistics *s, const tt_norm_statistics *more);
/* Biased, as norms have it; 0 of no values. */
double tt_norm_statistics_variance(const tt_norm_statistics *s);

/* The statistics of all group norms of a pass, in the order in which they run. */
typedef struct tt_norm_tape {
    tt_norm_statistics *of; /* [norms, groups] */
    int64_t norms, groups;
} tt_norm_tape;

size_t tt_norm_tape_bytes(int64_t norms, int64_t groups);
/* All of no values. The tape starts as {0} or released, and may be released then too. */
tt_status tt_norm_tape_init(tt_norm_tape *tape, int64_t norms, int64_t groups, tt_err *err);
void tt_norm_tape_release(tt_norm_tape *tape);

#endif
