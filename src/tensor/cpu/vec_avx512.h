/* A part of vec.h, which includes it: what registers of AVX-512 do by instructions of their own. */
#ifndef TT_TENSOR_CPU_VEC_AVX512_H
#define TT_TENSOR_CPU_VEC_AVX512_H

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

#endif
