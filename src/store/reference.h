/* What a person writes to name a model, and what it means. Pure text: nothing is looked up, nothing is opened.
 *
 *     civitai:128078                     a CivitAI model version; "civitai:128078+98765": one file of it. The number alone
 *                                        means the same
 *     civitai:101055@128078[+FILE]       model and version, as CivitAI's pages show it
 *     urn:air:sdxl:lora:civitai:101055@128078[+FILE][.safetensors]    AIR (models.md 1.7), with or without "urn:" and "air:";
 *                                        source huggingface as well. Without @ the newest version of the model
 *     https://civitai.com/models/101055/slug?modelVersionId=128078      page, api/download and api/v1 URLs,
 *                                        of civitai.com, .red, .green and their subdomains
 *     hf://org/repo[@revision]/path      and https://huggingface.co/org/repo/{resolve,blob,raw}/revision/path
 *     hf://org/repo[@revision]           a whole repository
 *     https://host/path                  any server; "#sha256=<64 hex>" pins the bytes
 *     s3://bucket/key                    with the store's S3 account
 *     sha256:<64 hex>                    bytes that are in the store already
 *     /path, ./path, ~/path, name.safetensors     a file here
 *     word                               a name given in the store
 *
 * Two spellings of one thing have one identity, and an identity is a spelling of itself. Keys in CivitAI's and Hugging
 * Face's URLs (?token=...) are dropped; what looks like a key or a signature in other URLs is used, but not part of the
 * identity, which is what is kept, shown and logged. */
#ifndef TT_STORE_REFERENCE_H
#define TT_STORE_REFERENCE_H

#include "store/model.h"

typedef enum tt_reference_type {
    TT_REF_CIVITAI,
    TT_REF_HF,
    TT_REF_URL,
    TT_REF_S3,
    TT_REF_DIGEST,
    TT_REF_PATH,
    TT_REF_NAME, /* a bare word: a name given in the store ("tintype pull X --name word") */
} tt_reference_type;

/* A plain value; copy freely. */
typedef struct tt_reference {
    tt_reference_type type;
    char identity
        [TT_REFERENCE_BYTES]; /* canonical spelling: what names and negative answers are kept under */
    int64_t model_id, version_id,
        file_id;    /* CIVITAI; 0: not said. At least one of the first two is there */
    char wish[128]; /* CIVITAI: which file, "fp=fp16&size=pruned&type=VAE", in this order; "" */
    char repo[256], revision[256]; /* HF: "org/name"; "main" when not said */
    char path
        [TT_REFERENCE_BYTES]; /* HF: inside the repository; "": all of it. PATH: the file. S3: the key.
                                               URL: all of it but the fragment: secret. NAME: the word */
    char bucket[256];         /* S3 */
    char digest[TT_DIGEST_HEX + 1]; /* pinned or DIGEST; "" */
    bool has_kind;
    tt_model_kind kind; /* what the reference says it is (AIR's type) */
} tt_reference;

/* TT_E_INVALID with one sentence: what is wrong, and where the forms are ("tintype pull --help"). Never echoes a token.
 * Numbers beyond 2^31 - 1, control characters, overlong parts and odd encodings are refused, and, but in a PATH, "..". */
tt_status tt_reference_parse(const char *text, tt_reference *out, tt_err *err);

#endif
