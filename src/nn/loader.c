/* See loader.h. A job is one packed weight and holds the names it is made of; jobs are independent, so threads take them one
 * by one, in the order of declaration. Each thread owns one growing buffer for the plain values: with T threads at most T
 * of the largest tensors exist unpacked at once. */
#include "nn/loader.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/ascii.h"
#include "base/limits.h"
#include "nn/loader_parts.h"
#include "tensor/int8.h"

/* Names and jobs of the largest SDXL checkpoint take 1 MiB. */
#define MAX_JOB_BYTES (64 * TT_MIB)

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

static int64_t taps_of(const tt__job *job) {
    bool is_conv = job->kind == TT__JOB_CONV || job->kind == TT__JOB_UPSAMPLE_CONV;
    return is_conv ? (int64_t)job->conv.kernel * job->conv.kernel : 1;
}

static tt_status new_job(tt_loader *l, tt__job_kind kind, const char *prefix,
                         const char *const *names, int n_names, tt_weight **slot, tt__job **out,
                         tt_err *err) {
    tt__job *job = tt_arena_alloc(&l->arena, sizeof *job);
    const char **copies = tt_arena_alloc(&l->arena, (size_t)n_names * sizeof *copies);
    if (!job || !copies) return tt_fail_nomem(err, "the list of tensors", sizeof *job);
    for (int i = 0; i < n_names; i++) {
        char full[TT_NAME_BYTES];
        tt_name(full, "%s.%s", prefix, names[i]);
        copies[i] = tt_arena_strndup(&l->arena, full, strlen(full));
        if (!copies[i]) return tt_fail_nomem(err, "the list of tensors", sizeof full);
    }
    *job =
        (tt__job){.kind = kind, .ops = l->ops, .slot = slot, .n_names = n_names, .names = copies};
    *out = job;
    return TT_OK;
}

bool tt_loader_int8(tt_loader *l, bool may) {
    bool was = l->may_int8;
    l->may_int8 = may;
    return was;
}

int64_t tt_loader_int8_numbers(const tt_loader *l) {
    int64_t n = 0;
    for (const tt__job *job = l->first; job; job = job->next)
        if (job->is_int8) n += job->n_out * job->n_in * taps_of(job);
    return n;
}

static bool bears_int8(const tt_loader *l, const tt__job *job) {
    enum { LEAST_INPUTS = 64 }; /* fewer do not fill the line that they are packed in */
    return l->may_int8 && tt_ops_has_int8(l->ops) && job->n_in >= LEAST_INPUTS &&
           job->n_in <= TT_INT8_MAX_INPUTS / taps_of(job) && job->kind != TT__JOB_NORM &&
           job->kind != TT__JOB_EMBEDDING;
}

static void add_job(tt_loader *l, tt__job *job) {
    job->is_int8 = bears_int8(l, job);
    *l->end = job;
    l->end = &job->next;
    l->n_jobs++;
}

/* Which layers do without a bias: the UNet's queries, keys and values, and the text's projection. Anywhere else zeros in
 * place of a bias that is missing would be a wrong picture. */
static bool may_lack_bias(const char *name) {
    static const char *const ends[] = {".to_q", ".to_k", ".to_v"};
    if (tt_ends_with(name, ".text_projection")) return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (tt_ends_with(name, ends[i])) return strncmp(name, "unet.", strlen("unet.")) == 0;
    return false;
}

