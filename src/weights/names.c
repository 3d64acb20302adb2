/* Open addressing with linear probing. The hash is seeded with an address, which differs in every
 * process, so a file cannot be made whose 65536 names all fall into one chain. Ids, not the table,
 * give the order of anything visible, so the seed never shows. */
#include "weights/names.h"

#include <string.h>

#include "base/alloc.h"

enum { FIRST_CAPACITY = 256 };

static uint32_t hash_name(const char *name, uint64_t seed) {
    const uint64_t odd = 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio: spreads bits upwards */
    size_t length = strlen(name);
    uint64_t h = seed ^ length * odd;
    for (; length > 0;) {
        uint64_t word = 0;
        size_t n = length < sizeof word ? length : sizeof word;
        memcpy(&word, name, n);
        h = (h ^ word) * odd;
        h ^= h >> 32;
        name += n;
        length -= n;
    }
    return (uint32_t)(h ^ h >> 29);
}

/* The slot that holds the name, or the empty one where it belongs. */
static tt__name_slot *slot_of(tt__name_slot *slots, size_t capacity, const char *name,
                              uint32_t hash) {
    for (size_t i = hash;; i++) {
        tt__name_slot *slot = &slots[i & (capacity - 1)];
        if (!slot->name || (slot->hash == hash && strcmp(slot->name, name) == 0)) return slot;
    }
}

static tt_status grow(tt__names *t, tt_err *err) {
    size_t capacity = t->capacity ? 2 * t->capacity : FIRST_CAPACITY;
    tt__name_slot *slots = tt_alloc(capacity * sizeof *slots);
    if (!slots) return tt_fail_nomem(err, "table of names", capacity * sizeof *slots);
    if (!t->seed) t->seed = (uint64_t)(uintptr_t)slots * 0xff51afd7ed558ccdu | 1;
    for (size_t i = 0; i < t->capacity; i++) {
        tt__name_slot *old = &t->slots[i];
        /* stored hashes stay valid because the seed is chosen once */
        if (old->name) *slot_of(slots, capacity, old->name, old->hash) = *old;
    }
    tt_free(t->slots);
    t->slots = slots;
    t->capacity = capacity;
    return TT_OK;
}

tt_status tt__names_add(tt__names *t, const char *name, uint32_t id, int64_t *existing,
                        tt_err *err) {
    if (2 * (t->count + 1) > t->capacity) TT_TRY(grow(t, err));
    uint32_t hash = hash_name(name, t->seed);
    tt__name_slot *slot = slot_of(t->slots, t->capacity, name, hash);
    *existing = slot->name ? (int64_t)slot->id : TT__NO_NAME;
    if (slot->name) return TT_OK;
    *slot = (tt__name_slot){.name = name, .hash = hash, .id = id};
    t->count++;
    return TT_OK;
}

int64_t tt__names_find(const tt__names *t, const char *name) {
    if (t->count == 0) return TT__NO_NAME;
    tt__name_slot *slot = slot_of(t->slots, t->capacity, name, hash_name(name, t->seed));
    return slot->name ? (int64_t)slot->id : TT__NO_NAME;
}

void tt__names_release(tt__names *t) {
    tt_free(t->slots);
    *t = (tt__names){0};
}
