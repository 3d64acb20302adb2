/* One Brownian path per value between two sigmas, the same for a seed whatever is asked of it and in
 * which order: torchsde's BrownianTree (0.2.6) as k-diffusion's BrownianTreeNoiseSampler uses it
 * (Li et al. 2020, section 4). So a sampler that draws from it sees the same path with 20 steps as
 * with 40.
 *
 * The range is halved again and again until a query's ends are met. Each node's noise comes from a
 * generator of its own, seeded by numpy's SeedSequence from the seed and the node's place. Times are
 * kept to six decimals, as there; a query between neighbouring decimals is zero.
 *
 * An end that the last query did not have costs up to 24 draws of n values: 0.06 s for the latents of a
 * 1024 * 1024 picture on one core. The second noise of a step and the next step's share one.
 */
#ifndef TT_SAMPLE_BROWNIAN_H
#define TT_SAMPLE_BROWNIAN_H

#include <stdbool.h>
#include <stdint.h>

#include "sample/noise.h"

enum { TT_BROWNIAN_ENDS = 2, TT_BROWNIAN_SCRATCH = 2 };

typedef struct tt_brownian {
    tt_noise_kind kind; /* whose generator makes a node's noise: "cpu" or "cuda" */
    uint64_t seed;
    double start, end; /* to six decimals */
    double variance;   /* end - start, before that */
    int64_t n;
    bool knows_end[TT_BROWNIAN_ENDS]; /* of queries so far: the path there is in paths */
    double ends[TT_BROWNIAN_ENDS];
    float *scratch; /* borrowed: [TT_BROWNIAN_SCRATCH][n] */
    double *paths;  /* borrowed: [TT_BROWNIAN_ENDS][n] */
} tt_brownian;

/* 0 <= sigma_min < sigma_max. scratch and paths stay the caller's and must outlive the tree. */
void tt_brownian_init(tt_brownian *b, tt_noise_kind kind, uint64_t seed, float sigma_min,
                      float sigma_max, int64_t n, float *scratch, double *paths);

/* out[n] = unit normal noise for a step from one sigma down (or up) to another:
 * W(from..to) / sqrt(|to - from|). Ends outside the range are moved to it. */
void tt_brownian_fill(tt_brownian *b, float sigma_from, float sigma_to, float *out);

#endif
