/* GroupNorm over channels-last data, with the ResBlock's additive term and SiLU folded in: two passes over x.
 *
 * A block takes a slice of the positions; a thread keeps to one vector of channels, so what belongs to the channels stays in
 * its registers. The first pass sums x - k and (x - k)^2, k the group's first value: with k inside the data's spread nothing
 * cancels, even far from zero. Each block leaves its sums per group in `partials`; every block of the second pass adds them up
 * in the same order. Widths that do not divide into vectors go through one block per group, slowly. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int MOST_CHUNKS =
    128; /* slices of positions: with a batch of two, two blocks for each processor of a large GPU */
constexpr int CHANNELS = 4096;     /* the most of the fast path: shared memory for their sums */
constexpr int ROWS_PER_THREAD = 8; /* the least work worth a block */
constexpr int MOST_GROUPS = 256;   /* of the fast path; SDXL has 32 */
constexpr int SIMPLE_BLOCK = 256;

template <typename T> constexpr int BLOCK = CHANNELS / VECTOR<T>;

/* How the threads of a block lie over [rows, channels]: `lanes` vectors wide, `rows` high. */
struct Layout {
    int lanes, rows, chunks;
    int64_t rows_per_chunk;
};

/* The place of this thread. */
struct Place {
    int row, channel; /* channel: the first of its vector */
    bool works;
};

template <typename T> __device__ Place place_of(const Layout &l) {
    const int row = (int)threadIdx.x / l.lanes;
    return {row, ((int)threadIdx.x - row * l.lanes) * VECTOR<T>, row < l.rows};
}

template <typename T>
__device__ float added(const tt_cuda_group_norm &g, int64_t n, int64_t channel) {
    return g.add ? to_float(((const T *)g.add)[n * g.add_stride + channel]) : 0.0f;
}

/* k of the group that `channel` belongs to. */
template <typename T>
__device__ float origin(const tt_cuda_group_norm &g, int64_t n, int64_t channel) {
    const int64_t width = g.c / g.groups, first = channel / width * width;
    return to_float(((const T *)g.x)[n * g.positions * g.c + first]) + added<T>(g, n, first);
}

