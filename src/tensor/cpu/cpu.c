/* The table of the CPU back-end, its state, and the operations that are one call of a kernel. */
#include "tensor/cpu/cpu.h"

#include <omp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tensor/cpu/int8.h"
#include "tensor/cpu/peak.h"
#include "tensor/ref/ref.h"

bool tt_cpu_has_bf16(void) {
    return tt__cpu_features().avx512_bf16; /* every CPU with AMX has it too */
}

const tt_cpu_kernels *tt__cpu_kernels(const tt_cpu_features *features) {
#if defined(__x86_64__)
    if (features->avx512_bf16) return &tt__kernels_avx512bf16;
    if (features->avx512) return &tt__kernels_avx512;
    if (features->avx2) return &tt__kernels_avx2;
#endif
    (void)features;
    return &tt__kernels_base;
}

static void use_features(tt_cpu_state *state, tt_cpu_features features) {
    state->features = features;
    state->kernels = tt__cpu_kernels(&state->features);
}

void tt__cpu_force(tt_ops *ops, tt_cpu_level most) {
    use_features(tt__cpu_state(ops), tt__cpu_features_limited(most));
}

static void close_cpu(tt_ops *ops) {
    tt_cpu_state *state = ops->state;
    if (!state) return;
    tt__cpu_cache_free(state->cache);
    tt__dnn_close(state->dnn);
    tt_free(state);
    ops->state = NULL;
}

/* What blocks of a product are sized by; a small L2 where nobody knows. */
static int64_t l2_bytes(void) {
    enum { SMALL = 512 << 10, LARGE = 4 << 20 };
    int64_t found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found <= 0) return 2 * SMALL;
    return found < SMALL ? SMALL : found > LARGE ? LARGE : found;
}

static tt_status open_cpu(tt_ops *ops, tt_err *err) {
    tt_cpu_state *state = tt_alloc(sizeof *state);
    if (!state) return tt_fail_nomem(err, "the CPU back-end", sizeof *state);
    ops->state = state;
    use_features(state, tt__cpu_features());
    state->l2_bytes = l2_bytes();
    omp_set_num_threads(ops->n_threads);
    tt_status status = tt__dnn_open(&state->dnn, err);
    if (status == TT_OK) status = tt__cpu_cache_new(&state->cache, err);
    if (status != TT_OK) close_cpu(ops);
    return status;
}

static void begin(tt_ops *ops) {
    omp_set_num_threads(ops->n_threads);
    tt__cpu_cache_trim(tt__cpu_state(ops)->cache);
}

enum { ROWS_PER_TASK = 16, ELEMENTS_PER_TASK = 1 << 14 };

static char *element(const tt_tensor *t, int64_t i) {
    return (char *)t->data + (size_t)i * tt_dtype_size(t->dtype);
}

static tt_status layer_norm(tt_ops *ops, const tt_weight *w, float eps, const tt_tensor *x,
                            tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    const tt_cpu_kernels *kernels = tt__cpu_state(ops)->kernels;
    int64_t rows = tt_tensor_rows(x);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row += ROWS_PER_TASK)
        kernels->layer_norm(element(x, row * x->c), element(y, row * x->c), ops->dtype == TT_BF16,
                            rows - row < ROWS_PER_TASK ? rows - row : ROWS_PER_TASK, x->c, w->data,
                            w->bias, eps);
    return TT_OK;
}

static tt_status activate(tt_ops *ops, tt_activation act, const tt_tensor *x, tt_tensor *y,
                          tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    const tt_cpu_kernels *kernels = tt__cpu_state(ops)->kernels;
    int64_t count = tt_tensor_count(x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i += ELEMENTS_PER_TASK)
        kernels->activate(act, element(x, i), element(y, i), ops->dtype == TT_BF16,
                          count - i < ELEMENTS_PER_TASK ? count - i : ELEMENTS_PER_TASK);
    return TT_OK;
}

static void measure_peak(tt_ops *ops, tt_ops_peak *out) {
    tt__peak_measure(&tt__cpu_state(ops)->features, out);
}

const tt_backend tt__backend_cpu = {
    .name = "cpu",
    .shares_norms = true,
    .open = open_cpu,
    .close = close_cpu,
    .begin = begin,
    .prepare = tt__cpu_compile,
    .pack_linear = tt__cpu_pack_linear,
    .pack_conv = tt__cpu_pack_conv,
    .unpack = tt__cpu_unpack,
    .allow_int8 = tt__cpu_allow_int8,
    .pack_int8 = tt__int8_pack,
    .linear = tt__cpu_linear,
    .gated_rows = tt__cpu_gated_rows,
    .gated = tt__cpu_gated,
    .conv = tt__cpu_conv,
    .upsample_conv = tt__cpu_upsample_conv,
    .group_norm = tt__cpu_group_norm,
    .layer_norm = layer_norm,
    .attention = tt__cpu_attention,
    .activate = activate,
    .embed = tt__ref_embed, /* a few rows of a table */
    .upsample = tt__cpu_upsample,
    .concat = tt__cpu_concat,
    .upload = tt__cpu_upload,
    .download = tt__cpu_download,
    .measure_peak = measure_peak,
};
