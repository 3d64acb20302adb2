/* GroupNorm in two passes over memory: sums per channel, then scale and offset per channel.
 *
 * Sums are taken of x minus the picture's first position, so that a large common offset (VAE
 * activations have one) does not eat the variance's digits; blocks of BLOCK_ROWS rows are summed in
 * f32 and added up in double in a fixed order, whatever the number of threads. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum { BLOCK_ROWS = 128 };

typedef struct norm_job {
    const tt_cpu_kernels *kernels;
    const tt_weight *w;
    const tt_group_norm *args;
    const tt_tensor *x;
    tt_tensor *y;
    int64_t blocks;        /* per picture */
    float *partial;        /* [n, blocks, 2, c]: sums and squares */
    float *shift;          /* [n, c] */
    float *scale, *offset; /* [n, c] */
    bool bf16;
} norm_job;

static size_t job_floats(const norm_job *job) {
    return (size_t)(job->x->n * job->x->c * (2 * job->blocks + 3));
}

static void carve(norm_job *job, float *memory) {
    int64_t nc = job->x->n * job->x->c;
    job->partial = memory;
    job->shift = memory + 2 * nc * job->blocks;
    job->scale = job->shift + nc;
    job->offset = job->scale + nc;
}

static const char *rows_of(const tt_tensor *t, int64_t row) {
    return (const char *)t->data + (size_t)(row * t->c) * tt_dtype_size(t->dtype);
}

static int64_t block_rows(const norm_job *job, int64_t block) {
    int64_t left = tt_tensor_tokens(job->x) - block * BLOCK_ROWS;
    return left < BLOCK_ROWS ? left : BLOCK_ROWS;
}

static void sum_blocks(const norm_job *job) {
    int64_t c = job->x->c, tokens = tt_tensor_tokens(job->x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < job->x->n * job->blocks; i++) {
        int64_t n = i / job->blocks, block = i % job->blocks;
        float *sum = job->partial + i * 2 * c;
        memset(sum, 0, (size_t)(2 * c) * sizeof *sum);
        job->kernels->channel_sums(rows_of(job->x, n * tokens + block * BLOCK_ROWS), job->bf16,
                                   block_rows(job, block), c, job->shift + n * c, sum, sum + c);
    }
}

/* The additive term of channel c of picture n. */
static double added(const norm_job *job, int64_t n, int64_t c) {
    const tt_tensor *t = job->args->add;
    if (!t) return 0;
    int64_t at = n * t->c + job->args->add_offset + c;
    return t->dtype == TT_F32 ? ((const float *)t->data)[at]
                              : tt_bf16_to_f32(((const uint16_t *)t->data)[at]);
}

typedef struct moments {
    double mean, variance;
} moments;

/* Of channel c of picture n, additive term included. */
static moments channel_moments(const norm_job *job, int64_t n, int64_t c) {
    double sum = 0, squares = 0, count = (double)tt_tensor_tokens(job->x);
    for (int64_t block = 0; block < job->blocks; block++) {
        const float *partial = job->partial + (n * job->blocks + block) * 2 * job->x->c;
        sum += partial[c];
        squares += partial[job->x->c + c];
    }
    double mean = sum / count;
    return (moments){mean + job->shift[n * job->x->c + c] + added(job, n, c),
                     squares / count - mean * mean};
}

/* scale and offset of one group's channels: y = (x + add - mean) * rstd * gamma + beta. */
static void finish_group(norm_job *job, int64_t n, int64_t group) {
    int64_t c = job->x->c, width = c / job->args->groups, first = group * width;
    const float *gamma = job->w->data, *beta = job->w->bias;
    double mean = 0, variance = 0;
    for (int64_t i = first; i < first + width; i++) mean += channel_moments(job, n, i).mean;
    mean /= (double)width;
    for (int64_t i = first; i < first + width; i++) {
        moments m = channel_moments(job, n, i);
        variance += m.variance + (m.mean - mean) * (m.mean - mean);
    }
    double rstd = 1 / sqrt(fmax(variance / (double)width, 0) + (double)job->args->eps);
    for (int64_t i = first; i < first + width; i++) {
        job->scale[n * c + i] = (float)(rstd * gamma[i]);
        job->offset[n * c + i] = (float)((added(job, n, i) - mean) * rstd * gamma[i] + beta[i]);
    }
}

static void apply(const norm_job *job) {
    int64_t c = job->x->c, tokens = tt_tensor_tokens(job->x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < job->x->n * job->blocks; i++) {
        int64_t n = i / job->blocks, block = i % job->blocks, row = n * tokens + block * BLOCK_ROWS;
        job->kernels->scale_channels(rows_of(job->x, row), (char *)(uintptr_t)rows_of(job->y, row),
                                     job->bf16, block_rows(job, block), c, job->scale + n * c,
                                     job->offset + n * c, job->args->silu);
    }
}

static void run(norm_job *job) {
    int64_t c = job->x->c, tokens = tt_tensor_tokens(job->x);
    for (int64_t n = 0; n < job->x->n; n++)
        tt_convert(job->shift + n * c, TT_F32, rows_of(job->x, n * tokens), job->x->dtype,
                   (size_t)c);
    sum_blocks(job);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t n = 0; n < job->x->n; n++)
        for (int64_t g = 0; g < job->args->groups; g++) finish_group(job, n, g);
    apply(job);
}

tt_status tt__cpu_group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                             const tt_tensor *x, tt_tensor *y, tt_err *err) {
    norm_job job = {.kernels = tt__cpu_state(ops)->kernels,
                    .w = w,
                    .args = args,
                    .x = x,
                    .y = y,
                    .blocks = (tt_tensor_tokens(x) + BLOCK_ROWS - 1) / BLOCK_ROWS,
                    .bf16 = ops->dtype == TT_BF16};
    void *memory;
    TT_TRY(tt_scratch_take(&ops->scratch, job_floats(&job) * sizeof(float), &memory, err));
    carve(&job, memory);
    if (!ops->scratch.measuring) run(&job);
    tt_scratch_give(&ops->scratch, memory);
    return TT_OK;
}
