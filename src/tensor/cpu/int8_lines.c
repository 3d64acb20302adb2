/* Quantising for int8 products (int8.h): activations while they are packed, weights once. Compiled for AVX-512 without BF16, which
 * is what the least CPU with VNNI has.
 *
 * A range is found on the bits: as signed numbers the largest is the highest value, as unsigned the largest is the
 * lowest one below zero, and NaNs are beyond either end. That is two instructions for 32 values. */
#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/int8.h"
#include "tensor/cpu/vec.h"

enum { RANGE_LANES = 32, TILE = TT_GEMM_TILE, TILE_BYTES = TT_GEMM_TILE_BYTES };

static uint16_t largest_unsigned(__m512i v) {
    uint16_t lanes[RANGE_LANES], most = 0;
    _mm512_storeu_si512(lanes, v);
    for (int i = 0; i < RANGE_LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

tt_int8_range tt__int8_range(const uint16_t *x, int64_t n) {
    __m512i low = _mm512_set1_epi16((short)TT_INT8_NO_RANGE.lowest), high = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += RANGE_LANES) {
        __mmask32 lanes = n - i < RANGE_LANES ? (1u << (n - i)) - 1 : UINT32_MAX;
        __m512i v = _mm512_maskz_loadu_epi16(lanes, x + i);
        low = _mm512_max_epu16(low, v);
        high = _mm512_max_epi16(high, v);
    }
    /* What is above zero has no sign bit, so either order will do for it. */
    return (tt_int8_range){largest_unsigned(low), largest_unsigned(high)};
}

/* Sixteen inputs as whole numbers, before zero is added. */
INLINE __m512i steps_of(__m256i bf16, __m512 inverse) {
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16);
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_castsi512_ps(bits), inverse));
}

/* A line: 64 inputs to bytes. The packs work within 128 bits, so their fours of bytes come out as 0 4 8 12 1 5 ... */
INLINE __m512i line_of(__m512i first, __m512i second, __m512 inverse, __m512i zero, __m512i order) {
    __m512i a = steps_of(_mm512_castsi512_si256(first), inverse);
    __m512i b = steps_of(_mm512_extracti64x4_epi64(first, 1), inverse);
    __m512i c = steps_of(_mm512_castsi512_si256(second), inverse);
    __m512i d = steps_of(_mm512_extracti64x4_epi64(second, 1), inverse);
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero);
    return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
}

void tt__int8_quantise(const uint16_t *x, int64_t n, const tt_int8_quant *q, char *to,
                       int64_t line_bytes) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero = _mm512_set1_epi16((short)q->zero);
    const __m512 inverse = _mm512_set1_ps(q->inverse);
    for (int64_t i = 0; i < n; i += TT_INT8_DEPTH, to += line_bytes) {
        __mmask64 lanes = n - i < TT_INT8_DEPTH ? ((uint64_t)1 << (n - i)) - 1 : UINT64_MAX;
        __m512i first = _mm512_maskz_loadu_epi16((__mmask32)lanes, x + i);
        __m512i second =
            _mm512_maskz_loadu_epi16((__mmask32)(lanes >> RANGE_LANES), x + i + RANGE_LANES);
        _mm512_storeu_si512(
            to, _mm512_maskz_mov_epi8(lanes, line_of(first, second, inverse, zero, order)));
    }
}

/* ---- weights ---------------------------------------------------------------------------------------- */

static float largest_of(const float *x, int64_t n) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most = _mm512_setzero_si512(); /* as bits, so that a NaN is the largest */
    for (int64_t i = 0; i < n; i += VL) {
        __mmask16 lanes = n - i < VL ? vf_first_lanes(n - i) : (__mmask16)UINT16_MAX;
        __m512i v = _mm512_maskz_loadu_epi32(lanes, x + i);
        most = _mm512_max_epi32(most, _mm512_and_si512(v, magnitude));
    }
    int32_t bits = _mm512_reduce_max_epi32(most);
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    return largest;
}

/* store_column for one tap, sixteen inputs at a time: most of a model is products. */
static int32_t store_column_of_product(const float *from, int64_t n, float steps, char *to) {
    const __m512i most = _mm512_set1_epi32(TT_INT8_WEIGHT_STEPS);
    __m512i sums = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += VL) {
        __mmask16 lanes = n - i < VL ? vf_first_lanes(n - i) : (__mmask16)UINT16_MAX;
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, from + i), _mm512_set1_ps(steps));
        __m512i q = _mm512_cvtps_epi32(v); /* what is no number becomes a huge one */
        q = _mm512_maskz_mov_epi32(_mm512_cmple_epu32_mask(_mm512_abs_epi32(q), most), q);
        sums = _mm512_add_epi32(sums, q);
        int32_t fours[4];
        _mm_storeu_si128((void *)fours, _mm512_cvtepi32_epi8(q));
        for (int64_t k = 0; k < 4; k++)
            memcpy(to + (i / 4 + k) * TT_GEMM_LINE_BYTES, &fours[k], sizeof fours[k]);
    }
    return _mm512_reduce_add_epi32(sums);
}

/* One column's inputs of one chunk, all taps, to its place in their tiles. */
static int32_t store_column(const tt_int8_panel *p, const float *from, int64_t n, float steps,
                            char *to) {
    int32_t sum = 0;
    if (p->taps == 1) return store_column_of_product(from, n, steps, to);
    for (int64_t i = 0; i < n; i++)
        for (int tap = 0; tap < p->taps; tap++) {
            int8_t value = tt_int8_weight(from[i * p->taps + tap], steps);
            int64_t at = tap * TILE_BYTES + i / 4 * TT_GEMM_LINE_BYTES + i % 4;
            to[at] = (char)value;
            sum += value;
        }
    return sum;
}

void tt__int8_pack_panel(const tt_int8_panel *p, char *to, float *scales, int32_t *sums) {
    int64_t inputs = p->n_in * p->taps;
    int64_t chunks = (p->n_in + TT_INT8_DEPTH - 1) / TT_INT8_DEPTH;
    int64_t columns = p->n_out - p->column < TILE ? p->n_out - p->column : TILE;
    memset(to, 0, (size_t)(chunks * p->taps * TILE_BYTES));
    for (int64_t column = 0; column < columns; column++) {
        const float *from = p->plain + (p->column + column) * inputs;
        float largest = largest_of(from, inputs), steps = tt_int8_weight_steps(largest);
        int32_t sum = 0;
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            int64_t first = chunk * TT_INT8_DEPTH, left = p->n_in - first;
            sum +=
                store_column(p, from + first * p->taps, left < TT_INT8_DEPTH ? left : TT_INT8_DEPTH,
                             steps, to + chunk * p->taps * TILE_BYTES + column * 4);
        }
        scales[p->column + column] = tt_int8_weight_scale(largest);
        sums[p->column + column] = sum;
    }
}
