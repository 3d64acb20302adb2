/* See loader.h. A job is one packed weight and holds the names it is made of; jobs are independent, so threads take them one
 * by one, largest memory first in file order. Each thread owns one growing buffer for the plain values: with T threads at most T
 * of the largest tensors exist unpacked at once. */
#include "nn/loader.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/limits.h"

/* Names and jobs of the largest SDXL checkpoint take 1 MiB. */
#define MAX_JOB_BYTES (64 * TT_MIB)

typedef enum job_kind { JOB_LINEAR, JOB_HALVES, JOB_CONV, JOB_NORM, JOB_EMBEDDING } job_kind;

typedef struct load_job {
    struct load_job *next;
    job_kind kind;
    tt_ops *ops;
    tt_weight **slot, **second; /* second: JOB_HALVES only */
    int n_names;
    const char **names; /* without .weight / .bias */
    int64_t n_out, n_in;
    tt_conv_shape conv;
    bool has_bias;
} load_job;

struct tt_loader {
    const tt_checkpoint *checkpoint;
    tt_ops *ops;
    tt_arena arena;
    load_job *first, **end;
    int n_jobs;
};

const char *tt_name(char out[TT_NAME_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(out, TT_NAME_BYTES, format, args);
    va_end(args);
    return out;
}

tt_status tt_loader_new(const tt_checkpoint *checkpoint, tt_loader **out, tt_err *err) {
    *out = tt_alloc(sizeof **out);
    if (!*out) return tt_fail_nomem(err, "the loader", sizeof **out);
    (*out)->checkpoint = checkpoint;
    (*out)->end = &(*out)->first;
    tt_arena_init(&(*out)->arena, MAX_JOB_BYTES);
    return TT_OK;
}

void tt_loader_free(tt_loader *l) {
    if (!l) return;
    tt_arena_release(&l->arena);
    tt_free(l);
}

const tt_checkpoint *tt_loader_checkpoint(const tt_loader *l) {
    return l->checkpoint;
}

void tt_loader_use(tt_loader *l, tt_ops *ops) {
    l->ops = ops;
}

/* ---- declaring -------------------------------------------------------------------------------------- */

bool tt_load_has(const tt_loader *l, const char *prefix, const char *name) {
    char full[TT_NAME_BYTES];
    return tt_checkpoint_has(l->checkpoint, tt_name(full, "%s.%s.weight", prefix, name));
}

tt_status tt_load_size(const tt_loader *l, const char *prefix, const char *name, int dim,
                       int64_t *out, tt_err *err) {
    char full[TT_NAME_BYTES];
    tt_tensor_info info;
    TT_TRY(
        tt_checkpoint_info(l->checkpoint, tt_name(full, "%s.%s.weight", prefix, name), &info, err));
    *out = dim < info.rank ? info.shape[dim] : 1;
    return TT_OK;
}

static tt_status new_job(tt_loader *l, job_kind kind, const char *prefix, const char *const *names,
                         int n_names, tt_weight **slot, load_job **out, tt_err *err) {
    load_job *job = tt_arena_alloc(&l->arena, sizeof *job);
    const char **copies = tt_arena_alloc(&l->arena, (size_t)n_names * sizeof *copies);
    if (!job || !copies) return tt_fail_nomem(err, "the list of tensors", sizeof *job);
    for (int i = 0; i < n_names; i++) {
        char full[TT_NAME_BYTES];
        tt_name(full, "%s.%s", prefix, names[i]);
        copies[i] = tt_arena_strndup(&l->arena, full, strlen(full));
        if (!copies[i]) return tt_fail_nomem(err, "the list of tensors", sizeof full);
    }
    *job =
        (load_job){.kind = kind, .ops = l->ops, .slot = slot, .n_names = n_names, .names = copies};
    *out = job;
    return TT_OK;
}

static void add_job(tt_loader *l, load_job *job) {
    *l->end = job;
    l->end = &job->next;
    l->n_jobs++;
}

static bool has_bias(const tt_loader *l, const char *name) {
    char full[TT_NAME_BYTES];
    return tt_checkpoint_has(l->checkpoint, tt_name(full, "%s.bias", name));
}

static tt_status matrix_info(const tt_loader *l, const char *name, tt_tensor_info *info,
                             tt_err *err) {
    char full[TT_NAME_BYTES];
    tt_name(full, "%s.weight", name);
    TT_TRY(tt_checkpoint_info(l->checkpoint, full, info, err));
    bool is_matrix =
        info->rank == 2 || (info->rank == 4 && info->shape[2] == 1 && info->shape[3] == 1);
    if (!is_matrix)
        return tt_fail(err, TT_E_FORMAT,
                       "tensor %s: rank %d, expected a matrix or a 1x1 convolution", full,
                       info->rank);
    return TT_OK;
}

tt_status tt_load_stacked(tt_loader *l, const char *prefix, const char *const *names, int n_names,
                          tt_weight **slot, tt_err *err) {
    load_job *job;
    TT_TRY(new_job(l, JOB_LINEAR, prefix, names, n_names, slot, &job, err));
    job->has_bias = has_bias(l, job->names[0]);
    for (int i = 0; i < n_names; i++) {
        tt_tensor_info info;
        TT_TRY(matrix_info(l, job->names[i], &info, err));
        if (i == 0) job->n_in = info.shape[1];
        if (info.shape[1] != job->n_in || has_bias(l, job->names[i]) != job->has_bias)
            return tt_fail(
                err, TT_E_FORMAT,
                "tensor %s.weight: [%lld, %lld]%s does not go with %s.weight of width %lld",
                job->names[i], (long long)info.shape[0], (long long)info.shape[1],
                has_bias(l, job->names[i]) ? " with bias" : "", job->names[0],
                (long long)job->n_in);
        job->n_out += info.shape[0];
    }
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_linear(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                         tt_err *err) {
    return tt_load_stacked(l, prefix, &name, 1, slot, err);
}

tt_status tt_load_halves(tt_loader *l, const char *prefix, const char *name, tt_weight **first,
                         tt_weight **second, tt_err *err) {
    load_job *job;
    tt_tensor_info info;
    TT_TRY(new_job(l, JOB_HALVES, prefix, &name, 1, first, &job, err));
    TT_TRY(matrix_info(l, job->names[0], &info, err));
    if (info.shape[0] % 2 != 0)
        return tt_fail(err, TT_E_FORMAT, "tensor %s.weight: %lld rows, expected an even number",
                       job->names[0], (long long)info.shape[0]);
    job->second = second;
    job->n_out = info.shape[0];
    job->n_in = info.shape[1];
    job->has_bias = has_bias(l, job->names[0]);
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_conv(tt_loader *l, const char *prefix, const char *name, int stride, int pad,
                       tt_weight **slot, tt_err *err) {
    load_job *job;
    char full[TT_NAME_BYTES];
    tt_tensor_info info;
    TT_TRY(new_job(l, JOB_CONV, prefix, &name, 1, slot, &job, err));
    TT_TRY(
        tt_checkpoint_info(l->checkpoint, tt_name(full, "%s.weight", job->names[0]), &info, err));
    if (info.rank == 2) info.shape[2] = info.shape[3] = 1;
    if ((info.rank != 4 && info.rank != 2) || info.shape[2] != info.shape[3] ||
        (info.shape[2] != 1 && info.shape[2] != 3))
        return tt_fail(err, TT_E_FORMAT, "tensor %s: expected a 1x1 or 3x3 convolution", full);
    int kernel = (int)info.shape[2];
    if (kernel == 1) pad = 0;
    job->n_out = info.shape[0];
    job->n_in = info.shape[1];
    job->conv = (tt_conv_shape){info.shape[0], info.shape[1], kernel, stride, pad, pad, pad, pad};
    job->has_bias = has_bias(l, job->names[0]);
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_norm(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                       tt_err *err) {
    load_job *job;
    TT_TRY(new_job(l, JOB_NORM, prefix, &name, 1, slot, &job, err));
    TT_TRY(tt_load_size(l, prefix, name, 0, &job->n_out, err));
    job->n_in = 1;
    job->has_bias = true;
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_embedding(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                            tt_err *err) {
    load_job *job;
    TT_TRY(new_job(l, JOB_EMBEDDING, prefix, &name, 1, slot, &job, err));
    TT_TRY(tt_load_size(l, prefix, name, 0, &job->n_out, err));
    TT_TRY(tt_load_size(l, prefix, name, 1, &job->n_in, err));
    add_job(l, job);
    return TT_OK;
}

/* ---- loading ---------------------------------------------------------------------------------------- */

typedef struct loading { /* one thread's memory */
    char *plain;
    size_t capacity;
    float *bias;
    size_t bias_capacity;
} loading;

static tt_status grow(char **memory, size_t *capacity, size_t size, tt_err *err) {
    if (size <= *capacity) return TT_OK;
    tt_free(*memory);
    *capacity = 0;
    *memory = tt_alloc_aligned(size);
    if (!*memory) return tt_fail_nomem(err, "reading a tensor", size);
    *capacity = size;
    return TT_OK;
}

/* Bytes of the job's plain weight, refusing products that overflow. */
static tt_status plain_size(const load_job *job, size_t element, size_t *out, tt_err *err) {
    size_t taps = job->kind == JOB_CONV ? (size_t)job->conv.kernel * (size_t)job->conv.kernel : 1;
    if (tt_mul_size((size_t)job->n_out, (size_t)job->n_in, out) && tt_mul_size(*out, taps, out) &&
        tt_mul_size(*out, element, out))
        return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "tensor %s.weight: too large", job->names[0]);
}

/* Reads the stacked weights and biases of the job into the thread's memory. */
static tt_status read_plain(const tt_loader *l, const load_job *job, loading *t, tt_err *err) {
    tt_dtype dtype = job->kind == JOB_NORM ? TT_F32 : tt_ops_dtype(job->ops);
    size_t size, element = tt_dtype_size(dtype);
    TT_TRY(plain_size(job, element, &size, err));
    TT_TRY(grow(&t->plain, &t->capacity, size, err));
    TT_TRY(grow((char **)&t->bias, &t->bias_capacity, (size_t)job->n_out * sizeof *t->bias, err));
    size_t at = 0, bias_at = 0;
    for (int i = 0; i < job->n_names; i++) {
        char full[TT_NAME_BYTES];
        tt_tensor_info info;
        tt_name(full, "%s.weight", job->names[i]);
        TT_TRY(tt_checkpoint_info(l->checkpoint, full, &info, err));
        TT_TRY(tt_checkpoint_read(l->checkpoint, full, dtype, -1, NULL, t->plain + at, err));
        if (job->has_bias)
            TT_TRY(tt_checkpoint_read(l->checkpoint, tt_name(full, "%s.bias", job->names[i]),
                                      TT_F32, 1, &info.shape[0], t->bias + bias_at, err));
        bias_at += (size_t)info.shape[0];
        at += (size_t)info.shape[0] * (size_t)job->n_in * element;
    }
    return TT_OK;
}

static tt_status pack_halves(const load_job *job, const loading *t, const float *bias,
                             tt_err *err) {
    int64_t half = job->n_out / 2;
    size_t bytes = (size_t)(half * job->n_in) * tt_dtype_size(tt_ops_dtype(job->ops));
    TT_TRY(tt_weight_linear(job->ops, t->plain, bias, half, job->n_in, job->slot, err));
    return tt_weight_linear(job->ops, t->plain + bytes, bias ? bias + half : NULL, half, job->n_in,
                            job->second, err);
}

static tt_status run_job(const tt_loader *l, const load_job *job, loading *t, tt_err *err) {
    TT_TRY(read_plain(l, job, t, err));
    const float *bias = job->has_bias ? t->bias : NULL;
    switch (job->kind) {
    case JOB_LINEAR:
        return tt_weight_linear(job->ops, t->plain, bias, job->n_out, job->n_in, job->slot, err);
    case JOB_HALVES:
        return pack_halves(job, t, bias, err);
    case JOB_CONV:
        return tt_weight_conv(job->ops, t->plain, bias, &job->conv, job->slot, err);
    case JOB_NORM:
        return tt_weight_norm(job->ops, (const float *)(const void *)t->plain, bias, job->n_out,
                              job->slot, err);
    case JOB_EMBEDDING:
        return tt_weight_embedding(job->ops, t->plain, job->n_out, job->n_in, job->slot, err);
    }
    return TT_OK;
}

tt_status tt_loader_run(tt_loader *l, tt_err *err) {
    load_job **jobs = tt_alloc((size_t)l->n_jobs * sizeof(load_job *));
    if (!jobs) return tt_fail_nomem(err, "the list of tensors", sizeof(load_job *));
    int n = 0;
    for (load_job *job = l->first; job; job = job->next) jobs[n++] = job;
    tt_err first_error = {0};
    atomic_int status = TT_OK;
#pragma omp parallel
    {
        loading t = {0};
#pragma omp for schedule(dynamic)
        for (int i = 0; i < n; i++) {
            tt_err own;
            if (atomic_load(&status) != TT_OK) continue;
            tt_status s = run_job(l, jobs[i], &t, &own);
            if (s == TT_OK) continue;
            int none = TT_OK;
            if (atomic_compare_exchange_strong(&status, &none, (int)s)) first_error = own;
        }
        tt_free(t.plain);
        tt_free(t.bias);
    }
    tt_free(jobs);
    if (atomic_load(&status) != TT_OK && err) *err = first_error;
    return (tt_status)atomic_load(&status);
}
