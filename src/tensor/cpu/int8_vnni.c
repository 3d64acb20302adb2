/* gemm_avx512.c again, with whole numbers: vpdpbusd. Compiled without BF16. */
#define TT_GEMM_INT8
#include "tensor/cpu/gemm_avx512.c" /* NOLINT(bugprone-suspicious-include) */