static tt_status find_bias(const tt_loader *l, const char *name, bool *has, tt_err *err) {
    char full[TT_NAME_BYTES];
    tt_tensor_info info;
    *has = tt_checkpoint_has(l->checkpoint, tt_name(full, "%s.bias", name));
    return *has || may_lack_bias(name) ? TT_OK
                                       : tt_checkpoint_info(l->checkpoint, full, &info, err);
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
    tt__job *job;
    TT_TRY(new_job(l, TT__JOB_LINEAR, prefix, names, n_names, slot, &job, err));
    for (int i = 0; i < n_names; i++) {
        tt_tensor_info info;
        bool has_bias;
        TT_TRY(matrix_info(l, job->names[i], &info, err));
        TT_TRY(find_bias(l, job->names[i], &has_bias, err));
        if (i == 0) job->n_in = info.shape[1];
        if (i == 0) job->has_bias = has_bias;
        if (info.shape[1] != job->n_in || has_bias != job->has_bias)
            return tt_fail(
                err, TT_E_FORMAT,
                "tensor %s.weight: [%lld, %lld]%s does not go with %s.weight of width %lld",
                job->names[i], (long long)info.shape[0], (long long)info.shape[1],
                has_bias ? " with bias" : "", job->names[0], (long long)job->n_in);
        job->n_out += info.shape[0];
    }
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_linear(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                         tt_err *err) {
    return tt_load_stacked(l, prefix, &name, 1, slot, err);
}

tt_status tt_load_gated(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                        tt_err *err) {
    tt__job *job;
    tt_tensor_info info;
    TT_TRY(new_job(l, TT__JOB_GATED, prefix, &name, 1, slot, &job, err));
    TT_TRY(matrix_info(l, job->names[0], &info, err));
    if (info.shape[0] % 2 != 0)
        return tt_fail(err, TT_E_FORMAT, "tensor %s.weight: %lld rows, expected an even number",
                       job->names[0], (long long)info.shape[0]);
    job->n_out = info.shape[0];
    job->n_in = info.shape[1];
    TT_TRY(find_bias(l, job->names[0], &job->has_bias, err));
    add_job(l, job);
    return TT_OK;
}

/* A convolution's job, not yet in the list. */
static tt_status conv_job(tt_loader *l, tt__job_kind kind, const char *prefix, const char *name,
                          tt_weight **slot, tt__job **out, tt_err *err) {
    tt__job *job;
    char full[TT_NAME_BYTES];
    tt_tensor_info info;
    TT_TRY(new_job(l, kind, prefix, &name, 1, slot, &job, err));
    TT_TRY(
        tt_checkpoint_info(l->checkpoint, tt_name(full, "%s.weight", job->names[0]), &info, err));
    if (info.rank == 2) info.shape[2] = info.shape[3] = 1;
    if ((info.rank != 4 && info.rank != 2) || info.shape[2] != info.shape[3] ||
        (info.shape[2] != 1 && info.shape[2] != 3))
        return tt_fail(err, TT_E_FORMAT, "tensor %s: expected a 1x1 or 3x3 convolution", full);
    job->n_out = info.shape[0];
    job->n_in = info.shape[1];
    job->conv = (tt_conv_shape){
        .c_out = job->n_out, .c_in = job->n_in, .kernel = (int)info.shape[2], .stride = 1};
    TT_TRY(find_bias(l, job->names[0], &job->has_bias, err));
    *out = job;
    return TT_OK;
}

tt_status tt_load_conv(tt_loader *l, const char *prefix, const char *name, int stride, int pad,
                       tt_weight **slot, tt_err *err) {
    tt__job *job;
    TT_TRY(conv_job(l, TT__JOB_CONV, prefix, name, slot, &job, err));
    tt_conv_shape *s = &job->conv;
    s->stride = stride;
    s->pad_top = s->pad_left = s->pad_bottom = s->pad_right = s->kernel == 1 ? 0 : pad;
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_upsample_conv(tt_loader *l, const char *prefix, const char *name,
                                tt_weight **slot, tt_err *err) {
    tt__job *job;
    TT_TRY(conv_job(l, TT__JOB_UPSAMPLE_CONV, prefix, name, slot, &job, err));
    if (job->conv.kernel == 1)
        return tt_fail(err, TT_E_FORMAT, "tensor %s.weight: expected a 3x3 convolution",
                       job->names[0]);
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_norm(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                       tt_err *err) {
    tt__job *job;
    TT_TRY(new_job(l, TT__JOB_NORM, prefix, &name, 1, slot, &job, err));
    TT_TRY(tt_load_size(l, prefix, name, 0, &job->n_out, err));
    job->n_in = 1;
    job->has_bias = true;
    add_job(l, job);
    return TT_OK;
}

tt_status tt_load_embedding(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                            tt_err *err) {
    tt__job *job;
    TT_TRY(new_job(l, TT__JOB_EMBEDDING, prefix, &name, 1, slot, &job, err));
    TT_TRY(tt_load_size(l, prefix, name, 0, &job->n_out, err));
    TT_TRY(tt_load_size(l, prefix, name, 1, &job->n_in, err));
    add_job(l, job);
    return TT_OK;
}

/* ---- loading ---------------------------------------------------------------------------------------- */

typedef struct loading { /* one thread's memory */
    tt__block plain, bias;
} loading;

tt_status tt__block_reserve(tt__block *b, size_t size, tt_err *err) {
    if (size <= b->capacity) return TT_OK;
    tt_free(b->data);
    b->capacity = 0;
    b->data = tt_alloc_aligned(size);
    if (!b->data) return tt_fail_nomem(err, "reading a tensor", size);
    b->capacity = size;
    return TT_OK;
}

tt_status tt__job_count(const tt__job *job, size_t *out, tt_err *err) {
    size_t taps = (size_t)taps_of(job), bytes;
    if (tt_mul_size((size_t)job->n_out, (size_t)job->n_in, out) && tt_mul_size(*out, taps, out) &&
        tt_mul_size(*out, sizeof(float), &bytes))
        return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "tensor %s.weight: too large", job->names[0]);
}

tt_dtype tt__job_dtype(const tt__job *job) {
    bool is_f32 = job->is_int8 || job->kind == TT__JOB_NORM || job->kind == TT__JOB_UPSAMPLE_CONV;
    return is_f32 ? TT_F32 : tt_ops_dtype(job->ops);
}

size_t tt__job_kept_bytes(const tt__job *job, size_t count) {
    enum { TAPS = 9, FOLDED_TAPS = 16 };
    size_t numbers = job->kind == TT__JOB_UPSAMPLE_CONV ? count / TAPS * FOLDED_TAPS : count;
    if (job->is_int8) return numbers;
    return numbers * tt_dtype_size(job->kind == TT__JOB_NORM ? TT_F32 : tt_ops_dtype(job->ops));
}

/* Reads the stacked weights and biases of the job into the thread's memory. */
static tt_status read_plain(const tt_loader *l, const tt__job *job, loading *t, tt_err *err) {
    tt_dtype dtype = tt__job_dtype(job);
    size_t count, element = tt_dtype_size(dtype);
    TT_TRY(tt__job_count(job, &count, err));
    TT_TRY(tt__block_reserve(&t->plain, count * element, err));
    TT_TRY(tt__block_reserve(&t->bias, (size_t)job->n_out * sizeof(float), err));
    char *plain = t->plain.data;
    float *bias = t->bias.data;
    for (int i = 0; i < job->n_names; i++) {
        char full[TT_NAME_BYTES];
        tt_tensor_info info;
        tt_name(full, "%s.weight", job->names[i]);
        TT_TRY(tt_checkpoint_info(l->checkpoint, full, &info, err));
        TT_TRY(tt_checkpoint_read(l->checkpoint, full, dtype, -1, NULL, plain, err));
        if (job->has_bias)
            TT_TRY(tt_checkpoint_read(l->checkpoint, tt_name(full, "%s.bias", job->names[i]),
                                      TT_F32, 1, &info.shape[0], bias, err));
        bias += info.shape[0];
        plain += (size_t)info.shape[0] * (size_t)job->n_in * element;
    }
    return TT_OK;
}

static tt_status pack_linear(const tt__job *job, const void *plain, const float *bias,
                             tt_weight **out, tt_err *err) {
    if (job->is_int8)
        return tt_weight_linear_int8(job->ops, plain, bias, job->n_out, job->n_in, out, err);
    return tt_weight_linear(job->ops, plain, bias, job->n_out, job->n_in, out, err);
}

static tt_status pack_gated(const tt__job *job, const void *plain, const float *bias,
                            tt_weight **out, tt_err *err) {
    int64_t n = job->n_out / 2;
    if (job->is_int8) return tt_weight_gated_int8(job->ops, plain, bias, n, job->n_in, out, err);
    return tt_weight_gated(job->ops, plain, bias, n, job->n_in, out, err);
}

static tt_status pack_upsample_conv(const tt__job *job, const float *plain, const float *bias,
                                    tt_weight **out, tt_err *err) {
    if (job->is_int8)
        return tt_weight_upsample_conv_int8(job->ops, plain, bias, job->n_out, job->n_in, out, err);
    return tt_weight_upsample_conv(job->ops, plain, bias, job->n_out, job->n_in, out, err);
}

tt_status tt__job_pack(const tt__job *job, const void *plain, const float *bias, tt_weight **out,
                       tt_err *err) {
    switch (job->kind) {
    case TT__JOB_LINEAR:
        return pack_linear(job, plain, bias, out, err);
    case TT__JOB_GATED:
        return pack_gated(job, plain, bias, out, err);
    case TT__JOB_CONV:
        if (job->is_int8) return tt_weight_conv_int8(job->ops, plain, bias, &job->conv, out, err);
        return tt_weight_conv(job->ops, plain, bias, &job->conv, out, err);
    case TT__JOB_UPSAMPLE_CONV:
        return pack_upsample_conv(job, plain, bias, out, err);
    case TT__JOB_NORM:
        return tt_weight_norm(job->ops, plain, bias, job->n_out, out, err);
    case TT__JOB_EMBEDDING:
        return tt_weight_embedding(job->ops, plain, job->n_out, job->n_in, out, err);
    }
    return TT_OK;
}

static tt_status run_job(const tt_loader *l, const tt__job *job, loading *t, tt_err *err) {
    tt_weight *packed = NULL;
    TT_TRY(read_plain(l, job, t, err));
    tt_status status =
        tt__job_pack(job, t->plain.data, job->has_bias ? t->bias.data : NULL, &packed, err);
    *job->slot = packed;
    return status;
}

tt_status tt__loader_jobs(const tt_loader *l, tt__job ***out, tt_err *err) {
    size_t bytes = (size_t)l->n_jobs * sizeof **out;
    *out = tt_alloc(bytes);
    if (!*out) return tt_fail_nomem(err, "the list of tensors", bytes);
    int n = 0;
    for (tt__job *job = l->first; job; job = job->next) (*out)[n++] = job;
    return TT_OK;
}

tt_status tt_loader_run(tt_loader *l, tt_err *err) {
    tt__job **jobs;
    TT_TRY(tt__loader_jobs(l, &jobs, err));
    tt_err first_error = {0};
    atomic_int status = TT_OK;
#pragma omp parallel
    {
        loading t = {0};
#pragma omp for schedule(dynamic)
        for (int i = 0; i < l->n_jobs; i++) {
            tt_err own;
            if (atomic_load(&status) != TT_OK) continue;
            tt_status s = run_job(l, jobs[i], &t, &own);
            if (s == TT_OK) continue;
            int none = TT_OK;
            if (atomic_compare_exchange_strong(&status, &none, (int)s)) first_error = own;
        }
        tt_free(t.plain.data);
        tt_free(t.bias.data);
    }
    tt_free(jobs);
    if (atomic_load(&status) != TT_OK && err) *err = first_error;
    return (tt_status)atomic_load(&status);
}
