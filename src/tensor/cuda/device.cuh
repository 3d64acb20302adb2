/* What the kernels share: two element types behind one interface, vectors of 16 bytes, sums over a warp. */
#ifndef TT_TENSOR_CUDA_DEVICE_CUH
#define TT_TENSOR_CUDA_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "tensor/cuda/kernels.h"

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ inline float to_float(float v) {
    return v;
}
__device__ inline float to_float(__nv_bfloat16 v) {
    return __bfloat162float(v);
}
template <typename T> __device__ inline T from_float(float v);
template <> __device__ inline float from_float<float>(float v) {
    return v;
}
template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
    return __float2bfloat16_rn(v);
}

/* N values that are read and written at once; N * sizeof(T) is the alignment. */
template <typename T, int N> struct alignas(N * sizeof(T)) Pack { T v[N]; };

template <typename T, int N> __device__ inline void load(const T *p, float (&out)[N]) {
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N> *>(p);
#pragma unroll
    for (int i = 0; i < N; i++) out[i] = to_float(pack.v[i]);
}

template <typename T, int N> __device__ inline void store(T *p, const float (&in)[N]) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; i++) pack.v[i] = from_float<T>(in[i]);
    *reinterpret_cast<Pack<T, N> *>(p) = pack;
}

/* Values of 16 bytes. */
template <typename T> constexpr int VECTOR = 16 / (int)sizeof(T);

__device__ inline float warp_sum(float v) {
#pragma unroll
    for (int i = WARP / 2; i > 0; i /= 2) v += __shfl_xor_sync(ALL_LANES, v, i);
    return v;
}

__device__ inline float warp_max(float v) {
#pragma unroll
    for (int i = WARP / 2; i > 0; i /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, i));
    return v;
}

inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Blocks for n items that a kernel walks with a stride of the whole grid: enough to fill any GPU, bounded. */
inline unsigned grid_for(int64_t n, int block) {
    constexpr int64_t MOST = 1 << 20;
    const int64_t blocks = ceil_div(n, block);
    return (unsigned)(blocks < 1 ? 1 : blocks > MOST ? MOST : blocks);
}

__device__ inline float silu(float x) {
    return x / (1.0f + expf(-x));
}

#endif
