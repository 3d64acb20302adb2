/* Inside the room: noise on the way, chosen once per run. */
#ifndef TT_SAMPLE_WAY_NOISE_H
#define TT_SAMPLE_WAY_NOISE_H

#include "sample/plan.h"

/* What DEFAULT becomes for this sampler; never DEFAULT. */
tt_step_noise tt__way_noise_manner(const tt__plan *p, const tt_sampler_options *options);

/* For one picture. `stream` made its first latents; scratch [TT_BROWNIAN_SCRATCH][n] and paths
 * [TT_BROWNIAN_ENDS][n] are for a tree only. */
void tt__way_noise_begin(tt__way_noise *w, const tt__plan *p, const tt_sampler_options *options,
                         tt_noise *stream, int64_t n, float *scratch, double *paths);

#endif
