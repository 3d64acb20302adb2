/* Test weights without a weights file: a counter-based generator, the same bits as
 * tools/golden/counter.py.
 *
 * Value i of the tensor `name` is uniform in (-1, 1), never 0, exact in f32, and depends on nothing
 * else. */
#ifndef TT_SUPPORT_COUNTER_H
#define TT_SUPPORT_COUNTER_H

#include <stddef.h>
#include <stdint.h>

uint64_t tt_fnv1a64(const void *bytes, size_t size);

/* out[i] = offset + scale * value(name, i), each operation rounded to f32. */
void tt_counter_fill(const char *name, float scale, float offset, float *out, size_t count);

#endif
