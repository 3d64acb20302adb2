/* Where oneDNN multiplies bf16 on AMX it cuts long sums (2048 terms and more) by the number of threads: results then differ in
 * the last bit. Everywhere else, and in f32, the same bytes are asked for. */
#ifndef TT_SUPPORT_AMX_H
#define TT_SUPPORT_AMX_H

#include <stdbool.h>

static inline bool tt_has_amx(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("amx-bf16") != 0;
#else
    return false;
#endif
}

#endif
