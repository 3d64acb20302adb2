/* See texts.h. */
#include "pipeline/texts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

enum { MAX_KEPT = 16 }; /* a prompt, its negative, and the empty one, of the last few requests */
#define MAX_KEPT_BYTES (64 * TT_MIB) /* 100 chunks of SDXL's 77 x 2048 floats */

const tt_conditioning *tt__texts_find(tt__texts *t, const tt_buf *key) {
    tt__text **at = &t->first;
    while (*at &&
           ((*at)->key.size != key->size || memcmp((*at)->key.data, key->data, key->size) != 0))
        at = &(*at)->next;
    tt__text *found = *at;
    if (!found) return NULL;
    *at = found->next;
    found->next = t->first;
    t->first = found;
    return &found->states;
}

tt_status tt__texts_add(tt__texts *t, tt_buf *key, tt_conditioning *states,
                        const tt_conditioning **out, tt_err *err) {
    tt__text *fresh = tt_alloc(sizeof *fresh);
    *out = NULL;
    if (!fresh) {
        tt_buf_release(key);
        tt_conditioning_release(states);
        return tt_fail_nomem(err, "a text", sizeof *fresh);
    }
    *fresh = (tt__text){.next = t->first, .key = *key, .states = *states};
    *key = (tt_buf){0};
    *states = (tt_conditioning){0};
    t->first = fresh;
    *out = &fresh->states;
    return TT_OK;
}

static size_t text_bytes(const tt__text *t) {
    const tt_conditioning *s = &t->states;
    size_t rows = (size_t)s->n_chunks * (size_t)s->n_positions;
    return (rows * (size_t)s->width + (size_t)s->pooled_width) * sizeof *s->states;
}

size_t tt__texts_bytes(const tt__texts *t) {
    size_t bytes = 0;
    for (const tt__text *one = t->first; one; one = one->next) bytes += text_bytes(one);
    return bytes;
}

static void free_from(tt__text **at) {
    while (*at) {
        tt__text *gone = *at;
        *at = gone->next;
        tt_buf_release(&gone->key);
        tt_conditioning_release(&gone->states);
        tt_free(gone);
    }
}

void tt__texts_trim(tt__texts *t) {
    tt__text **at = &t->first;
    size_t left = MAX_KEPT_BYTES;
    for (int n = 0; *at && n < MAX_KEPT && text_bytes(*at) <= left; n++) {
        left -= text_bytes(*at);
        at = &(*at)->next;
    }
    free_from(at);
}

void tt__texts_release(tt__texts *t) {
    free_from(&t->first);
}
