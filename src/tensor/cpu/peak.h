/* What the arithmetic of this CPU does at best: loops that multiply registers, filled with numbers as a network has. What products
 * are compared with; no network reaches it. */
#ifndef TT_TENSOR_CPU_PEAK_H
#define TT_TENSOR_CPU_PEAK_H

#include "tensor/cpu/features.h"
#include "tensor/ops.h"

typedef enum tt_peak_kind {
    TT_PEAK_F32,  /* multiply-adds */
    TT_PEAK_BF16, /* products of bf16, sums of f32 */
    TT_PEAK_INT8, /* products of 8 bits, sums of 32 */
    TT_PEAK_KINDS,
} tt_peak_kind;

/* One round of a millisecond or two on all OpenMP threads, by the best instruction of these features: operations a second,
 * a multiplication and an addition being two. 0 where there is no such instruction. Other work on the cores shows: take the
 * best of several rounds. */
double tt__peak_round(const tt_cpu_features *features, tt_peak_kind kind);
const char *tt__peak_instruction(const tt_cpu_features *features, tt_peak_kind kind); /* "": none */

/* The best of some rounds of every kind, and the features' names. */
void tt__peak_measure(const tt_cpu_features *features, tt_ops_peak *out);

#endif
