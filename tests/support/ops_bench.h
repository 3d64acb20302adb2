/* One operation on two back-ends: the same inputs for both, results compared. Results are written over NaNs, so that a value
 * which nobody wrote is noticed. For cmocka's programs: whatever fails ends the test. */
#ifndef TT_SUPPORT_OPS_BENCH_H
#define TT_SUPPORT_OPS_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/ops.h"

typedef struct tt_bench { /* the same problem on both back-ends */
    tt_ops *ref, *tested;
    tt_err err;
    uint64_t seed;
} tt_bench;

typedef struct tt_problem { /* inputs of one operation, as host values; unused sizes are zero */
    float *x, *second, *third, *w, *bias;
    int64_t n, h, width, c, out_h, out_w, out_c;
    tt_conv_shape conv;
    tt_epilogue epilogue;
    tt_group_norm norm;
    tt_attention attention;
    int64_t keys, add_width;
    bool use_mul, use_add;
} tt_problem;

typedef tt_status (*tt_bench_fn)(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x,
                                 tt_tensor *y);

/* The reference beside back-end `kind`; the CPU's. */
tt_bench tt_bench_open_on(tt_backend_kind kind, tt_dtype dtype, int threads);
tt_bench tt_bench_open(tt_dtype dtype, int threads);
void tt_bench_close(tt_bench *b);
void tt_bench_ok(tt_bench *b, tt_status status);

/* Host values -1 .. 1 + offset, already rounded to the engine's type so that both sides start equal; tt_free them. */
float *tt_bench_random(tt_bench *b, int64_t count, float offset);
void *tt_bench_as_dtype(const tt_ops *ops, const float *v, int64_t count); /* tt_free it */
/* Scratch, with these values; host may be NULL. */
tt_tensor tt_bench_tensor(tt_bench *b, tt_ops *ops, int64_t n, int64_t h, int64_t w, int64_t c,
                          const float *host);
void tt_problem_release(tt_problem *p);

/* Rehearsal, then the real pass: the result, tt_free it. */
float *tt_bench_run(tt_bench *b, tt_ops *ops, tt_problem *p, tt_bench_fn op);
/* Both back-ends, within what another order of sums explains. */
void tt_bench_compare(tt_bench *b, tt_problem *p, tt_bench_fn op);
/* On the CPU: the same bytes whatever the number of threads. */
void tt_bench_same_bytes(tt_problem *p, tt_bench_fn op, tt_dtype dtype);

/* The nth allocation of opening a back-end and packing a weight fails, for each n: errors, and no memory stays. */
void tt_bench_fail_each_allocation(tt_backend_kind kind);
/* The same of a maker of weights alone, until all are enough; in both types where the CPU can. */
typedef tt_status (*tt_bench_weight_fn)(tt_ops *ops, const void *plain, const float *bias,
                                        int64_t n_out, int64_t n_in, tt_weight **out, tt_err *err);
void tt_bench_fail_each_of_weight(tt_bench_weight_fn make);

/* Operations that several programs run: weights p->w and p->bias, epilogue by p->epilogue.act, use_mul and use_add. */
tt_status tt_bench_linear(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y);
tt_status tt_bench_conv(tt_bench *b, tt_ops *ops, tt_problem *p, tt_tensor *x, tt_tensor *y);

/* A case of a test table. On the CPU: its body for f32 with 1 and 3 threads and bf16 where this CPU can; on a GPU in both
 * types. */
typedef struct tt_bench_case {
    void (*body)(tt_bench *);
} tt_bench_case;
void tt_bench_on_cpu(void **state);
void tt_bench_on_gpu(void **state);

#endif
