/* Own bf16 matrix products and convolutions: what the driver (gemm.c) and the kernels of one CPU family each
 * (gemm_amx.c, gemm_avx512.c) agree on.
 *
 * Weights lie in panels of 16 output columns. A panel is a row of tiles of 1 KiB, one per (32 inputs, tap):
 *
 *     tile: [16 pairs of inputs][16 columns][2] bf16, the second operand of AMX's tdpbf16ps; a line of 64 bytes is also
 *           that of AVX-512's vdpbf16ps
 *     panel: [chunks][taps][tile], chunks = inputs / 32 rounded up, taps = 1 (product, 1x1), 4 (2x2) or 9 (3x3)
 *
 * Inputs are packed before they are used, 32 channels of one position as one line of 64 bytes, so that 16 positions
 * side by side are a tile, for every tap of a convolution. Inputs and columns beyond the real ones are zero.
 *
 * A kernel computes a block of up to 2 x 2 tiles of sums over all chunks and taps, f32, in one fixed order: what an output is does
 * not depend on who computes it, so results do not depend on the number of threads. */
#ifndef TT_TENSOR_CPU_GEMM_H
#define TT_TENSOR_CPU_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/backend.h"
#include "tensor/cpu/features.h"

enum {
    TT_GEMM_TILE = 16,       /* rows of sums in a tile; columns of a panel */
    TT_GEMM_DEPTH = 32,      /* inputs in a tile */
    TT_GEMM_LINE_BYTES = 64, /* 32 inputs of one position; two inputs of 16 columns */
    TT_GEMM_TILE_BYTES = TT_GEMM_TILE * TT_GEMM_LINE_BYTES,
    TT_GEMM_BLOCK = 2 * TT_GEMM_TILE, /* rows and columns of a block */
    TT_GEMM_TAPS = 9,
};

/* Int8: how the inputs of one row of outputs were kept, tensor/int8.h. */
typedef struct tt_gemm_row {
    float scale;
    int32_t zero;
} tt_gemm_row;

/* What becomes of the sums: y = act(sum + bias) * mul + add, [rows, columns] bf16 each. */
typedef struct tt_gemm_output {
    uint16_t *y;
    const uint16_t *mul, *add; /* NULL: none */
    const float *bias;         /* NULL: none */
    tt_activation act;
    int64_t columns, pitch; /* from one row to the next: columns, or more */
    /* Every second panel are gates: y = (sum + bias) * act(sum + bias of the next panel). */
    bool is_gated;
    const tt_gemm_row *rows;    /* int8 only, as the next two: [rows] */
    const float *scales;        /* [columns] */
    const int32_t *column_sums; /* [columns]: of weights */
} tt_gemm_output;

/* Where a block's sums go: each tile's rows are `n_rows` neighbours in the output. */
typedef struct tt_gemm_target {
    int64_t first_row[2];
    int n_rows[2]; /* 0: no such tile */
    int64_t column;
} tt_gemm_target;

typedef struct tt_gemm_block {
    const char *a[2];    /* packed inputs of each tile's first position; [1] is NULL for one tile */
    const char *b[2];    /* panels; [1] is NULL for one panel */
    int64_t a_row_bytes; /* between positions */
    int64_t a_chunk_bytes; /* between chunks */
    int64_t chunks;
    int taps;
    const int64_t *tap_bytes; /* [taps]: from a position to what this tap reads */
    bool same_inputs;         /* as the block before or the next: more panels pass by */
    /* Long sums are computed in several blocks: [4][16][16] sums that an earlier one left, and where to leave them for the next.
     * NULL: they begin at 0; they are complete, and go to `target`. */
    const float *carry_in;
    float *carry_out;
    tt_gemm_target target;
    /* Weights that the next blocks need, to be brought nearer meanwhile: as many lines of each. */
    const char *prefetch[2];
    int64_t prefetch_lines;
} tt_gemm_block;

enum { TT_GEMM_CARRY_BYTES = 4 * TT_GEMM_TILE_BYTES };

/* One thread's working state. The sums of the last block, [tile][panel] as in a carry, wait in `sums` until the kernel finds time to
 * finish them: with AMX, while the next block is multiplied; up to its first products they even wait in their tiles. */
typedef struct tt_gemm_thread {
    _Alignas(64) float sums[4][TT_GEMM_TILE][TT_GEMM_TILE];
    char unread[TT_GEMM_TILE_BYTES]; /* AMX only: see keep_awake */
    float *held;                     /* AMX only: where the sums belong that are still in tiles */
    const tt_gemm_output *output;
    tt_gemm_target pending; /* n_rows 0, 0: nothing waits */
} tt_gemm_thread;

typedef struct tt_gemm_kernels {
    const char *name;
    int depth; /* inputs in a tile: TT_GEMM_DEPTH, or twice as many bytes */
    void (*begin)(tt_gemm_thread *t, const tt_gemm_output *output);
    void (*block)(tt_gemm_thread *t, const tt_gemm_block *b);
    void (*end)(tt_gemm_thread *t); /* finishes what waits */
} tt_gemm_kernels;

#if defined(__x86_64__)
extern const tt_gemm_kernels tt__gemm_amx;
extern const tt_gemm_kernels tt__gemm_avx512;
extern const tt_gemm_kernels tt__int8_amx; /* the same sources, see int8.h */
extern const tt_gemm_kernels tt__int8_vnni;
#endif

/* The best for these features; NULL when they have none: oneDNN then. */
const tt_gemm_kernels *tt__gemm_kernels(const tt_cpu_features *features);

/* The rows of a plain matrix that are a panel's columns: [first, end), up to 16. A gated unit's panels take turns, values, gates. */
typedef struct tt_gemm_rows {
    int64_t first, end;
} tt_gemm_rows;

static inline tt_gemm_rows tt__gemm_rows_of_panel(const tt_weight *w, int64_t panel) {
    int64_t n = w->n_gated ? w->n_gated : w->n_out, begin = w->n_gated ? panel % 2 * n : 0;
    int64_t first = (w->n_gated ? panel / 2 : panel) * TT_GEMM_TILE;
    int64_t end = first + TT_GEMM_TILE < n ? first + TT_GEMM_TILE : n;
    return (tt_gemm_rows){begin + first, begin + end};
}

/* All kernels read the same packed weights. Safe from several threads at once. */
tt_status tt__gemm_pack_linear(tt_ops *, tt_weight *, const void *plain, tt_err *);
tt_status tt__gemm_pack_conv(tt_ops *, tt_weight *, const void *plain, tt_err *);
tt_status tt__gemm_linear(tt_ops *, const tt_gemm_kernels *, const tt_weight *, const tt_tensor *x,
                          const tt_epilogue *, tt_tensor *y, tt_err *);
tt_status tt__gemm_conv(tt_ops *, const tt_gemm_kernels *, const tt_weight *, const tt_tensor *x,
                        const tt_epilogue *, tt_tensor *y, tt_err *);
/* By weights whose panels of values and gates take turns. */
tt_status tt__gemm_gated(tt_ops *, const tt_gemm_kernels *, const tt_weight *, tt_activation,
                         const tt_tensor *x, tt_tensor *y, tt_err *);
/* By weights that are folded: inputs are packed once for all four, and outputs go straight to their places. */
tt_status tt__gemm_upsample_conv(tt_ops *, const tt_gemm_kernels *, const tt_weight *,
                                 const tt_tensor *x, tt_tensor *y, tt_err *);

#endif
