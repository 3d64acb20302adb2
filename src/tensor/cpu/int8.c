/* See int8.h: which kernels, and the memory of packed weights. */
#include "tensor/cpu/int8.h"

#include <string.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"

const tt_gemm_kernels *tt__int8_kernels(const tt_cpu_features *features) {
#if defined(__x86_64__)
    if (features->amx_int8) return &tt__int8_amx;
    if (features->avx512_vnni) return &tt__int8_vnni;
#endif
    (void)features;
    return NULL;
}

tt_status tt__cpu_allow_int8(tt_ops *ops, tt_err *err) {
    if (tt__int8_kernels(&tt__cpu_state(ops)->features)) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "int8 on this CPU: expected AVX-512 with VNNI or AMX, found neither");
}

#if defined(__x86_64__)
/* Scales and sums of columns that only fill up are zero. */
static void pack_panel(const tt_weight *w, const float *plain, int taps, int64_t i, char *to) {
    float scales[TT_GEMM_TILE] = {0};
    int32_t sums[TT_GEMM_TILE] = {0};
    tt_gemm_rows rows = tt__gemm_rows_of_panel(w, i);
    const tt_int8_panel panel = {.plain = plain + rows.first * w->n_in * taps,
                                 .n_out = rows.end - rows.first,
                                 .n_in = w->n_in,
                                 .taps = taps};
    int64_t column = i * TT_GEMM_TILE, left = w->n_out - column;
    size_t n = (size_t)(left < TT_GEMM_TILE ? left : TT_GEMM_TILE);
    tt__int8_pack_panel(&panel, to, scales, sums);
    memcpy(w->scales + column, scales, n * sizeof *scales);
    memcpy(w->sums + column, sums, n * sizeof *sums);
}
#endif

tt_status tt__int8_pack(tt_ops *ops, tt_weight *w, const float *plain, tt_err *err) {
#if defined(__x86_64__)
    int taps = w->kind == TT_WEIGHT_CONV ? w->conv.kernel * w->conv.kernel : 1;
    int64_t chunks = (w->n_in + TT_INT8_DEPTH - 1) / TT_INT8_DEPTH;
    int64_t panels = (w->n_out + TT_GEMM_TILE - 1) / TT_GEMM_TILE;
    int64_t panel_bytes = chunks * taps * TT_GEMM_TILE_BYTES;
    size_t bytes = 0;
    if (!tt_mul_size((size_t)panels, (size_t)panel_bytes, &bytes))
        return tt_fail_nomem(err, "a weight", SIZE_MAX);
    char *to = tt__alloc_weight(ops, bytes);
    if (!to) return tt_fail_nomem(err, "a weight", bytes);
    w->data = to;
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    for (int64_t i = 0; i < panels; i++) pack_panel(w, plain, taps, i, to + i * panel_bytes);
    return TT_OK;
#else
    (void)w;
    (void)plain;
    return tt__cpu_allow_int8(ops, err);
#endif
}
