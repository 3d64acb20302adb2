/* Int8 products and convolutions of the CPU back-end: what the driver of products (gemm.c) needs beside its kernels.
 *
 * The driver and the layout are those of bf16 (gemm.h) with 64 inputs in a line instead of 32: a tile of weights is
 * [16 fours of inputs][16 columns][4] int8, the second operand of AMX's tdpbusd, and its lines are those of AVX-512's vpdpbusd.
 * Activations become unsigned bytes while they are packed, unsigned x signed is what both instructions multiply, and
 * the zero of a row is taken out of its sums by the sum of the column's weights. */
#ifndef TT_TENSOR_CPU_INT8_H
#define TT_TENSOR_CPU_INT8_H

#include <stdint.h>

#include "tensor/backend.h"
#include "tensor/cpu/features.h"
#include "tensor/cpu/gemm.h"
#include "tensor/int8.h"

enum { TT_INT8_DEPTH = 64 /* inputs in a tile, and in a line */ };

/* The lowest and the highest of some bf16 numbers and 0, as bits. A NaN is beyond all. */
typedef struct tt_int8_range {
    uint16_t lowest, highest;
} tt_int8_range;

#define TT_INT8_NO_RANGE ((tt_int8_range){0x8000, 0})

static inline tt_int8_range tt__int8_range_join(tt_int8_range a, tt_int8_range b) {
    return (tt_int8_range){a.lowest > b.lowest ? a.lowest : b.lowest,
                           a.highest > b.highest ? a.highest : b.highest};
}

static inline tt_int8_quant tt__int8_quant_of_range(tt_int8_range r) {
    return tt_int8_quant_of(tt_bf16_to_f32(r.lowest), tt_bf16_to_f32(r.highest));
}

/* NULL: this CPU has neither AMX's int8 nor AVX-512's VNNI. */
const tt_gemm_kernels *tt__int8_kernels(const tt_cpu_features *features);

/* One panel of weights: up to 16 columns of a plain matrix or kernel [n_out, n_in, taps] f32, from `column` on. */
typedef struct tt_int8_panel {
    const float *plain;
    int64_t n_out, n_in, column;
    int taps;
} tt_int8_panel;

tt_status tt__int8_pack(tt_ops *, tt_weight *, const float *plain, tt_err *);

/* int8_lines.c, AVX-512 only. */
#if defined(__x86_64__)
tt_int8_range tt__int8_range(const uint16_t *x, int64_t n);
/* The n inputs of one position as lines of 64 bytes, line_bytes apart; what is beyond n in the last is zero. */
void tt__int8_quantise(const uint16_t *x, int64_t n, const tt_int8_quant *q, char *to,
                       int64_t line_bytes);
/* Tiles [chunks][taps][1 KiB] to `to`; scales and sums of its columns, [n_out] each, to their places. */
void tt__int8_pack_panel(const tt_int8_panel *panel, char *to, float *scales, int32_t *sums);
#endif

#endif
