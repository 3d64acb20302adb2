/* What stands in the place of the CUDA back-end in a build without it: opening it is one clear sentence. */
#include "tensor/backend.h"

static tt_status open_absent(tt_ops *ops, tt_err *err) {
    (void)ops;
    return tt_fail(
        err, TT_E_UNSUPPORTED,
        "this build has no CUDA back-end: build it where nvcc, cuBLAS's and cuDNN's headers "
        "are (cmake -DTT_CUDA=ON), or use the device \"cpu\"");
}

const tt_backend tt__backend_cuda = {.name = "cuda", .open = open_absent};
