/* Products and convolutions of int8 weights, whole numbers as tensor/int8.h says: sums are exact, the scales are applied in
 * double. data is int8 in the order of the checkpoint. */
#include "tensor/int8.h"

#include "base/alloc.h"
#include "tensor/ref/ref.h"

static int64_t inputs_of(const tt_weight *w) {
    return w->n_in * (w->kind == TT_WEIGHT_CONV ? (int64_t)w->conv.kernel * w->conv.kernel : 1);
}

tt_status tt__ref_allow_int8(tt_ops *ops, tt_err *err) {
    (void)ops;
    (void)err;
    return TT_OK;
}

static float largest_of(const float *x, int64_t n) {
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= most)) most = fabsf(x[i]); /* takes a NaN, and keeps it */
    return most;
}

static void quantise_column(const float *from, int64_t n, int8_t *to, float *scale, int32_t *sum) {
    float largest = largest_of(from, n), steps = tt_int8_weight_steps(largest);
    *scale = tt_int8_weight_scale(largest);
    *sum = 0;
    for (int64_t i = 0; i < n; i++) *sum += to[i] = tt_int8_weight(from[i], steps);
}

tt_status tt__ref_pack_int8(tt_ops *ops, tt_weight *w, const float *plain, tt_err *err) {
    int64_t inputs = inputs_of(w);
    size_t bytes = (size_t)(w->n_out * inputs);
    int8_t *to = tt_alloc_aligned(bytes);
    if (!to) return tt_fail_nomem(err, "a weight", bytes);
    w->data = to;
    w->size_bytes += bytes;
    ops->weight_bytes += bytes;
    for (int64_t o = 0; o < w->n_out; o++)
        quantise_column(plain + o * inputs, inputs, to + o * inputs, &w->scales[o], &w->sums[o]);
    return TT_OK;
}

/* Of count values from `first` on. */
static tt_int8_quant quant_of(const tt_tensor *x, int64_t first, int64_t count) {
    float lowest = 0, highest = 0;
    for (int64_t i = first; i < first + count; i++) {
        float v = (float)tt__ref_get(x, i);
        if (v < lowest) lowest = v;
        if (v > highest) highest = v;
        if (isnan(v)) return tt_int8_quant_of(v, v);
    }
    return tt_int8_quant_of(lowest, highest);
}

static int64_t whole(const tt_tensor *x, int64_t i, const tt_int8_quant *q) {
    return tt_int8_activation((float)tt__ref_get(x, i), q) - q->zero;
}

static double scaled(const tt_weight *w, int64_t o, const tt_int8_quant *q, int64_t sum) {
    return (double)sum * (double)q->scale * (double)w->scales[o] +
           (w->bias ? (double)w->bias[o] : 0);
}

void tt__ref_linear_int8(const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                         tt_tensor *y) {
    const int8_t *weights = w->data;
    for (int64_t row = 0; row < tt_tensor_rows(x); row++) {
        tt_int8_quant q = quant_of(x, row * w->n_in, w->n_in);
        for (int64_t o = 0; o < w->n_out; o++) {
            int64_t sum = 0;
            for (int64_t i = 0; i < w->n_in; i++)
                sum += whole(x, row * w->n_in + i, &q) * weights[o * w->n_in + i];
            tt__ref_store(y, row * w->n_out + o, e, scaled(w, o, &q, sum));
        }
    }
}

/* The sum at output (row, column) and channel o of picture n. */
static int64_t conv_at(const tt_weight *w, const tt_tensor *x, const tt_int8_quant *q, int64_t n,
                       int64_t row, int64_t column, int64_t o) {
    const tt_conv_shape *s = &w->conv;
    const int8_t *weights = w->data;
    int64_t sum = 0;
    for (int64_t ky = 0; ky < s->kernel; ky++)
        for (int64_t kx = 0; kx < s->kernel; kx++) {
            int64_t iy = row * s->stride + ky - s->pad_top;
            int64_t ix = column * s->stride + kx - s->pad_left;
            if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
            for (int64_t c = 0; c < x->c; c++)
                sum += whole(x, ((n * x->h + iy) * x->w + ix) * x->c + c, q) *
                       weights[((o * x->c + c) * s->kernel + ky) * s->kernel + kx];
        }
    return sum;
}

void tt__ref_conv_int8(const tt_weight *w, const tt_tensor *x, const tt_epilogue *e, tt_tensor *y) {
    if (tt__conv_is_product(&w->conv)) {
        tt__ref_linear_int8(w, x, e, y);
        return;
    }
    int64_t i = 0, inputs = x->h * x->w * x->c;
    for (int64_t n = 0; n < y->n; n++) {
        tt_int8_quant q = quant_of(x, n * inputs, inputs);
        for (int64_t row = 0; row < y->h; row++)
            for (int64_t column = 0; column < y->w; column++)
                for (int64_t o = 0; o < y->c; o++)
                    tt__ref_store(y, i++, e,
                                  scaled(w, o, &q, conv_at(w, x, &q, n, row, column, o)));
    }
}
