/* GroupNorm in two passes over memory: sums per channel, then scale and offset per channel. The first falls away where the
 * statistics are given and none are recorded.
 *
 * Positions are divided into blocks by the picture's size alone. A block's sums are f32, of x less the
 * mean of the block's first positions, so that a large common offset (VAE activations have one) does not
 * eat the variance's digits. Blocks are put together in double in a fixed order (Chan, Golub and LeVeque
 * 1979), whatever the number of threads. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

/* Rows of a block: few enough that a small picture keeps many threads busy, many enough that the sums of
 * all blocks are small beside the picture, and bounded because a block's sums are f32. */
enum { BLOCKS_WISHED = 32, FEWEST_ROWS = 32, MOST_ROWS = 512 };

enum { CHANNELS_AT_ONCE = 16 }; /* whose blocks one task puts together: a line of the cache */

typedef struct norm_job {
    const tt_cpu_kernels *kernels;
    const tt_weight *w;
    const tt_group_norm *args;
    const tt_tensor *x;
    tt_tensor *y;
    int64_t block_rows, blocks; /* blocks: per picture */
    double *mean, *variance;    /* [n, c] */
    float *partial;             /* [n, blocks, 3, c]: a tt_channel_sums each */
    float *scale, *offset;      /* [n, c] */
    bool bf16;
} norm_job;

static size_t job_bytes(const norm_job *job) {
    size_t nc = (size_t)(job->x->n * job->x->c);
    return nc * (2 * sizeof(double) + (size_t)(3 * job->blocks + 2) * sizeof(float));
}

static void carve(norm_job *job, void *memory) {
    int64_t nc = job->x->n * job->x->c;
    job->mean = memory;
    job->variance = job->mean + nc;
    void *floats = job->variance + nc;
    job->scale = floats;
    job->offset = job->scale + nc;
    job->partial = job->offset + nc;
}

static const char *rows_of(const tt_tensor *t, int64_t row) {
    return (const char *)t->data + (size_t)(row * t->c) * tt_dtype_size(t->dtype);
}

static int64_t rows_of_block(const norm_job *job, int64_t block) {
    int64_t left = tt_tensor_tokens(job->x) - block * job->block_rows;
    return left < job->block_rows ? left : job->block_rows;
}

/* The sums of block `block` of picture n, from channel `first` on. */
static tt_channel_sums sums_of(const norm_job *job, int64_t n, int64_t block, int64_t first) {
    float *p = job->partial + (n * job->blocks + block) * 3 * job->x->c + first;
    return (tt_channel_sums){p, p + job->x->c, p + 2 * job->x->c};
}

static void sum_blocks(const norm_job *job) {
    int64_t tokens = tt_tensor_tokens(job->x);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < job->x->n * job->blocks; i++) {
        int64_t n = i / job->blocks, block = i % job->blocks;
        job->kernels->channel_sums(rows_of(job->x, n * tokens + block * job->block_rows), job->bf16,
                                   rows_of_block(job, block), job->x->c, sums_of(job, n, block, 0));
    }
}

/* mean[i] and variance[i] of channels first + i of picture n, from their blocks. */
static void join_blocks(const norm_job *job, int64_t n, int64_t first, int64_t channels,
                        double *restrict mean, double *restrict variance) {
    double count = (double)tt_tensor_tokens(job->x);
    for (int64_t block = 0; block < job->blocks; block++) {
        const tt_channel_sums s = sums_of(job, n, block, first);
        double rows = (double)rows_of_block(job, block);
        for (int64_t i = 0; i < channels; i++) mean[i] += rows * s.shift[i] + s.sum[i];
    }
    for (int64_t i = 0; i < channels; i++) mean[i] /= count;
    for (int64_t block = 0; block < job->blocks; block++) {
        const tt_channel_sums s = sums_of(job, n, block, first);
        double rows = (double)rows_of_block(job, block), share = 1 / rows;
        for (int64_t i = 0; i < channels; i++) {
            double above = s.sum[i] * share, off = s.shift[i] + above - mean[i];
            variance[i] += s.squares[i] - s.sum[i] * above + rows * off * off;
        }
    }
    for (int64_t i = 0; i < channels; i++) variance[i] /= count;
}

