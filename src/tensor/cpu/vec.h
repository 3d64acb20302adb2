/* One register of floats: sixteen, eight or four, whichever the file is compiled for. (Wider vectors
 * than registers would make gcc keep them in memory.) The compilers' own vector extension does arithmetic; what it says badly (conversions, largest,
 * 2^x, the rest of a row) has an AVX-512 form beside the general one. Loads and stores need no
 * alignment. */
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

INLINE vf vf_load_bf16(const uint16_t *p) {
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16);
}

/* Rounds to nearest even; a NaN stays one. (The instruction takes denormals for zero, as if that
 * mattered at 1e-38.) */
INLINE __m256i vf_to_bf16(vf v) {
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh((__m512)v);
#else
    __m512i bits = (__m512i)v;
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 is_nan = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

INLINE void vf_store_bf16(uint16_t *p, vf v) {
    _mm256_storeu_si256((void *)p, vf_to_bf16(v));
}

INLINE __mmask16 vf_first_lanes(int64_t n) {
    return (__mmask16)((1u << n) - 1);
}

/* n < VL elements; the rest is zero. */
INLINE vf vf_load_part(const void *p, bool bf16, int64_t i, int64_t n) {
    __mmask16 lanes = vf_first_lanes(n);
    if (!bf16) return (vf)_mm512_maskz_loadu_ps(lanes, (const float *)p + i);
    __m256i half = _mm256_maskz_loadu_epi16(lanes, (const uint16_t *)p + i);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

INLINE void vf_store_part(void *p, bool bf16, int64_t i, int64_t n, vf v) {
    __mmask16 lanes = vf_first_lanes(n);
    if (bf16)
        _mm256_mask_storeu_epi16((uint16_t *)p + i, lanes, vf_to_bf16(v));
    else
        _mm512_mask_storeu_ps((float *)p + i, lanes, (__m512)v);
}

/* Where one of the two is NaN, b. */
INLINE vf vf_max(vf a, vf b) {
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE vf vf_min(vf a, vf b) {
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE float vf_sum(vf v) {
    return _mm512_reduce_add_ps((__m512)v);
}

INLINE float vf_largest(vf v) {
    return _mm512_reduce_max_ps((__m512)v);
}

/* e * 2^n for whole n: saturates to infinity and to zero. */
INLINE vf vf_scale2(vf e, vf n) {
    return (vf)_mm512_scalef_ps((__m512)e, (__m512)n);
}

/* v less the nearest whole number. */
INLINE vf vf_fraction(vf v) {
    return (vf)_mm512_reduce_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 1 / v for v in 1 .. 2^126, relative error below 2e-7: an estimate of 14 bits and a step of Newton. */
INLINE vf vf_reciprocal(vf v) {
    vf y = (vf)_mm512_rcp14_ps((__m512)v);
    return y * (2.0f - v * y);
}

/* Lane l of vector v becomes lane v of vector l. */
INLINE void vf_transpose(vf v[VL]) {
    __m512i r[VL], t[VL];
    for (int i = 0; i < VL; i++) r[i] = (__m512i)v[i];
    for (int i = 0; i < VL; i += 2) { /* pairs of rows */
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < VL; i += 4) { /* fours: lane l of r[i + c] is column 4 l + c */
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) { /* a 4 x 4 transposition of 128-bit lanes */
        __m512i low = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88);
        __m512i high = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88);
        __m512i odd_low = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xdd);
        __m512i odd_high = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xdd);
        t[c] = _mm512_shuffle_i32x4(low, high, 0x88);
        t[c + 8] = _mm512_shuffle_i32x4(low, high, 0xdd);
        t[c + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        t[c + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
    for (int i = 0; i < VL; i++) v[i] = (vf)t[i];
}

#else

INLINE vf vf_load_bf16(const uint16_t *p) {
    vh v;
    memcpy(&v, p, sizeof v);
    return (vf)(__builtin_convertvector(v, vu) << 16);
}

/* Rounds to nearest even; a NaN stays one because its upper mantissa bits survive the carry-free
 * path. */
INLINE void vf_store_bf16(uint16_t *p, vf v) {
    vu bits = (vu)v;
    vu rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    vu is_nan = (vu)((bits & 0x7fffffffu) > 0x7f800000u);
    rounded = (is_nan & (bits >> 16 | 0x40u)) | (~is_nan & rounded);
    vh out = __builtin_convertvector(rounded, vh);
    memcpy(p, &out, sizeof out);
}

/* n < VL elements; the rest is zero. */
INLINE vf vf_load_part(const void *p, bool bf16, int64_t i, int64_t n) {
    float lanes[VL] = {0};
    for (int64_t l = 0; l < n; l++) {
        uint32_t bits;
        if (bf16)
            bits = (uint32_t)((const uint16_t *)p)[i + l] << 16;
        else
            memcpy(&bits, (const float *)p + i + l, sizeof bits);
        memcpy(&lanes[l], &bits, sizeof bits);
    }
    return vf_load(lanes);
}

INLINE void vf_store_part(void *p, bool bf16, int64_t i, int64_t n, vf v) {
    if (bf16) {
        uint16_t lanes[VL];
        vf_store_bf16(lanes, v);
        memcpy((uint16_t *)p + i, lanes, (size_t)n * sizeof lanes[0]);
    } else {
        float lanes[VL];
        vf_store(lanes, v);
        memcpy((float *)p + i, lanes, (size_t)n * sizeof lanes[0]);
    }
}

#if defined(__AVX2__)
/* Where one of the two is NaN, b. */
INLINE vf vf_max(vf a, vf b) {
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
INLINE vf vf_min(vf a, vf b) {
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
#else
INLINE vf vf_max(vf a, vf b) {
    return vf_select(a > b, a, b);
}
INLINE vf vf_min(vf a, vf b) {
    return vf_select(a < b, a, b);
}
#endif

INLINE float vf_sum(vf v) {
    float lanes[VL];
    vf_store(lanes, v);
    for (int n = VL / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] += lanes[i + n];
    return lanes[0];
}

INLINE float vf_largest(vf v) {
    float lanes[VL];
    vf_store(lanes, v);
    for (int n = VL / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] = lanes[i] > lanes[i + n] ? lanes[i] : lanes[i + n];
    return lanes[0];
}

/* Adding it rounds to a whole number, which then stands in the low bits of the mantissa. */
#define VF_TO_INTEGER 12582912.0f /* 1.5 * 2^23 */

/* v less the nearest whole number. */
INLINE vf vf_fraction(vf v) {
    return v - ((v + VF_TO_INTEGER) - VF_TO_INTEGER);
}

/* e * 2^n for whole n from -126 to 127. */
INLINE vf vf_scale2(vf e, vf n) {
    vi exponent = ((vi)(n + VF_TO_INTEGER) - (vi)vf_all(VF_TO_INTEGER)) << 23;
    return (vf)((vi)e + exponent);
}

INLINE vf vf_reciprocal(vf v) {
    return 1.0f / v;
}

/* Lane l of vector v becomes lane v of vector l. */
INLINE void vf_transpose(vf v[VL]) {
    float from[VL][VL], to[VL][VL];
    memcpy(from, v, sizeof from);
    for (int i = 0; i < VL; i++)
        for (int l = 0; l < VL; l++) to[l][i] = from[i][l];
    memcpy(v, to, sizeof to);
}

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
