/* Number formats: everything goes through f32, in blocks that stay in the first-level cache, so one
 * decoder and one encoder per format serve every pair. Loading a checkpoint converts seven
 * gigabytes, so the common formats are written to be vectorised, and f16 uses the processor's own
 * instructions where it has them. All paths give the same bits for every value that is a number; of
 * a NaN only that it is one. */
#include "tensor/tensor.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define WIDE __attribute__((target("avx2,f16c")))
#else
#define WIDE
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read as little-endian");

enum { BLOCK = 1024 }; /* elements converted at a time: 4 KiB of f32 */

static const struct {
    const char *name;
    size_t size;
} dtypes[TT_DTYPE_COUNT] = {
    [TT_F32] = {"F32", 4}, [TT_BF16] = {"BF16", 2},       [TT_F16] = {"F16", 2},
    [TT_F64] = {"F64", 8}, [TT_F8_E4M3] = {"F8_E4M3", 1}, [TT_F8_E5M2] = {"F8_E5M2", 1},
    [TT_I64] = {"I64", 8}, [TT_I32] = {"I32", 4},         [TT_I16] = {"I16", 2},
    [TT_I8] = {"I8", 1},   [TT_U64] = {"U64", 8},         [TT_U32] = {"U32", 4},
    [TT_U16] = {"U16", 2}, [TT_U8] = {"U8", 1},           [TT_BOOL] = {"BOOL", 1},
};

size_t tt_dtype_size(tt_dtype dtype) {
    assert((unsigned)dtype < TT_DTYPE_COUNT);
    return dtypes[dtype].size;
}

const char *tt_dtype_name(tt_dtype dtype) {
    assert((unsigned)dtype < TT_DTYPE_COUNT);
    return dtypes[dtype].name;
}

static inline float float_of_bits(uint32_t bits) {
    union {
        uint32_t u;
        float f;
    } v = {.u = bits};
    return v.f;
}

static inline uint32_t bits_of_float(float value) {
    union {
        float f;
        uint32_t u;
    } v = {.f = value};
    return v.u;
}

/* f16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Exponent and mantissa move to their f32
 * place; then the bias is corrected by 112. Subnormals get one exponent step more and lose the
 * implicit bit by a subtraction, which is exact because every f16 subnormal is a normal f32. */
static inline float f16_to_f32(uint16_t h) {
    const uint32_t exponent_mask = 0x7c00u << 13;
    const float smallest_normal = 6.103515625e-05f; /* 2^-14 */
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t body = (uint32_t)(h & 0x7fffu) << 13;
    uint32_t exponent = body & exponent_mask;
    uint32_t normal = body + (112u << 23);
    uint32_t special = body | 0x7f800000u;
    uint32_t subnormal = bits_of_float(float_of_bits(body + (113u << 23)) - smallest_normal);
    uint32_t bits = exponent == 0 ? subnormal : exponent == exponent_mask ? special : normal;
    return float_of_bits(sign | bits);
}

/* The other way, to nearest even. A number below 2^-14 is added to 0.5, whose last bit weighs 2^-24
 * like f16's smallest subnormal: the addition does the rounding. */
static inline uint16_t f32_to_f16(float value) {
    const uint32_t infinity = 0x7f800000u, overflow = 0x477ff000u /* 65520 */,
                   subnormal = 0x38800000u;
    uint32_t bits = bits_of_float(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t body = bits & 0x7fffffffu;
    uint32_t small = bits_of_float(float_of_bits(body) + 0.5f) - bits_of_float(0.5f);
    uint32_t normal = (body - (112u << 23) + 0xfffu + (body >> 13 & 1)) >> 13;
    uint32_t half = body < subnormal ? small : normal;
    half = body >= overflow ? 0x7c00u : half;
    half = body > infinity ? 0x7e00u : half;
    return (uint16_t)(sign | half);
}

static inline uint16_t load_u16(const void *p, size_t i) {
    uint16_t v;
    memcpy(&v, (const char *)p + i * sizeof v, sizeof v);
    return v;
}

static void f16_decode_plain(float *dst, const void *src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = f16_to_f32(load_u16(src, i));
}

static void f16_encode_plain(void *dst, const float *src, size_t n) {
    uint16_t *out = dst;
    for (size_t i = 0; i < n; i++) out[i] = f32_to_f16(src[i]);
}

#if defined(__x86_64__)
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") != 0; /* also says that the system saves the registers */
}

/* Not every compiler lets __builtin_cpu_supports ask for f16c. The instruction traps into the hypervisor on virtual machines,
 * some 50 us where those are nested: so it is used only where the compiler cannot ask, once per call, and only when halves
 * are involved. */
#if !defined(__clang__) && __GNUC__ >= 11
static bool has_f16c(void) {
    return has_avx2() && __builtin_cpu_supports("f16c");
}
#else
static bool has_f16c(void) {
    unsigned a, b, c = 0, d;
    const unsigned f16c = 1u << 29;
    return has_avx2() && __get_cpuid(1, &a, &b, &c, &d) && (c & f16c);
}
#endif

