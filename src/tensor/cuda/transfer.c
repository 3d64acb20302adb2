/* Between host and GPU: values of tensors, token ids, weights.
 *
 * Tensors go through pinned memory, whose size the rehearsal finds: an upload is rounded into it, queued, and not waited for. A
 * download is where a pass ends: it waits for everything before it. Weights go up through lanes of their own. */
#include <string.h>

#include "tensor/cuda/cuda.h"

/* More than this is not gathered between two waits: a picture of 2048 x 2048 in f32 fits. */
static const size_t MOST_GATHERED = (size_t)64 << 20;

enum {
    PIECE_ALIGN = 256,
    LANE_BYTES = 8 << 20, /* most weights in one piece, and four lanes cost 32 MB */
};

static size_t round_up(size_t size) {
    return (size + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
}

void tt__cuda_staging_release(tt_cuda_state *state) {
    if (state->staging.host) cudaFreeHost(state->staging.host);
    state->staging = (tt_cuda_staging){0};
}

/* Waits for all that was queued; with it, what was staged is free again. */
static tt_status wait(tt_cuda_state *state, const char *what, tt_err *err) {
    state->staging.used = 0;
    return tt__cuda_check(cudaStreamSynchronize(state->stream), what, err);
}

static void measure(tt_cuda_staging *s, size_t size) {
    s->measured += size;
    if (s->measured > MOST_GATHERED) s->measured = size;
    if (s->measured > s->wanted) s->wanted = s->measured;
}

static tt_status grow(tt_cuda_state *state, size_t size, tt_err *err) {
    tt_cuda_staging *s = &state->staging;
    size_t capacity = size > s->wanted ? size : s->wanted;
    void *host = NULL;
    if (s->host) cudaFreeHost(s->host);
    s->host = NULL;
    s->capacity = 0;
    TT_TRY(tt__cuda_check(cudaHostAlloc(&host, capacity, cudaHostAllocDefault),
                          "memory for transfers", err));
    s->host = host;
    s->capacity = capacity;
    return TT_OK;
}

static tt_status stage(tt_cuda_state *state, size_t size_bytes, void **out, tt_err *err) {
    tt_cuda_staging *s = &state->staging;
    size_t size = round_up(size_bytes);
    if (s->used + size > s->capacity) TT_TRY(wait(state, "waiting for transfers", err));
    if (size > s->capacity) TT_TRY(grow(state, size, err));
    *out = s->host + s->used;
    s->used += size;
    return TT_OK;
}

tt_status tt__cuda_upload(tt_ops *ops, const float *host, tt_tensor *y, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    tt_cuda_state *state = tt__cuda_state(ops);
    size_t count = (size_t)tt_tensor_count(y), size = count * tt_dtype_size(y->dtype);
    void *staged;
    if (ops->scratch.measuring) {
        measure(&state->staging, round_up(size));
        return TT_OK;
    }
    TT_TRY(stage(state, size, &staged, err));
    tt_convert(staged, y->dtype, host, TT_F32, count);
    return tt__cuda_check(
        cudaMemcpyAsync(y->data, staged, size, cudaMemcpyHostToDevice, state->stream), "upload",
        err);
}

tt_status tt__cuda_download(tt_ops *ops, const tt_tensor *x, float *host, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    tt_cuda_state *state = tt__cuda_state(ops);
    size_t count = (size_t)tt_tensor_count(x), size = count * tt_dtype_size(x->dtype);
    void *staged;
    if (ops->scratch.measuring) {
        measure(&state->staging, round_up(size));
        state->staging.measured = 0;
        return TT_OK;
    }
    TT_TRY(stage(state, size, &staged, err));
    TT_TRY(tt__cuda_check(
        cudaMemcpyAsync(staged, x->data, size, cudaMemcpyDeviceToHost, state->stream), "download",
        err));
    TT_TRY(wait(state, "what ran before a download", err));
    tt_convert(host, TT_F32, staged, x->dtype, count);
    return TT_OK;
}

tt_status tt__cuda_embed(tt_ops *ops, const tt_weight *table, const tt_weight *positions,
                         const int32_t *ids, tt_tensor *y, tt_err *err) {
    TT_TRY(tt__cuda_catch_up(ops, err));
    tt_cuda_state *state = tt__cuda_state(ops);
    size_t size = (size_t)tt_tensor_rows(y) * sizeof *ids;
    void *staged, *on_device;
    TT_TRY(tt_scratch_take(&ops->scratch, size, &on_device, err));
    tt_scratch_give(&ops->scratch,
                    on_device); /* the stream's order keeps it until the kernel has run */
    if (ops->scratch.measuring) {
        measure(&state->staging, round_up(size));
        return TT_OK;
    }
    TT_TRY(stage(state, size, &staged, err));
    memcpy(staged, ids, size);
    const tt_cuda_embed e = {.table = table->data,
                             .positions = positions->data,
                             .ids = on_device,
                             .y = y->data,
                             .rows = tt_tensor_rows(y),
                             .tokens = tt_tensor_tokens(y),
                             .c = y->c,
                             .bf16 = ops->dtype == TT_BF16};
    TT_TRY(tt__cuda_check(
        cudaMemcpyAsync(on_device, staged, size, cudaMemcpyHostToDevice, state->stream),
        "token ids", err));
    return tt__cuda_check(tt__cuda_launch_embed(&e, state->stream), "embedding", err);
}

/* ---- weights: from several threads at once
 * ----------------------------------------------------------------------------- */

void tt__cuda_lanes_init(tt_cuda_state *state) {
    for (int i = 0; i < TT_CUDA_LANES; i++) pthread_mutex_init(&state->lanes[i].mutex, NULL);
}

void tt__cuda_lanes_release(tt_cuda_state *state) {
    for (int i = 0; i < TT_CUDA_LANES; i++) {
        tt_cuda_lane *lane = &state->lanes[i];
        if (lane->copied) cudaEventDestroy(lane->copied);
        if (lane->host) cudaFreeHost(lane->host);
        pthread_mutex_destroy(&lane->mutex);
    }
}

static tt_status open_lane(tt_cuda_lane *lane, tt_err *err) {
    void *host = NULL;
    if (lane->host) return TT_OK;
    if (!lane->copied)
        TT_TRY(tt__cuda_check(cudaEventCreateWithFlags(&lane->copied, cudaEventDisableTiming),
                              "memory for weights on their way", err));
    TT_TRY(tt__cuda_check(cudaHostAlloc(&host, LANE_BYTES, cudaHostAllocDefault),
                          "memory for weights on their way", err));
    lane->host = host;
    return TT_OK;
}

/* Waits for what was last in the lane; the thread's own copy into it then runs beside the other lanes' transfers. */
static tt_status send(tt_cuda_state *state, tt_cuda_lane *lane, void *to, const void *from,
                      size_t size, tt_err *err) {
    TT_TRY(open_lane(lane, err));
    TT_TRY(tt__cuda_check(cudaEventSynchronize(lane->copied), "bringing a weight to the GPU", err));
    memcpy(lane->host, from, size);
    TT_TRY(
        tt__cuda_check(cudaMemcpyAsync(to, lane->host, size, cudaMemcpyHostToDevice, state->stream),
                       "bringing a weight to the GPU", err));
    return tt__cuda_check(cudaEventRecord(lane->copied, state->stream),
                          "bringing a weight to the GPU", err);
}

tt_status tt__cuda_put(tt_ops *ops, void *to, const void *from, size_t size_bytes, tt_err *err) {
    tt_cuda_state *state = tt__cuda_state(ops);
    tt_status status = TT_OK;
    for (size_t done = 0; status == TT_OK && done < size_bytes; done += LANE_BYTES) {
        size_t size = size_bytes - done < LANE_BYTES ? size_bytes - done : LANE_BYTES;
        tt_cuda_lane *lane = &state->lanes[atomic_fetch_add(&state->next_lane, 1) % TT_CUDA_LANES];
        pthread_mutex_lock(&lane->mutex);
        status = send(state, lane, (char *)to + done, (const char *)from + done, size, err);
        pthread_mutex_unlock(&lane->mutex);
    }
    return status;
}
