/* Inside the tensor room: what a back-end must provide, and what ops.c keeps for it. */
#ifndef TT_TENSOR_BACKEND_H
#define TT_TENSOR_BACKEND_H

#include "tensor/ops.h"
#include "tensor/scratch.h"
#include "tensor/spare.h"

typedef enum tt_weight_kind {
    TT_WEIGHT_LINEAR,
    TT_WEIGHT_CONV,
    TT_WEIGHT_NORM,
    TT_WEIGHT_EMBEDDING,
} tt_weight_kind;

enum { TT__PARTS = 4 };

struct tt_weight {
    tt_weight_kind kind;
    int64_t n_out,
        n_in; /* linear: rows, columns; conv: c_out, c_in; norm: c, 1; embedding: c, rows */
    tt_conv_shape conv; /* TT_WEIGHT_CONV only */
    void *data; /* the matrix, kernel or table, as the back-end packed it; gamma for norms */
    float *
        bias; /* f32 [n_out]: bias or beta; NULL when there is none; in the back-end's memory, as data is */
    float *
        scales; /* int8 weights only, else NULL: [n_out], then as many whole numbers at `sums`; owned */
    int32_t *sums;     /* of a column's int8 values; in the block of scales */
    size_t size_bytes; /* of data, bias and scales */
    void *packed;      /* the back-end's own description of data; NULL where data is plain */
    /* Made of other weights, else NULL; owned, and all fields but kind and sizes are theirs. A doubling convolution that is
     * folded: for rows and columns 0 and 1 of the four outputs that a position becomes, [2 * row + column], 2x2 each. A gated
     * unit as two products: values, gates. */
    struct tt_weight *parts[TT__PARTS];
    /* A gated unit as one product: columns of its result; else 0. Known when it is packed: the plain matrix has so many rows of
     * values, then as many of gates, n_out counts rows that fill up the last turn too. */
    int64_t n_gated;
};

/* Every function may assume what ops.c has checked: shapes agree, dtypes are the engine's, no
 * overlap. While ops->scratch.measuring they must not touch activations, only prepare. */
typedef struct tt_backend {
    const char *name;
    bool shares_norms; /* group_norm knows record and given */
    tt_status (*open)(tt_ops *ops, tt_err *err);
    void (*close)(tt_ops *ops);
    /* A back-end with memory of its own provides these four; the others' tensors and weights are on the heap (all NULL).
     * Called from several threads at once while weights are packed. */
    void *(*alloc)(tt_ops *ops, size_t size_bytes); /* aligned as tt_alloc_aligned; NULL: no more */
    void (*release)(tt_ops *ops, void *p);          /* NULL is fine */
    /* Copies from the host; `from` may be changed at once. */
    tt_status (*put)(tt_ops *ops, void *to, const void *from, size_t size_bytes, tt_err *err);
    size_t (*memory_left)(tt_ops *ops);
    /* A back-end whose operations run on after their call returned measures them by marks that it sets among them: before
     * (NULL) and after (whose time it was). `settle` waits and adds up. NULL where the caller's clock will do. */
    void (*mark)(tt_ops *ops, tt_op_time *ended);
    void (*settle)(tt_ops *ops);
    /* Called before each pass's first operation: thread counts and the like. May be NULL. */
    void (*begin)(tt_ops *ops);
    /* Makes ready what rehearsals have asked for so far. May be NULL. */
    tt_status (*prepare)(tt_ops *ops, tt_err *err);
    tt_status (*pack_linear)(tt_ops *, tt_weight *, const void *w, tt_err *);
    tt_status (*pack_conv)(tt_ops *, tt_weight *, const void *w, tt_err *);
    /* Both NULL: no int8. pack_int8 makes data, scales and sums (there is room) of a linear layer or convolution in f32. */
    tt_status (*allow_int8)(tt_ops *, tt_err *);
    tt_status (*pack_int8)(tt_ops *, tt_weight *, const float *w, tt_err *);
    void (*unpack)(tt_ops *, tt_weight *); /* frees `packed`; may be NULL */
    tt_status (*linear)(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                        tt_tensor *y, tt_err *);
    tt_status (*conv)(tt_ops *, const tt_weight *, const tt_tensor *x, const tt_epilogue *,
                      tt_tensor *y, tt_err *);
    /* How a gated unit as one product is packed: so many rows of values, as many of gates, in turn. 0 (or NULL): two products. */
    int64_t (*gated_rows)(tt_ops *, bool is_int8);
    tt_status (*gated)(tt_ops *, const tt_weight *, tt_activation, const tt_tensor *x, tt_tensor *y,
                       tt_err *);
    /* By weights that are folded. NULL: they are not, and the picture is doubled in memory. */
    tt_status (*upsample_conv)(tt_ops *, const tt_weight *, const tt_tensor *x, tt_tensor *y,
                               tt_err *);
    tt_status (*group_norm)(tt_ops *, const tt_weight *, const tt_group_norm *, const tt_tensor *x,
                            tt_tensor *y, tt_err *);
    tt_status (*layer_norm)(tt_ops *, const tt_weight *, float eps, const tt_tensor *x,
                            tt_tensor *y, tt_err *);
    tt_status (*attention)(tt_ops *, const tt_attention *, tt_tensor *y, tt_err *);
    tt_status (*activate)(tt_ops *, tt_activation, const tt_tensor *x, tt_tensor *y, tt_err *);
    tt_status (*embed)(tt_ops *, const tt_weight *table, const tt_weight *positions,
                       const int32_t *ids, tt_tensor *y, tt_err *);
    tt_status (*upsample)(tt_ops *, const tt_tensor *x, tt_tensor *y, tt_err *);
    tt_status (*concat)(tt_ops *, const tt_tensor *a, const tt_tensor *b, tt_tensor *y, tt_err *);
    tt_status (*upload)(tt_ops *, const float *host, tt_tensor *y, tt_err *);
    tt_status (*download)(tt_ops *, const tt_tensor *x, float *host, tt_err *);
    void (*measure_peak)(tt_ops *, tt_ops_peak *out); /* `out` is empty; NULL: nobody knows */
} tt_backend;