static void join_all(const norm_job *job) {
    int64_t c = job->x->c, chunks = (c + CHANNELS_AT_ONCE - 1) / CHANNELS_AT_ONCE;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < job->x->n * chunks; i++) {
        int64_t n = i / chunks, first = i % chunks * CHANNELS_AT_ONCE;
        int64_t channels = c - first < CHANNELS_AT_ONCE ? c - first : CHANNELS_AT_ONCE;
        double mean[CHANNELS_AT_ONCE] = {0}, variance[CHANNELS_AT_ONCE] = {0};
        join_blocks(job, n, first, channels, mean, variance);
        memcpy(job->mean + n * c + first, mean, (size_t)channels * sizeof *mean);
        memcpy(job->variance + n * c + first, variance, (size_t)channels * sizeof *variance);
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

/* Of a group's channels together. */
static tt_norm_statistics join_channels(const norm_job *job, int64_t n, int64_t group) {
    int64_t c = job->x->c, width = c / job->args->groups, first = group * width;
    double mean = 0, variance = 0, positions = (double)tt_tensor_tokens(job->x);
    for (int64_t i = first; i < first + width; i++) mean += job->mean[n * c + i] + added(job, n, i);
    mean /= (double)width;
    for (int64_t i = first; i < first + width; i++) {
        double off = job->mean[n * c + i] + added(job, n, i) - mean;
        variance += job->variance[n * c + i] + off * off;
    }
    return (tt_norm_statistics){positions * (double)width, mean, positions * variance};
}

static bool needs_sums(const norm_job *job) {
    return job->args->record || !job->args->given;
}

/* What a group is normalised by. */
static tt_norm_statistics choose_statistics(const norm_job *job, int64_t n, int64_t group) {
    int64_t at = n * job->args->groups + group;
    if (!needs_sums(job)) return job->args->given[at];
    tt_norm_statistics own = join_channels(job, n, group);
    if (job->args->record) tt_norm_statistics_add(&job->args->record[at], &own);
    return job->args->given ? job->args->given[at] : own;
}

/* scale and offset of one group's channels: y = (x + add - mean) * rstd * gamma + beta. */
static void finish_group(const norm_job *job, int64_t n, int64_t group) {
    int64_t c = job->x->c, width = c / job->args->groups, first = group * width;
    const float *gamma = job->w->data, *beta = job->w->bias;
    const tt_norm_statistics s = choose_statistics(job, n, group);
    double rstd = 1 / sqrt(fmax(tt_norm_statistics_variance(&s), 0) + (double)job->args->eps);
    for (int64_t i = first; i < first + width; i++) {
        job->scale[n * c + i] = (float)(rstd * gamma[i]);
        job->offset[n * c + i] = (float)((added(job, n, i) - s.mean) * rstd * gamma[i] + beta[i]);
    }
}

static void apply(const norm_job *job) {
    int64_t c = job->x->c, tokens = tt_tensor_tokens(job->x);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < job->x->n * job->blocks; i++) {
        int64_t n = i / job->blocks, block = i % job->blocks;
        int64_t row = n * tokens + block * job->block_rows;
        job->kernels->scale_channels(rows_of(job->x, row), (char *)(uintptr_t)rows_of(job->y, row),
                                     job->bf16, rows_of_block(job, block), c, job->scale + n * c,
                                     job->offset + n * c, job->args->silu);
    }
}

static void run(const norm_job *job) {
#pragma omp parallel
    {
        if (needs_sums(job)) {
            sum_blocks(job);
            join_all(job);
        }
#pragma omp for schedule(static) collapse(2)
        for (int64_t n = 0; n < job->x->n; n++)
            for (int64_t g = 0; g < job->args->groups; g++) finish_group(job, n, g);
        apply(job);
    }
}

static int64_t choose_block_rows(int64_t tokens) {
    int64_t rows = tokens / BLOCKS_WISHED;
    return rows < FEWEST_ROWS ? FEWEST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
}

tt_status tt__cpu_group_norm(tt_ops *ops, const tt_weight *w, const tt_group_norm *args,
                             const tt_tensor *x, tt_tensor *y, tt_err *err) {
    norm_job job = {.kernels = tt__cpu_state(ops)->kernels,
                    .w = w,
                    .args = args,
                    .x = x,
                    .y = y,
                    .block_rows = choose_block_rows(tt_tensor_tokens(x)),
                    .bf16 = ops->dtype == TT_BF16};
    job.blocks = (tt_tensor_tokens(x) + job.block_rows - 1) / job.block_rows;
    void *memory;
    TT_TRY(tt_scratch_take(&ops->scratch, job_bytes(&job), &memory, err));
    carve(&job, memory);
    if (!ops->scratch.measuring) run(&job);
    tt_scratch_give(&ops->scratch, memory);
    return TT_OK;
}
