/* Everything elementwise: activations by themselves, and what follows a product. One pass, 16 bytes per thread and step where
 * the width allows it. */
#include "tensor/cuda/device.cuh"
#include "tensor/ops.h"

namespace {

constexpr int BLOCK = 256;
constexpr float QUICK_GELU_SLOPE = 1.702f;   /* OpenAI CLIP's sigmoid approximation */
constexpr float GELU_TANH_CUBIC = 0.044715f; /* Hendrycks and Gimpel 2016 */
constexpr float SQRT_HALF = 0.70710678118654752f, SQRT_2_OVER_PI = 0.79788456080286536f;

template <int ACT> __device__ float activate(float x) {
    if (ACT == TT_ACT_SILU) return silu(x);
    if (ACT == TT_ACT_GELU) return x * 0.5f * (1.0f + erff(x * SQRT_HALF));
    if (ACT == TT_ACT_QUICK_GELU) return x / (1.0f + expf(-QUICK_GELU_SLOPE * x));
    if (ACT == TT_ACT_GELU_TANH)
        return x * 0.5f * (1.0f + tanhf(SQRT_2_OVER_PI * (x + GELU_TANH_CUBIC * x * x * x)));
    if (ACT == TT_ACT_RELU) return x > 0 ? x : 0;
    return x;
}

template <int N> __device__ void add_bias(const float *bias, int64_t column, float (&v)[N]) {
    float b[N];
    if (!bias) return;
    load<float, N>(bias + column, b);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] += b[j];
}

/* n vectors of N values; a row is c values, and c % N == 0. */
template <typename T, int N, int ACT>
__global__ void __launch_bounds__(BLOCK) epilogue_kernel(tt_cuda_epilogue e, int64_t n) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        float v[N], other[N];
        load<T, N>((const T *)e.x + i * N, v);
        add_bias<N>(e.bias, i * N % e.c, v);
#pragma unroll
        for (int j = 0; j < N; j++) v[j] = activate<ACT>(v[j]);
        if (e.mul) {
            load<T, N>((const T *)e.mul + i * N, other);
#pragma unroll
            for (int j = 0; j < N; j++) v[j] *= other[j];
        }
        if (e.add) {
            load<T, N>((const T *)e.add + i * N, other);
#pragma unroll
            for (int j = 0; j < N; j++) v[j] += other[j];
        }
        store<T, N>((T *)e.y + i * N, v);
    }
}

template <typename T, int N, int ACT>
__global__ void __launch_bounds__(BLOCK) gated_kernel(tt_cuda_gated g, int64_t n) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        float v[N], gate[N];
        load<T, N>((const T *)g.x + i * N, v);
        load<T, N>((const T *)g.gate + i * N, gate);
        add_bias<N>(g.bias, i * N % g.c, v);
        add_bias<N>(g.gate_bias, i * N % g.c, gate);
#pragma unroll
        for (int j = 0; j < N; j++) v[j] *= activate<ACT>(gate[j]);
        store<T, N>((T *)g.y + i * N, v);
    }
}

template <typename T, int N, int ACT>
int launch_as(const tt_cuda_epilogue *e, tt_cuda_stream stream) {
    const int64_t n = e->rows * e->c / N;
    epilogue_kernel<T, N, ACT><<<grid_for(n, BLOCK), BLOCK, 0, stream>>>(*e, n);
    return (int)cudaGetLastError();
}

/* Whether rows of c divide into vectors of n, and all places suit them. */
bool is_wide(int64_t c, int n, uintptr_t places, uintptr_t biases) {
    return c % n == 0 && places % 16 == 0 && biases % (n * sizeof(float)) == 0;
}

template <typename T, int ACT> int launch_typed(const tt_cuda_epilogue *e, tt_cuda_stream stream) {
    const uintptr_t places =
        (uintptr_t)e->x | (uintptr_t)e->mul | (uintptr_t)e->add | (uintptr_t)e->y;
    return is_wide(e->c, VECTOR<T>, places, (uintptr_t)e->bias)
               ? launch_as<T, VECTOR<T>, ACT>(e, stream)
               : launch_as<T, 1, ACT>(e, stream);
}

template <typename T, int N, int ACT> int launch_as(const tt_cuda_gated *g, tt_cuda_stream stream) {
    const int64_t n = g->rows * g->c / N;
    gated_kernel<T, N, ACT><<<grid_for(n, BLOCK), BLOCK, 0, stream>>>(*g, n);
    return (int)cudaGetLastError();
}

template <typename T, int ACT> int launch_typed(const tt_cuda_gated *g, tt_cuda_stream stream) {
    const uintptr_t places = (uintptr_t)g->x | (uintptr_t)g->gate | (uintptr_t)g->y;
    const uintptr_t biases = (uintptr_t)g->bias | (uintptr_t)g->gate_bias;
    return is_wide(g->c, VECTOR<T>, places, biases) ? launch_as<T, VECTOR<T>, ACT>(g, stream)
                                                    : launch_as<T, 1, ACT>(g, stream);
}

template <int ACT, typename Args> int launch(const Args *a, tt_cuda_stream stream) {
    return a->bf16 ? launch_typed<__nv_bfloat16, ACT>(a, stream)
                   : launch_typed<float, ACT>(a, stream);
}

template <typename Args> int launch_any(const Args *a, tt_cuda_stream stream) {
    switch (a->act) {
    case TT_ACT_SILU:
        return launch<TT_ACT_SILU>(a, stream);
    case TT_ACT_GELU:
        return launch<TT_ACT_GELU>(a, stream);
    case TT_ACT_QUICK_GELU:
        return launch<TT_ACT_QUICK_GELU>(a, stream);
    case TT_ACT_GELU_TANH:
        return launch<TT_ACT_GELU_TANH>(a, stream);
    case TT_ACT_RELU:
        return launch<TT_ACT_RELU>(a, stream);
    default:
        return launch<TT_ACT_NONE>(a, stream);
    }
}

} // namespace

extern "C" int tt__cuda_launch_epilogue(const tt_cuda_epilogue *e, tt_cuda_stream stream) {
    return launch_any(e, stream);
}

extern "C" int tt__cuda_launch_gated(const tt_cuda_gated *g, tt_cuda_stream stream) {
    return launch_any(g, stream);
}
