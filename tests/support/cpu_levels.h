/* Every level of CPU that this one can play, and numbers for operations that tests run at each of
 * them. */
#ifndef TT_SUPPORT_CPU_LEVELS_H
#define TT_SUPPORT_CPU_LEVELS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"

/* Largest error allowed, relative to the largest expected value: f32 sums in another order; bf16 keeps
 * 8 bits, and what is compared rounds once. */
#define TT_F32_TOLERANCE  2e-5
#define TT_BF16_TOLERANCE (1.0 / 128)

static inline bool tt_level_is_here(tt_cpu_level level) {
    const tt_cpu_features f = tt__cpu_features();
    const bool here[] = {true, f.avx2, f.avx512, f.avx512_bf16, f.amx_bf16};
    return here[level];
}

/* An engine that takes this CPU for one of `level`; bf16 storage works at every level. */
static inline tt_ops *tt_ops_at(tt_cpu_level level, tt_dtype dtype, int threads) {
    tt_ops *ops = NULL;
    tt_err err;
    const tt_ops_options options = {TT_BACKEND_CPU, dtype, threads};
    if (tt_ops_open(&options, &ops, &err) != TT_OK) return NULL;
    tt__cpu_force(ops, level);
    return ops;
}

/* A tensor in a block of its own, between guards that no kernel may read as numbers or change: the bits
 * 0xffff... are NaN in both formats. */
enum { TT_GUARD_BYTES = 256 };

static inline tt_tensor tt_guarded_new(tt_dtype dtype, int64_t n, int64_t h, int64_t w, int64_t c) {
    tt_tensor t = {.dtype = dtype, .n = n, .h = h, .w = w, .c = c};
    size_t bytes = (size_t)tt_tensor_count(&t) * tt_dtype_size(dtype);
    unsigned char *block = tt_alloc_aligned(bytes + 2 * TT_GUARD_BYTES);
    memset(block, 0xff, bytes + 2 * TT_GUARD_BYTES);
    t.data = block + TT_GUARD_BYTES;
    return t;
}

static inline bool tt_guards_hold(const tt_tensor *t) {
    size_t bytes = (size_t)tt_tensor_count(t) * tt_dtype_size(t->dtype);
    const unsigned char *before = (const unsigned char *)t->data - TT_GUARD_BYTES;
    for (size_t i = 0; i < TT_GUARD_BYTES; i++)
        if (before[i] != 0xff || before[TT_GUARD_BYTES + bytes + i] != 0xff) return false;
    return true;
}

static inline void tt_guarded_free(tt_tensor *t) {
    if (t->data) tt_free((char *)t->data - TT_GUARD_BYTES);
    t->data = NULL;
}

static inline double tt_value(const tt_tensor *t, int64_t i) {
    return t->dtype == TT_F32 ? (double)((const float *)t->data)[i]
                              : (double)tt_bf16_to_f32(((const uint16_t *)t->data)[i]);
}

static inline void tt_set_value(tt_tensor *t, int64_t i, float v) {
    if (t->dtype == TT_F32)
        ((float *)t->data)[i] = v;
    else
        ((uint16_t *)t->data)[i] = tt_f32_to_bf16(v);
}

/* -1 .. 1, the same series for the same seed. */
static inline float tt_next_value(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / (1 << 23) - 1.0);
}

/* Largest distance between t and expected [count of t], relative to the largest expected value; NaN
 * counts as infinitely far. */
static inline double tt_distance(const tt_tensor *t, const double *expected) {
    double worst = 0, scale = 0;
    for (int64_t i = 0; i < tt_tensor_count(t); i++) {
        double error = fabs(tt_value(t, i) - expected[i]);
        if (!(error <= worst)) worst = isfinite(error) ? error : INFINITY;
        scale = fmax(scale, fabs(expected[i]));
    }
    return worst / (scale > 0 ? scale : 1);
}

#endif
