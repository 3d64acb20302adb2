/* numpy.random.SeedSequence: from one number and a path to words that are as good as independent.
 * After M. E. O'Neill's seed_seq, "Developing a seed_seq alternative", 2015. */
#ifndef TT_SAMPLE_SEED_SEQUENCE_H
#define TT_SAMPLE_SEED_SEQUENCE_H

#include <stdint.h>

enum {
    TT_SEED_POOL = 24,   /* torchsde's pool_size; numpy's own default is 4 */
    TT_SEED_PATH_MAX = 2 /* words of a spawn_key */
};

/* SeedSequence(entropy, spawn_key=path[0..n_path), pool_size=24).generate_state(n)[0..n).
 * n_path is 0 for none. */
void tt_seed_sequence(uint64_t entropy, const uint32_t *path, int n_path, uint32_t *out, int n);

#endif
