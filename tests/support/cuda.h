/* Whether the CUDA back-end can be opened here: tests of it are skipped where not, and say why. */
#ifndef TT_SUPPORT_CUDA_H
#define TT_SUPPORT_CUDA_H

#include <stdbool.h>
#include <stdio.h>

#include "tensor/ops.h"

static inline bool tt_has_cuda(void) {
    tt_ops *ops;
    tt_err err;
    const tt_ops_options options = {.backend = TT_BACKEND_CUDA, .dtype = TT_F32, .n_threads = 1};
    if (tt_ops_open(&options, &ops, &err) != TT_OK) {
        printf("no CUDA here: %s\n", err.message);
        return false;
    }
    tt_ops_close(ops);
    return true;
}

#endif
