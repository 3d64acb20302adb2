/* See peak.h. Each loop keeps as many sums as hide the latency of its instruction (five cycles at two a cycle for
 * multiply-adds; tiles have only eight registers and need four). Every thread takes its own time between barriers, and the
 * rates are added: waking the threads is no part of it.
 *
 * What is multiplied looks like a network's: of both signs, many small, few large. With zeros, or with tiles that stay the same, the
 * unit needs less power and the clock stays a fifth higher than it ever is in a product; so the loops over tiles load other numbers
 * in each step, from L1, beside the multiplications and without delaying them. */
#include "tensor/cpu/peak.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { VECTOR_STEPS = 100000, TILE_STEPS = 12000, SUMS = 12, TILES = 4, ROUNDS = 12 };
enum { TILE_BYTES = 1024, LINE_BYTES = 64, SETS = 4 /* of tiles: 16 KiB */ };

/* What registers are filled with: tiles' worth of bf16 or f32 numbers, or of bytes. */
typedef struct values {
    _Alignas(64) unsigned char bytes[SETS][TILES][TILE_BYTES];
} values;

typedef struct loop {
    const char *instruction;
    void (*run)(const values *v);
    double flops; /* of one run */
} loop;

static const double US_PER_S = 1e6;

#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR_FLOPS(per_instruction) ((double)VECTOR_STEPS * SUMS * 2 * (per_instruction))
#define TILE_FLOPS(depth)             ((double)TILE_STEPS * TILES * 2 * 16 * 16 * (depth))

/* `instruction` lacks the number of the register with the sum; its factors are registers 0 and 13. In assembly, because compilers
 * like to keep sums that nobody reads in memory, which then is what is measured. */
