/* One register of floats: sixteen, eight or four, whichever the file is compiled for. (Wider vectors
 * than registers would make gcc keep them in memory.) The compilers' own vector extension does
 * arithmetic; what it says badly (conversions, largest, 2^x, the rest of a row) has an AVX-512 form
 * (vec_avx512.h) and a general one (vec_any.h). Loads and stores need no alignment. */
#ifndef TT_TENSOR_CPU_VEC_H
#define TT_TENSOR_CPU_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VL = 16 };
#elif defined(__AVX2__)
enum { VL = 8 };
#else
enum { VL = 4 };
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf vf_all(float x) {
    return (vf){0} + x;
}

INLINE vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vf_store(float *p, vf v) {
    memcpy(p, &v, sizeof v);
}

INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* v with lanes from n on replaced by x. */
INLINE vf vf_first(vf v, int64_t n, float x) {
    vi lane = {0};
    for (int i = 0; i < VL; i++) lane[i] = i;
    return vf_select(lane < (int32_t)n, v, vf_all(x));
}

#if defined(__AVX512F__)
#include "tensor/cpu/vec_avx512.h"
#else
#include "tensor/cpu/vec_any.h"
#endif

#define VF_LOWEST_EXPONENT -126.0f

/* Elements i .. i + VL - 1 (or the n that are left) of an activation row. */
INLINE vf vf_load_any(const void *p, bool bf16, int64_t i, int64_t n) {
    if (__builtin_expect(n < VL, 0)) return vf_load_part(p, bf16, i, n);
    return bf16 ? vf_load_bf16((const uint16_t *)p + i) : vf_load((const float *)p + i);
}

INLINE void vf_store_any(void *p, bool bf16, int64_t i, int64_t n, vf v) {
    if (__builtin_expect(n < VL, 0))
        vf_store_part(p, bf16, i, n, v);
    else if (bf16)
        vf_store_bf16((uint16_t *)p + i, v);
    else
        vf_store((float *)p + i, v);
}

/* Two whole vectors at once, side by side: one rounding instruction where there is one for both. */
INLINE void vf_store_two(void *p, bool bf16, int64_t i, vf a, vf b) {
#if defined(__AVX512BF16__)
    if (bf16) {
        __m512bh both = _mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
        _mm512_storeu_si512((uint16_t *)p + i, (__m512i)both);
        return;
    }
#endif
    vf_store_any(p, bf16, i, VL, a);
    vf_store_any(p, bf16, i + VL, VL, b);
}

/* 2^x for x from -126 to 127, relative error below 2e-7; 2^-126 below, which is nothing beside 1 (and
 * no denormal: those are slow). 2^x = 2^n 2^f with |f| <= 1/2, and 2^f by the polynomial of degree 6 whose
 * largest relative error is least (4e-9), found by Remez' exchange with the constant term held at 1,
 * so that 2^0 is 1. NaN stays NaN. */
INLINE vf vf_exp2(vf x) {
    vf y = vf_max(vf_all(VF_LOWEST_EXPONENT), x); /* in this order a NaN comes through */
    vf f = vf_fraction(y);
    vf e = f * 1.5469732e-4f + 1.3410001e-3f;
    e = e * f + 9.61803078e-3f;
    e = e * f + 5.55029731e-2f;
    e = e * f + 2.40226511e-1f;
    e = e * f + 6.93147225e-1f;
    e = e * f + 1.0f;
    return vf_scale2(e, y - f);
}

/* The same with degree 4: relative error below 6e-6, for what is rounded to bf16 (2e-3) at once. */
INLINE vf vf_exp2_bf16(vf x) {
    vf y = vf_max(vf_all(VF_LOWEST_EXPONENT), x);
    vf f = vf_fraction(y);
    vf e = f * 9.6760371e-3f + 5.60057883e-2f;
    e = e * f + 2.40221678e-1f;
    e = e * f + 6.93105334e-1f;
    e = e * f + 1.0f;
    return vf_scale2(e, y - f);
}

/* e^x for x in -87 .. 87, relative error below 2e-7; beyond, as at the ends. As above, with x = n ln 2 + r
 * and ln 2 in two parts. */
INLINE vf vf_exp(vf x) {
    const float end = 87.0f;
    const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    vf y = vf_max(vf_all(-end), vf_min(vf_all(end), x));
    vf t = y * log2e;
    vf n = t - vf_fraction(t);
    vf r = y - n * ln2_high - n * ln2_low;
    vf e = r * 1.39485808e-3f + 8.38110929e-3f;
    e = e * r + 4.16662407e-2f;
    e = e * r + 1.66663257e-1f;
    e = e * r + 5.00000008e-1f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
    return vf_scale2(e, n);
}

/* 1 / (1 + e^-x) */
INLINE vf vf_sigmoid(vf x) {
    return vf_reciprocal(1.0f + vf_exp(-x));
}

/* The same to 14 bits where that is faster, for what is rounded to bf16 at once. */
INLINE vf vf_sigmoid_bf16(vf x) {
#if defined(__AVX512F__)
    const float log2e = 1.44269504f;
    return (vf)_mm512_rcp14_ps((__m512)(1.0f + vf_exp2_bf16(x * -log2e))); /* infinity gives 0 */
#else
    return vf_sigmoid(x);
#endif
}

#endif
