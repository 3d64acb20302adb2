/* From names in a checkpoint to packed weights: networks first declare what they need, then everything is
 * read, converted and packed at once, on all threads.
 *
 *     tt_loader_new(checkpoint, ops, &loader, err);
 *     tt_load_linear(loader, "unet.time_embedding", "linear_1", &unet->time_1, err);   declares only
 *     ...
 *     tt_loader_run(loader, err);                                                      fills unet->time_1
 *     tt_loader_free(loader);
 *
 * After a run the loader is a recipe: which slots there are and what they are made of. Who wants to change weights later
 * (nn/loader_adapters.h) keeps it; then networks, back-ends and checkpoint must outlive it, and slots must stay where they are.
 *
 * Every tensor is `prefix`.`name`.weight with its .bias, which the UNet's queries, keys and values may lack. Sizes come from the
 * checkpoint; contradictions fail with a sentence when declared. The slots belong to the network, which frees them with tt_weight_free; after a
 * failed run some may be filled, the others stay NULL. One thread. */
#ifndef TT_NN_LOADER_H
#define TT_NN_LOADER_H

#include "tensor/ops.h"
#include "weights/checkpoint.h"

typedef struct tt_loader tt_loader;

tt_status tt_loader_new(const tt_checkpoint *checkpoint, tt_loader **out, tt_err *err);
void tt_loader_free(tt_loader *l); /* NULL is fine */
const tt_checkpoint *tt_loader_checkpoint(const tt_loader *l);

/* The back-end that the declarations that follow are packed for. */
void tt_loader_use(tt_loader *l, tt_ops *ops);

/* Whether the linear layers and convolutions declared from here on may be kept as int8; at first they may not. It counts only
 * where the back-end was allowed to (tt_ops_allow_int8), and small layers stay as they are. Returns what it was. */
bool tt_loader_int8(tt_loader *l, bool may);
/* How many numbers of weights have been declared that are kept as int8. */
int64_t tt_loader_int8_numbers(const tt_loader *l);

/* A linear layer [n_out, n_in] (or a 1x1 convolution). */
tt_status tt_load_linear(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                         tt_err *err);

/* Several linear layers of one width stacked into one: rows of names[0], then names[1]... biases too. */
tt_status tt_load_stacked(tt_loader *l, const char *prefix, const char *const *names, int n_names,
                          tt_weight **slot, tt_err *err);

/* A gated unit (tt_op_gated): one linear layer, its first half of rows values, the second gates. */
tt_status tt_load_gated(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                        tt_err *err);

/* A square convolution: stride, and padding on all four sides. */
tt_status tt_load_conv(tt_loader *l, const char *prefix, const char *name, int stride, int pad,
                       tt_weight **slot, tt_err *err);

/* A 3x3 convolution of what it doubles first (tt_op_upsample_conv): the same tensors. */
tt_status tt_load_upsample_conv(tt_loader *l, const char *prefix, const char *name,
                                tt_weight **slot, tt_err *err);

/* Norm scale and offset. */
tt_status tt_load_norm(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                       tt_err *err);

tt_status tt_load_embedding(tt_loader *l, const char *prefix, const char *name, tt_weight **slot,
                            tt_err *err);

/* Size of dimension `dim` of `prefix`.`name`.weight; 0 dimensions count as 1. */
tt_status tt_load_size(const tt_loader *l, const char *prefix, const char *name, int dim,
                       int64_t *out, tt_err *err);
bool tt_load_has(const tt_loader *l, const char *prefix, const char *name); /* ...weight exists */

/* After a network's declarations: that they read every tensor whose name begins with `prefix`. One that is left over belongs to
 * a part that was not found because a tensor beside it is missing, or to another architecture. TT_E_UNSUPPORTED names it. */
tt_status tt_loader_check_all(const tt_loader *l, const char *prefix, tt_err *err);

tt_status tt_loader_run(tt_loader *l, tt_err *err);

enum { TT_NAME_BYTES = 256 };
/* printf into a name buffer, so that prefixes read as they look in the file. */
const char *tt_name(char out[TT_NAME_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
