/* See scratch.h. The live pieces are a sorted array: a pass makes some thousand requests with about
 * twenty alive, so a linear search costs less than any cleverer structure. */
#include "tensor/scratch.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

/* While measuring, pieces get addresses from here on: never NULL, never dereferenced. */
static char *const MEASURE_BASE = (char *)(uintptr_t)TT_SIMD_ALIGN;

static void free_block(tt_scratch *s) {
    if (!s->source.alloc)
        tt_free(s->block);
    else if (s->block)
        s->source.release(s->source.context, s->block);
    s->block = NULL;
    s->capacity = 0;
}

void tt_scratch_release(tt_scratch *s) {
    free_block(s);
    *s = (tt_scratch){0};
}

void tt_scratch_measure(tt_scratch *s) {
    assert(s->n_pieces == 0);
    s->measuring = true;
    s->peak = 0;
}

tt_status tt_scratch_make(tt_scratch *s, tt_err *err) {
    s->measuring = false;
    s->n_pieces = 0;
    if (s->peak <= s->capacity) return TT_OK;
    free_block(s);
    s->block =
        s->source.alloc ? s->source.alloc(s->source.context, s->peak) : tt_alloc_aligned(s->peak);
    if (!s->block) return tt_fail_nomem(err, "working memory of the network", s->peak);
    s->capacity = s->peak;
    return TT_OK;
}

tt_status tt_scratch_take(tt_scratch *s, size_t size_bytes, void **out, tt_err *err) {
    size_t size = (size_bytes + TT_SIMD_ALIGN - 1) / TT_SIMD_ALIGN * TT_SIMD_ALIGN;
    if (size < size_bytes) return tt_fail_nomem(err, "a tensor", size_bytes);
    if (size == 0) size = TT_SIMD_ALIGN;
    if (s->n_pieces == TT_SCRATCH_MAX_PIECES)
        return tt_fail(err, TT_E_INTERNAL, "scratch: more than %d tensors alive",
                       TT_SCRATCH_MAX_PIECES);
    size_t offset = 0;
    int at = 0;
    while (at < s->n_pieces && s->pieces[at].offset - offset < size) {
        offset = s->pieces[at].offset + s->pieces[at].size;
        at++;
    }
    if (size > SIZE_MAX / 2 - offset || (!s->measuring && offset + size > s->capacity))
        return tt_fail(err, TT_E_NOMEM, "scratch: %zu bytes wanted beyond the %zu planned",
                       offset + size, s->capacity);
    memmove(&s->pieces[at + 1], &s->pieces[at], sizeof s->pieces[0] * (size_t)(s->n_pieces - at));
    s->pieces[at] = (tt_scratch_piece){offset, size};
    s->n_pieces++;
    if (s->measuring && offset + size > s->peak) s->peak = offset + size;
    *out = (s->measuring ? MEASURE_BASE : s->block) + offset;
    return TT_OK;
}

void tt_scratch_give(tt_scratch *s, void *p) {
    size_t offset = (size_t)((char *)p - (s->measuring ? MEASURE_BASE : s->block));
    int at = 0;
    while (at < s->n_pieces && s->pieces[at].offset != offset) at++;
    assert(at < s->n_pieces);
    if (at == s->n_pieces) return;
    s->n_pieces--;
    memmove(&s->pieces[at], &s->pieces[at + 1], sizeof s->pieces[0] * (size_t)(s->n_pieces - at));
}
