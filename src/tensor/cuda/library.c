/* Finds cuBLASLt and cuDNN with dlopen. The loader's own search (LD_LIBRARY_PATH, ldconfig) comes first, then the toolkit's usual
 * folder. The versions named are those whose functions have the types of the headers this was compiled with. */
#include "tensor/cuda/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct symbol {
    const char *name;
    size_t offset; /* of its pointer in the table */
} symbol;

#define SYMBOL(table, name) \
    { #name, offsetof(table, name) }
#define N_OF(array) (sizeof(array) / sizeof(array)[0])

static void *open_any(const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library) return library;
    }
    return NULL;
}

static tt_status load(const char *const *names, size_t n_names, const symbol *symbols,
                      size_t n_symbols, void *table, tt_err *err) {
    void *library = open_any(names, n_names);
    if (!library)
        return tt_fail(
            err, TT_E_NOT_FOUND,
            "%s is not installed where programs find libraries: expected NVIDIA's CUDA libraries, "
            "or their folder in LD_LIBRARY_PATH",
            names[0]);
    for (size_t i = 0; i < n_symbols; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (!function)
            return tt_fail(err, TT_E_UNSUPPORTED, "%s: it lacks %s: expected another version",
                           names[0], symbols[i].name);
        memcpy((char *)table + symbols[i].offset, &function, sizeof function);
    }
    return TT_OK;
}

tt_status tt__cublas_load(tt_cublas *out, tt_err *err) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                        "/usr/local/cuda/lib64/libcublasLt.so.13",
                                        "/usr/local/cuda/lib64/libcublasLt.so.12"};
    static const symbol symbols[] = {
        SYMBOL(tt_cublas, cublasLtCreate),
        SYMBOL(tt_cublas, cublasLtDestroy),
        SYMBOL(tt_cublas, cublasLtGetStatusString),
        SYMBOL(tt_cublas, cublasLtMatmul),
        SYMBOL(tt_cublas, cublasLtMatmulAlgoGetHeuristic),
        SYMBOL(tt_cublas, cublasLtMatmulDescCreate),
        SYMBOL(tt_cublas, cublasLtMatmulDescDestroy),
        SYMBOL(tt_cublas, cublasLtMatmulDescSetAttribute),
        SYMBOL(tt_cublas, cublasLtMatmulPreferenceCreate),
        SYMBOL(tt_cublas, cublasLtMatmulPreferenceDestroy),
        SYMBOL(tt_cublas, cublasLtMatmulPreferenceSetAttribute),
        SYMBOL(tt_cublas, cublasLtMatrixLayoutCreate),
        SYMBOL(tt_cublas, cublasLtMatrixLayoutDestroy),
        SYMBOL(tt_cublas, cublasLtMatrixLayoutSetAttribute),
    };
    return load(names, N_OF(names), symbols, N_OF(symbols), out, err);
}

tt_status tt__cudnn_load(tt_cudnn *out, tt_err *err) {
    static const char *const names[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9"};
    static const symbol symbols[] = {
        SYMBOL(tt_cudnn, cudnnCreate),
        SYMBOL(tt_cudnn, cudnnDestroy),
        SYMBOL(tt_cudnn, cudnnSetStream),
        SYMBOL(tt_cudnn, cudnnGetErrorString),
        SYMBOL(tt_cudnn, cudnnBackendCreateDescriptor),
        SYMBOL(tt_cudnn, cudnnBackendDestroyDescriptor),
        SYMBOL(tt_cudnn, cudnnBackendSetAttribute),
        SYMBOL(tt_cudnn, cudnnBackendGetAttribute),
        SYMBOL(tt_cudnn, cudnnBackendFinalize),
        SYMBOL(tt_cudnn, cudnnBackendExecute),
    };
    return load(names, N_OF(names), symbols, N_OF(symbols), out, err);
}
