/* OFT and BOFT: the rows of a weight are rotated, and with them every neuron, so that the angles between them stay (Qiu
 * et al. 2023, Liu et al. 2023).
 *
 * A rotation is Cayley's form of a skew matrix, R = (I + Q)(I - Q)^-1 with Q = B - B^T from the stored block B. When the file
 * has an alpha, the norm of all Q together is at most alpha times the number of rows: trainers keep to it, peers that read
 * alpha as the bound itself get another picture. OFT turns each block of rows once, by R^T; BOFT turns them m times by R, each
 * time through another butterfly of rows. Rotations are solved in f64. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "weights/adapter_parts.h"

/* Solves l r = right in place for square matrices of side n; right becomes r. Pivots are never 0: I - Q with skew Q has
 * no real root. */
static void solve(double *l, double *right, int64_t n) {
    for (int64_t column = 0; column < n; column++) {
        int64_t pivot = column;
        for (int64_t i = column + 1; i < n; i++)
            if (fabs(l[i * n + column]) > fabs(l[pivot * n + column])) pivot = i;
        for (int64_t j = 0; j < n; j++) { /* exchange; left of the column, l is done with */
            double x = l[column * n + j], y = right[column * n + j];
            l[column * n + j] = l[pivot * n + j], l[pivot * n + j] = x;
            right[column * n + j] = right[pivot * n + j], right[pivot * n + j] = y;
        }
        double inverse = 1 / l[column * n + column];
        for (int64_t j = column; j < n; j++) l[column * n + j] *= inverse;
        for (int64_t j = 0; j < n; j++) right[column * n + j] *= inverse;
        for (int64_t i = 0; i < n; i++) {
            double factor = l[i * n + column];
            if (i == column || factor == 0) continue;
            for (int64_t j = column; j < n; j++) l[i * n + j] -= factor * l[column * n + j];
            for (int64_t j = 0; j < n; j++) right[i * n + j] -= factor * right[column * n + j];
        }
    }
}

/* block [b, b] becomes R, transposed when asked; work: room for 2 b b. (I + Q) and (I - Q)^-1 commute. */
static void cayley(float *block, int64_t b, double factor, bool transposed, double *work) {
    double *minus = work, *plus = work + b * b;
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < b; j++) {
            double q = ((double)block[i * b + j] - (double)block[j * b + i]) * factor;
            minus[i * b + j] = (i == j) - q;
            plus[i * b + j] = (i == j) + q;
        }
    solve(minus, plus, b);
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < b; j++)
            block[i * b + j] = (float)plus[transposed ? j * b + i : i * b + j];
}

/* What Q is multiplied with to keep its norm within the bound. */
static double norm_factor(const tt__patch *p, const float *blocks, int64_t n, int64_t b) {
    double sum = 0, bound = (double)p->alpha * (double)p->out;
    if (!(p->alpha > 0)) return 1;
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < b; i++)
            for (int64_t j = 0; j < b; j++) {
                const float *block = blocks + k * b * b;
                double q = (double)block[i * b + j] - (double)block[j * b + i];
                sum += q * q;
            }
    double norm = sqrt(sum);
    return norm > bound ? bound / norm : 1;
}

/* The file's blocks [n, b, b] as rotations. */
static tt_status read_rotations(tt__values *v, const tt_adapter *a, const tt__patch *p, int64_t n,
                                int64_t b, tt_err *err) {
    const tt_st_tensor *t = p->parts[TT__OFT_BLOCKS];
    TT_TRY(tt__values_read(v, a, t, 0, tt__tensor_count(t), err));
    double *work = tt_alloc((size_t)(2 * b * b) * sizeof *work);
    if (!work) return tt_fail_nomem(err, "a rotation", (size_t)(2 * b * b) * sizeof *work);
    double factor = norm_factor(p, v->data, n, b);
    for (int64_t k = 0; k < n; k++)
        cayley(v->data + k * b * b, b, factor, p->kind == TT__OFT, work);
    tt_free(work);
    return TT_OK;
}

/* Each block of b rows: out = R in. */
static void turn_blocks(const float *rotations, const float *in, int64_t n, int64_t b,
                        int64_t columns, float *out) {
    memset(out, 0, (size_t)(n * b * columns) * sizeof *out);
    for (int64_t k = 0; k < n; k++)
        tt__product_run(&(tt__product){b, columns, b, rotations + k * b * b, in + k * b * columns,
                                       b, columns, 1.0f, out + k * b * columns, columns});
}

/* In groups of 2 half rows, row g half + i goes to place 2 i + g; or back. */
static void shuffle(const float *in, int64_t rows, int64_t half, int64_t columns, bool back,
                    float *out) {
    for (int64_t r = 0; r < rows; r++) {
        int64_t group = r / (2 * half) * 2 * half, g = r % (2 * half) / half, i = r % half;
        int64_t to = group + 2 * i + g;
        memcpy(out + (back ? r : to) * columns, in + (back ? to : r) * columns,
               (size_t)columns * sizeof *out);
    }
}

static tt_status turn_butterflies(const tt__patch *p, const float *rotations, int64_t n, int64_t b,
                                  float *w, tt_err *err) {
    int64_t m = p->parts[TT__OFT_BLOCKS]->info.shape[0], columns = p->in * p->taps;
    tt__values one = {0}, two = {0};
    tt_status status = tt__values_new(&one, (size_t)(p->out * columns), err);
    if (status == TT_OK) status = tt__values_new(&two, (size_t)(p->out * columns), err);
    for (int64_t i = 0; status == TT_OK && i < m; i++) {
        int64_t half = (b / 2) << i;
        shuffle(w, p->out, half, columns, false, one.data);
        turn_blocks(rotations + i * n * b * b, one.data, n, b, columns, two.data);
        shuffle(two.data, p->out, half, columns, true, w);
    }
    tt__values_release(&one);
    tt__values_release(&two);
    return status;
}

static tt_status rescale(const tt_adapter *a, const tt__patch *p, float *out, tt_err *err) {
    tt__values v = {0};
    int64_t columns = p->in * p->taps;
    if (!p->parts[TT__RESCALE]) return TT_OK;
    tt_status status = tt__values_read(&v, a, p->parts[TT__RESCALE], 0, (size_t)p->out, err);
    for (int64_t r = 0; status == TT_OK && r < p->out; r++)
        for (int64_t j = 0; j < columns; j++) out[r * columns + j] *= v.data[r];
    tt__values_release(&v);
    return status;
}

tt_status tt__rotate(const tt_adapter *a, const tt__patch *p, const float *w, float *out,
                     tt_err *err) {
    const tt_tensor_info *info = &p->parts[TT__OFT_BLOCKS]->info;
    const int64_t *shape = info->shape + info->rank - 3;
    int64_t n = shape[0], b = shape[1], columns = p->in * p->taps;
    int64_t all = p->kind == TT__BOFT ? n * info->shape[0] : n;
    tt__values rotations = {0};
    tt_status status = read_rotations(&rotations, a, p, all, b, err);
    if (status == TT_OK && p->kind == TT__OFT) {
        turn_blocks(rotations.data, w, n, b, columns, out);
    } else if (status == TT_OK) {
        memcpy(out, w, (size_t)(p->out * columns) * sizeof *out);
        status = turn_butterflies(p, rotations.data, n, b, out, err);
    }
    tt__values_release(&rotations);
    return status == TT_OK ? rescale(a, p, out, err) : status;
}
