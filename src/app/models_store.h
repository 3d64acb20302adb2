/* The interface of models.h over everything there is: a preset's own models, folders of this machine, the store.
 *
 *     a word         a model that the preset lists under this name; else a file in the folder of its kind; else, for the person
 *                    at the machine, a name given in the store
 *     a reference    ("civitai:128078") through the store: for the person at the machine any; for a job or a prompt what the
 *                    presets' policy allows, and without presets none
 *
 * A struct that is filled in and borrowed: one for each request, with its preset. */
#ifndef TT_APP_MODELS_STORE_H
#define TT_APP_MODELS_STORE_H

#include "app/models.h"
#include "app/presets.h"

typedef struct tt_app_stock {
    const tt_app_folders *folders; /* NULL: none */
    const tt_presets *presets;     /* whose policy counts; NULL: none */
    const tt_preset *preset;       /* whose models have names; NULL: none */
    /* The store, opened by whoever needs it first. NULL: there is none. */
    tt_status (*store)(void *context, tt_store **out, tt_err *err);
    void *store_context;
    const tt_source_services *services; /* by which pictures are fetched; NULL: they are not */
    tt_app_fetching_fn fetching;        /* where an ask has none of its own; NULL */
    void *fetching_context;
    int64_t deadline_ms; /* of one fetch; 0: the store's own */
    /* Told of everything that was asked of the store; NULL. `error` is NULL when it was found. */
    void (*asked)(void *context, const char *reference, const tt_store_model *model,
                  const tt_fetch_error *error);
    void *asked_context;
    bool hides_folders; /* sentences go to clients: no folders in them */
} tt_app_stock;

tt_app_models tt_app_models_of_stock(const tt_app_stock *stock);

#endif
