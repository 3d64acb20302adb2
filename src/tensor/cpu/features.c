/* See features.h. The tiles need more than the CPU's word: their state is 8 KiB per thread, so Linux
 * (5.16 and later) gives it only to a process that asks, once, for all its threads. Where it
 * refuses, the CPU counts as one without tiles. */
#include "tensor/cpu/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { /* CPUID leaf 7, subleaf 0, EDX */
       EXTENDED_FEATURES = 7,
       BIT_AMX_BF16 = 1 << 22,
       BIT_AMX_TILE = 1 << 24,
       BIT_AMX_INT8 = 1 << 25,
};
enum { ASK_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */

const tt_amx_config tt__amx_full_tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static void find_tiles(tt_cpu_features *f) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(EXTENDED_FEATURES, 0, &a, &b, &c, &d)) return;
    if (!(d & BIT_AMX_TILE) || syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) != 0) return;
    f->amx_bf16 = (d & BIT_AMX_BF16) != 0;
    f->amx_int8 = (d & BIT_AMX_INT8) != 0;
}

tt_cpu_features tt__cpu_features(void) {
    tt_cpu_features f = {0};
    __builtin_cpu_init();
    f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    if (f.avx512_bf16) find_tiles(&f);
    return f;
}

__attribute__((target("amx-tile"))) void tt__amx_begin(const tt_amx_config *config) {
    _tile_loadconfig(config);
}

__attribute__((target("amx-tile"))) void tt__amx_end(void) {
    _tile_release();
}
#else
tt_cpu_features tt__cpu_features(void) {
    return (tt_cpu_features){0};
}
#endif

tt_cpu_features tt__cpu_features_limited(tt_cpu_level most) {
    tt_cpu_features f = tt__cpu_features();
    f.avx2 = f.avx2 && most >= TT_CPU_AVX2;
    f.avx512 = f.avx512 && most >= TT_CPU_AVX512;
    f.avx512_vnni = f.avx512_vnni && most >= TT_CPU_AVX512;
    f.avx512_bf16 = f.avx512_bf16 && most >= TT_CPU_AVX512_BF16;
    f.amx_bf16 = f.amx_bf16 && most >= TT_CPU_AMX;
    f.amx_int8 = f.amx_int8 && most >= TT_CPU_AMX;
    return f;
}
