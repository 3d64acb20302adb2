/* GroupNorm (Wu and He 2018) over channels-last data, with the ResBlock's additive term and SiLU
 * folded in. */
#include <math.h>

#include "tensor/ref/ref.h"

/* x + add at position p, channel c of picture n. */
static double input_at(const tt_group_norm *a, const tt_tensor *x, int64_t n, int64_t p,
                       int64_t c) {
    double v = tt__ref_get(x, (n * tt_tensor_tokens(x) + p) * x->c + c);
    return a->add ? v + tt__ref_get(a->add, n * a->add->c + a->add_offset + c) : v;
}

static tt_norm_statistics statistics_of(const tt_group_norm *a, const tt_tensor *x, int64_t n,
                                        int64_t group) {
    int64_t width = x->c / a->groups, first = group * width, positions = tt_tensor_tokens(x);
    tt_norm_statistics s = {.count = (double)(positions * width)};
    for (int64_t p = 0; p < positions; p++)
        for (int64_t c = first; c < first + width; c++) s.mean += input_at(a, x, n, p, c);
    s.mean /= s.count;
    for (int64_t p = 0; p < positions; p++)
        for (int64_t c = first; c < first + width; c++) {
            double off = input_at(a, x, n, p, c) - s.mean;
            s.squares += off * off;
        }
    return s;
}

static void normalize_group(const tt_weight *w, const tt_group_norm *a, const tt_tensor *x,
                            tt_tensor *y, int64_t n, int64_t group) {
    int64_t width = x->c / a->groups, first = group * width, positions = tt_tensor_tokens(x);
    int64_t at = n * a->groups + group;
    tt_norm_statistics s = statistics_of(a, x, n, group);
    if (a->record) tt_norm_statistics_add(&a->record[at], &s);
    if (a->given) s = a->given[at];
    double scale = 1 / sqrt(tt_norm_statistics_variance(&s) + (double)a->eps);
    const float *gamma = w->data;
    for (int64_t p = 0; p < positions; p++)
        for (int64_t c = first; c < first + width; c++) {
            double v = (input_at(a, x, n, p, c) - s.mean) * scale * gamma[c] + w->bias[c];
            tt__ref_set(y, (n * positions + p) * x->c + c,
                        a->silu ? tt__ref_activation(TT_ACT_SILU, v) : v);
        }
}

tt_status tt__ref_group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                             const tt_tensor *x, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t g = 0; g < args->groups; g++) normalize_group(w, args, x, y, n, g);
    return TT_OK;
}
