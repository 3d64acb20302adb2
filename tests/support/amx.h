/* Where oneDNN multiplies bf16 on AMX it cuts long sums (2048 terms and more) by the number of threads: results then differ in
 * the last bit. Everywhere else, and in f32, the same bytes are asked for. */
#ifndef TT_SUPPORT_AMX_H
#define TT_SUPPORT_AMX_H

#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* CPUID leaf 7, EDX bit 22 (clang 14 has no name for it in __builtin_cpu_supports). */
static inline bool tt_has_amx(void) {
    enum { EXTENDED_FEATURES = 7, AMX_BF16 = 1 << 22 };
    unsigned a, b, c, d;
    return __get_cpuid_count(EXTENDED_FEATURES, 0, &a, &b, &c, &d) && (d & AMX_BF16) != 0;
}
#else
static inline bool tt_has_amx(void) {
    return false;
}
#endif

#endif
