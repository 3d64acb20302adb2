/* Sixteen floats at a time, in the compilers' own vector extension: one zmm, two ymm or four xmm
 * registers, whichever the file is compiled for. Loads and stores need no alignment. */
#ifndef TT_TENSOR_CPU_VEC_H
#define TT_TENSOR_CPU_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { VL = 16 };

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

INLINE vf vf_load_bf16(const uint16_t *p) {
    vh v;
    memcpy(&v, p, sizeof v);
    return (vf)(__builtin_convertvector(v, vu) << 16);
}

/* Round to nearest even; a NaN stays a NaN because its upper mantissa bits survive the carry-free
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

/* Elements i .. i + VL - 1 (or the n that are left) of an activation row. */
INLINE vf vf_load_any(const void *p, bool bf16, int64_t i, int64_t n) {
    if (n < VL) return vf_load_part(p, bf16, i, n);
    return bf16 ? vf_load_bf16((const uint16_t *)p + i) : vf_load((const float *)p + i);
}

INLINE void vf_store_any(void *p, bool bf16, int64_t i, int64_t n, vf v) {
    if (n >= VL) {
        if (bf16)
            vf_store_bf16((uint16_t *)p + i, v);
        else
            vf_store((float *)p + i, v);
    } else if (bf16) {
        uint16_t lanes[VL];
        vf_store_bf16(lanes, v);
        memcpy((uint16_t *)p + i, lanes, (size_t)n * sizeof lanes[0]);
    } else {
        float lanes[VL];
        vf_store(lanes, v);
        memcpy((float *)p + i, lanes, (size_t)n * sizeof lanes[0]);
    }
}

INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

INLINE vf vf_max(vf a, vf b) {
    return vf_select(a > b, a, b);
}
INLINE vf vf_min(vf a, vf b) {
    return vf_select(a < b, a, b);
}

INLINE float vf_sum(vf v) {
    float lanes[VL], sum = 0;
    vf_store(lanes, v);
    for (int i = 0; i < VL / 2; i++) lanes[i] += lanes[i + VL / 2];
    for (int i = 0; i < VL / 4; i++) lanes[i] += lanes[i + VL / 4];
    for (int i = 0; i < VL / 4; i++) sum += lanes[i];
    return sum;
}

INLINE float vf_largest(vf v) {
    float lanes[VL];
    vf_store(lanes, v);
    float m = lanes[0];
    for (int i = 1; i < VL; i++) m = lanes[i] > m ? lanes[i] : m;
    return m;
}

/* e^x, relative error below 2e-7; 0 below -87.3, 2.4e38 above 88.3. x = k ln 2 + r with |r| <= ln 2
 * / 2, and e^r by its Taylor polynomial of degree 7. NaN stays NaN. */
INLINE vf vf_exp(vf x) {
    const float lowest = -87.3f, highest = 88.3f;
    const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    vi is_low = x < lowest;
    vf y = vf_min(x, vf_all(highest));
    y = vf_select(is_low, vf_all(lowest), y);
    vf shifted = y * log2e + to_integer;
    vf k = shifted - to_integer;
    vf r = y - k * ln2_high - k * ln2_low;
    vf e = r * (1.0f / 5040) + 1.0f / 720;
    e = e * r + 1.0f / 120;
    e = e * r + 1.0f / 24;
    e = e * r + 1.0f / 6;
    e = e * r + 0.5f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
    vi exponent = ((vi)shifted - (vi)vf_all(to_integer)) << 23;
    vf result = (vf)((vi)e + exponent);
    result = vf_select(is_low, vf_all(0), result);
    return vf_select(x != x, x, result);
}

/* 1 / (1 + e^-x) */
INLINE vf vf_sigmoid(vf x) {
    return 1.0f / (1.0f + vf_exp(-x));
}

#endif
