/* See statistics.h. Sums of squares are never subtracted from each other: a mean far from zero costs no digits. */
#include "tensor/statistics.h"

#include "base/alloc.h"

void tt_norm_statistics_add(tt_norm_statistics *s, const tt_norm_statistics *more) {
    double count = s->count + more->count;
    if (more->count == 0) return;
    double share = more->count / count, apart = more->mean - s->mean;
    s->squares += more->squares + apart * apart * s->count * share;
    s->mean += apart * share;
    s->count = count;
}

double tt_norm_statistics_variance(const tt_norm_statistics *s) {
    return s->count > 0 ? s->squares / s->count : 0;
}

size_t tt_norm_tape_bytes(int64_t norms, int64_t groups) {
    return (size_t)(norms * groups) * sizeof(tt_norm_statistics);
}

tt_status tt_norm_tape_init(tt_norm_tape *tape, int64_t norms, int64_t groups, tt_err *err) {
    size_t bytes = tt_norm_tape_bytes(norms, groups);
    *tape = (tt_norm_tape){.of = tt_alloc(bytes), .norms = norms, .groups = groups};
    return tape->of ? TT_OK : tt_fail_nomem(err, "the statistics of norms", bytes);
}

void tt_norm_tape_release(tt_norm_tape *tape) {
    tt_free(tape->of);
    *tape = (tt_norm_tape){0};
}