#define VECTOR_LOOP(name, load, instruction)                                                      \
    static void name(const values *v) {                                                           \
        int steps = VECTOR_STEPS;                                                                 \
        __asm__ volatile("vzeroall\n" load "1:\n" instruction "1\n" instruction "2\n" instruction \
                         "3\n" instruction "4\n" instruction "5\n" instruction "6\n" instruction  \
                         "7\n" instruction "8\n" instruction "9\n" instruction "10\n" instruction \
                         "11\n" instruction "12\n"                                                \
                         "subl $1, %0\n"                                                          \
                         "jnz 1b\n"                                                               \
                         "vzeroupper\n"                                                           \
                         : "+r"(steps)                                                            \
                         : "r"(v->bytes), "m"(*v)                                                 \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",  \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); \
    }

#define LOAD_YMM "vmovups (%1), %%ymm0\n vmovups 64(%1), %%ymm13\n"
#define LOAD_ZMM "vmovups (%1), %%zmm0\n vmovups 64(%1), %%zmm13\n"

VECTOR_LOOP(run_avx2, LOAD_YMM, "vfmadd231ps %%ymm0, %%ymm13, %%ymm")
VECTOR_LOOP(run_avx512, LOAD_ZMM, "vfmadd231ps %%zmm0, %%zmm13, %%zmm")
VECTOR_LOOP(run_pairs, LOAD_ZMM, "vdpbf16ps %%zmm0, %%zmm13, %%zmm")
VECTOR_LOOP(run_fours, LOAD_ZMM, "vpdpbusd %%zmm0, %%zmm13, %%zmm")

/* Each step other tiles. */
#define TILE_LOOP(name, isa, multiply)                               \
    __attribute__((target(isa))) static void name(const values *v) { \
        tt__amx_begin(&tt__amx_full_tiles);                          \
        TT_AMX_FENCE();                                              \
        for (int i = 0; i < TILE_STEPS; i++) {                       \
            _tile_loadd(6, v->bytes[i % SETS][0], LINE_BYTES);       \
            _tile_loadd(7, v->bytes[i % SETS][1], LINE_BYTES);       \
            _tile_loadd(4, v->bytes[i % SETS][2], LINE_BYTES);       \
            _tile_loadd(5, v->bytes[i % SETS][3], LINE_BYTES);       \
            multiply(0, 4, 6);                                       \
            multiply(1, 4, 7);                                       \
            multiply(2, 5, 6);                                       \
            multiply(3, 5, 7);                                       \
        }                                                            \
        tt__amx_end();                                               \
    }

TILE_LOOP(run_bf16_tiles, "amx-tile,amx-bf16", _tile_dpbf16ps)
TILE_LOOP(run_int8_tiles, "amx-tile,amx-int8", _tile_dpbusd)

static const loop AVX2 = {"avx2 fma", run_avx2, VECTOR_FLOPS(8)};
static const loop AVX512 = {"avx512 fma", run_avx512, VECTOR_FLOPS(16)};
static const loop PAIRS = {"avx512_bf16", run_pairs, VECTOR_FLOPS(32)};
static const loop FOURS = {"avx512_vnni", run_fours, VECTOR_FLOPS(64)};
static const loop BF16_TILES = {"amx_bf16", run_bf16_tiles, TILE_FLOPS(32)};
static const loop INT8_TILES = {"amx_int8", run_int8_tiles, TILE_FLOPS(64)};

static const loop *loop_of(const tt_cpu_features *f, tt_peak_kind kind) {
    if (kind == TT_PEAK_F32) return f->avx512 ? &AVX512 : f->avx2 ? &AVX2 : NULL;
    if (kind == TT_PEAK_BF16) return f->amx_bf16 ? &BF16_TILES : f->avx512_bf16 ? &PAIRS : NULL;
    return f->amx_int8 ? &INT8_TILES : f->avx512_vnni ? &FOURS : NULL;
}
#elif defined(__aarch64__)
static void run_neon(const values *v) {
    int steps = VECTOR_STEPS;
    __asm__ volatile("ldr q0, [%1]\n"
                     "ldr q7, [%1, #64]\n"
                     "1:\n"
                     "fmla v1.4s, v0.4s, v7.4s\n"
                     "fmla v2.4s, v0.4s, v7.4s\n"
                     "fmla v3.4s, v0.4s, v7.4s\n"
                     "fmla v4.4s, v0.4s, v7.4s\n"
                     "fmla v5.4s, v0.4s, v7.4s\n"
                     "fmla v6.4s, v0.4s, v7.4s\n"
                     "fmla v16.4s, v0.4s, v7.4s\n"
                     "fmla v17.4s, v0.4s, v7.4s\n"
                     "fmla v18.4s, v0.4s, v7.4s\n"
                     "fmla v19.4s, v0.4s, v7.4s\n"
                     "fmla v20.4s, v0.4s, v7.4s\n"
                     "fmla v21.4s, v0.4s, v7.4s\n"
                     "subs %w0, %w0, #1\n"
                     "b.ne 1b\n"
                     : "+r"(steps)
                     : "r"(v->bytes), "m"(*v)
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18",
                       "v19", "v20", "v21");
}

static const loop NEON = {"neon fma", run_neon, (double)VECTOR_STEPS *SUMS * 2 * 4};

static const loop *loop_of(const tt_cpu_features *f, tt_peak_kind kind) {
    (void)f;
    return kind == TT_PEAK_F32 ? &NEON : NULL;
}
#else
static const loop *loop_of(const tt_cpu_features *f, tt_peak_kind kind) {
    (void)f, (void)kind;
    return NULL;
}
#endif

/* Roughly normal numbers of deviation 1: sums of uniform ones. The same in each run. */
static float next_value(uint32_t *state) {
    enum { UNIFORMS = 12, BITS = 16 };
    float sum = -(float)UNIFORMS / 2;
    for (int i = 0; i < UNIFORMS; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> BITS) / (float)(1 << BITS);
    }
    return sum;
}

static void fill(tt_peak_kind kind, values *v) {
    const float steps = 32; /* of int8 in a deviation: four deviations are the most */
    uint32_t state = 1;
    unsigned char *at = v->bytes[0][0], *end = at + sizeof v->bytes;
    while (at < end) {
        float value = next_value(&state);
        uint16_t half = tt_f32_to_bf16(value);
        int8_t whole = (int8_t)(value * steps);
        size_t size = kind == TT_PEAK_F32 ? sizeof value : kind == TT_PEAK_BF16 ? sizeof half : 1;
        const void *from = kind == TT_PEAK_F32 ? (void *)&value : &whole;
        memcpy(at, kind == TT_PEAK_BF16 ? &half : from, size);
        at += size;
    }
}

const char *tt__peak_instruction(const tt_cpu_features *features, tt_peak_kind kind) {
    const loop *l = loop_of(features, kind);
    return l ? l->instruction : "";
}

double tt__peak_round(const tt_cpu_features *features, tt_peak_kind kind) {
    const loop *l = loop_of(features, kind);
    if (!l) return 0;
    double rate = 0;
    values v = {0};
    fill(kind, &v);
#pragma omp parallel reduction(+ : rate)
    {
        l->run(&v); /* the clock follows with a delay */
#pragma omp barrier
        int64_t start_us = tt_clock_us();
        l->run(&v);
        int64_t us = tt_clock_us() - start_us;
        rate += l->flops * US_PER_S / (double)(us > 0 ? us : 1);
    }
    return rate;
}

static void name_features(const tt_cpu_features *f, char *out, size_t size) {
    const struct {
        bool is_there;
        const char *name;
    } all[] = {{f->avx2, "avx2"},
               {f->avx512, "avx512"},
               {f->avx512_vnni, "avx512_vnni"},
               {f->avx512_bf16, "avx512_bf16"},
               {f->amx_bf16, "amx_bf16"},
               {f->amx_int8, "amx_int8"}};
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i].is_there || length + strlen(all[i].name) + 2 > size) continue;
        length +=
            (size_t)snprintf(out + length, size - length, "%s%s", length ? " " : "", all[i].name);
    }
}

void tt__peak_measure(const tt_cpu_features *features, tt_ops_peak *out) {
    double best[TT_PEAK_KINDS] = {0};
    for (int i = 0; i < ROUNDS * TT_PEAK_KINDS; i++) { /* by turns, so that all see the same hour */
        tt_peak_kind kind = (tt_peak_kind)(i % TT_PEAK_KINDS);
        double rate = tt__peak_round(features, kind);
        if (rate > best[kind]) best[kind] = rate;
    }
    out->f32 = best[TT_PEAK_F32];
    out->bf16 = best[TT_PEAK_BF16];
    out->int8 = best[TT_PEAK_INT8];
    out->f32_by = tt__peak_instruction(features, TT_PEAK_F32);
    out->bf16_by = tt__peak_instruction(features, TT_PEAK_BF16);
    out->int8_by = tt__peak_instruction(features, TT_PEAK_INT8);
    name_features(features, out->features, sizeof out->features);
}
