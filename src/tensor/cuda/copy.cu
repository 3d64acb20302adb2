/* What only moves data: nearest upsampling and concatenation, in the largest units that the widths allow, and rounding. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int BLOCK = 256;

/* Sizes in units of sizeof(U). */
template <typename U>
__global__ void upsample_kernel(const U *x, U *y, tt_cuda_upsample u, int64_t pixel, int64_t n) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        const int64_t at = i / pixel, column = at % u.y_w, row = at / u.y_w % u.y_h;
        const int64_t picture = at / u.y_w / u.y_h;
        const int64_t source =
            (picture * u.x_h + row * u.x_h / u.y_h) * u.x_w + column * u.x_w / u.y_w;
        y[i] = x[source * pixel + i % pixel];
    }
}

template <typename U> int upsample(const tt_cuda_upsample *u, tt_cuda_stream stream) {
    const int64_t pixel = u->bytes / (int64_t)sizeof(U), n = u->n * u->y_h * u->y_w * pixel;
    upsample_kernel<<<grid_for(n, BLOCK), BLOCK, 0, stream>>>((const U *)u->x, (U *)u->y, *u, pixel,
                                                              n);
    return (int)cudaGetLastError();
}

template <typename U>
__global__ void concat_kernel(const U *a, const U *b, U *y, int64_t n, int64_t a_units,
                              int64_t b_units) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK, units = a_units + b_units;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        const int64_t row = i / units, at = i % units;
        y[i] = at < a_units ? a[row * a_units + at] : b[row * b_units + at - a_units];
    }
}

template <typename U>
int concat(const void *a, const void *b, void *y, int64_t rows, int64_t a_bytes, int64_t b_bytes,
           tt_cuda_stream stream) {
    const int64_t a_units = a_bytes / (int64_t)sizeof(U), b_units = b_bytes / (int64_t)sizeof(U);
    const int64_t n = rows * (a_units + b_units);
    concat_kernel<<<grid_for(n, BLOCK), BLOCK, 0, stream>>>((const U *)a, (const U *)b, (U *)y, n,
                                                            a_units, b_units);
    return (int)cudaGetLastError();
}

__global__ void round_kernel(const float *from, __nv_bfloat16 *to, int64_t n) {
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) to[i] = from_float<__nv_bfloat16>(from[i]);
}

} // namespace

extern "C" int tt__cuda_launch_round(const float *from, void *to_bf16, int64_t n,
                                     tt_cuda_stream stream) {
    round_kernel<<<(unsigned)ceil_div(n, BLOCK), BLOCK, 0, stream>>>(from, (__nv_bfloat16 *)to_bf16,
                                                                     n);
    return (int)cudaGetLastError();
}

extern "C" int tt__cuda_launch_upsample(const tt_cuda_upsample *u, tt_cuda_stream stream) {
    if (u->bytes % sizeof(uint4) == 0) return upsample<uint4>(u, stream);
    return upsample<uint16_t>(u, stream);
}

extern "C" int tt__cuda_launch_concat(const void *a, const void *b, void *y, int64_t rows,
                                      int64_t a_bytes, int64_t b_bytes, tt_cuda_stream stream) {
    if (a_bytes % sizeof(uint4) == 0 && b_bytes % sizeof(uint4) == 0)
        return concat<uint4>(a, b, y, rows, a_bytes, b_bytes, stream);
    return concat<uint16_t>(a, b, y, rows, a_bytes, b_bytes, stream);
}
