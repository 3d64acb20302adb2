/* splitmix64 seeded with fnv1a64(name); the top 24 bits u of output i become (2u + 1 - 2^24) /
 * 2^24. */
#include "support/counter.h"

#include <string.h>

uint64_t tt_fnv1a64(const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    uint64_t value = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) value = (value ^ p[i]) * 0x100000001B3u;
    return value;
}

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

enum { UNIFORM_BITS = 24 };

static float uniform(uint64_t key, uint64_t i) {
    static const uint64_t increment = 0x9E3779B97F4A7C15u;
    int32_t u = (int32_t)(mix(key + (i + 1) * increment) >> (64 - UNIFORM_BITS));
    return (float)(2 * u + 1 - (1 << UNIFORM_BITS)) / (float)(1 << UNIFORM_BITS);
}

void tt_counter_fill(const char *name, float scale, float offset, float *out, size_t count) {
    uint64_t key = tt_fnv1a64(name, strlen(name));
    for (size_t i = 0; i < count; i++) {
        float scaled = scale * uniform(key, i);
        out[i] = offset + scaled;
    }
}
