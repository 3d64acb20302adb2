/* See peak.h. Each loop keeps as many sums as hide the latency of its instruction (five cycles at two a cycle for
 * multiply-adds; tiles have only eight registers and need four). Every thread takes its own time between barriers, and the
 * rates are added: waking the threads is no part of it. All values are zero, which costs what other numbers cost. */
#include "tensor/cpu/peak.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { VECTOR_STEPS = 100000, TILE_STEPS = 12000, SUMS = 12, TILES = 4, ROUNDS = 12 };

typedef struct loop {
    const char *instruction;
    void (*run)(void);
    double flops; /* of one run */
} loop;

static const double US_PER_S = 1e6;

#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR_FLOPS(per_instruction) ((double)VECTOR_STEPS * SUMS * 2 * (per_instruction))
#define TILE_FLOPS(depth)             ((double)TILE_STEPS * TILES * 2 * 16 * 16 * (depth))

/* `instruction` lacks the number of the register with the sum. In assembly, because compilers like to keep sums that nobody reads
 * in memory, which then is what is measured. */
#define VECTOR_LOOP(name, instruction)                                                             \
    static void name(void) {                                                                       \
        int steps = VECTOR_STEPS;                                                                  \
        __asm__ volatile("vzeroall\n"                                                              \
                         "1:\n" instruction "1\n" instruction "2\n" instruction "3\n" instruction  \
                         "4\n" instruction "5\n" instruction "6\n" instruction "7\n" instruction   \
                         "8\n" instruction "9\n" instruction "10\n" instruction "11\n" instruction \
                         "12\n"                                                                    \
                         "subl $1, %0\n"                                                           \
                         "jnz 1b\n"                                                                \
                         "vzeroupper\n"                                                            \
                         : "+r"(steps)                                                             \
                         :                                                                         \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");  \
    }

VECTOR_LOOP(run_avx2, "vfmadd231ps %%ymm0, %%ymm0, %%ymm")
VECTOR_LOOP(run_avx512, "vfmadd231ps %%zmm0, %%zmm0, %%zmm")
VECTOR_LOOP(run_pairs, "vdpbf16ps %%zmm0, %%zmm0, %%zmm")
VECTOR_LOOP(run_fours, "vpdpbusd %%zmm0, %%zmm0, %%zmm")

__attribute__((target("amx-tile,amx-bf16"))) static void run_bf16_tiles(void) {
    tt__amx_begin(&tt__amx_full_tiles);
    for (int i = 0; i < TILE_STEPS; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    tt__amx_end();
}

__attribute__((target("amx-tile,amx-int8"))) static void run_int8_tiles(void) {
    tt__amx_begin(&tt__amx_full_tiles);
    for (int i = 0; i < TILE_STEPS; i++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    tt__amx_end();
}

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
static void run_neon(void) {
    int steps = VECTOR_STEPS;
    __asm__ volatile("movi v0.16b, #0\n"
                     "1:\n"
                     "fmla v1.4s, v0.4s, v0.4s\n"
                     "fmla v2.4s, v0.4s, v0.4s\n"
                     "fmla v3.4s, v0.4s, v0.4s\n"
                     "fmla v4.4s, v0.4s, v0.4s\n"
                     "fmla v5.4s, v0.4s, v0.4s\n"
                     "fmla v6.4s, v0.4s, v0.4s\n"
                     "fmla v16.4s, v0.4s, v0.4s\n"
                     "fmla v17.4s, v0.4s, v0.4s\n"
                     "fmla v18.4s, v0.4s, v0.4s\n"
                     "fmla v19.4s, v0.4s, v0.4s\n"
                     "fmla v20.4s, v0.4s, v0.4s\n"
                     "fmla v21.4s, v0.4s, v0.4s\n"
                     "subs %w0, %w0, #1\n"
                     "b.ne 1b\n"
                     : "+r"(steps)
                     :
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v16", "v17", "v18", "v19",
                       "v20", "v21");
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

const char *tt__peak_instruction(const tt_cpu_features *features, tt_peak_kind kind) {
    const loop *l = loop_of(features, kind);
    return l ? l->instruction : "";
}

double tt__peak_round(const tt_cpu_features *features, tt_peak_kind kind) {
    const loop *l = loop_of(features, kind);
    if (!l) return 0;
    double rate = 0;
#pragma omp parallel reduction(+ : rate)
    {
#pragma omp barrier
        int64_t start_us = tt_clock_us();
        l->run();
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
