/* What loading and adapting share about a network's recipe: the list of its packed weights. Not for other rooms. */
#ifndef TT_NN_LOADER_PARTS_H
#define TT_NN_LOADER_PARTS_H

#include "base/arena.h"
#include "nn/loader.h"

typedef enum tt__job_kind {
    TT__JOB_LINEAR,
    TT__JOB_GATED,
    TT__JOB_CONV,
    TT__JOB_UPSAMPLE_CONV,
    TT__JOB_NORM,
    TT__JOB_EMBEDDING
} tt__job_kind;

/* One packed weight and the names it is made of. */
typedef struct tt__job {
    struct tt__job *next;
    tt__job_kind kind;
    tt_ops *ops;
    tt_weight **slot; /* of the network */
    int n_names;
    const char **names; /* without .weight / .bias */
    int64_t n_out, n_in;
    tt_conv_shape conv;
    bool has_bias;
    bool is_int8;
} tt__job;

struct tt_loader {
    const tt_checkpoint *checkpoint;
    tt_ops *ops;
    tt_arena arena;
    tt__job *first, **end;
    int n_jobs;
    bool may_int8;
};

/* Numbers of the job's plain weight; refuses products that overflow as bytes. */
tt_status tt__job_count(const tt__job *job, size_t *out, tt_err *err);
/* What its plain weight must be for packing: f32 for norms, int8 and what is folded, else the back-end's. */
tt_dtype tt__job_dtype(const tt__job *job);
/* Bytes of `count` of its numbers as they are kept. */
size_t tt__job_kept_bytes(const tt__job *job, size_t count);
/* Packs plain values, names stacked, into a new weight; bias may be NULL. On failure *out stays as it was or NULL. */
tt_status tt__job_pack(const tt__job *job, const void *plain, const float *bias, tt_weight **out,
                       tt_err *err);
/* All jobs, in the order of declaration; tt_free it. */
tt_status tt__loader_jobs(const tt_loader *l, tt__job ***out, tt_err *err);

/* A block that only grows: a thread's memory for one job after the other. What was in it is lost when it grows. */
typedef struct tt__block {
    void *data; /* owned */
    size_t capacity;
} tt__block;
tt_status tt__block_reserve(tt__block *b, size_t size, tt_err *err);

#endif
