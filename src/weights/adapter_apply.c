/* One tensor changed by one adapter: see adapter.h for what strength means. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "weights/adapter_parts.h"

/* ---- which patch, how strong ------------------------------------------------------------------------ */

/* The module of "x.weight" or "x.bias"; NULL: not one of ours. */
static const tt__module *find(const tt_adapter *a, const char *name, bool *is_bias) {
    char stem[TT__NAME_BYTES];
    const char *dot = strrchr(name, '.');
    if (!dot || (size_t)(dot - name) >= sizeof stem) return NULL;
    *is_bias = strcmp(dot, ".bias") == 0;
    if (!*is_bias && strcmp(dot, ".weight") != 0) return NULL;
    snprintf(stem, sizeof stem, "%.*s", (int)(dot - name), name);
    int64_t id = tt__names_find(&a->stems, stem);
    return id == TT__NO_NAME ? NULL : &a->modules[id];
}

static float strength_of(const tt__module *m, const tt_adapter_strength *s) {
    if (m->network == 1) return s->te1;
    if (m->network == 2) return s->te2;
    return m->block == TT__NO_BLOCK ? s->unet : s->unet * s->blocks[m->block];
}

/* Also where there was no bias before. */
static bool adds_bias(const tt__patch *p) {
    return p->parts[TT__DIFF_B] || p->parts[TT__LORA_BIAS];
}

/* PEFT's IA3 on the outputs scales what the layer gives, and its bias with it. */
static bool scales_bias(const tt__patch *p) {
    return p->parts[TT__PEFT_IA3] && !p->on_input;
}

bool tt_adapter_touches(const tt_adapter *a, const char *name, const tt_adapter_strength *s) {
    bool is_bias;
    const tt__module *m = find(a, name, &is_bias);
    if (!m || strength_of(m, s) == 0.0f) return false;
    for (int i = 0; i < m->n_patches; i++) {
        const tt__patch *p = &a->patches[m->patches[i]];
        if (!is_bias && p->kind != TT__NO_KIND) return true;
        if (is_bias && adds_bias(p)) return true;
        if (is_bias && scales_bias(p) && tt_checkpoint_has(a->checkpoint, name)) return true;
    }
    return false;
}

/* ---- weights ---------------------------------------------------------------------------------------- */

typedef struct change {
    const tt_adapter *a;
    const tt__patch *p;
    tt__rows rows;
    int64_t columns; /* in taps */
    float s;
    float *w; /* [rows, columns] */
    tt_err *err;
} change;

/* values [rows or columns / taps]: m for the rows or the columns of the weight. */
static void scale_to_norms(const change *c, const float *m, const double *norms, float *delta) {
    const tt__patch *p = c->p;
    for (int64_t r = 0; r < c->rows.n; r++)
        for (int64_t j = 0; j < c->columns; j++) {
            int64_t at = r * c->columns + j, i = p->by_column ? j / p->taps : r;
            double merged = (double)c->w[at] + (double)delta[at];
            double unit = norms[i] > 0 ? merged / norms[i] : 0;
            delta[at] = (float)((double)m[i] * unit - (double)c->w[at]);
        }
}

static void measure(const change *c, const float *delta, double *norms, int64_t n) {
    for (int64_t r = 0; r < c->rows.n; r++)
        for (int64_t j = 0; j < c->columns; j++) {
            double merged = (double)c->w[r * c->columns + j] + (double)delta[r * c->columns + j];
            norms[c->p->by_column ? j / c->p->taps : r] += merged * merged;
        }
    for (int64_t i = 0; i < n; i++) norms[i] = sqrt(norms[i]);
}

/* DoRA (Liu et al. 2024): delta becomes m (W + delta) / ||W + delta|| - W. */
static tt_status decompose(const change *c, float *delta) {
    const tt__patch *p = c->p;
    const tt_st_tensor *t =
        p->parts[TT__MAGNITUDE] ? p->parts[TT__MAGNITUDE] : p->parts[TT__DORA_SCALE];
    if (!t) return TT_OK;
    int64_t n = p->by_column ? p->in : c->rows.n;
    size_t first = p->by_column ? 0 : (size_t)c->rows.first;
    tt__values m = {0};
    double *norms = tt_alloc((size_t)n * sizeof *norms);
    tt_status status = norms ? tt__values_read(&m, c->a, t, first, (size_t)n, c->err)
                             : tt_fail_nomem(c->err, "norms", (size_t)n * sizeof *norms);
    if (status == TT_OK) {
        measure(c, delta, norms, n);
        scale_to_norms(c, m.data, norms, delta);
    }
    tt__values_release(&m);
    tt_free(norms);
    return status;
}

