/* A model opened in two precisions, and how near to each other their pictures are. Failures fail the running test. */
#ifndef TT_SUPPORT_GOLDEN_PAIR_H
#define TT_SUPPORT_GOLDEN_PAIR_H

#include "support/golden_engine.h"

typedef struct tt_golden_pair {
    const char *name;
    tt_engine *exact, *rounded;
} tt_golden_pair;

/* model as in tt_golden_engine_options. */
tt_golden_pair tt_golden_pair_open(const char *model, tt_precision exact, tt_precision rounded);
void tt_golden_pair_close(tt_golden_pair *p);

/* One picture of size x size; prompt, steps and guidance are always the same. */
tt_request tt_golden_pair_request(const char *sampler, uint64_t seed, int size);

/* Draws some of them by both; closes the pair, then fails if any two are further apart than smallest_psnr (dB). */
void tt_golden_pair_compare(tt_golden_pair *p, int size, double smallest_psnr);

#endif
