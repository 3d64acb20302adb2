/* See timers.h. A binary heap whose entries know their place, so that cancelling is O(log n) too. */
#include "net/timers.h"

#include "base/alloc.h"

enum { FIRST_CAPACITY = 16 };

static bool is_before(const tt_timer *a, const tt_timer *b) {
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void put_at(tt__timers *t, size_t at, tt_timer *timer) {
    t->heap[at] = timer;
    timer->at = at;
}

/* Both directions: the heap is in order but for the timer at `at`. */
static void settle(tt__timers *t, size_t at) {
    tt_timer *timer = t->heap[at];
    for (; at > 0 && is_before(timer, t->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put_at(t, at, t->heap[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < t->size; at = child) {
        if (child + 1 < t->size && is_before(t->heap[child + 1], t->heap[child])) child++;
        if (!is_before(t->heap[child], timer)) break;
        put_at(t, at, t->heap[child]);
    }
    put_at(t, at, timer);
}

static tt_status make_room(tt__timers *t, tt_err *err) {
    if (t->size < t->capacity) return TT_OK;
    size_t capacity = t->capacity ? 2 * t->capacity : FIRST_CAPACITY, bytes;
    bool fits = tt_mul_size(capacity, sizeof *t->heap, &bytes);
    tt_timer **heap = fits ? tt_realloc(t->heap, bytes) : NULL;
    if (!heap) return tt_fail_nomem(err, "list of timers", capacity * sizeof *heap);
    t->heap = heap;
    t->capacity = capacity;
    return TT_OK;
}

void tt__timers_release(tt__timers *t) {
    for (size_t i = 0; i < t->size; i++) tt_free(t->heap[i]);
    tt_free(t->heap);
    *t = (tt__timers){.heap = NULL};
}

tt_status tt__timers_add(tt__timers *t, int64_t due_us, tt_loop_fn fn, void *context,
                         tt_timer **out, tt_err *err) {
    TT_TRY(make_room(t, err));
    tt_timer *timer = tt_alloc(sizeof *timer);
    if (!timer) return tt_fail_nomem(err, "timer", sizeof *timer);
    *timer = (tt_timer){.due_us = due_us, .order = t->n_set++, .fn = fn, .context = context};
    put_at(t, t->size++, timer);
    settle(t, timer->at);
    *out = timer;
    return TT_OK;
}

void tt__timers_move(tt__timers *t, tt_timer *timer, int64_t due_us) {
    timer->due_us = due_us;
    timer->order = t->n_set++;
    settle(t, timer->at);
}

void tt__timers_remove(tt__timers *t, tt_timer *timer) {
    size_t at = timer->at;
    tt_timer *last = t->heap[--t->size];
    if (last != timer) {
        put_at(t, at, last);
        settle(t, at);
    }
    tt_free(timer);
}

tt_timer *tt__timers_first(const tt__timers *t) {
    return t->size ? t->heap[0] : NULL;
}
