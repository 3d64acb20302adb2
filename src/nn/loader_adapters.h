/* Adapters (LoRA and its kin) on a loaded model: sets of them are switched by exchanging packed weights.
 *
 *     tt_loader_run(loader, err);                              the loader is kept: it is the recipe
 *     tt_adapters_new(loader, &options, &adapters, err);
 *     tt_adapter_use uses[] = {{adapter, tt_adapter_strength_all(0.8f)}};
 *     tt_adapters_set(adapters, uses, 1, err);                 between requests
 *     tt_adapters_set(adapters, NULL, 0, err);                 the model as it was loaded
 *     tt_adapters_free(adapters);                              before the networks are closed
 *
 * The weights that were loaded are never touched: applying makes new ones from the checkpoint's own numbers, in f32, rounded
 * once, and puts them into the networks' slots; going back puts the old pointers back. So any number of switches leaves the
 * model bit for bit as it was. Applied sets are kept (least recently used ones go first), and switching to a kept set is
 * only pointers.
 *
 * A failure of any kind (a file that became unreadable, values that are not finite, no memory) leaves the set that was there
 * in place. One thread at a time, the one that owns the back-ends, and not inside a pass; inside, all threads are used. */
#ifndef TT_NN_LOADER_ADAPTERS_H
#define TT_NN_LOADER_ADAPTERS_H

#include "nn/loader.h"
#include "weights/adapter.h"

typedef struct tt_adapters tt_adapters;

enum {
    TT_MAX_ADAPTER_USES =
        16 /* of one set: people stack 2 to 6; each costs a pass over the weights */
};

/* What is kept besides the model itself and the set in use. While a new set is made, the one in use is there too. */
typedef struct tt_adapters_options {
    int max_sets;     /* kept and not in use; 0: none */
    size_t max_bytes; /* of their packed weights together */
} tt_adapters_options;
void tt_adapters_options_defaults(
    tt_adapters_options *options); /* 3 sets; half of the memory that is left, at least 4 GiB */

/* One adapter in a set. */
typedef struct tt_adapter_use {
    const tt_adapter *adapter; /* of the same checkpoint; borrowed for the call only */
    tt_adapter_strength strength;
} tt_adapter_use;

/* The recipe is borrowed, after a successful run; it must outlive this. */
tt_status tt_adapters_new(const tt_loader *recipe, const tt_adapters_options *options,
                          tt_adapters **out, tt_err *err);
/* Puts the loaded weights back and frees all others; NULL is fine. */
void tt_adapters_free(tt_adapters *a);

/* Makes the model what `uses` say, applied in that order. The same files (by tt_adapter_get_identity) with the same
 * strengths in the same order are the same set. Uses that change nothing count as absent. */
tt_status tt_adapters_set(tt_adapters *a, const tt_adapter_use *uses, int n_uses, tt_err *err);

/* How the last successful tt_adapters_set went, and what is kept now. */
typedef struct tt_adapters_info {
    int n_uses, n_weights; /* of the set in use: adapters, and packed weights exchanged */
    bool was_kept;         /* it was there already */
    double ms;             /* what the switch took */
    int n_kept;            /* sets not in use */
    size_t kept_bytes, used_bytes;
} tt_adapters_info;
tt_adapters_info tt_adapters_get_info(const tt_adapters *a);

#endif
