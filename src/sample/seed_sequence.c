#include "sample/seed_sequence.h"

#include <assert.h>

/* The paper's constants, as numpy has them. */
static const uint32_t mix_start = 0x43b0d7e5u, mix_factor = 0x931e8875u;
static const uint32_t out_start = 0x8b51f9ddu, out_factor = 0x58f38dedu;
static const uint32_t left_factor = 0xca01f9ddu, right_factor = 0x4973f715u;
enum { FOLD = 16 }; /* half a word */

static uint32_t hash(uint32_t value, uint32_t *key, uint32_t factor) {
    value ^= *key;
    *key *= factor;
    value *= *key;
    return value ^ value >> FOLD;
}

static uint32_t mix(uint32_t x, uint32_t y) {
    uint32_t result = left_factor * x - right_factor * y;
    return result ^ result >> FOLD;
}

/* The entropy's words, padded to the pool when a path follows: so no path can pose as entropy. */
static int lay_out(uint64_t entropy, const uint32_t *path, int n_path, uint32_t *words) {
    int n = 0;
    words[n++] = (uint32_t)entropy;
    if (entropy >> 32) words[n++] = (uint32_t)(entropy >> 32);
    if (n_path == 0) return n;
    while (n < TT_SEED_POOL) words[n++] = 0;
    for (int i = 0; i < n_path; i++) words[n++] = path[i];
    return n;
}

void tt_seed_sequence(uint64_t entropy, const uint32_t *path, int n_path, uint32_t *out, int n) {
    assert(n_path <= TT_SEED_PATH_MAX);
    uint32_t words[TT_SEED_POOL + TT_SEED_PATH_MAX], pool[TT_SEED_POOL];
    int n_words = lay_out(entropy, path, n_path, words);
    uint32_t key = mix_start;
    for (int i = 0; i < TT_SEED_POOL; i++)
        pool[i] = hash(i < n_words ? words[i] : 0, &key, mix_factor);
    for (int from = 0; from < TT_SEED_POOL; from++)
        for (int to = 0; to < TT_SEED_POOL; to++)
            if (from != to) pool[to] = mix(pool[to], hash(pool[from], &key, mix_factor));
    for (int from = TT_SEED_POOL; from < n_words; from++)
        for (int to = 0; to < TT_SEED_POOL; to++)
            pool[to] = mix(pool[to], hash(words[from], &key, mix_factor));
    key = out_start;
    for (int i = 0; i < n; i++) out[i] = hash(pool[i % TT_SEED_POOL], &key, out_factor);
}
