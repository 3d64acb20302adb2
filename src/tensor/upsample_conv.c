/* Weights of convolutions that double their picture first (tt_op_upsample_conv).
 *
 * After nearest upsampling the three rows that an output sees are two rows of the picture, one of them twice: for an output of an
 * even row the window's first row is the row before, the other two are its own; for one of an odd row the first two are its
 * own, the third is the next. So its three weights become two, the same in each direction:
 *
 *     even   w0, w1 + w2      odd   w0 + w1, w2
 *
 * Four convolutions of 2x2 replace one of 3x3 over four times the positions: 16 products instead of 36 for each position of the
 * picture, the same numbers but for rounding, for 16/9 of the weights.
 *
 * In bf16 the four weights of a kernel are rounded so that their sum stays: what one loses the next one gets. Neighbours in a
 * picture are alike, so most of the errors cancel. Distance from f32 for inputs that are means of 9x9, and of 3x3, and noise
 * (1.66e-3 is the result's own rounding): plain 2.33, 2.35, 2.34e-3, rounded one by one the same, rounded so 1.93, 2.23,
 * 2.81e-3. */
#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/backend.h"

/* For a moment only. When it frees a block of up to 32 MiB, glibc takes later ones of that size from its heaps, where weights
 * would leave holes (measured: 300 MB for SDXL); what is not touched costs nothing. */
#define LEAST_SPACE (33 * TT_MIB)

enum { KERNEL = 3, TAPS = KERNEL * KERNEL, FOLDED = 2, FOLDED_TAPS = FOLDED * FOLDED };

/* The folded row or column that takes k of the three. */
static int folded(int odd, int k) {
    return odd ? k == 2 : k > 0;
}

static void fold(const float *w, int64_t kernels, int row, int column, float *out) {
    for (int64_t i = 0; i < kernels; i++, w += TAPS, out += FOLDED_TAPS) {
        for (int k = 0; k < FOLDED_TAPS; k++) out[k] = 0;
        for (int ky = 0; ky < KERNEL; ky++)
            for (int kx = 0; kx < KERNEL; kx++)
                out[folded(row, ky) * FOLDED + folded(column, kx)] += w[ky * KERNEL + kx];
    }
}

/* To what bf16 can hold: from the weight that is a sum of four to the one that is alone, which loses least. */
static void round_together(float *w, int64_t kernels, int row, int column) {
    int largest = !row * FOLDED + !column;
    for (int64_t i = 0; i < kernels; i++, w += FOLDED_TAPS) {
        float lost = 0;
        for (int k = 0; k < FOLDED_TAPS; k++) {
            float *at = &w[largest ^ k], wanted = *at + lost;
            *at = tt_bf16_to_f32(tt_f32_to_bf16(wanted));
            lost = wanted - *at;
        }
    }
}

typedef struct plain {
    const float *w, *bias;
    int64_t c_out, c_in;
    bool is_int8;
} plain;

/* space: [2][c_out, c_in, 2, 2], the second half for what is rounded. */
static tt_status fold_all(tt_ops *ops, const plain *p, float *space, tt_weight *w, tt_err *err) {
    int64_t kernels = p->c_out * p->c_in, count = kernels * FOLDED_TAPS;
    for (int i = 0; i < TT__PARTS; i++) {
        int row = i / 2, column = i % 2;
        const tt_conv_shape shape = {p->c_out, p->c_in, FOLDED, 1, !row, !column, row, column};
        fold(p->w, kernels, row, column, space);
        void *values = p->is_int8 ? space : space + count;
        if (!p->is_int8 && ops->dtype == TT_BF16) round_together(space, kernels, row, column);
        if (!p->is_int8) tt_convert(values, ops->dtype, space, TT_F32, (size_t)count);
        TT_TRY(tt__weight_conv(ops, values, p->bias, &shape, p->is_int8, &w->parts[i], err));
    }
    return TT_OK;
}

static tt_status make_folded(tt_ops *ops, const plain *p, float *space, tt_weight **out,
                             tt_err *err) {
    tt_weight *w = tt_alloc(sizeof *w);
    if (!w) return tt_fail_nomem(err, "a weight", sizeof *w);
    *w = (tt_weight){.kind = TT_WEIGHT_CONV, .n_out = p->c_out, .n_in = p->c_in};
    tt_status status = fold_all(ops, p, space, w, err);
    if (status == TT_OK)
        *out = w;
    else
        tt_weight_free(ops, w);
    return status;
}

static tt_status make_plain(tt_ops *ops, const plain *p, float *space, tt_weight **out,
                            tt_err *err) {
    const tt_conv_shape shape = {p->c_out, p->c_in, KERNEL, 1, 1, 1, 1, 1};
    int64_t n = p->c_out * p->c_in * TAPS;
    if (p->is_int8) return tt_weight_conv_int8(ops, p->w, p->bias, &shape, out, err);
    tt_convert(space, ops->dtype, p->w, TT_F32, (size_t)n);
    return tt_weight_conv(ops, space, p->bias, &shape, out, err);
}

static tt_status make(tt_ops *ops, const plain *p, tt_weight **out, tt_err *err) {
    bool is_folded = ops->backend->upsample_conv != NULL;
    size_t count = 0, bytes = 0, numbers = is_folded ? 2 * FOLDED_TAPS : TAPS;
    *out = NULL;
    if (p->c_out < 1 || p->c_in < 1 || !tt_mul_size((size_t)p->c_out, (size_t)p->c_in, &count) ||
        !tt_mul_size(count, numbers * sizeof *p->w, &bytes))
        return tt_fail(err, TT_E_INVALID, "weight [%lld, %lld, 3, 3]: not a possible size",
                       (long long)p->c_out, (long long)p->c_in);
    float *space = tt_alloc_aligned(bytes > LEAST_SPACE ? bytes : LEAST_SPACE);
    if (!space) return tt_fail_nomem(err, "a weight", bytes);
    tt_status status =
        is_folded ? make_folded(ops, p, space, out, err) : make_plain(ops, p, space, out, err);
    tt_free(space);
    return status;
}

tt_status tt_weight_upsample_conv(tt_ops *ops, const float *w, const float *bias, int64_t c_out,
                                  int64_t c_in, tt_weight **out, tt_err *err) {
    return make(ops, &(plain){w, bias, c_out, c_in, false}, out, err);
}

tt_status tt_weight_upsample_conv_int8(tt_ops *ops, const float *w, const float *bias,
                                       int64_t c_out, int64_t c_in, tt_weight **out, tt_err *err) {
    return make(ops, &(plain){w, bias, c_out, c_in, true}, out, err);
}
