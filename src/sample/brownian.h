/* One Brownian path per value between two sigmas, the same for a seed whatever is asked of it and in
 * which order: torchsde's BrownianTree (0.2.6) as k-diffusion's BrownianTreeNoiseSampler uses it
 * (Li et al. 2020, section 4). So a sampler that draws from it sees the same path with 20 steps as
 * with 40.
 *
 * The range is halved again and again until a query's ends are met. Each node's noise comes from a
 * generator of its own, seeded by numpy's SeedSequence from the seed and the node's place. Times are
 * kept to six decimals, as there; a query between neighbouring decimals is zero.
 *
 * A query makes up to 2 * 24 draws of n values: about 0.1 s for a 1024 * 1024 picture's latents. */
#ifndef TT_SAMPLE_BROWNIAN_H
#define TT_SAMPLE_BROWNIAN_H

#include <stdint.h>

#include "sample/noise.h"

enum { TT_BROWNIAN_BUFFERS = 3 };

typedef struct tt_brownian {
    tt_noise_kind kind; /* whose generator makes a node's noise: "cpu" or "cuda" */
    uint64_t seed;
    double start, end; /* to six decimals */
    double variance;   /* end - start, before that */
    int64_t n;
    float *buffers; /* borrowed: [TT_BROWNIAN_BUFFERS][n] */
} tt_brownian;

/* 0 <= sigma_min < sigma_max. buffers stay the caller's and must outlive the tree. */
void tt_brownian_init(tt_brownian *b, tt_noise_kind kind, uint64_t seed, float sigma_min,
                      float sigma_max, int64_t n, float *buffers);

/* out[n] = unit normal noise for a step from one sigma down (or up) to another:
 * W(from..to) / sqrt(|to - from|). Ends outside the range are moved to it. */
void tt_brownian_fill(tt_brownian *b, float sigma_from, float sigma_to, float *out);

#endif
