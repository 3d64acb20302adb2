/* A part of vec.h, which includes it: what vec_avx512.h does, for every other CPU. */
#ifndef TT_TENSOR_CPU_VEC_ANY_H
#define TT_TENSOR_CPU_VEC_ANY_H

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