template <typename T>
__device__ void sum_thread(const tt_cuda_group_norm &g, const Layout &l, const Place &p,
                           float *sums, float *squares) {
    constexpr int N = VECTOR<T>;
    const int64_t n = blockIdx.y, begin = blockIdx.x * l.rows_per_chunk;
    const int64_t end =
        begin + l.rows_per_chunk < g.positions ? begin + l.rows_per_chunk : g.positions;
    const T *x = (const T *)g.x + n * g.positions * g.c + p.channel;
    float shift[N], sum[N] = {}, square[N] = {}, v[N];
#pragma unroll
    for (int i = 0; i < N; i++)
        shift[i] = origin<T>(g, n, p.channel + i) - added<T>(g, n, p.channel + i);
#pragma unroll 4
    for (int64_t row = begin + p.row; row < end; row += l.rows) {
        load<T, N>(x + row * g.c, v);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float d = v[i] - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
    store<float, N>(sums + p.row * g.c + p.channel, sum);
    store<float, N>(squares + p.row * g.c + p.channel, square);
}

template <typename T>
__global__ void __launch_bounds__(BLOCK<T>) sums_kernel(tt_cuda_group_norm g, Layout l) {
    __shared__ alignas(32) float sums[CHANNELS], squares[CHANNELS];
    const Place p = place_of<T>(l);
    if (p.works) sum_thread<T>(g, l, p, sums, squares);
    __syncthreads();
    const int width = (int)(g.c / g.groups), lane = threadIdx.x % WARP;
    for (int group = threadIdx.x / WARP; group < g.groups; group += BLOCK<T> / WARP) {
        float sum = 0, square = 0;
        for (int i = lane; i < l.rows * width; i += WARP) {
            const int at = i / width * (int)g.c + group * width + i % width;
            sum += sums[at];
            square += squares[at];
        }
        sum = warp_sum(sum);
        square = warp_sum(square);
        if (lane == 0) {
            float *out = g.partials + ((blockIdx.y * g.groups + group) * l.chunks + blockIdx.x) * 2;
            out[0] = sum;
            out[1] = square;
        }
    }
}

/* Mean and 1 / deviation of each group of picture n, into shared memory. */
template <typename T>
__device__ void statistics(const tt_cuda_group_norm &g, const Layout &l, int64_t n, float *mean,
                           float *scale) {
    const int64_t width = g.c / g.groups;
    const float count = (float)(g.positions * width);
    const int lane = threadIdx.x % WARP;
    for (int group = threadIdx.x / WARP; group < g.groups; group += BLOCK<T> / WARP) {
        const float *in = g.partials + (n * g.groups + group) * l.chunks * 2;
        float sum = 0, square = 0;
        for (int i = lane; i < l.chunks; i += WARP) {
            sum += in[2 * i];
            square += in[2 * i + 1];
        }
        const float m = warp_sum(sum) / count, variance = warp_sum(square) / count - m * m;
        if (lane == 0) {
            mean[group] = m + origin<T>(g, n, group * width);
            scale[group] = 1.0f / sqrtf(fmaxf(variance, 0.0f) + g.eps);
        }
    }
    __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(BLOCK<T>) normalize_kernel(tt_cuda_group_norm g, Layout l) {
    constexpr int N = VECTOR<T>;
    __shared__ float mean[MOST_GROUPS], scale[MOST_GROUPS];
    const int64_t n = blockIdx.y, begin = blockIdx.x * l.rows_per_chunk;
    const int64_t end =
        begin + l.rows_per_chunk < g.positions ? begin + l.rows_per_chunk : g.positions;
    const Place p = place_of<T>(l);
    statistics<T>(g, l, n, mean, scale);
    if (!p.works) return;
    float centre[N], factor[N], beta[N], v[N];
    load<float, N>(g.gamma + p.channel, factor);
    load<float, N>(g.beta + p.channel, beta);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int group = (p.channel + i) / (int)(g.c / g.groups);
        centre[i] = mean[group] - added<T>(g, n, p.channel + i);
        factor[i] *= scale[group];
    }
    const int64_t offset = n * g.positions * g.c + p.channel;
    for (int64_t row = begin + p.row; row < end; row += l.rows) {
        load<T, N>((const T *)g.x + offset + row * g.c, v);
#pragma unroll
        for (int i = 0; i < N; i++) {
            v[i] = (v[i] - centre[i]) * factor[i] + beta[i];
            if (g.silu) v[i] = silu(v[i]);
        }
        store<T, N>((T *)g.y + offset + row * g.c, v);
    }
}

/* ---- any width -------------------------------------------------------------------------------------- */

__device__ float block_sum(float v) {
    __shared__ float parts[SIMPLE_BLOCK / WARP];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = v;
    __syncthreads();
    v = 0;
    for (int i = 0; i < SIMPLE_BLOCK / WARP; i++) v += parts[i];
    return v;
}

/* Value i of this block's group. */
template <typename T>
__device__ float value(const tt_cuda_group_norm &g, int64_t i, int64_t *at, int64_t *channel) {
    const int64_t width = g.c / g.groups;
    *channel = blockIdx.x * width + i % width;
    *at = (blockIdx.y * g.positions + i / width) * g.c + *channel;
    return to_float(((const T *)g.x)[*at]) + added<T>(g, blockIdx.y, *channel);
}

template <typename T> __global__ void simple_kernel(tt_cuda_group_norm g) {
    const int64_t n = g.positions * (g.c / g.groups);
    int64_t at, channel;
    float sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += SIMPLE_BLOCK) sum += value<T>(g, i, &at, &channel);
    const float mean = block_sum(sum) / (float)n;
    sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += SIMPLE_BLOCK) {
        const float d = value<T>(g, i, &at, &channel) - mean;
        sum += d * d;
    }
    const float scale = 1.0f / sqrtf(block_sum(sum) / (float)n + g.eps);
    for (int64_t i = threadIdx.x; i < n; i += SIMPLE_BLOCK) {
        const float d = value<T>(g, i, &at, &channel) - mean;
        const float v = d * scale * g.gamma[channel] + g.beta[channel];
        ((T *)g.y)[at] = from_float<T>(g.silu ? silu(v) : v);
    }
}

template <typename T> bool is_fast(const tt_cuda_group_norm *g) {
    return g->c % VECTOR<T> == 0 && g->c <= CHANNELS && g->groups <= MOST_GROUPS;
}

template <typename T> Layout layout_of(const tt_cuda_group_norm *g) {
    Layout l;
    l.lanes = (int)(g->c / VECTOR<T>);
    l.rows = BLOCK<T> / l.lanes;
    const int64_t chunks = ceil_div(g->positions, (int64_t)l.rows * ROWS_PER_THREAD);
    l.chunks = (int)(chunks < MOST_CHUNKS ? chunks : MOST_CHUNKS);
    l.rows_per_chunk = ceil_div(g->positions, l.chunks);
    return l;
}

template <typename T> int launch(const tt_cuda_group_norm *g, tt_cuda_stream stream) {
    if (!is_fast<T>(g)) {
        simple_kernel<T>
            <<<dim3((unsigned)g->groups, (unsigned)g->n), SIMPLE_BLOCK, 0, stream>>>(*g);
        return (int)cudaGetLastError();
    }
    const Layout l = layout_of<T>(g);
    const dim3 grid((unsigned)l.chunks, (unsigned)g->n);
    sums_kernel<T><<<grid, BLOCK<T>, 0, stream>>>(*g, l);
    normalize_kernel<T><<<grid, BLOCK<T>, 0, stream>>>(*g, l);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int64_t tt__cuda_group_norm_floats(int64_t n, int64_t groups) {
    return n * groups * MOST_CHUNKS * 2;
}

extern "C" int tt__cuda_launch_group_norm(const tt_cuda_group_norm *g, tt_cuda_stream stream) {
    return g->bf16 ? launch<__nv_bfloat16>(g, stream) : launch<float>(g, stream);
}