WIDE static size_t f16_decode_wide(float *dst, const void *src, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)((const char *)src + 2 * i));
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(half));
    }
    return i;
}

WIDE static size_t f16_encode_wide(void *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)((char *)dst + 2 * i), half);
    }
    return i;
}
#else
static bool has_avx2(void) {
    return false;
}
static bool has_f16c(void) {
    return false;
}
static size_t f16_decode_wide(float *dst, const void *src, size_t n) {
    (void)dst, (void)src, (void)n;
    return 0;
}
static size_t f16_encode_wide(void *dst, const float *src, size_t n) {
    (void)dst, (void)src, (void)n;
    return 0;
}
#endif

static void bf16_decode(float *dst, const void *src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = tt_bf16_to_f32(load_u16(src, i));
}

/* The same loop twice: compiled for every processor, and for those with 256-bit integers. */
static inline __attribute__((always_inline)) void bf16_encode_loop(uint16_t *out, const float *src,
                                                                   size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = tt_f32_to_bf16(src[i]);
}
static void bf16_encode_plain(void *dst, const float *src, size_t n) {
    bf16_encode_loop(dst, src, n);
}
WIDE static void bf16_encode_wide(void *dst, const float *src, size_t n) {
    bf16_encode_loop(dst, src, n);
}

static void f64_decode(float *dst, const void *src, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, (const char *)src + i * sizeof v, sizeof v);
        dst[i] = (float)v;
    }
}

/* E5M2 is the upper byte of an f16. */
static void e5m2_decode(float *dst, const void *src, size_t n) {
    const uint8_t *in = src;
    for (size_t i = 0; i < n; i++) dst[i] = f16_to_f32((uint16_t)(in[i] << 8));
}

/* E4M3 with its fields moved into an f16 is the same number divided by 2^(15-7); 0x7f is its only
 * NaN. */
static void e4m3_decode(float *dst, const void *src, size_t n) {
    const uint8_t *in = src;
    for (size_t i = 0; i < n; i++) {
        uint16_t half = (uint16_t)((in[i] & 0x80) << 8 | (in[i] & 0x7f) << 7);
        float value = f16_to_f32(half) * 256.0f;
        dst[i] = (in[i] & 0x7f) == 0x7f ? __builtin_nanf("") : value;
    }
}

static void decode(float *dst, const void *src, tt_dtype dtype, size_t n, bool wide) {
    size_t done = 0;
    switch (dtype) {
    case TT_F32:
        memcpy(dst, src, n * sizeof *dst);
        return;
    case TT_BF16:
        bf16_decode(dst, src, n);
        return;
    case TT_F16:
        if (wide) done = f16_decode_wide(dst, src, n);
        f16_decode_plain(dst + done, (const char *)src + 2 * done, n - done);
        return;
    case TT_F64:
        f64_decode(dst, src, n);
        return;
    case TT_F8_E4M3:
        e4m3_decode(dst, src, n);
        return;
    case TT_F8_E5M2:
        e5m2_decode(dst, src, n);
        return;
    default:
        assert(0 && "tt_convert: source is not a floating type");
        return;
    }
}

static void encode(void *dst, tt_dtype dtype, const float *src, size_t n, bool wide) {
    size_t done = 0;
    switch (dtype) {
    case TT_F32:
        memcpy(dst, src, n * sizeof *src);
        return;
    case TT_BF16:
        if (wide)
            bf16_encode_wide(dst, src, n);
        else
            bf16_encode_plain(dst, src, n);
        return;
    case TT_F16:
        if (wide) done = f16_encode_wide(dst, src, n);
        f16_encode_plain((char *)dst + 2 * done, src + done, n - done);
        return;
    default:
        assert(0 && "tt_convert: destination must be F32, BF16 or F16");
        return;
    }
}

void tt_convert(void *dst, tt_dtype dst_dtype, const void *src, tt_dtype src_dtype, size_t count) {
    if (count == 0) return;
    if (dst_dtype == src_dtype) {
        memcpy(dst, src, count * tt_dtype_size(dst_dtype));
        return;
    }
    bool wide = src_dtype == TT_F16 || dst_dtype == TT_F16 ? has_f16c() : has_avx2();
    if (dst_dtype == TT_F32) {
        decode(dst, src, src_dtype, count, wide);
        return;
    }
    float block[BLOCK];
    size_t src_size = tt_dtype_size(src_dtype), dst_size = tt_dtype_size(dst_dtype);
    for (size_t i = 0; i < count; i += BLOCK) {
        size_t n = count - i < BLOCK ? count - i : BLOCK;
        decode(block, (const char *)src + i * src_size, src_dtype, n, wide);
        encode((char *)dst + i * dst_size, dst_dtype, block, n, wide);
    }
}
