/* The difference that each additive kind makes, written from its paper:
 *
 *     LoRA    (Hu et al. 2021)          up down
 *     LoCon   (LyCORIS, Yeh et al. 2023) the same on flattened kernels; Tucker: up mid down
 *     LoHa    (FedPara, Hyeon-Woo 2021)  (w1a w1b) o (w2a w2b), elementwise
 *     LoKr    (LyCORIS)                 kron(w1, w2)
 *     GLoRA   (Chavan et al. 2023)      b1 b2 + W a1 a2
 *
 * each times alpha / rank; LoKr of two whole factors has no rank and ignores alpha, as its trainer does. */
#include <string.h>

#include "base/alloc.h"
#include "weights/adapter_parts.h"

typedef tt__factors factors;

/* Which parts they are. With a core, the left one is stored transposed in all kinds but LoRA. */
typedef struct factor_parts {
    tt__part left, right, core; /* TT__N_PARTS: this kind has no core */
} factor_parts;

static const factor_parts lora_parts = {TT__LORA_UP, TT__LORA_DOWN, TT__LORA_MID};
static const factor_parts hada_parts[2] = {{TT__HADA_W1_A, TT__HADA_W1_B, TT__HADA_T1},
                                           {TT__HADA_W2_A, TT__HADA_W2_B, TT__HADA_T2}};
static const factor_parts lokr_parts[2] = {{TT__LOKR_W1_A, TT__LOKR_W1_B, TT__N_PARTS},
                                           {TT__LOKR_W2_A, TT__LOKR_W2_B, TT__LOKR_T2}};

void tt__factors_release(factors *f) {
    tt__values_release(&f->left);
    tt__values_release(&f->right);
}

static tt_status read_whole(tt__values *v, const tt_adapter *a, const tt_st_tensor *t,
                            tt_err *err) {
    return tt__values_read(v, a, t, 0, tt__tensor_count(t), err);
}

/* out[p, i, k] = sum over q of core[p, q, k] b[q, i] */
static void contract_core(const float *core, const float *b, int64_t r1, int64_t r2, int64_t in,
                          int64_t taps, float *out) {
    memset(out, 0, (size_t)(r1 * in * taps) * sizeof *out);
    for (int64_t p = 0; p < r1; p++)
        for (int64_t q = 0; q < r2; q++)
            for (int64_t i = 0; i < in; i++)
                for (int64_t k = 0; k < taps; k++)
                    out[(p * in + i) * taps + k] += core[(p * r2 + q) * taps + k] * b[q * in + i];
}

/* f->right holds [r2, in]; becomes [r1, in taps]. */
static tt_status apply_core(factors *f, const tt_adapter *a, const tt_st_tensor *core, int64_t taps,
                            tt_err *err) {
    int64_t r1 = core->info.shape[0], r2 = core->info.shape[1];
    int64_t in = (int64_t)f->right.n / r2;
    tt__values c = {0}, product = {0};
    tt_status status = read_whole(&c, a, core, err);
    if (status == TT_OK) status = tt__values_new(&product, (size_t)(r1 * in * taps), err);
    if (status == TT_OK) {
        contract_core(c.data, f->right.data, r1, r2, in, taps, product.data);
        tt__values_release(&f->right);
        f->right = product;
        f->columns = in * taps;
    } else {
        tt__values_release(&product);
    }
    tt__values_release(&c);
    return status;
}

/* stored [rank, all rows] -> left [rows, rank] */
static tt_status read_transposed(factors *f, const tt_adapter *a, const tt_st_tensor *t,
                                 tt__rows rows, tt_err *err) {
    tt__values whole = {0};
    tt_status status = read_whole(&whole, a, t, err);
    if (status == TT_OK) status = tt__values_new(&f->left, (size_t)(rows.n * f->rank), err);
    int64_t all = (int64_t)whole.n / f->rank;
    for (int64_t i = 0; status == TT_OK && i < rows.n; i++)
        for (int64_t r = 0; r < f->rank; r++)
            f->left.data[i * f->rank + r] = whole.data[r * all + rows.first + i];
    tt__values_release(&whole);
    return status;
}

