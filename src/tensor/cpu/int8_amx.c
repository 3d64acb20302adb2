/* gemm_amx.c again, with whole numbers: tdpbusd. */
#define TT_GEMM_INT8
#include "tensor/cpu/gemm_amx.c" /* NOLINT(bugprone-suspicious-include) */
