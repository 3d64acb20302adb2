/* Attention without a score matrix (Dao 2023, "FlashAttention-2"), in bf16 on the tensor cores that every GPU since Ampere has
 * (mma.m16n8k16).
 *
 * A block takes 128 queries of one head, 16 per warp, and walks the keys in tiles of 64. While one tile is worked on, cp.async
 * brings the next. Scores never leave the registers: the accumulators of q k^T are, rounded to bf16, already in the layout that
 * the product with v reads. The running maximum and sum of each row (f32) rescale what was summed so far.
 *
 * Tiles lie in shared memory in rows of D values; the 16-byte pieces of a row are permuted by the row's number, so that neither
 * cp.async nor ldmatrix meets a bank twice. Heads narrower than D are padded with zeros there. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int WARPS = 8, BLOCK = WARPS * WARP;
constexpr int QUERIES = WARPS * 16, KEYS = 64; /* of a block; of a tile */
constexpr int PIECE = 8;                       /* values in 16 bytes */
constexpr float LOG2_E = 1.4426950408889634f;

using bf16 = __nv_bfloat16;

/* ---- one line of assembly each ---------------------------------------------------------------------- */

__device__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes, or 16 zeros where `there` is false. */
__device__ void copy_async(bf16 *to, const bf16 *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(there ? 16 : 0));
}

__device__ void commit() {
    asm volatile("cp.async.commit_group;");
}

/* Until at most N groups are on their way. */
template <int N> __device__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N));
}

__device__ void load_matrices(uint32_t (&r)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

__device__ void load_transposed(uint32_t (&r)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

__device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ float power_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ uint32_t two_bf16(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

/* ---- tiles ------------------------------------------------------------------------------------------ */

template <int D> __device__ bf16 *piece_of(bf16 *tile, int row, int piece) {
    return tile + (row * (D / PIECE) + (piece ^ (row % PIECE))) * PIECE;
}

/* Rows first .. first + ROWS of a head into a tile; rows from `limit` on are zeros. */
template <int D, int ROWS>
__device__ void fetch(bf16 *tile, const bf16 *head, int64_t stride, int64_t first, int64_t limit,
                      int64_t head_dim) {
    constexpr int PIECES = D / PIECE;
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * PIECES; i += BLOCK) {
        const int row = i / PIECES, piece = i % PIECES;
        const bool there = first + row < limit && piece * PIECE < head_dim;
        copy_async(piece_of<D>(tile, row, piece),
                   there ? head + (first + row) * stride + piece * PIECE : head, there);
    }
}

/* ---- the work of one warp on one tile --------------------------------------------------------------- */

template <int D>
struct Rows { /* of 16 queries: a thread has parts of rows lane / 4 and lane / 4 + 8 */
    uint32_t q[D / 16][4];
    float out[D / 8][4];
    float largest[2], sum[2]; /* in powers of two: of scores times scale */
};

template <int D> __device__ void scores(const Rows<D> &r, bf16 *keys, float (&s)[KEYS / 8][4]) {
    const int lane = threadIdx.x % WARP, matrix = lane / 8;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
#pragma unroll
    for (int step = 0; step < D / 16; step++)
#pragma unroll
        for (int pair = 0; pair < KEYS / 16; pair++) {
            uint32_t b[4];
            load_matrices(
                b, piece_of<D>(keys, pair * 16 + matrix / 2 * 8 + lane % 8, step * 2 + matrix % 2));
            multiply_add(s[2 * pair], r.q[step], b[0], b[1]);
            multiply_add(s[2 * pair + 1], r.q[step], b[2], b[3]);
        }
}

/* Hides keys beyond the last and, where causal, those after the query. first_key, first_query: of the tile, of the warp. */
__device__ void mask(float (&s)[KEYS / 8][4], int64_t first_key, int64_t first_query, int64_t keys,
                     bool causal) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int64_t key = first_key + i * 8 + lane % 4 * 2 + j % 2;
            const int64_t query = first_query + lane / 4 + j / 2 * 8;
            if (key >= keys || (causal && key > query)) s[i][j] = -INFINITY;
        }
}

/* Scores to probabilities, not yet divided by their sum; rescales what came before. */
template <int D> __device__ void soften(Rows<D> &r, float (&s)[KEYS / 8][4], float scale) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = r.largest[half], sum = 0;
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++)
            largest = fmaxf(largest, fmaxf(s[i][2 * half], s[i][2 * half + 1]) * scale);
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
            for (int j = 2 * half; j < 2 * half + 2; j++) {
                s[i][j] = power_of_2(s[i][j] * scale - largest);
                sum += s[i][j];
            }
        const float before = power_of_2(r.largest[half] - largest);
        r.sum[half] =
            r.sum[half] * before + sum; /* this thread's columns; the four parts meet at the end */
        r.largest[half] = largest;
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            r.out[i][2 * half] *= before;
            r.out[i][2 * half + 1] *= before;
        }
    }
}

