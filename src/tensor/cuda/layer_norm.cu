/* LayerNorm: one warp per row, which keeps the row in registers, so that x is read once and the variance is taken around the
 * mean. Rows that are too wide or do not divide into vectors are read three times. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int ROWS = 4; /* warps of a block */

template <typename T> __device__ int64_t my_row() {
    return (int64_t)blockIdx.x * ROWS + threadIdx.x / WARP;
}

/* c <= VECTORS * 32 * VECTOR<T> */
template <typename T, int VECTORS>
__global__ void __launch_bounds__(ROWS *WARP) rows_kernel(tt_cuda_layer_norm l) {
    constexpr int N = VECTOR<T>;
    const int64_t row = my_row<T>();
    const int lane = threadIdx.x % WARP, vectors = (int)(l.c / N);
    if (row >= l.rows) return;
    float v[VECTORS][N], sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int at = i * WARP + lane;
        if (at < vectors) load<T, N>((const T *)l.x + row * l.c + at * N, v[i]);
#pragma unroll
        for (int j = 0; j < N; j++) sum += at < vectors ? v[i][j] : 0.0f;
    }
    const float mean = warp_sum(sum) / (float)l.c;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int at = i * WARP + lane;
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float d = at < vectors ? v[i][j] - mean : 0.0f;
            squares += d * d;
        }
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / (float)l.c + l.eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int at = i * WARP + lane;
        if (at >= vectors) break;
        float gamma[N], beta[N];
        load<float, N>(l.gamma + at * N, gamma);
        load<float, N>(l.beta + at * N, beta);
#pragma unroll
        for (int j = 0; j < N; j++) v[i][j] = (v[i][j] - mean) * scale * gamma[j] + beta[j];
        store<T, N>((T *)l.y + row * l.c + at * N, v[i]);
    }
}

template <typename T>
__global__ void __launch_bounds__(ROWS *WARP) any_kernel(tt_cuda_layer_norm l) {
    const int64_t row = my_row<T>();
    const int lane = threadIdx.x % WARP;
    if (row >= l.rows) return;
    const T *x = (const T *)l.x + row * l.c;
    float sum = 0, squares = 0;
    for (int64_t i = lane; i < l.c; i += WARP) sum += to_float(x[i]);
    const float mean = warp_sum(sum) / (float)l.c;
    for (int64_t i = lane; i < l.c; i += WARP) {
        const float d = to_float(x[i]) - mean;
        squares += d * d;
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / (float)l.c + l.eps);
    for (int64_t i = lane; i < l.c; i += WARP)
        ((T *)l.y)[row * l.c + i] =
            from_float<T>((to_float(x[i]) - mean) * scale * l.gamma[i] + l.beta[i]);
}

template <typename T> int launch(const tt_cuda_layer_norm *l, tt_cuda_stream stream) {
    constexpr int64_t STEP = WARP * VECTOR<T>; /* channels that a warp reads at once */
    const unsigned grid = (unsigned)ceil_div(l->rows, ROWS);
    if (l->c % VECTOR<T> != 0 || l->c > 16 * STEP)
        any_kernel<T><<<grid, ROWS * WARP, 0, stream>>>(*l);
    else if (l->c <= 3 * STEP)
        rows_kernel<T, 3><<<grid, ROWS * WARP, 0, stream>>>(*l);
    else if (l->c <= 5 * STEP)
        rows_kernel<T, 5><<<grid, ROWS * WARP, 0, stream>>>(*l);
    else if (l->c <= 10 * STEP)
        rows_kernel<T, 10><<<grid, ROWS * WARP, 0, stream>>>(*l);
    else
        rows_kernel<T, 16><<<grid, ROWS * WARP, 0, stream>>>(*l);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int tt__cuda_launch_layer_norm(const tt_cuda_layer_norm *l, tt_cuda_stream stream) {
    return l->bf16 ? launch<__nv_bfloat16>(l, stream) : launch<float>(l, stream);
}
