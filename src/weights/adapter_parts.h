/* What the files that make up adapters share. Not for other rooms: they use adapter.h. */
#ifndef TT_WEIGHTS_ADAPTER_PARTS_H
#define TT_WEIGHTS_ADAPTER_PARTS_H

#include "weights/adapter.h"
#include "weights/parts.h"

/* The tensors that a file may hold for one module. In comments: o rows of the weight, i columns, k kernel taps, r rank. */
typedef enum tt__part {
    TT__LORA_DOWN, /* [r, i, k] */
    TT__LORA_UP,   /* [o, r] */
    TT__LORA_MID,  /* [r, r, k]: then down is [r, i] */
    TT__LORA_BIAS, /* [o]: PEFT's bias of up, scaled like the difference */
    TT__ALPHA,
    TT__DORA_SCALE, /* [o, 1...]: of rows, or [1, i, 1...]: of columns */
    TT__MAGNITUDE,  /* PEFT's name for it: o numbers in any shape */
    TT__HADA_W1_A,  /* [o, r]; [r, o] with a core */
    TT__HADA_W1_B,  /* [r, i, k]; [r, i] with a core */
    TT__HADA_W2_A,
    TT__HADA_W2_B,
    TT__HADA_T1, /* [r, r, k], the core */
    TT__HADA_T2,
    TT__LOKR_W1, /* [o1, i1], or the product of the next two */
    TT__LOKR_W1_A,
    TT__LOKR_W1_B,
    TT__LOKR_W2, /* [o2, i2, k], o1 o2 = o, i1 i2 = i */
    TT__LOKR_W2_A,
    TT__LOKR_W2_B,
    TT__LOKR_T2,
    TT__GLORA_A1,   /* [i, r] */
    TT__GLORA_A2,   /* [r, i] */
    TT__GLORA_B1,   /* [o, r] */
    TT__GLORA_B2,   /* [r, i, k]; files before LyCORIS 2.2 have 1 and 2 the other way round */
    TT__IA3,        /* o or i numbers; W' = W (1 + them) */
    TT__ON_INPUT,   /* one number: is it i? */
    TT__PEFT_IA3,   /* [o, 1] or [1, i]; W' = W them */
    TT__OFT_BLOCKS, /* [blocks, b, b]; BOFT: [factors, blocks, b, b] */
    TT__RESCALE,    /* o numbers */
    TT__DIFF,       /* [o, i, k], also of norms */
    TT__DIFF_B,     /* [o] */
    TT__SET_WEIGHT, /* W' itself */
    TT__N_PARTS
} tt__part;

typedef enum tt__kind {
    TT__NO_KIND, /* only a bias changes */
    TT__LORA,
    TT__LOHA,
    TT__LOKR,
    TT__GLORA,
    TT__IA3_KIND,
    TT__OFT,
    TT__BOFT,
    TT__FULL,
    TT__SET,
    TT__N_KINDS
} tt__kind;

enum { TT__THIRDS = 3 };

/* All parts for one module, or for a fused q, k, v. */
typedef struct tt__patch {
    const char *alias; /* the module, as the file spells it; in the arena */
    const tt_st_tensor *parts[TT__N_PARTS];
    tt__kind kind;
    bool is_fused;
    uint32_t modules[TT__THIRDS]; /* one; or q, k, v */
    int64_t out, in, taps;        /* of the weight; out is of all three */
    int64_t rank;                 /* 0: none */
    float scale;                  /* of the difference: alpha / rank */
    float alpha;                  /* as stored; 0: there is none */
    bool on_input;                /* IA3 */
    bool by_column;               /* DoRA */
    bool is_old;                  /* GLoRA with 1 and 2 exchanged */
} tt__patch;

enum { TT__MAX_PATCHES = 2, TT__NO_BLOCK = -1 };

/* A module of the checkpoint: what "x.weight" and "x.bias" have in common. */
typedef struct tt__module {
    const char *stem; /* canonical, in the arena */
    int network;      /* 0: unet, 1: te1, 2: te2 */
    int block;        /* of tt_adapter_strength.blocks, or TT__NO_BLOCK */
    int n_patches;
    uint32_t patches[TT__MAX_PATCHES];
    int thirds[TT__MAX_PATCHES]; /* which rows of the patch are ours: 0, 1, 2 */
} tt__module;

struct tt_adapter {
    const tt_checkpoint *checkpoint; /* borrowed */
    tt_safetensors *file;            /* owned */
    tt_adapter_identity identity;
    tt_arena arena;
    tt__module *modules; /* owned */
    size_t n_modules, module_capacity;
    tt__names stems;    /* to modules */
    tt__patch *patches; /* owned */
    size_t n_patches, patch_capacity;
    tt_adapter_report report;
};

/* Makes room for one entry more in a growing array of zeroed entries. */
tt_status tt__adapter_reserve(void **array, size_t *capacity, size_t count, size_t entry_bytes,
                              tt_err *err);