template <int D>
__device__ void add_values(Rows<D> &r, const float (&p)[KEYS / 8][4], bf16 *values) {
    const int lane = threadIdx.x % WARP, matrix = lane / 8;
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++) {
        const uint32_t a[4] = {two_bf16(p[2 * step][0], p[2 * step][1]),
                               two_bf16(p[2 * step][2], p[2 * step][3]),
                               two_bf16(p[2 * step + 1][0], p[2 * step + 1][1]),
                               two_bf16(p[2 * step + 1][2], p[2 * step + 1][3])};
#pragma unroll
        for (int pair = 0; pair < D / 16; pair++) {
            uint32_t b[4];
            load_transposed(b, piece_of<D>(values, step * 16 + matrix % 2 * 8 + lane % 8,
                                           pair * 2 + matrix / 2));
            multiply_add(r.out[2 * pair], a, b[0], b[1]);
            multiply_add(r.out[2 * pair + 1], a, b[2], b[3]);
        }
    }
}

template <int D>
__device__ void write_out(Rows<D> &r, const tt_cuda_flash &f, bf16 *head, int64_t first_query) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = r.sum[half];
        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        const int64_t query = first_query + lane / 4 + half * 8;
        if (query >= f.queries) continue;
        uint32_t *row = (uint32_t *)(head + query * f.y_stride);
#pragma unroll
        for (int i = 0; i < D / 8; i++)
            if (i * 8 < f.head_dim)
                row[i * 4 + lane % 4] =
                    two_bf16(r.out[i][2 * half] / sum, r.out[i][2 * half + 1] / sum);
    }
}

/* ---- a block ---------------------------------------------------------------------------------------- */

template <int D> constexpr int SHARED_BYTES = (QUERIES + 4 * KEYS) * D *(int)sizeof(bf16);

template <int D> __device__ void begin_rows(Rows<D> &r, bf16 *queries) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int step = 0; step < D / 16; step++)
        load_matrices(r.q[step], piece_of<D>(queries, warp * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int i = 0; i < D / 8; i++) r.out[i][0] = r.out[i][1] = r.out[i][2] = r.out[i][3] = 0;
    r.largest[0] = r.largest[1] = -INFINITY;
    r.sum[0] = r.sum[1] = 0;
}

template <int D>
__global__ void __launch_bounds__(BLOCK, D == 64 ? 2 : 1)
    flash_kernel(tt_cuda_flash f, float scale) {
    extern __shared__ __align__(128) bf16 shared[];
    constexpr int TILE = KEYS * D;
    bf16 *const queries = shared, *const keys = shared + QUERIES * D,
                *const values = keys + 2 * TILE;
    const int64_t n = blockIdx.z, offset = blockIdx.y * f.head_dim,
                  first = (int64_t)blockIdx.x * QUERIES;
    const bf16 *q = (const bf16 *)f.q + n * f.queries * f.q_stride + offset;
    const bf16 *k = (const bf16 *)f.k + n * f.keys * f.k_stride + offset;
    const bf16 *v = (const bf16 *)f.v + n * f.keys * f.v_stride + offset;
    const int64_t mine = first + threadIdx.x / WARP * 16; /* this warp's first query */
    const int64_t seen = f.causal && first + QUERIES < f.keys ? first + QUERIES : f.keys;
    const int tiles = (int)((seen + KEYS - 1) / KEYS);
    Rows<D> r;

    fetch<D, QUERIES>(queries, q, f.q_stride, first, f.queries, f.head_dim);
    fetch<D, KEYS>(keys, k, f.k_stride, 0, f.keys, f.head_dim);
    fetch<D, KEYS>(values, v, f.v_stride, 0, f.keys, f.head_dim);
    commit();
    for (int t = 0; t < tiles; t++) {
        const int64_t next = (int64_t)(t + 1) * KEYS;
        if (t + 1 < tiles) {
            fetch<D, KEYS>(keys + (t + 1) % 2 * TILE, k, f.k_stride, next, f.keys, f.head_dim);
            fetch<D, KEYS>(values + (t + 1) % 2 * TILE, v, f.v_stride, next, f.keys, f.head_dim);
        }
        commit();
        wait<1>();
        __syncthreads();
        if (t == 0) begin_rows<D>(r, queries);
        float s[KEYS / 8][4];
        scores<D>(r, keys + t % 2 * TILE, s);
        if (next > f.keys || (f.causal && next > mine))
            mask(s, next - KEYS, mine, f.keys, f.causal);
        soften<D>(r, s, scale);
        add_values<D>(r, s, values + t % 2 * TILE);
        __syncthreads(); /* the next round overwrites this tile */
    }
    write_out<D>(r, f, (bf16 *)f.y + n * f.queries * f.y_stride + offset, mine);
}

template <int D> int launch(const tt_cuda_flash *f, tt_cuda_stream stream) {
    const cudaError_t status = cudaFuncSetAttribute(
        flash_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES<D>);
    if (status != cudaSuccess) return (int)status;
    const dim3 grid((unsigned)ceil_div(f->queries, QUERIES), (unsigned)f->heads, (unsigned)f->n);
    const float scale = LOG2_E / sqrtf((float)f->head_dim);
    flash_kernel<D><<<grid, BLOCK, SHARED_BYTES<D>, stream>>>(*f, scale);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int tt__cuda_launch_flash(const tt_cuda_flash *f, tt_cuda_stream stream) {
    return f->head_dim <= 64 ? launch<64>(f, stream) : launch<128>(f, stream);
}
