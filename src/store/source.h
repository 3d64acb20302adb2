/* From a reference to where its bytes are: the services' own answers, asked once. No bytes of the model are read here.
 *
 * A URL that came out is asked without any credential but file.headers: it is signed, or public. Every hop of every redirect is looked at by our
 * own code: https (http only with allow_private), no user, no odd port, at most TT_SOURCE_MAX_HOPS, the address that was
 * really connected to is public (net/guard.h), and a credential goes only to hosts of the service it belongs to.
 *
 * Blocking; any thread, each call by itself. Deadlines are inside. */
#ifndef TT_STORE_SOURCE_H
#define TT_STORE_SOURCE_H

#include <stdatomic.h>

#include "net/s3.h"
#include "store/reference.h"

enum { TT_SOURCE_MAX_HOPS = 5, TT_SOURCE_URL_BYTES = 8192, TT_SOURCE_VALIDATOR_BYTES = 256 };

/* Borrowed for the store's life. Text may be NULL or "". */
typedef struct tt_source_services {
    const char *civitai_url; /* replaces https://civitai.com, for mirrors and tests */
    const char *hf_url;      /* replaces https://huggingface.co */
    const char *civitai_key, *hf_token;
    tt_s3_account s3;
    const char *ca_file; /* certificates to trust beside the system's; NULL: none */
    bool allow_private;  /* private addresses and http: */
    const char *user_agent;
    const atomic_bool *stop; /* ends every wait; may be NULL */
    int time_divisor;        /* for tests: waits are this many times shorter; 0: 1 */
} tt_source_services;

enum { TT_SOURCE_HEADERS_BYTES = 1024 };

/* Where a file's bytes are, and what is promised about them. A plain value. */
typedef struct tt_source_file {
    char url[TT_SOURCE_URL_BYTES]; /* secret: it may be signed */
    /* For url's own host alone, each line "Name: value\n": secret. Only where a service serves bytes itself and wants to know
     * who asks (a private repository's small file, S3 without links); else "". */
    char headers[TT_SOURCE_HEADERS_BYTES];
    bool is_signed;                            /* expires: resolve again on 400, 401, 403 */
    char digest[TT_DIGEST_HEX + 1];            /* "" : nobody said */
    uint64_t size;                             /* 0: nobody said */
    bool size_is_exact;                        /* CivitAI's is the uploader's word */
    char validator[TT_SOURCE_VALIDATOR_BYTES]; /* a strong ETag seen at the source, "" */
    char name[TT_MODEL_NAME_BYTES];            /* for people */
    char base_model[64];                       /* as the service spells it; "" */
    char version[TT_MODEL_NAME_BYTES];         /* of the model, or the commit; "" */
    char resolved
        [TT_REFERENCE_BYTES]; /* the reference with everything filled in: CivitAI's file, HF's commit */
    bool has_kind;
    tt_model_kind kind;
} tt_source_file;

/* Asks the service. deadline_ms: of all its requests together, tries included. */
tt_status tt_source_resolve(const tt_source_services *services, const tt_reference *reference,
                            int64_t deadline_ms, tt_source_file *out, tt_fetch_error *error);

/* What a key is worth: asks CivitAI's /api/v1/me or Hugging Face's /api/whoami-v2. */
typedef enum tt_key_state {
    TT_KEY_ABSENT,
    TT_KEY_ACCEPTED,
    TT_KEY_REFUSED,
    TT_KEY_UNKNOWN
} tt_key_state;
const char *tt_key_state_name(tt_key_state s); /* "absent", "accepted", "refused", "unknown" */
tt_key_state tt_source_check_civitai_key(const tt_source_services *services, int64_t deadline_ms,
                                         tt_fetch_error *error);
tt_key_state tt_source_check_hf_token(const tt_source_services *services, int64_t deadline_ms,
                                      tt_fetch_error *error);

/* What a path that leads through a snapshot of such a cache is, wherever the cache lies: "hf://org/name@commit[/path]". False for
 * other paths. */
bool tt_hf_cache_name(const char *path, char out[TT_REFERENCE_BYTES]);

/* Models that Hugging Face's library or the platform left in a cache folder (models.md 2.3), read in place: writes the path
 * of the file, or of the snapshot's folder for a whole repository. TT_E_NOT_FOUND when it is not there. Links that lead out of the
 * cache are not followed. digest gets the blob's SHA-256 where its name tells, else "". */
tt_status tt_hf_cache_find(const char *cache_root, const tt_reference *reference,
                           char path[TT_MODEL_PATH_BYTES], char digest[TT_DIGEST_HEX + 1],
                           tt_err *err);

#endif
