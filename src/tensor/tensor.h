/* What a tensor is here: dense NHWC activations, and the number formats files and back-ends use. */
#ifndef TT_TENSOR_TENSOR_H
#define TT_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

typedef enum tt_dtype {
    TT_F32,
    TT_BF16,
    TT_F16,
    TT_F64,
    TT_F8_E4M3, /* 4 exponent bits, bias 7, no infinities, NaN = S.1111.111 (OCP "e4m3fn") */
    TT_F8_E5M2, /* 5 exponent bits, bias 15, IEEE-like */
    TT_I64,
    TT_I32,
    TT_I16,
    TT_I8,
    TT_U64,
    TT_U32,
    TT_U16,
    TT_U8,
    TT_BOOL,
    TT_DTYPE_COUNT
} tt_dtype;

/* Activations: [n, h, w, c], c fastest, no gaps; n pictures (or CFG halves), h*w positions, c
 * channels. A token matrix [n, tokens, c] is h = 1, w = tokens. `data` is borrowed from a scratch
 * or request arena. */
typedef struct tt_tensor {
    void *data;
    tt_dtype dtype; /* TT_F32 or TT_BF16 */
    int64_t n, h, w, c;
} tt_tensor;

static inline int64_t tt_tensor_tokens(const tt_tensor *t) {
    return t->h * t->w;
}
static inline int64_t tt_tensor_rows(const tt_tensor *t) {
    return t->n * t->h * t->w;
}
static inline int64_t tt_tensor_count(const tt_tensor *t) {
    return t->n * t->h * t->w * t->c;
}

size_t tt_dtype_size(tt_dtype dtype);      /* bytes per element */
const char *tt_dtype_name(tt_dtype dtype); /* as safetensors spells it: "F32", "BF16"... */

/* dst[i] = src[i] converted, through f32, rounding to nearest even. dst_dtype: TT_F32 or TT_BF16
 * (F16 too); src_dtype: any floating type. `src` may be unaligned; the two must not overlap. */
void tt_convert(void *dst, tt_dtype dst_dtype, const void *src, tt_dtype src_dtype, size_t count);

/* Single values. */
static inline float tt_bf16_to_f32(uint16_t v) {
    union {
        uint32_t u;
        float f;
    } bits = {.u = (uint32_t)v << 16};
    return bits.f;
}
static inline uint16_t tt_f32_to_bf16(float v) {
    union {
        float f;
        uint32_t u;
    } bits = {.f = v};
    if ((bits.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits.u >> 16 | 0x40); /* quiet NaN */
    return (uint16_t)((bits.u + 0x7fffu + (bits.u >> 16 & 1)) >> 16);
}

#endif
