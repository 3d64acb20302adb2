/* What this CPU can do for the kernels, and the tile registers of AMX.
 *
 * A kernel family is chosen by these flags, never by a name of a CPU. tt__cpu_features_limited gives
 * the flags of a lesser CPU: with it tests run every path on one machine (tt__cpu_force). */
#ifndef TT_TENSOR_CPU_FEATURES_H
#define TT_TENSOR_CPU_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

/* Each level has all that is below it. */
typedef enum tt_cpu_level {
    TT_CPU_BASE,        /* what every CPU of the architecture has (x86-64: SSE2) */
    TT_CPU_AVX2,        /* with FMA */
    TT_CPU_AVX512,      /* F, BW, VL, DQ; VNNI where there is one */
    TT_CPU_AVX512_BF16, /* pairs of bf16 to f32 (vdpbf16ps) */
    TT_CPU_AMX,         /* tiles of bf16 and int8 */
    TT_CPU_BEST = TT_CPU_AMX,
} tt_cpu_level;

typedef struct tt_cpu_features {
    bool avx2;   /* and FMA */
    bool avx512; /* F, BW, VL, DQ: what the avx512 kernels are compiled for */
    bool avx512_vnni;
    bool avx512_bf16;
    bool amx_bf16, amx_int8; /* the kernel has let this process use tiles, too */
} tt_cpu_features;

/* Asks the CPU and, for the tiles, the operating system; cheap enough to be asked once per engine.
 * Any thread, any number of times. */
tt_cpu_features tt__cpu_features(void);
/* The features that are both there and of a level up to `most`. */
tt_cpu_features tt__cpu_features_limited(tt_cpu_level most);

#if defined(__x86_64__)
/* The shapes of the eight tile registers, as the instruction reads them (64 bytes). */
typedef struct tt_amx_config {
    uint8_t palette; /* 1 */
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16]; /* of tiles 0..7: at most 64; the rest is 0 */
    uint8_t rows[16];       /* at most 16 */
} tt_amx_config;

/* All eight tiles 16 rows of 64 bytes: what kernels use that pad their operands. */
extern const tt_amx_config tt__amx_full_tiles;

/* Around the tile instructions of one thread, inside the parallel region. begin zeroes the tiles; end
 * gives them back, without which every context switch would save 8 KiB more. Only where
 * features.amx_bf16 (or _int8) is set.
 *
 * gcc's _tile_loadd does not tell the compiler that it reads memory: between plain stores and the
 * tile loads that read them must be a TT_AMX_FENCE. */
void tt__amx_begin(const tt_amx_config *config);
void tt__amx_end(void);
#define TT_AMX_FENCE() __asm__ volatile("" ::: "memory")
#endif

#endif
