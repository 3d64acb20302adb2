/* See backoff.h. The random numbers are splitmix64 (Steele, Lea, Flood, 2014): one word of state, good enough to keep
 * workers that failed together from coming back together. */
#include "net/backoff.h"

void tt_backoff_init(tt_backoff *b, int64_t base_ms, int64_t cap_ms, uint64_t seed) {
    *b = (tt_backoff){.base_ms = base_ms, .cap_ms = cap_ms, .random = seed};
}

static uint64_t next_random(tt_backoff *b) {
    uint64_t z = b->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* base * 2^n, at most the cap; doubling step by step cannot overflow. */
static int64_t ceiling_ms(const tt_backoff *b) {
    int64_t ms = b->base_ms;
    for (int i = 0; i < b->n_tries && ms < b->cap_ms; i++)
        ms = ms > b->cap_ms / 2 ? b->cap_ms : 2 * ms;
    return ms < b->cap_ms ? ms : b->cap_ms;
}

int64_t tt_backoff_next_ms(tt_backoff *b) {
    if (b->n_tries < INT32_MAX) b->n_tries++;
    int64_t low = b->base_ms < b->cap_ms ? b->base_ms : b->cap_ms;
    uint64_t n_choices = (uint64_t)(ceiling_ms(b) - low) + 1;
    return low + (int64_t)(next_random(b) % n_choices); /* the bias of % is 2^-40 */
}

void tt_backoff_reset(tt_backoff *b) {
    b->n_tries = 0;
}

bool tt_http_is_retryable(int status) {
    return status == 408 || status == 425 || status == 429 || (status >= 500 && status <= 599);
}