/* Without a second matrix. */
static tt_status apply_lora(const change *c) {
    tt__factors f;
    TT_TRY(tt__lora_read(&f, c->a, c->p, c->rows, c->err));
    tt__lora_add(&f, (tt__rows){0, c->rows.n}, c->s * c->p->scale, c->w);
    tt__factors_release(&f);
    return TT_OK;
}

static bool is_plain_lora(const tt__patch *p) {
    return p->kind == TT__LORA && !p->parts[TT__MAGNITUDE] && !p->parts[TT__DORA_SCALE];
}

static tt_status apply_sum(const change *c) {
    const tt__patch *p = c->p;
    if (is_plain_lora(p)) return apply_lora(c);
    size_t n = (size_t)(c->rows.n * c->columns);
    tt__values delta = {0};
    tt_status status = tt__values_new(&delta, n, c->err);
    if (status == TT_OK) status = tt__delta(c->a, p, c->rows, c->w, delta.data, c->err);
    if (status == TT_OK) status = decompose(c, delta.data);
    for (size_t i = 0; status == TT_OK && i < n; i++) c->w[i] += c->s * delta.data[i];
    tt__values_release(&delta);
    return status;
}

/* IA3 (Liu et al. 2022): outputs or inputs multiplied. LyCORIS stores what is added to 1, PEFT the factor. */
static tt_status apply_ia3(const change *c) {
    const tt__patch *p = c->p;
    const tt_st_tensor *t = p->parts[TT__IA3] ? p->parts[TT__IA3] : p->parts[TT__PEFT_IA3];
    float one = p->parts[TT__IA3] ? 0.0f : 1.0f;
    tt__values v = {0};
    TT_TRY(tt__values_read(&v, c->a, t, 0, tt__tensor_count(t), c->err));
    for (int64_t r = 0; r < c->rows.n; r++)
        for (int64_t j = 0; j < c->columns; j++) {
            float *w = &c->w[r * c->columns + j];
            *w += c->s * (*w * (v.data[p->on_input ? j / p->taps : r] - one));
        }
    tt__values_release(&v);
    return TT_OK;
}

static tt_status apply_rotation(const change *c) {
    size_t n = (size_t)(c->rows.n * c->columns);
    tt__values turned = {0};
    tt_status status = tt__values_new(&turned, n, c->err);
    if (status == TT_OK) status = tt__rotate(c->a, c->p, c->w, turned.data, c->err);
    for (size_t i = 0; status == TT_OK && i < n; i++) c->w[i] += c->s * (turned.data[i] - c->w[i]);
    tt__values_release(&turned);
    return status;
}

static tt_status apply_full(const change *c) {
    bool is_set = c->p->kind == TT__SET;
    size_t n = (size_t)(c->rows.n * c->columns), first = (size_t)(c->rows.first * c->columns);
    tt__values v = {0};
    const tt_st_tensor *t = c->p->parts[is_set ? TT__SET_WEIGHT : TT__DIFF];
    TT_TRY(tt__values_read(&v, c->a, t, first, n, c->err));
    for (size_t i = 0; i < n; i++) c->w[i] += c->s * (is_set ? v.data[i] - c->w[i] : v.data[i]);
    tt__values_release(&v);
    return TT_OK;
}

static tt_status apply_weight(const change *c) {
    switch (c->p->kind) {
    case TT__LORA:
    case TT__LOHA:
    case TT__LOKR:
    case TT__GLORA:
        return apply_sum(c);
    case TT__IA3_KIND:
        return apply_ia3(c);
    case TT__OFT:
    case TT__BOFT:
        return apply_rotation(c);
    case TT__FULL:
    case TT__SET:
        return apply_full(c);
    default:
        return TT_OK;
    }
}

/* ---- biases ----------------------------------------------------------------------------------------- */

static tt_status add_bias(const change *c, tt__part part, float scale) {
    const tt_st_tensor *t = c->p->parts[part];
    tt__values v = {0};
    if (!t) return TT_OK;
    TT_TRY(tt__values_read(&v, c->a, t, (size_t)c->rows.first, (size_t)c->rows.n, c->err));
    for (int64_t i = 0; i < c->rows.n; i++) c->w[i] += c->s * scale * v.data[i];
    tt__values_release(&v);
    return TT_OK;
}

static tt_status scale_bias(const change *c) {
    tt__values v = {0};
    TT_TRY(tt__values_read(&v, c->a, c->p->parts[TT__PEFT_IA3], (size_t)c->rows.first,
                           (size_t)c->rows.n, c->err));
    for (int64_t i = 0; i < c->rows.n; i++) c->w[i] += c->s * (c->w[i] * (v.data[i] - 1.0f));
    tt__values_release(&v);
    return TT_OK;
}

