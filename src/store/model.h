/* The words that the store's files share: what kind of model a file is, and why getting one failed. */
#ifndef TT_STORE_MODEL_H
#define TT_STORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What a file is for: decides how large it may be. */
typedef enum tt_model_kind {
    TT_MODEL_CHECKPOINT,
    TT_MODEL_LORA,
    TT_MODEL_VAE,
    TT_MODEL_EMBEDDING,
    TT_MODEL_KINDS
} tt_model_kind;

const char *tt_model_kind_name(tt_model_kind kind); /* "checkpoint", "lora", "vae", "embedding" */
tt_status tt_model_kind_parse(const char *name, tt_model_kind *out, tt_err *err);
uint64_t tt_model_kind_max_bytes(
    tt_model_kind kind); /* models.md 8.1: 16 GiB, 2 GiB, 1 GiB, 64 MiB */

/* Why a model could not be had (models.md 9): the label of the metric, and what decides about another try. */
typedef enum tt_fetch_class {
    TT_FETCH_OK,
    TT_FETCH_REFERENCE, /* the reference itself makes no sense, or policy forbids it */
    TT_FETCH_AUTH,      /* a key is missing or not accepted: the sentence names the variable */
    TT_FETCH_FORBIDDEN, /* early access, gated, disabled: no key of this account helps */
    TT_FETCH_GONE,      /* not there, or no longer */
    TT_FETCH_REGION,    /* blocked in this country */
    TT_FETCH_RATE,      /* too many requests */
    TT_FETCH_EDGE,      /* a page of the service's front instead of an answer */
    TT_FETCH_NETWORK,   /* connections, time-outs, 5xx: retried until the tries were used up */
    TT_FETCH_REFUSED,   /* the guard: a redirect or an address that must not be followed */
    TT_FETCH_RANGE,     /* the server's ranges contradict each other */
    TT_FETCH_CONTENT,   /* a page, a pickle, an archive: no model */
    TT_FETCH_SIZE,      /* more or less than announced, or than this kind may have */
    TT_FETCH_DIGEST,    /* the bytes are not those that were promised */
    TT_FETCH_FORMAT,    /* safetensors, but broken */
    TT_FETCH_DISK,      /* full, quota, read-only, I/O */
    TT_FETCH_DEADLINE,
    TT_FETCH_CANCELLED,
    TT_FETCH_OFFLINE, /* not here, and nothing may be fetched */
    TT_FETCH_INTERNAL,
    TT_FETCH_CLASSES
} tt_fetch_class;

const char *tt_fetch_class_name(tt_fetch_class c); /* "auth", "gone"...; static */

/* A failure with its class. Like tt_err, filled by whoever fails; no sentence holds a key, a token or a query string. */
typedef struct tt_fetch_error {
    tt_fetch_class class_;
    int64_t retry_after_ms; /* what the other side asked for; -1: nothing */
    tt_err err;
} tt_fetch_error;

/* Fills it in and returns the status that fits the class (TT_E_NOT_FOUND, TT_E_INVALID, TT_E_IO, TT_E_FORMAT...). */
tt_status tt_fetch_fail(tt_fetch_error *e, tt_fetch_class class_, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum {
    TT_DIGEST_HEX = 64,        /* SHA-256 in lower-case hexadecimal */
    TT_MODEL_NAME_BYTES = 128, /* display names: sanitised, never a path */
    TT_MODEL_PATH_BYTES = 4096,
    TT_REFERENCE_BYTES = 2048,
};

/* True for 64 hexadecimal digits; out (may be NULL) gets them in lower case. */
bool tt_digest_parse(const char *text, size_t size, char out[TT_DIGEST_HEX + 1]);

#endif