static tt_status read_factors(factors *f, const tt_adapter *a, const tt__patch *p,
                              factor_parts parts, tt__rows rows, tt_err *err) {
    const tt_st_tensor *left = p->parts[parts.left], *right = p->parts[parts.right];
    const tt_st_tensor *core = parts.core == TT__N_PARTS ? NULL : p->parts[parts.core];
    *f = (factors){.rows = rows.n};
    TT_TRY(read_whole(&f->right, a, right, err));
    f->rank = core ? core->info.shape[0] : right->info.shape[0];
    f->columns = (int64_t)f->right.n / f->rank;
    if (core) TT_TRY(apply_core(f, a, core, p->taps, err));
    if (core && parts.left != TT__LORA_UP) return read_transposed(f, a, left, rows, err);
    return tt__values_read(&f->left, a, left, (size_t)(rows.first * f->rank),
                           (size_t)(rows.n * f->rank), err);
}

/* c [rows.n, columns] += scale times those rows of the product */
static void add_rows(const factors *f, tt__rows rows, float scale, float *c) {
    tt__product_run(&(tt__product){.m = rows.n,
                                   .n = f->columns,
                                   .k = f->rank,
                                   .a = f->left.data + rows.first * f->rank,
                                   .lda = f->rank,
                                   .b = f->right.data,
                                   .ldb = f->columns,
                                   .scale = scale,
                                   .c = c,
                                   .ldc = f->columns});
}

static void add_product(const factors *f, float scale, float *c) {
    add_rows(f, (tt__rows){0, f->rows}, scale, c);
}

/* c [rows, columns] += scale left right */
static tt_status add_factors(const tt_adapter *a, const tt__patch *p, factor_parts parts,
                             tt__rows rows, float scale, float *c, tt_err *err) {
    factors f;
    tt_status status = read_factors(&f, a, p, parts, rows, err);
    if (status == TT_OK) add_product(&f, scale, c);
    tt__factors_release(&f);
    return status;
}

tt_status tt__lora_read(tt__factors *f, const tt_adapter *a, const tt__patch *p, tt__rows rows,
                        tt_err *err) {
    tt_status status = read_factors(f, a, p, lora_parts, rows, err);
    if (status != TT_OK) tt__factors_release(f);
    return status;
}

void tt__lora_add(const tt__factors *f, tt__rows rows, float s, float *w) {
    add_rows(f, rows, s, w);
}

/* ---- LoHa ------------------------------------------------------------------------------------------- */

static tt_status delta_loha(const tt_adapter *a, const tt__patch *p, tt__rows rows, float *delta,
                            tt_err *err) {
    size_t n = (size_t)(rows.n * p->in * p->taps);
    tt__values second = {0};
    tt_status status = tt__values_new(&second, n, err);
    if (status == TT_OK) {
        memset(second.data, 0, n * sizeof(float));
        status = add_factors(a, p, hada_parts[0], rows, 1.0f, delta, err);
    }
    if (status == TT_OK) status = add_factors(a, p, hada_parts[1], rows, 1.0f, second.data, err);
    for (size_t i = 0; status == TT_OK && i < n; i++) delta[i] *= second.data[i] * p->scale;
    tt__values_release(&second);
    return status;
}

/* ---- LoKr ------------------------------------------------------------------------------------------- */

/* w1 or w2, multiplied out: [rows, columns]. */
typedef struct side {
    tt__values v;
    int64_t rows, columns;
} side;

static tt_status read_side(side *s, const tt_adapter *a, const tt__patch *p, tt__part whole,
                           factor_parts parts, tt_err *err) {
    const tt_st_tensor *t = p->parts[whole];
    if (t) {
        s->rows = t->info.rank ? t->info.shape[0] : 1;
        s->columns = (int64_t)tt__tensor_count(t) / s->rows;
        return read_whole(&s->v, a, t, err);
    }
    factors f;
    const tt_st_tensor *left = p->parts[parts.left];
    bool has_core = parts.core != TT__N_PARTS && p->parts[parts.core];
    s->rows =
        has_core ? (int64_t)tt__tensor_count(left) / left->info.shape[0] : left->info.shape[0];
    tt_status status = read_factors(&f, a, p, parts, (tt__rows){0, s->rows}, err);
    s->columns = f.columns;
    if (status == TT_OK) status = tt__values_new(&s->v, (size_t)(s->rows * s->columns), err);
    if (status == TT_OK) {
        memset(s->v.data, 0, s->v.n * sizeof(float));
        add_product(&f, 1.0f, s->v.data);
    }
    tt__factors_release(&f);
    return status;
}

/* delta[o1 o2, i1 i2 k] = w1[o1, i1] w2[o2, i2 k]: both of w1's indices are the slow ones. */
static void kronecker(const side *w1, const side *w2, tt__rows rows, float scale, float *delta) {
    for (int64_t r = 0; r < rows.n; r++) {
        int64_t o1 = (rows.first + r) / w2->rows, o2 = (rows.first + r) % w2->rows;
        const float *from = w2->v.data + o2 * w2->columns;
        for (int64_t i1 = 0; i1 < w1->columns; i1++) {
            float factor = w1->v.data[o1 * w1->columns + i1] * scale;
            for (int64_t j = 0; j < w2->columns; j++) *delta++ = factor * from[j];
        }
    }
}

