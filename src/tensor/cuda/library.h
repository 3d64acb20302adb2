/* cuBLASLt and cuDNN, found at run time: one program serves machines with and without them. Types come from their headers, so a
 * call here is checked like any other. */
#ifndef TT_TENSOR_CUDA_LIBRARY_H
#define TT_TENSOR_CUDA_LIBRARY_H

#include <cublasLt.h>
#include <cudnn.h>

#include "base/err.h"

#define TT_CUDA_FUNCTION(name) __typeof__(name) *name

typedef struct tt_cublas {
    TT_CUDA_FUNCTION(cublasLtCreate);
    TT_CUDA_FUNCTION(cublasLtDestroy);
    TT_CUDA_FUNCTION(cublasLtGetStatusString);
    TT_CUDA_FUNCTION(cublasLtMatmul);
    TT_CUDA_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
    TT_CUDA_FUNCTION(cublasLtMatmulDescCreate);
    TT_CUDA_FUNCTION(cublasLtMatmulDescDestroy);
    TT_CUDA_FUNCTION(cublasLtMatmulDescSetAttribute);
    TT_CUDA_FUNCTION(cublasLtMatmulPreferenceCreate);
    TT_CUDA_FUNCTION(cublasLtMatmulPreferenceDestroy);
    TT_CUDA_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
    TT_CUDA_FUNCTION(cublasLtMatrixLayoutCreate);
    TT_CUDA_FUNCTION(cublasLtMatrixLayoutDestroy);
    TT_CUDA_FUNCTION(cublasLtMatrixLayoutSetAttribute);
} tt_cublas;

typedef struct tt_cudnn {
    TT_CUDA_FUNCTION(cudnnCreate);
    TT_CUDA_FUNCTION(cudnnDestroy);
    TT_CUDA_FUNCTION(cudnnSetStream);
    TT_CUDA_FUNCTION(cudnnGetErrorString);
    TT_CUDA_FUNCTION(cudnnBackendCreateDescriptor);
    TT_CUDA_FUNCTION(cudnnBackendDestroyDescriptor);
    TT_CUDA_FUNCTION(cudnnBackendSetAttribute);
    TT_CUDA_FUNCTION(cudnnBackendGetAttribute);
    TT_CUDA_FUNCTION(cudnnBackendFinalize);
    TT_CUDA_FUNCTION(cudnnBackendExecute);
} tt_cudnn;

#undef TT_CUDA_FUNCTION

/* Fills in the table; the library stays loaded until the process ends (neither may be unloaded safely). */
tt_status tt__cublas_load(tt_cublas *out, tt_err *err);
tt_status tt__cudnn_load(tt_cudnn *out, tt_err *err);

#endif
