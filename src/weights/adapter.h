/* Adapters: small files (LoRA and its kin) that change a checkpoint's weights. One file is opened against one checkpoint:
 * every key is found in a table of all spellings of all of the checkpoint's modules, in both layouts, and every shape is
 * checked, so what opened fits. Whoever packs weights then asks tensor by tensor, by canonical name:
 *
 *     tt_adapter_open("x.safetensors", checkpoint, &adapter, err);
 *     tt_adapter_strength strength = tt_adapter_strength_all(0.8f);
 *     tt_adapter_apply(adapter, "unet.conv_in.weight", &strength, values, n_values, err);     changes values in place
 *     tt_adapter_close(adapter);
 *
 * Kinds: LoRA and LoCon (also Tucker), LoHa, LoKr, DoRA on top of these, GLoRA, IA3, OFT, BOFT, full differences, norms.
 *
 * Strength s always means W + s (W' - W), W' being the weight at strength 1. For LoRA, LoHa and LoKr that is the usual
 * scaling of the difference; for DoRA, IA3, OFT and BOFT, where peers differ from each other, it is a blend that passes
 * through W at 0 and W' at 1. Sums are f32. Several adapters: apply one after the other; DoRA, GLoRA, IA3, OFT and BOFT see
 * what the earlier ones left.
 *
 * After opening, everything is read-only: any number of threads may ask and apply. */
#ifndef TT_WEIGHTS_ADAPTER_H
#define TT_WEIGHTS_ADAPTER_H

#include "weights/checkpoint.h"

typedef struct tt_adapter tt_adapter;

/* Opens a safetensors file. The checkpoint is borrowed and must outlive the adapter. Refused with one sentence: what
 * is no adapter, an adapter for another architecture (TT_E_UNSUPPORTED, by name), one of which nothing fits, parts that are
 * missing, doubled or of the wrong shape. Keys that belong to no module are counted and reported, not refused. */
tt_status tt_adapter_open(const char *path, const tt_checkpoint *checkpoint, tt_adapter **out,
                          tt_err *err);
void tt_adapter_close(tt_adapter *a); /* NULL is fine */

enum {
    TT_ADAPTER_UNMATCHED_NAMED = 4, /* keys: enough to see what they have in common */
    TT_ADAPTER_KINDS_BYTES = 128,
};

/* All text is owned by the adapter. */
typedef struct tt_adapter_report {
    const char *name;                   /* the file's, without its folder */
    char kinds[TT_ADAPTER_KINDS_BYTES]; /* "LoRA", "DoRA, LoHa, full"... */
    int64_t rank_min, rank_max;         /* 0: of no kind that has a rank */
    int n_modules[3];                   /* changed: UNet, first text encoder, second */
    int n_keys, n_matched, n_unmatched;
    const char *unmatched[TT_ADAPTER_UNMATCHED_NAMED]; /* the first few; NULL after the last */
    const char *base_model; /* what the file says it is for, as it spells it; "" when it does not */
} tt_adapter_report;
const tt_adapter_report *tt_adapter_get_report(const tt_adapter *a);

/* Tells files apart: equal for the same file unchanged, also when it was opened twice; different after it was written
 * to. */
typedef struct tt_adapter_identity {
    uint64_t device, inode, size, modified_ns;
} tt_adapter_identity;
tt_adapter_identity tt_adapter_get_identity(const tt_adapter *a);

/* ---- strengths -------------------------------------------------------------------------------------- */

/* The UNet's blocks as people number them, after the original names: input_blocks.0 to 11, middle_block, output_blocks.0
 * to 11 (SDXL has 9 and 9; beyond 11 counts as 11). */
enum { TT_ADAPTER_SIDE_BLOCKS = 12, TT_ADAPTER_BLOCKS = 2 * TT_ADAPTER_SIDE_BLOCKS + 1 };

typedef struct tt_adapter_strength {
    float unet, te1, te2;
    float blocks[TT_ADAPTER_BLOCKS]; /* factors of `unet`; embeddings and the output's layers belong
                                        to no block */
} tt_adapter_strength;

tt_adapter_strength tt_adapter_strength_all(float strength); /* everywhere; block factors 1 */

/* Sets one part by name, in either case: "unet", "te1", "te2", "te" (or "base": both encoders), "in", "mid", "out" (all
 * blocks of that side), "in00"..."in11", "m00", "out00"..."out11". Values from -TT_ADAPTER_MAX_STRENGTH to
 * TT_ADAPTER_MAX_STRENGTH. */
#define TT_ADAPTER_MAX_STRENGTH 100.0f /* people use -2 to 5; sliders go to 20 */
tt_status tt_adapter_strength_set(tt_adapter_strength *s, const char *part, float value,
                                  tt_err *err);
/* All values finite and in range. */
tt_status tt_adapter_strength_check(const tt_adapter_strength *s, tt_err *err);

/* ---- changing weights ------------------------------------------------------------------------------- */

/* True when the adapter at this strength changes the tensor of this canonical name ("x.weight", or "x.bias" also where
 * the checkpoint has no such bias: then it counts as zeros). */
bool tt_adapter_touches(const tt_adapter *a, const char *name, const tt_adapter_strength *s);

/* Changes values [n_values], the whole tensor in the canonical view, in place. A tensor that is not touched stays as it
 * is. Fails only for I/O, memory, and values that are not finite; `values` are then undefined. Needs temporary memory: the
 * module's parts, and for all but plain LoRA one or two copies of the tensor. */
tt_status tt_adapter_apply(const tt_adapter *a, const char *name, const tt_adapter_strength *s,
                           float *values, size_t n_values, tt_err *err);

/* The same piece by piece, for who wants a piece to stay in the cache from its reading to its last use. Only where all that
 * the adapter does to this tensor is plain LoRA, or nothing: the other kinds look at whole tensors. The sums are the same, bit
 * for bit, however the rows are cut. */
bool tt_adapter_goes_by_rows(const tt_adapter *a, const char *name, const tt_adapter_strength *s);

typedef struct tt_adapter_rows tt_adapter_rows;
/* Reads the factors into memory, for a tensor of n_rows x n_columns (all dimensions but the first). */
tt_status tt_adapter_rows_open(const tt_adapter *a, const char *name, const tt_adapter_strength *s,
                               int64_t n_rows, int64_t n_columns, tt_adapter_rows **out,
                               tt_err *err);
void tt_adapter_rows_close(tt_adapter_rows *r); /* NULL is fine */
/* Changes values [n, n_columns], which are rows first to first + n of the tensor. */
void tt_adapter_rows_apply(const tt_adapter_rows *r, int64_t first, int64_t n, float *values);

#endif
