/* Products of any shape, stride and alignment: tiles in shared memory, one multiplication per thread and step. What the library
 * has no algorithm for is small, so this is plain. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int TILE = 16;
constexpr unsigned MOST_BATCH = 65535; /* the grid's third dimension */

template <typename In, typename Out> __global__ void gemm_kernel(tt_cuda_gemm g) {
    __shared__ float xs[TILE][TILE + 1], ws[TILE][TILE + 1];
    const int64_t batch = blockIdx.z;
    const In *x = (const In *)g.x + batch * g.x_batch, *w = (const In *)g.w + batch * g.w_batch;
    const int64_t row = (int64_t)blockIdx.x * TILE + threadIdx.y,
                  first = (int64_t)blockIdx.y * TILE;
    const int64_t o = first + threadIdx.x;
    float sum = 0;
    for (int64_t k = 0; k < g.k; k += TILE) {
        const int64_t kx = k + threadIdx.x, kw = k + threadIdx.y;
        xs[threadIdx.y][threadIdx.x] =
            row < g.rows && kx < g.k ? to_float(x[row * g.x_stride + kx]) : 0.0f;
        if (g.w_is_kn) {
            ws[threadIdx.y][threadIdx.x] =
                o < g.n_out && kw < g.k ? to_float(w[kw * g.w_stride + o]) : 0.0f;
        } else { /* read along k, kept turned */
            const int64_t wo = first + threadIdx.y;
            ws[threadIdx.x][threadIdx.y] =
                wo < g.n_out && kx < g.k ? to_float(w[wo * g.w_stride + kx]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; i++) sum += xs[threadIdx.y][i] * ws[i][threadIdx.x];
        __syncthreads();
    }
    if (row >= g.rows || o >= g.n_out) return;
    const int64_t at = batch * g.y_batch + row * g.y_stride + o;
    sum *= g.alpha;
    if (g.bias) sum += g.bias[o];
    if (g.add) sum += to_float(((const Out *)g.add)[at]);
    ((Out *)g.y)[at] = from_float<Out>(sum);
}

} // namespace

extern "C" int tt__cuda_launch_gemm(const tt_cuda_gemm *g, tt_cuda_stream stream) {
    const dim3 block(TILE, TILE);
    const dim3 grid((unsigned)ceil_div(g->rows, TILE), (unsigned)ceil_div(g->n_out, TILE),
                    (unsigned)g->batch);
    if (g->batch > MOST_BATCH) return (int)cudaErrorInvalidConfiguration;
    if (!g->in_bf16)
        gemm_kernel<float, float><<<grid, block, 0, stream>>>(*g);
    else if (g->out_bf16)
        gemm_kernel<__nv_bfloat16, __nv_bfloat16><<<grid, block, 0, stream>>>(*g);
    else
        gemm_kernel<__nv_bfloat16, float><<<grid, block, 0, stream>>>(*g);
    return (int)cudaGetLastError();
}
