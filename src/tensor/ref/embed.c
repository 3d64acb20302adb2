/* Token embedding plus position embedding. */
#include "tensor/ref/ref.h"

tt_status tt__ref_embed(tt_ops *ops, const tt_weight *table, const tt_weight *positions,
                        const int32_t *ids, tt_tensor *y, tt_err *err) {
    (void)err;
    if (ops->scratch.measuring) return TT_OK;
    int64_t tokens = tt_tensor_tokens(y);
    for (int64_t row = 0; row < y->n * tokens; row++)
        for (int64_t c = 0; c < y->c; c++)
            tt__ref_set(y, row * y->c + c,
                        tt__ref_weight(ops, table, ids[row] * y->c + c) +
                            tt__ref_weight(ops, positions, row % tokens * y->c + c));
    return TT_OK;
}