static tt_status delta_lokr(const tt_adapter *a, const tt__patch *p, tt__rows rows, float *delta,
                            tt_err *err) {
    side w1 = {0}, w2 = {0};
    tt_status status = read_side(&w1, a, p, TT__LOKR_W1, lokr_parts[0], err);
    if (status == TT_OK) status = read_side(&w2, a, p, TT__LOKR_W2, lokr_parts[1], err);
    if (status == TT_OK) kronecker(&w1, &w2, rows, p->scale, delta);
    tt__values_release(&w1.v);
    tt__values_release(&w2.v);
    return status;
}

/* ---- GLoRA ------------------------------------------------------------------------------------------ */

/* [o, i, k] -> [o, k, i], so that the inputs are what a product runs over. */
static void taps_first(const float *w, int64_t out, int64_t in, int64_t taps, float *to) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t i = 0; i < in; i++) *to++ = w[(o * in + i) * taps + k];
}
static void add_taps_last(const float *from, int64_t out, int64_t in, int64_t taps, float *delta) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t i = 0; i < in; i++) delta[(o * in + i) * taps + k] += *from++;
}

/* delta += scale W left right, for every tap; left [i, r], right [r, i]. Memory: two copies of W and its r columns. */
static tt_status add_input_side(const tt__patch *p, const factors *f, const float *w, float *delta,
                                tt_err *err) {
    int64_t m = p->out * p->taps;
    tt__values turned = {0}, narrow = {0}, sum = {0};
    tt_status status = tt__values_new(&turned, (size_t)(m * p->in), err);
    if (status == TT_OK) status = tt__values_new(&narrow, (size_t)(m * f->rank), err);
    if (status == TT_OK) status = tt__values_new(&sum, (size_t)(m * p->in), err);
    if (status == TT_OK) {
        taps_first(w, p->out, p->in, p->taps, turned.data);
        memset(narrow.data, 0, narrow.n * sizeof(float));
        memset(sum.data, 0, sum.n * sizeof(float));
        tt__product_run(&(tt__product){m, f->rank, p->in, turned.data, f->left.data, p->in, f->rank,
                                       1.0f, narrow.data, f->rank});
        tt__product_run(&(tt__product){m, p->in, f->rank, narrow.data, f->right.data, f->rank,
                                       p->in, p->scale, sum.data, p->in});
        add_taps_last(sum.data, p->out, p->in, p->taps, delta);
    }
    tt__values_release(&turned);
    tt__values_release(&narrow);
    tt__values_release(&sum);
    return status;
}

static tt_status delta_glora(const tt_adapter *a, const tt__patch *p, const float *w, float *delta,
                             tt_err *err) {
    factor_parts out = {TT__GLORA_B1, TT__GLORA_B2, TT__N_PARTS};
    factor_parts in = {TT__GLORA_A1, TT__GLORA_A2, TT__N_PARTS};
    if (p->is_old) {
        out = (factor_parts){TT__GLORA_B2, TT__GLORA_B1, TT__N_PARTS};
        in = (factor_parts){TT__GLORA_A2, TT__GLORA_A1, TT__N_PARTS};
    }
    factors f;
    TT_TRY(add_factors(a, p, out, (tt__rows){0, p->out}, p->scale, delta, err));
    tt_status status = read_factors(&f, a, p, in, (tt__rows){0, p->in}, err);
    if (status == TT_OK) status = add_input_side(p, &f, w, delta, err);
    tt__factors_release(&f);
    return status;
}

tt_status tt__delta(const tt_adapter *a, const tt__patch *p, tt__rows rows, const float *w,
                    float *delta, tt_err *err) {
    memset(delta, 0, (size_t)(rows.n * p->in * p->taps) * sizeof *delta);
    switch (p->kind) {
    case TT__LORA:
        return add_factors(a, p, lora_parts, rows, p->scale, delta, err);
    case TT__LOHA:
        return delta_loha(a, p, rows, delta, err);
    case TT__LOKR:
        return delta_lokr(a, p, rows, delta, err);
    case TT__GLORA:
        return delta_glora(a, p, w, delta, err);
    default:
        return tt_fail(err, TT_E_INTERNAL, "this kind of adapter does not add");
    }
}