struct tt_ops {
    const tt_backend *backend;
    void *state; /* the back-end's */
    tt_dtype dtype;
    int n_threads;
    _Atomic size_t weight_bytes; /* weights are packed by several threads at once */
    tt_scratch scratch;
    tt_spare spare; /* of weights' data */
    tt_op_time times[TT_OP_KINDS];
    struct { /* tapes of the norms that come, and how many came */
        tt_norm_tape *record;
        const tt_norm_tape *given;
        int64_t place;
    } norms;
    bool has_int8; /* tt_ops_allow_int8 has succeeded */
    bool is_timed; /* somebody outside will read the times: marks are worth setting */
};

extern const tt_backend tt__backend_ref;
extern const tt_backend tt__backend_cpu;
extern const tt_backend tt__backend_cuda; /* in builds without it, one that cannot be opened */

/* Memory where the back-end's tensors are; released by tt__release. NULL: no more. */
void *tt__alloc(tt_ops *ops, size_t size_bytes);
void tt__release(tt_ops *ops, void *p); /* NULL is fine */

/* The same for a weight's data: may be a freed weight's. */
void *tt__alloc_weight(tt_ops *ops, size_t size_bytes);

/* A convolution whose outputs are those of a product, position by position. */
static inline bool tt__conv_is_product(const tt_conv_shape *s) {
    return s->kernel == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0 &&
           s->pad_bottom == 0 && s->pad_right == 0;
}

/* A linear layer, from the back-end's type, or from f32 to int8. n_gated: as in tt_weight. */
typedef struct tt__linear {
    const void *w;
    const float *bias; /* [n_out] */
    int64_t n_out, n_in, n_gated;
    bool is_int8;
} tt__linear;
tt_status tt__weight_linear(tt_ops *ops, const tt__linear *l, tt_weight **out, tt_err *err);
/* A convolution of any small kernel, from the back-end's type, or from f32 to int8. */
tt_status tt__weight_conv(tt_ops *ops, const void *w, const float *bias, const tt_conv_shape *shape,
                          bool is_int8, tt_weight **out, tt_err *err);

/* Copies n elements of size bytes into fresh aligned memory at weight->data and counts it. */
tt_status tt__weight_copy(tt_ops *ops, tt_weight *w, const void *data, size_t count, size_t size,
                          tt_err *err);

#endif
