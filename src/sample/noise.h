/* Normal noise from a seed, in the streams people's seeds come from. Successive calls continue one
 * stream, so the first latents and the noise of stochastic samplers come from one generator, as in
 * diffusers.
 *
 * The caller owns the struct; nothing is allocated; one thread at a time. Same seed, same kind,
 * same sequence of call sizes: same numbers on every machine (the last bit of libm aside). */
#ifndef TT_SAMPLE_NOISE_H
#define TT_SAMPLE_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef enum tt_noise_kind {
    TT_NOISE_CPU_F32, /* "cpu": torch.randn of float32 on a CPU generator (also ComfyUI's). MT19937;
                         only the low 32 bits of the seed count */
    TT_NOISE_CPU_F16, /* "cpu-f16": torch.randn of float16 on a CPU generator as torch made it for
                         years: another stream, its values rounded to half on the way. torch 2.15
                         rounds the float32 stream instead: there, "cpu" is the same picture */
    TT_NOISE_CUDA,    /* "cuda": torch.randn on a CUDA generator (A1111's "NV"). Philox4x32-10;
                         all 64 bits of the seed count */
} tt_noise_kind;

enum { TT_NOISE_MT_WORDS = 624 };

typedef struct tt_noise {
    tt_noise_kind kind;
    uint64_t seed;
    uint32_t n_calls;                  /* CUDA: Philox counter word 0 */
    uint32_t words[TT_NOISE_MT_WORDS]; /* CPU: MT19937 state */
    int next_word;                     /* TT_NOISE_MT_WORDS: twist before the next draw */
    bool has_cached_normal;            /* draws of fewer than 16 values come in pairs */
    double cached_normal;
} tt_noise;

void tt_noise_init(tt_noise *g, tt_noise_kind kind, uint64_t seed);

/* out[0..n) = one torch.randn call of n elements. CUDA kind: as one torch kernel makes them while n
 * fits the card at once; larger draws depend on the card in torch and do not here. */
void tt_noise_fill(tt_noise *g, float *out, int64_t n);

/* The same, in single precision also for TT_NOISE_CPU_F16: diffusers draws the noise of its SDE
 * solver so. */
void tt_noise_fill_f32(tt_noise *g, float *out, int64_t n);

/* "cpu", "cpu-f16", "cuda". TT_E_INVALID lists them; NULL means "cpu". */
tt_status tt_noise_kind_parse(const char *name, tt_noise_kind *out, tt_err *err);
const char *tt_noise_kind_name(tt_noise_kind kind);

#endif
