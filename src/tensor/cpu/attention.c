/* Attention over all pictures and heads: packs keys and values of every head once, then hands out
 * blocks of queries to the threads. Scratch: the packed heads, and one workspace per thread. */
#include <math.h>
#include <omp.h>

#include "tensor/cpu/cpu.h"

enum { VECTOR = 16, MOST_BLOCK_KEYS = 128 };

static int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

void tt__attention_plan_init(tt_attention_plan *p, const tt_attention *a, bool bf16) {
    int64_t keys = tt_tensor_tokens(a->k);
    int64_t block = round_up(keys, VECTOR);
    if (block > MOST_BLOCK_KEYS) block = MOST_BLOCK_KEYS;
    *p = (tt_attention_plan){.head_dim = a->head_dim,
                             .padded_dim = round_up(a->head_dim, VECTOR),
                             .queries = tt_tensor_tokens(a->q),
                             .keys = keys,
                             .block_keys = block,
                             .key_blocks = (keys + block - 1) / block,
                             .scale = 1.0f / sqrtf((float)a->head_dim),
                             .causal = a->causal,
                             .bf16 = bf16};
}

typedef struct attention_job {
    const tt_cpu_kernels *kernels;
    const tt_attention *a;
    tt_attention_plan plan;
    float *packed, *workspaces;
    int64_t packed_floats, workspace_floats;
    tt_tensor *y;
} attention_job;

/* Address of picture n, head h in a tensor whose heads start at column offset. */
static char *head_start(const tt_tensor *t, int64_t offset, const attention_job *job,
                        int64_t item) {
    int64_t n = item / job->a->heads, head = item % job->a->heads;
    int64_t element = n * tt_tensor_tokens(t) * t->c + offset + head * job->a->head_dim;
    return (char *)t->data + (size_t)element * tt_dtype_size(t->dtype);
}

static void run(const attention_job *job) {
    const tt_attention *a = job->a;
    const tt_attention_plan *p = &job->plan;
    int64_t items = job->y->n * a->heads;
    int64_t blocks = (p->queries + job->kernels->query_rows - 1) / job->kernels->query_rows;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t item = 0; item < items; item++)
            job->kernels->pack_head(p, head_start(a->k, a->k_offset, job, item), a->k->c,
                                    head_start(a->v, a->v_offset, job, item), a->v->c,
                                    job->packed + item * job->packed_floats);
        float *workspace = job->workspaces + omp_get_thread_num() * job->workspace_floats;
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < items * blocks; i++) {
            int64_t item = i / blocks;
            job->kernels->attend(p, head_start(a->q, a->q_offset, job, item), a->q->c,
                                 i % blocks * job->kernels->query_rows,
                                 job->packed + item * job->packed_floats, workspace,
                                 head_start(job->y, 0, job, item), job->y->c);
        }
    }
}

tt_status tt__cpu_attention(tt_ops *ops, const tt_attention *args, tt_tensor *y, tt_err *err) {
    attention_job job = {.kernels = tt__cpu_state(ops)->kernels, .a = args, .y = y};
    tt__attention_plan_init(&job.plan, args, ops->dtype == TT_BF16);
    job.packed_floats = job.kernels->packed_floats(&job.plan);
    job.workspace_floats = round_up(job.kernels->workspace_floats(&job.plan), VECTOR);
    size_t packed_bytes = (size_t)(y->n * args->heads * job.packed_floats) * sizeof(float);
    size_t workspace_bytes = (size_t)(ops->n_threads * job.workspace_floats) * sizeof(float);
    void *packed = NULL, *workspaces = NULL;
    TT_TRY(tt_scratch_take(&ops->scratch, packed_bytes, &packed, err));
    tt_status status = tt_scratch_take(&ops->scratch, workspace_bytes, &workspaces, err);
    if (status == TT_OK) {
        job.packed = packed;
        job.workspaces = workspaces;
        if (!ops->scratch.measuring) run(&job);
        tt_scratch_give(&ops->scratch, workspaces);
    }
    tt_scratch_give(&ops->scratch, packed);
    return status;
}
