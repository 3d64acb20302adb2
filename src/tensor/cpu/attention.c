/* Attention over all pictures and heads: packs keys and values of every head once, in blocks, then
 * hands out blocks of queries to the threads. Scratch: the packed heads, and one workspace per
 * thread. */
#include "tensor/cpu/attention.h"

#include <math.h>
#include <omp.h>

#include "tensor/cpu/cpu.h"

enum { LINE_BYTES = 64 };

static int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

static size_t whole_lines(size_t bytes) {
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

const tt_attention_kernels *tt__attention_kernels(const tt_cpu_features *features, bool bf16) {
#if defined(__x86_64__)
    if (bf16 && features->amx_bf16) return &tt__attention_tiles;
    if (bf16 && features->avx512_bf16) return &tt__attention_pairs;
    if (features->avx512) return &tt__attention_avx512;
    if (features->avx2) return &tt__attention_avx2;
#endif
    (void)features;
    (void)bf16;
    return &tt__attention_base;
}

typedef struct attention_job {
    const tt_attention_kernels *kernels;
    const tt_attention *a;
    tt_attention_plan plan;
    char *packed, *workspaces;
    size_t block_bytes, head_bytes, workspace_bytes; /* whole lines */
    int64_t heads;                                   /* of all pictures */
    tt_tensor *y;
} attention_job;

static tt_attention_plan plan_for(const tt_attention *a, const tt_attention_kernels *kernels,
                                  bool bf16) {
    const float log2e = 1.44269504f;
    int64_t keys = tt_tensor_tokens(a->k);
    int64_t block = round_up(keys, kernels->key_step);
    if (block > kernels->most_block_keys) block = kernels->most_block_keys;
    return (tt_attention_plan){.head_dim = a->head_dim,
                               .padded_dim = round_up(a->head_dim, kernels->dim_step),
                               .queries = tt_tensor_tokens(a->q),
                               .keys = keys,
                               .block_keys = block,
                               .key_blocks = (keys + block - 1) / block,
                               .scale = log2e / sqrtf((float)a->head_dim),
                               .causal = a->causal,
                               .bf16 = bf16};
}

static attention_job make_job(tt_ops *ops, const tt_attention *a, tt_tensor *y) {
    bool bf16 = ops->dtype == TT_BF16;
    attention_job job = {.kernels = tt__attention_kernels(&tt__cpu_state(ops)->features, bf16),
                         .a = a,
                         .y = y,
                         .heads = y->n * a->heads};
    job.plan = plan_for(a, job.kernels, bf16);
    job.block_bytes = whole_lines(job.kernels->block_bytes(&job.plan));
    job.head_bytes = job.block_bytes * (size_t)job.plan.key_blocks;
    job.workspace_bytes = whole_lines(job.kernels->workspace_bytes(&job.plan));
    return job;
}

/* Address of head `item` (of all pictures) in a tensor whose heads start at column offset. */
static char *head_start(const tt_tensor *t, int64_t offset, const attention_job *job,
                        int64_t item) {
    int64_t n = item / job->a->heads, head = item % job->a->heads;
    int64_t element = n * tt_tensor_tokens(t) * t->c + offset + head * job->a->head_dim;
    return (char *)t->data + (size_t)element * tt_dtype_size(t->dtype);
}

static void pack(const attention_job *job, int64_t item, int64_t block) {
    const tt_attention *a = job->a;
    job->kernels->pack_block(&job->plan, block, head_start(a->k, a->k_offset, job, item), a->k->c,
                             head_start(a->v, a->v_offset, job, item), a->v->c,
                             job->packed + (size_t)item * job->head_bytes +
                                 (size_t)block * job->block_bytes);
}

static void attend(const attention_job *job, int64_t item, int64_t first, char *workspace) {
    const tt_attention *a = job->a;
    job->kernels->attend(&job->plan, head_start(a->q, a->q_offset, job, item), a->q->c, first,
                         job->packed + (size_t)item * job->head_bytes, job->block_bytes, workspace,
                         head_start(job->y, 0, job, item), job->y->c);
}

static void begin_tiles(const attention_job *job) {
#if defined(__x86_64__)
    if (job->kernels->uses_tiles) tt__amx_begin(&tt__amx_full_tiles);
#endif
    (void)job;
}

static void end_tiles(const attention_job *job) {
#if defined(__x86_64__)
    if (job->kernels->uses_tiles) tt__amx_end();
#endif
    (void)job;
}

static void run(const attention_job *job) {
    int64_t rows = job->kernels->query_rows, key_blocks = job->plan.key_blocks;
    int64_t query_blocks = (job->plan.queries + rows - 1) / rows;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < job->heads * key_blocks; i++)
            pack(job, i / key_blocks, i % key_blocks);
        char *workspace = job->workspaces + (size_t)omp_get_thread_num() * job->workspace_bytes;
        begin_tiles(job);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < job->heads * query_blocks; i++)
            attend(job, i / query_blocks, i % query_blocks * rows, workspace);
        end_tiles(job);
    }
}

tt_status tt__cpu_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err) {
    attention_job job = make_job(ops, args, y);
    void *packed = NULL, *workspaces = NULL;
    TT_TRY(tt_scratch_take(&ops->scratch, (size_t)job.heads * job.head_bytes, &packed, err));
    tt_status status = tt_scratch_take(&ops->scratch, (size_t)ops->n_threads * job.workspace_bytes,
                                       &workspaces, err);
    if (status == TT_OK) {
        job.packed = packed;
        job.workspaces = workspaces;
        if (!ops->scratch.measuring) run(&job);
        tt_scratch_give(&ops->scratch, workspaces);
    }
    tt_scratch_give(&ops->scratch, packed);
    return status;
}
