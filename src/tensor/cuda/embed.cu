/* Token embedding plus position embedding. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int BLOCK = 256;

template <typename T> __global__ void embed_kernel(tt_cuda_embed e) {
    const int64_t n = e.rows * e.c, stride = (int64_t)gridDim.x * BLOCK;
    const T *table = (const T *)e.table, *positions = (const T *)e.positions;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        const int64_t row = i / e.c, column = i % e.c;
        const float token = to_float(table[e.ids[row] * e.c + column]);
        ((T *)e.y)[i] = from_float<T>(token + to_float(positions[row % e.tokens * e.c + column]));
    }
}

} // namespace

extern "C" int tt__cuda_launch_embed(const tt_cuda_embed *e, tt_cuda_stream stream) {
    const unsigned grid = grid_for(e->rows * e->c, BLOCK);
    if (e->bf16)
        embed_kernel<__nv_bfloat16><<<grid, BLOCK, 0, stream>>>(*e);
    else
        embed_kernel<float><<<grid, BLOCK, 0, stream>>>(*e);
    return (int)cudaGetLastError();
}