static tt_status apply_bias(const change *c) {
    TT_TRY(add_bias(c, TT__DIFF_B, 1.0f));
    TT_TRY(add_bias(c, TT__LORA_BIAS, c->p->scale));
    return scales_bias(c->p) && !c->p->parts[TT__DIFF_B] ? scale_bias(c) : TT_OK;
}

/* The rows of patch i that the module is about. */
static tt__rows rows_of(const tt__module *m, int i, const tt__patch *p) {
    int64_t n = p->is_fused ? p->out / TT__THIRDS : p->out;
    return (tt__rows){m->thirds[i] * n, n};
}

tt_status tt_adapter_apply(const tt_adapter *a, const char *name, const tt_adapter_strength *s,
                           float *values, size_t n_values, tt_err *err) {
    bool is_bias;
    const tt__module *m = find(a, name, &is_bias);
    float strength = m ? strength_of(m, s) : 0.0f;
    if (!m || strength == 0.0f) return TT_OK;
    for (int i = 0; i < m->n_patches; i++) {
        const tt__patch *p = &a->patches[m->patches[i]];
        change c = {a, p, rows_of(m, i, p), p->in * p->taps, strength, values, err};
        if (is_bias) c.columns = 1;
        if ((size_t)(c.rows.n * c.columns) != n_values)
            return tt_fail(err, TT_E_INVALID, "lora %s: tensor %s has %lld values, not %zu",
                           a->report.name, name, (long long)(c.rows.n * c.columns), n_values);
        TT_TRY(is_bias ? apply_bias(&c) : apply_weight(&c));
    }
    return TT_OK;
}

/* ---- by rows ---------------------------------------------------------------------------------------- */

bool tt_adapter_goes_by_rows(const tt_adapter *a, const char *name, const tt_adapter_strength *s) {
    bool is_bias;
    const tt__module *m = find(a, name, &is_bias);
    if (!m || strength_of(m, s) == 0.0f) return true;
    for (int i = 0; i < m->n_patches; i++) {
        const tt__patch *p = &a->patches[m->patches[i]];
        if (is_bias ? adds_bias(p) || scales_bias(p) : p->kind != TT__NO_KIND && !is_plain_lora(p))
            return false;
    }
    return true;
}

struct tt_adapter_rows {
    int n;
    tt__factors factors[TT__MAX_PATCHES]; /* owned */
    float scales[TT__MAX_PATCHES];
};

static tt_status read_patches(tt_adapter_rows *r, const tt_adapter *a, const tt__module *m,
                              float strength, tt_err *err) {
    for (int i = 0; i < m->n_patches; i++) {
        const tt__patch *p = &a->patches[m->patches[i]];
        if (!is_plain_lora(p)) continue;
        TT_TRY(tt__lora_read(&r->factors[r->n], a, p, rows_of(m, i, p), err));
        r->scales[r->n++] = strength * p->scale;
    }
    return TT_OK;
}

static bool fits(const tt_adapter_rows *r, int64_t n_rows, int64_t n_columns) {
    for (int i = 0; i < r->n; i++)
        if (r->factors[i].rows != n_rows || r->factors[i].columns != n_columns) return false;
    return true;
}

tt_status tt_adapter_rows_open(const tt_adapter *a, const char *name, const tt_adapter_strength *s,
                               int64_t n_rows, int64_t n_columns, tt_adapter_rows **out,
                               tt_err *err) {
    bool is_bias;
    const tt__module *m = find(a, name, &is_bias);
    float strength = m && !is_bias ? strength_of(m, s) : 0.0f;
    tt_adapter_rows *r = *out = tt_alloc(sizeof *r);
    if (!r) return tt_fail_nomem(err, "an adapter", sizeof *r);
    tt_status status = m && strength != 0.0f ? read_patches(r, a, m, strength, err) : TT_OK;
    if (status == TT_OK && !fits(r, n_rows, n_columns))
        status = tt_fail(err, TT_E_INVALID, "lora %s: tensor %s is not [%lld, %lld]",
                         a->report.name, name, (long long)n_rows, (long long)n_columns);
    if (status == TT_OK) return TT_OK;
    tt_adapter_rows_close(r);
    *out = NULL;
    return status;
}

void tt_adapter_rows_close(tt_adapter_rows *r) {
    if (!r) return;
    for (int i = 0; i < r->n; i++) tt__factors_release(&r->factors[i]);
    tt_free(r);
}

void tt_adapter_rows_apply(const tt_adapter_rows *r, int64_t first, int64_t n, float *values) {
    for (int i = 0; i < r->n; i++)
        tt__lora_add(&r->factors[i], (tt__rows){first, n}, r->scales[i], values);
}
