/* See waits.h. */
#include "api/waits.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"

enum { FIRST_CAPACITY = 64 };
#define NOT_IN_HEAP SIZE_MAX

_Static_assert(sizeof(uintptr_t) == 8, "a token is a generation and a slot, 32 bits each");

typedef struct slot {
    tt__wait *wait; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
} slot;

struct tt__waits {
    pthread_mutex_t mutex;
    pthread_cond_t no_events;
    slot *slots;
    uint32_t n_slots, first_free; /* n_slots: none is free */
    tt__wait **buckets;           /* as many as slots: a power of two */
    tt__wait **heap;              /* room for as many as slots */
    size_t n_heap;
    tt__wait *dirty; /* by own.dirty_next */
    bool is_told;
    int n_events;
};

static void lock(tt__waits *w) {
    pthread_mutex_lock(&w->mutex);
}

static void unlock(tt__waits *w) {
    pthread_mutex_unlock(&w->mutex);
}

tt_status tt__waits_new(tt__waits **out, tt_err *err) {
    tt__waits *w = tt_alloc(sizeof *w);
    *out = w;
    if (!w) return tt_fail_nomem(err, "table of waits", sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
    tt_clock_condition_init(&w->no_events);
    return TT_OK;
}

void tt__waits_free(tt__waits *w) {
    if (!w) return;
    for (uint32_t i = 0; i < w->n_slots; i++) tt_free(w->slots[i].wait);
    tt_free(w->slots);
    tt_free(w->buckets);
    tt_free(w->heap);
    pthread_cond_destroy(&w->no_events);
    pthread_mutex_destroy(&w->mutex);
    tt_free(w);
}

/* ---- by job: chains ---------------------------------------------------------------------------------------------- */

static uint32_t hash(const char *id) { /* FNV-1a; ids are of our own making */
    uint32_t h = 2166136261u;
    for (; *id; id++) h = (h ^ (unsigned char)*id) * 16777619u;
    return h;
}

static tt__wait **bucket_of(tt__waits *w, const char *id) {
    return &w->buckets[hash(id) & (w->n_slots - 1)];
}

static void chain_put(tt__waits *w, tt__wait *wait) {
    tt__wait **bucket = bucket_of(w, wait->call.id);
    wait->own.chain_previous = NULL;
    wait->own.chain_next = *bucket;
    if (*bucket) (*bucket)->own.chain_previous = wait;
    *bucket = wait;
}

static void chain_remove(tt__waits *w, tt__wait *wait) {
    tt__wait *next = wait->own.chain_next, *previous = wait->own.chain_previous;
    if (next) next->own.chain_previous = previous;
    if (previous)
        previous->own.chain_next = next;
    else
        *bucket_of(w, wait->call.id) = next;
}

/* ---- by deadline: a heap ----------------------------------------------------------------------------------------- */

static void heap_set(tt__waits *w, size_t at, tt__wait *wait) {
    w->heap[at] = wait;
    wait->own.heap_at = at;
}

static void heap_up(tt__waits *w, size_t at) {
    tt__wait *wait = w->heap[at];
    while (at > 0 && w->heap[(at - 1) / 2]->deadline_ms > wait->deadline_ms) {
        heap_set(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(w, at, wait);
}

static void heap_down(tt__waits *w, size_t at) {
    tt__wait *wait = w->heap[at];
    for (size_t child; (child = 2 * at + 1) < w->n_heap; at = child) {
        if (child + 1 < w->n_heap && w->heap[child + 1]->deadline_ms < w->heap[child]->deadline_ms)
            child++;
        if (w->heap[child]->deadline_ms >= wait->deadline_ms) break;
        heap_set(w, at, w->heap[child]);
    }
    heap_set(w, at, wait);
}

static void heap_put(tt__waits *w, tt__wait *wait) {
    heap_set(w, w->n_heap++, wait);
    heap_up(w, w->n_heap - 1);
}

static void heap_remove(tt__waits *w, tt__wait *wait) {
    size_t at = wait->own.heap_at;
    if (at == NOT_IN_HEAP) return;
    wait->own.heap_at = NOT_IN_HEAP;
    tt__wait *last = w->heap[--w->n_heap];
    if (last == wait) return;
    heap_set(w, at, last);
    heap_up(w, at);
    heap_down(w, last->own.heap_at);
}

/* ---- by token: slots --------------------------------------------------------------------------------------------- */

static void chain_all(tt__waits *w) {
    for (uint32_t i = 0; i < w->n_slots; i++)
        if (w->slots[i].wait && w->slots[i].wait->own.is_active) chain_put(w, w->slots[i].wait);
}

/* Doubles slots, buckets and heap together; each array that could be grown stays grown when the next could not. */
static bool grow(tt__waits *w) {
    size_t n = w->n_slots ? 2 * (size_t)w->n_slots : FIRST_CAPACITY;
    slot *slots = tt_realloc(w->slots, n * sizeof *slots);
    if (slots) w->slots = slots;
    tt__wait **heap = slots ? tt_realloc(w->heap, n * sizeof(tt__wait *)) : NULL;
    if (heap) w->heap = heap;
    tt__wait **buckets = heap ? tt_alloc(n * sizeof(tt__wait *)) : NULL;
    if (!buckets) return false;
    for (uint32_t i = w->n_slots; i < n; i++) w->slots[i] = (slot){.next_free = i + 1};
    tt_free(w->buckets);
    w->buckets = buckets;
    w->n_slots = (uint32_t)n; /* the free list's end was the old n_slots: the first new slot */
    chain_all(w);
    return true;
}

tt_status tt__waits_reserve(tt__waits *w, tt__wait **out, tt__wait_token *token, tt_err *err) {
    tt__wait *wait = tt_alloc(sizeof *wait);
    *out = NULL;
    if (!wait) return tt_fail_nomem(err, "wait", sizeof *wait);
    lock(w);
    bool is_room = w->first_free < w->n_slots || grow(w);
    if (is_room) {
        slot *s = &w->slots[w->first_free];
        wait->own.slot = w->first_free;
        wait->own.heap_at = NOT_IN_HEAP;
        w->first_free = s->next_free;
        s->wait = wait;
        *token = (tt__wait_token)s->generation << 32 | wait->own.slot;
        *out = wait;
    }
    unlock(w);
    if (is_room) return TT_OK;
    tt_free(wait);
    return tt_fail_nomem(err, "table of waits", sizeof *wait);
}

/* Its token is unknown from here on. */
static void leave_slot(tt__waits *w, tt__wait *wait) {
    slot *s = &w->slots[wait->own.slot];
    if (s->wait != wait) return;
    s->wait = NULL;
    s->generation++;
    s->next_free = w->first_free;
    w->first_free = wait->own.slot;
}

void tt__wait_free(tt__waits *w, tt__wait *wait) {
    lock(w);
    leave_slot(w, wait);
    unlock(w);
    tt_free(wait);
}

tt__activated tt__waits_activate(tt__waits *w, tt__wait *wait) {
    tt__activated how = TT__ACTIVE;
    lock(w);
    if (wait->own.is_gone) {
        leave_slot(w, wait);
        how = TT__NOT_ACTIVE;
    } else {
        wait->own.is_active = true;
        chain_put(w, wait);
        if (wait->kind == TT__WAIT_EVENTS) w->n_events++;
        if (wait->deadline_ms != INT64_MAX) {
            heap_put(w, wait);
            if (wait->own.heap_at == 0) how = TT__ACTIVE_FIRST;
        }
    }
    unlock(w);
    return how;
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

static void take(tt__waits *w, tt__wait *wait, tt__wait **list) {
    chain_remove(w, wait);
    heap_remove(w, wait);
    leave_slot(w, wait);
    wait->own.is_active = false;
    wait->next = *list;
    *list = wait;
}

static tt__wait *find(tt__waits *w, tt__wait_token token) {
    uint32_t at = (uint32_t)token, generation = (uint32_t)(token >> 32);
    if (at >= w->n_slots || w->slots[at].generation != generation) return NULL;
    return w->slots[at].wait;
}

tt__wait *tt__waits_take_token(tt__waits *w, tt__wait_token token) {
    tt__wait *list = NULL;
    lock(w);
    tt__wait *wait = find(w, token);
    if (wait && wait->own.is_active && wait->kind != TT__WAIT_EVENTS) take(w, wait, &list);
    unlock(w);
    return list;
}

tt__wait *tt__waits_take_job(tt__waits *w, const char *id, bool only_stream) {
    tt__wait *list = NULL;
    lock(w);
    for (tt__wait *next, *at = w->n_slots ? *bucket_of(w, id) : NULL; at; at = next) {
        next = at->own.chain_next;
        bool is_wanted = only_stream ? at->kind == TT__WAIT_STREAM : at->kind != TT__WAIT_EVENTS;
        if (is_wanted && strcmp(at->call.id, id) == 0) take(w, at, &list);
    }
    unlock(w);
    return list;
}

tt__wait *tt__waits_take_due(tt__waits *w, int64_t now_ms) {
    tt__wait *list = NULL;
    lock(w);
    while (w->n_heap && w->heap[0]->deadline_ms <= now_ms) take(w, w->heap[0], &list);
    unlock(w);
    return list;
}

tt__wait *tt__waits_take_all(tt__waits *w) {
    tt__wait *list = NULL;
    lock(w);
    for (uint32_t i = 0; i < w->n_slots; i++) {
        tt__wait *wait = w->slots[i].wait;
        if (wait && wait->own.is_active && wait->kind != TT__WAIT_EVENTS) take(w, wait, &list);
    }
    unlock(w);
    return list;
}

int64_t tt__waits_next_deadline(tt__waits *w) {
    lock(w);
    int64_t next = w->n_heap ? w->heap[0]->deadline_ms : INT64_MAX;
    unlock(w);
    return next;
}

/* ---- clients that leave, and events ------------------------------------------------------------------------------ */

static void mark(tt__waits *w, tt__wait *wait) {
    if (wait->own.is_dirty) return;
    wait->own.is_dirty = true;
    wait->own.dirty_next = w->dirty;
    w->dirty = wait;
}

/* True once per take_dirty, when there is something to take. */
static bool tell(tt__waits *w) {
    if (w->is_told || !w->dirty) return false;
    w->is_told = true;
    return true;
}

tt__wait *tt__waits_gone(tt__waits *w, tt__wait_token token, bool *has_events) {
    tt__wait *list = NULL;
    *has_events = false;
    lock(w);
    tt__wait *wait = find(w, token);
    if (wait && wait->own.is_active && wait->kind != TT__WAIT_EVENTS) {
        take(w, wait, &list);
    } else if (wait) {
        wait->own.is_gone = true;
        if (wait->own.is_active) mark(w, wait);
        *has_events = tell(w);
    }
    unlock(w);
    return list;
}

bool tt__waits_is_gone(tt__waits *w, const tt__wait *wait) {
    lock(w);
    bool is_gone = wait->own.is_gone;
    unlock(w);
    return is_gone;
}

bool tt__waits_mark(tt__waits *w, const char *id) {
    lock(w);
    if (w->n_events && id) {
        for (tt__wait *at = *bucket_of(w, id); at; at = at->own.chain_next)
            if (at->kind == TT__WAIT_EVENTS && strcmp(at->call.id, id) == 0) mark(w, at);
    } else if (w->n_events) {
        for (uint32_t i = 0; i < w->n_slots; i++) {
            tt__wait *wait = w->slots[i].wait;
            if (wait && wait->own.is_active && wait->kind == TT__WAIT_EVENTS) mark(w, wait);
        }
    }
    bool must_tell = tell(w);
    unlock(w);
    return must_tell;
}

tt__wait *tt__waits_take_dirty(tt__waits *w) {
    tt__wait *list = NULL;
    lock(w);
    while (w->dirty) {
        tt__wait *wait = w->dirty;
        w->dirty = wait->own.dirty_next;
        wait->own.is_dirty = false;
        wait->next = list;
        list = wait;
    }
    w->is_told = false;
    unlock(w);
    return list;
}

void tt__waits_untold(tt__waits *w) {
    lock(w);
    w->is_told = false;
    unlock(w);
}

static void forget_dirty(tt__waits *w, const tt__wait *wait) {
    for (tt__wait **at = &w->dirty; *at; at = &(*at)->own.dirty_next)
        if (*at == wait) {
            *at = wait->own.dirty_next;
            return;
        }
}

void tt__waits_take_events(tt__waits *w, tt__wait *wait) {
    tt__wait *ignored = NULL;
    lock(w);
    if (wait->own.is_dirty) forget_dirty(w, wait); /* marked again since take_dirty */
    take(w, wait, &ignored);
    if (--w->n_events == 0) pthread_cond_broadcast(&w->no_events);
    unlock(w);
    wait->next = NULL;
}

bool tt__waits_await_no_events(tt__waits *w, int64_t timeout_ms) {
    struct timespec until = tt_clock_moment(tt_clock_ms() + timeout_ms);
    lock(w);
    while (w->n_events && pthread_cond_timedwait(&w->no_events, &w->mutex, &until) != ETIMEDOUT)
        continue;
    bool is_empty = w->n_events == 0;
    unlock(w);
    return is_empty;
}
