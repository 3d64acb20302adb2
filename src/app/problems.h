/* What is wrong with an input: every fault, not only the first. A plain struct without memory of
 * its own, so that faults can be told when memory is gone. One thread. */
#ifndef TT_APP_PROBLEMS_H
#define TT_APP_PROBLEMS_H

#include "base/buf.h"

/* More faults than a person reads at once; further ones are only counted. */
enum { TT_MAX_PROBLEMS = 24 };

typedef struct tt_problems {
    int count;
    tt_err list[TT_MAX_PROBLEMS]; /* the first of them, each one sentence */
} tt_problems;

void tt_problems_init(tt_problems *p);
void tt_problems_add(tt_problems *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* TT_OK when there are none, else TT_E_INVALID with all of them in one sentence, cut where tt_err
 * ends. */
tt_status tt_problems_status(const tt_problems *p, tt_err *err);

/* Appends the faults, uncut, with `separator` between them. */
tt_status tt_problems_write(const tt_problems *p, const char *separator, tt_buf *out, tt_err *err);

#endif
