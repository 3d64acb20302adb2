/* The middle of attention by products: the softmax of rows of scores, a block per row. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int BLOCK = 256;

/* The largest or the sum of every thread's v, in one order. */
template <bool MAX> __device__ float block_reduce(float v) {
    __shared__ float parts[BLOCK / WARP];
    v = MAX ? warp_max(v) : warp_sum(v);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < BLOCK / WARP; i++) v = MAX ? fmaxf(v, parts[i]) : v + parts[i];
    return v;
}

template <typename T> __global__ void __launch_bounds__(BLOCK) softmax_kernel(tt_cuda_softmax s) {
    const int64_t row = blockIdx.x, query = s.first + row % s.rows;
    const int64_t seen = s.causal && query + 1 < s.keys ? query + 1 : s.keys;
    const float *in = s.scores + row * s.keys;
    T *out = (T *)s.p + row * s.keys;
    float largest = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < seen; i += BLOCK) largest = fmaxf(largest, in[i]);
    largest = block_reduce<true>(largest);
    for (int64_t i = threadIdx.x; i < seen; i += BLOCK) sum += expf(in[i] - largest);
    const float scale = 1.0f / block_reduce<false>(sum);
    for (int64_t i = threadIdx.x; i < s.keys; i += BLOCK)
        out[i] = from_float<T>(i < seen ? expf(in[i] - largest) * scale : 0.0f);
}

} // namespace

extern "C" int tt__cuda_launch_softmax(const tt_cuda_softmax *s, tt_cuda_stream stream) {
    const unsigned grid = (unsigned)(s->heads * s->rows);
    if (s->bf16)
        softmax_kernel<__nv_bfloat16><<<grid, BLOCK, 0, stream>>>(*s);
    else
        softmax_kernel<float><<<grid, BLOCK, 0, stream>>>(*s);
    return (int)cudaGetLastError();
}