/* adapter_alias.c: all spellings of all modules. Aliases are flattened (dots are underscores) after the network's number:
 * "0:conv_in". */
typedef struct tt__alias {
    uint32_t modules[TT__THIRDS];
    bool is_fused;
} tt__alias;
typedef struct tt__aliases {
    tt__names names;    /* to entries */
    tt__alias *entries; /* owned */
    size_t n, capacity;
} tt__aliases;
/* Fills the adapter's modules too. */
tt_status tt__aliases_make(tt__aliases *t, tt_adapter *a, tt_err *err);
void tt__aliases_release(tt__aliases *t);

/* adapter_keys.c: all keys of the file to patches. */
tt_status tt__adapter_read_keys(tt_adapter *a, const tt__aliases *aliases, tt_err *err);
/* The part that a key's end names and the length of what is before it; false: none from `*at` on. Try again for others. */
bool tt__part_of_key(const char *key, size_t *at, tt__part *part, size_t *stem_length);
const char *tt__part_name(tt__part part);

/* adapter_family.c: refuses what is for another architecture, going by names and shapes; and what has no match. */
tt_status tt__adapter_refuse_family(const tt_adapter *a, tt_err *err);
tt_status tt__adapter_refuse_unmatched(const tt_adapter *a, tt_err *err);
/* Refuses what the file itself says is for another architecture: the better sentence when its shapes do not fit. */
tt_status tt__adapter_refuse_stated(const tt_adapter *a, tt_err *err);
void tt__adapter_find_base_model(tt_adapter *a);

/* adapter_check.c: kind, sizes and scale of a patch; every shape. */
tt_status tt__patch_check(const tt_adapter *a, tt__patch *p, tt_err *err);
/* Only an alpha or a magnitude is left of it, as in files that were pruned: it changes nothing. */
bool tt__patch_is_empty(const tt__patch *p);
tt_status tt__patch_fail(const tt_adapter *a, const tt__patch *p, tt_err *err, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

/* adapter_alpha.c: PEFT's alphas, which stand in the metadata and not in tensors. */
typedef struct tt__alphas {
    json_object *roots[2]; /* owned; NULL: none */
} tt__alphas;
tt_status tt__alphas_read(tt__alphas *alphas, const tt_adapter *a, tt_err *err);
/* Sets the scale of a patch, alpha / rank or alpha / sqrt(rank), where the metadata says it. */
tt_status tt__alphas_scale(const tt__alphas *alphas, const tt_adapter *a, const tt__patch *p,
                           float *scale, tt_err *err);
void tt__alphas_release(tt__alphas *alphas);

/* A part's numbers in f32: elements first to first + n. */
typedef struct tt__values {
    float *data; /* owned */
    size_t n;
} tt__values;
tt_status tt__values_read(tt__values *v, const tt_adapter *a, const tt_st_tensor *t, size_t first,
                          size_t n, tt_err *err);
tt_status tt__values_new(tt__values *v, size_t n, tt_err *err); /* not zeroed */
void tt__values_release(tt__values *v);
size_t tt__tensor_count(const tt_st_tensor *t);

/* The rows of a patch that one tensor is about. */
typedef struct tt__rows {
    int64_t first, n;
} tt__rows;

/* adapter_delta.c: delta [rows, in taps] = W' - W before DoRA, for the kinds that add; w: the weight so far, for GLoRA. */
tt_status tt__delta(const tt_adapter *a, const tt__patch *p, tt__rows rows, const float *w,
                    float *delta, tt_err *err);

/* Two factors in memory, whose product is a matrix [rows, columns]. */
typedef struct tt__factors {
    tt__values left;  /* [rows, rank] */
    tt__values right; /* [rank, columns] */
    int64_t rows, rank, columns;
} tt__factors;
/* Plain LoRA's, and w [n, columns] += s times rows first to first + n of their product. What a failure leaves is released too. */
tt_status tt__lora_read(tt__factors *f, const tt_adapter *a, const tt__patch *p, tt__rows rows,
                        tt_err *err);
void tt__lora_add(const tt__factors *f, tt__rows rows, float s, float *w);
void tt__factors_release(tt__factors *f);

/* adapter_rotate.c: out [out, in taps] = W' of OFT and BOFT. */
tt_status tt__rotate(const tt_adapter *a, const tt__patch *p, const float *w, float *out,
                     tt_err *err);

/* adapter_product.c: c [m, n] += scale a [m, k] b [k, n]; rows are lda, ldb, ldc apart. Same bits on every processor. */
typedef struct tt__product {
    int64_t m, n, k;
    const float *a, *b;
    int64_t lda, ldb;
    float scale;
    float *c;
    int64_t ldc;
} tt__product;
void tt__product_run(const tt__product *p);

#endif
