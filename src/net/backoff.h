/* How long to wait before the next try: exponential with full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
 * A value; one thread. */
#ifndef TT_NET_BACKOFF_H
#define TT_NET_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tt_backoff {
    int64_t base_ms, cap_ms; /* the n-th wait is uniform in [base, min(cap, base * 2^n)] */
    int n_tries;
    uint64_t random; /* state; seeded by init */
} tt_backoff;

void tt_backoff_init(tt_backoff *b, int64_t base_ms, int64_t cap_ms, uint64_t seed);
int64_t tt_backoff_next_ms(tt_backoff *b);
void tt_backoff_reset(tt_backoff *b);

/* Worth another try: 408, 425, 429, 5xx. */
bool tt_http_is_retryable(int status);

#endif
