/* The environment -> tt_store_options: the one place where the store's variables are read.
 *
 *     TINTYPE_MODELS                where models are kept; else /runpod-volume/models where that volume is mounted, else
 *                                   $XDG_DATA_HOME/tintype/models, ~/.local/share/tintype/models, ./tintype-models
 *     TINTYPE_MODELS_READONLY       further folders, with colons between them; models/ beside the program and
 *                                   ../share/tintype/models are looked at by themselves
 *     TINTYPE_MODELS_MAX_BYTES      "200GB"
 *     CIVITAI_API_KEY               or CIVITAI_TOKEN
 *     HF_TOKEN                      or HUGGING_FACE_HUB_TOKEN, or the file that Hugging Face's own tools wrote (HF_TOKEN_PATH,
 *                                   $HF_HOME/token)
 *     HF_HUB_CACHE, HF_HOME         caches that are read in place, RunPod's own beside them
 *     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION
 *     BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY, BUCKET_ENDPOINT_URL       where there is no AWS_ACCESS_KEY_ID
 *     TINTYPE_OFFLINE, HF_HUB_OFFLINE           nothing is asked or fetched
 *     TINTYPE_TRUST_FIRST_USE       URLs need no #sha256=
 *     TINTYPE_DOWNLOAD_CONNECTIONS  1 to 16
 *     TINTYPE_CIVITAI_URL, TINTYPE_HF_URL or HF_ENDPOINT, TINTYPE_ALLOW_PRIVATE, TINTYPE_CA_FILE    said in the log when set
 *     TINTYPE_TEST_TIME_DIVISOR     for tests: waits and tries are so many times shorter
 *
 * Secrets have no flags: everybody on a machine can read those. */
#ifndef TT_CMD_STORE_OPTIONS_H
#define TT_CMD_STORE_OPTIONS_H

#include "store/store.h"

enum { TT__KEY_BYTES = 512 };

/* `store` points into the struct and into the environment: it is not to be copied or moved, and no variable of the store is
 * to be set while it is used. */
typedef struct tt__store_options {
    tt_store_options store;
    char root[TT_MODEL_PATH_BYTES];
    char *folders; /* owned: TINTYPE_MODELS_READONLY, cut at its colons */
    char beside[2][TT_MODEL_PATH_BYTES];
    const char *read_only[TT_LIBRARY_MAX_ROOTS];
    char caches[TT_STORE_MAX_HF_CACHES][TT_MODEL_PATH_BYTES];
    const char *hf_caches[TT_STORE_MAX_HF_CACHES];
    char civitai_key[TT__KEY_BYTES],
        hf_token[TT__KEY_BYTES]; /* without the line's end they were pasted with */
    char user_agent[64];
} tt__store_options;

/* TT_E_INVALID with the variable's name, what was expected and found (a secret's value is never told). Release it also
 * after a failure. log is borrowed, may be NULL, and is told what is unusual. */
tt_status tt__store_options_read(tt__store_options *o, const tt_log *log, tt_err *err);
void tt__store_options_release(tt__store_options *o);

#endif
