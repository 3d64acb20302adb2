/* Where a request's files come from: LoRAs, embeddings, pictures behind URLs. One interface; what is behind it (folders of this
 * machine, a store that downloads) is chosen when the program starts.
 *
 *     tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = "old-photo"};
 *     tt_app_found found;
 *     TT_TRY(tt_app_models_find(models, &ask, &found, err));
 *     use(found.path);
 *     tt_app_models_release(models, &found);
 *
 * Policy has one home, tt_app_models_find: who may name what. A person at the machine (flags, environment) may name any path; a job or a
 * prompt never, in no disguise. Sentences about a job's files have no path in them. */
#ifndef TT_APP_MODELS_H
#define TT_APP_MODELS_H

#include <stdbool.h>

#include "base/buf.h"
#include "store/store.h"

/* A file that is here until it is released. */
typedef struct tt_app_found {
    char path[TT_MODEL_PATH_BYTES];
    char name[TT_MODEL_NAME_BYTES]; /* what results call it: UTF-8, no path */
    char digest[TT_DIGEST_HEX + 1]; /* SHA-256 of the file; "": nobody knows */
    char reference
        [TT_REFERENCE_BYTES]; /* where it came from, for results; "" for files that were just here */
    void *lease;              /* the implementation's own */
} tt_app_found;

/* Something is looked for or being fetched. Return false to cancel. */
typedef bool (*tt_app_fetching_fn)(void *context, const tt_store_progress *progress);

typedef struct tt_app_ask {
    tt_model_kind kind;
    const char *text; /* a name, a reference, or a path if is_trusted */
    bool is_trusted;  /* the person who started the program said it, in a flag or the environment */
    tt_app_fetching_fn fetching; /* on the calling thread; may be NULL */
    void *fetching_context;
    bool *lacks_room; /* set: the disk, or what models may take of it, is full; may be NULL */
} tt_app_ask;

/* Called per name; false ends the list. */
typedef bool (*tt_app_name_fn)(void *context, const char *name);

/* The interface. Functions are called on one thread at a time; all may block. */
typedef struct tt_app_models {
    void *context;
    /* TT_E_NOT_FOUND, TT_E_INVALID... with one sentence, without a path unless the ask is trusted. */
    tt_status (*find)(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err);
    void (*release)(void *context, tt_app_found *found); /* NULL: nothing is held */
    /* Reads all of a file that could not be made sense of. True: its bytes were not what they should be; it is gone from where
     * it was, and may be found again. NULL: nobody can tell. */
    bool (*is_spoilt)(void *context, const tt_app_found *found);
    /* The names of what is here of a kind. NULL: nothing. */
    tt_status (*list)(void *context, tt_model_kind kind, tt_app_name_fn each, void *each_context,
                      tt_err *err);
    /* Appends what an https URL gives, a picture. NULL: URLs are refused. */
    tt_status (*fetch)(void *context, const char *url, tt_buf *out, tt_err *err);
} tt_app_models;

/* Files of the store have their digest for a name: in a sentence it becomes the model's. Others are left alone. */
void tt_app_found_name(const tt_app_found *found, tt_err *err);

/* The policy, then models->find. models NULL: paths only. On failure `out` holds nothing. */
tt_status tt_app_models_find(const tt_app_models *models, const tt_app_ask *ask, tt_app_found *out,
                             tt_err *err);
void tt_app_models_release(const tt_app_models *models, tt_app_found *found);
tt_status tt_app_models_list(const tt_app_models *models, tt_model_kind kind, tt_app_name_fn each,
                             void *each_context, tt_err *err);
/* For "http://..." and "https://..." where a picture is expected; only https gets through. */
tt_status tt_app_models_fetch(const tt_app_models *models, const char *url, tt_buf *out,
                              tt_err *err);

/* True for what opens a file of this machine: /x, ./x, ~/x, a/b, a\b, .., file:x. False for names and for references with a scheme
 * ("civitai:...", "https://..."). */
bool tt_app_is_path(const char *text);

/* ---- folders of this machine ---- */

/* Folders are borrowed; NULL: none. */
typedef struct tt_app_folders {
    const char *of_kind[TT_MODEL_KINDS];
} tt_app_folders;

/* Finds paths as they are, and names, with or without ".safetensors", in the folder of their kind. Nothing is held, nothing is fetched. */
tt_app_models tt_app_models_of_folders(const tt_app_folders *folders);

#endif
