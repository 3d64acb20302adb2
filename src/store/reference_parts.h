/* Between the files that read references. */
#ifndef TT_STORE_REFERENCE_PARTS_H
#define TT_STORE_REFERENCE_PARTS_H

#include "store/reference.h"

/* A piece of the text; not NUL-terminated. */
typedef struct tt__span {
    const char *at;
    size_t n;
} tt__span;

static inline tt__span tt__span_of(const char *at, size_t n) {
    return (tt__span){at, n};
}
bool tt__span_is(tt__span s, const char *word); /* exactly */
bool tt__span_is_anycase(tt__span s,
                         const char *word); /* ASCII letters of either case; word in lower case */
/* The part before the first c; *rest what follows it, {NULL, 0} when there is no c. */
tt__span tt__span_cut(tt__span s, char c, tt__span *rest);
/* False when it does not fit `size` bytes. */
bool tt__span_copy(tt__span s, char *out, size_t size);
/* A decimal number from 1 to `most`, without sign or leading zeros. */
bool tt__span_number(tt__span s, int64_t most, int64_t *out);
/* Percent-escapes undone into out; false for broken ones, control characters and what does not fit. */
bool tt__span_decode(tt__span s, char *out, size_t size);

/* An http or https URL, cut up and checked: no user, no odd characters, no "..". */
typedef struct tt__url {
    bool is_https;
    char host[256];           /* lower case, without a dot at the end */
    int port;                 /* 0: the scheme's */
    tt__span path;            /* with its slash; "" */
    tt__span query, fragment; /* without ? and # */
} tt__url;
tt_status tt__url_read(const char *text, tt__url *out, tt_err *err);
bool tt__host_is_of(const char *host, const char *domain); /* itself or below it */
/* The value of a query's parameter, as it stands; at is NULL when it is not there. */
tt__span tt__query_value(tt__span query, const char *name);

tt_status tt__reference_civitai(tt__span ids, tt_reference *out,
                                tt_err *err);                               /* behind "civitai:" */
tt_status tt__reference_air(tt__span text, tt_reference *out, tt_err *err); /* behind "urn:air:" */
tt_status tt__reference_civitai_url(const tt__url *url, tt_reference *out, tt_err *err);
tt_status tt__reference_hf(tt__span text, tt_reference *out, tt_err *err); /* behind "hf://" */
tt_status tt__reference_hf_url(const tt__url *url, tt_reference *out, tt_err *err);

/* Fills in repo, revision, path and identity after checking them; the strings are decoded. */
tt_status tt__reference_hf_set(const char *repo, const char *revision, const char *path,
                               tt_reference *out, tt_err *err);

#endif
