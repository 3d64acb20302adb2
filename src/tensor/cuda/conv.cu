/* What convolutions need besides cuDNN: weights with their channels last, and the matrix whose product with them is the
 * convolution, for the shapes that cuDNN has no engine for or where it is not installed. */
#include "tensor/cuda/device.cuh"

namespace {

constexpr int BLOCK = 256;

template <typename U>
__global__ void repack_kernel(const U *from, U *to, int64_t n, int64_t c_in, int64_t taps) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        const int64_t c = i % c_in, tap = i / c_in % taps, o = i / c_in / taps;
        to[i] = from[(o * c_in + c) * taps + tap];
    }
}

/* c in units of sizeof(U). */
template <typename U> __global__ void im2col_kernel(tt_cuda_im2col m, int64_t c, int64_t n) {
    const int64_t stride = (int64_t)gridDim.x * BLOCK;
    const int64_t taps = m.kernel * m.kernel;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += stride) {
        const int64_t row = m.first + i / c / taps;
        const int tap = (int)(i / c % taps);
        const int64_t x = row % m.y_w * m.stride + tap % m.kernel - m.pad_left;
        const int64_t y = row / m.y_w % m.y_h * m.stride + tap / m.kernel - m.pad_top;
        const int64_t picture = row / m.y_w / m.y_h;
        const bool inside = x >= 0 && x < m.x_w && y >= 0 && y < m.x_h;
        ((U *)m.columns)[i] =
            inside ? ((const U *)m.x)[((picture * m.x_h + y) * m.x_w + x) * c + i % c] : U{};
    }
}

template <typename U> int im2col(const tt_cuda_im2col *m, tt_cuda_stream stream) {
    const int64_t c = m->c * m->size / (int64_t)sizeof(U), n = m->rows * m->kernel * m->kernel * c;
    im2col_kernel<U><<<grid_for(n, BLOCK), BLOCK, 0, stream>>>(*m, c, n);
    return (int)cudaGetLastError();
}

template <typename U>
int repack(const void *from, void *to, int64_t n, int64_t c_in, int64_t taps,
           tt_cuda_stream stream) {
    repack_kernel<<<grid_for(n, BLOCK), BLOCK, 0, stream>>>((const U *)from, (U *)to, n, c_in,
                                                            taps);
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int tt__cuda_launch_repack(const void *from, void *to, int64_t c_out, int64_t c_in,
                                      int64_t taps, int64_t size, tt_cuda_stream stream) {
    const int64_t n = c_out * c_in * taps;
    return size == sizeof(uint16_t) ? repack<uint16_t>(from, to, n, c_in, taps, stream)
                                    : repack<uint32_t>(from, to, n, c_in, taps, stream);
}

extern "C" int tt__cuda_launch_im2col(const tt_cuda_im2col *m, tt_cuda_stream stream) {
    if (m->c * m->size % (int64_t)sizeof(uint4) == 0) return im2col<uint4>(m, stream);
    if (m->size == sizeof(uint16_t)) return im2col<uint16_t>(m, stream);
    return im2col<uint32_t>(m, stream);
}
