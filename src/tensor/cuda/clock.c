/* The GPU's own clock: an event before and one after each operation. Events are read when somebody asks, or when all of them wait
 * to be read; both wait for the GPU. */
#include "base/alloc.h"
#include "tensor/cuda/cuda.h"

enum { PAIRS = 2048 }; /* a pass of the UNet has some 1000 operations */

struct tt_cuda_clock {
    int n; /* pairs that are complete */
    cudaEvent_t begin[PAIRS], end[PAIRS];
    tt_op_time *ended[PAIRS];
};

void tt__cuda_clock_free(tt_cuda_clock *clock) {
    if (!clock) return;
    for (int i = 0; i < PAIRS; i++) {
        if (clock->begin[i]) cudaEventDestroy(clock->begin[i]);
        if (clock->end[i]) cudaEventDestroy(clock->end[i]);
    }
    tt_free(clock);
}

static tt_cuda_clock *new_clock(void) {
    tt_cuda_clock *clock = tt_alloc(sizeof *clock);
    bool good = clock != NULL;
    for (int i = 0; good && i < PAIRS; i++)
        good = cudaEventCreate(&clock->begin[i]) == cudaSuccess &&
               cudaEventCreate(&clock->end[i]) == cudaSuccess;
    if (good) return clock;
    tt__cuda_clock_free(clock);
    return NULL;
}

void tt__cuda_settle(tt_ops *ops) {
    tt_cuda_state *state = tt__cuda_state(ops);
    if (!state->clock) return;
    cudaStreamSynchronize(state->stream);
    double ms_of[TT_OP_KINDS] = {0};
    for (int i = 0; i < state->clock->n; i++) {
        float ms = 0;
        cudaEventElapsedTime(&ms, state->clock->begin[i], state->clock->end[i]);
        ms_of[state->clock->ended[i] - ops->times] += (double)ms;
    }
    for (int i = 0; i < TT_OP_KINDS; i++) ops->times[i].us += (int64_t)(ms_of[i] * 1000);
    state->clock->n = 0;
}

/* Times are a convenience: without events they stay zero, and the operations run. */
void tt__cuda_mark(tt_ops *ops, tt_op_time *ended) {
    tt_cuda_state *state = tt__cuda_state(ops);
    if (!state->clock) state->clock = new_clock();
    tt_cuda_clock *clock = state->clock;
    if (!clock) return;
    if (!ended) {
        if (clock->n == PAIRS) tt__cuda_settle(ops);
        cudaEventRecord(clock->begin[clock->n], state->stream);
        return;
    }
    cudaEventRecord(clock->end[clock->n], state->stream);
    clock->ended[clock->n++] = ended;
}
