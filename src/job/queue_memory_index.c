/* The index of the queue in memory: a hash table by id, a binary heap by due time, and the links of the lists.
 *
 * A job is in the heap from submission until it is forgotten, at first for its ttl, then for its execution timeout, then for its
 * retention. So one heap answers "what is due next", and sweeping costs O(log n) per job that is due, not O(jobs).
 * Memory is asked for in tt__job_index_add alone: a move of a job can never fail. */
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "job/parts.h"

enum { FIRST_BUCKETS = 256, FIRST_DUE = 256 };

/* ---- lists ------------------------------------------------------------------------------------------------------- */

/* Behind `place`; NULL: first. */
static void insert_after(tt__job_list *list, tt__memory_job *place, tt__memory_job *job) {
    job->previous = place;
    job->next = place ? place->next : list->first;
    *(place ? &place->next : &list->first) = job;
    *(job->next ? &job->next->previous : &list->last) = job;
}

void tt__job_list_append(tt__job_list *list, tt__memory_job *job) {
    insert_after(list, list->last, job);
}

/* Jobs leave from the front, so whatever is older than one that comes back has come back itself: the walk is short. */
void tt__job_list_insert_by_arrival(tt__job_list *list, tt__memory_job *job) {
    tt__memory_job *place = NULL;
    for (tt__memory_job *j = list->first; j && j->arrival < job->arrival; j = j->next) place = j;
    insert_after(list, place, job);
}

void tt__job_list_remove(tt__job_list *list, tt__memory_job *job) {
    *(job->previous ? &job->previous->next : &list->first) = job->next;
    *(job->next ? &job->next->previous : &list->last) = job->previous;
    job->previous = job->next = NULL;
}

/* ---- by id ------------------------------------------------------------------------------------------------------- */

/* FNV-1a from a secret start, with the upper bits folded in because a bucket is chosen by the lower ones. */
static uint64_t hash_of(const tt__job_index *index, const char *id) {
    static const uint64_t PRIME = 0x100000001b3u;
    uint64_t hash = index->seed;
    for (const char *p = id; *p; p++) hash = (hash ^ (unsigned char)*p) * PRIME;
    return hash ^ hash >> 32;
}

static tt__memory_job **bucket_of(const tt__job_index *index, uint64_t hash) {
    return &index->buckets[hash & (index->n_buckets - 1)];
}

tt__memory_job *tt__job_index_find(const tt__job_index *index, const char *id) {
    uint64_t hash = hash_of(index, id);
    for (tt__memory_job *job = *bucket_of(index, hash); job; job = job->chain)
        if (job->hash == hash && strcmp(job->id, id) == 0) return job;
    return NULL;
}

static void put_in_bucket(tt__job_index *index, tt__memory_job *job) {
    tt__memory_job **bucket = bucket_of(index, job->hash);
    job->chain = *bucket;
    *bucket = job;
}

/* Twice the buckets once there are as many jobs. Without memory the chains just grow longer. */
static void grow_buckets(tt__job_index *index) {
    size_t size, n = 2 * index->n_buckets;
    if (index->n_jobs < index->n_buckets || !tt_mul_size(n, sizeof *index->buckets, &size)) return;
    tt__memory_job **buckets = tt_alloc(size);
    if (!buckets) return;
    tt_free(index->buckets);
    index->buckets = buckets;
    index->n_buckets = n;
    for (size_t i = 0; i < index->n_jobs; i++) put_in_bucket(index, index->due[i]);
}

/* ---- by due time ------------------------------------------------------------------------------------------------- */

static void place_due(tt__job_index *index, size_t at, tt__memory_job *job) {
    index->due[at] = job;
    job->at_due = at;
}

/* Equal times go by arrival, so that what happens does not depend on the heap's history. */
static bool is_before(const tt__memory_job *a, const tt__memory_job *b) {
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->arrival < b->arrival;
}

static void sift_up(tt__job_index *index, size_t at) {
    tt__memory_job *job = index->due[at];
    for (size_t parent; at > 0 && is_before(job, index->due[parent = (at - 1) / 2]); at = parent)
        place_due(index, at, index->due[parent]);
    place_due(index, at, job);
}

static void sift_down(tt__job_index *index, size_t at) {
    tt__memory_job *job = index->due[at];
    for (size_t child; (child = 2 * at + 1) < index->n_jobs; at = child) {
        if (child + 1 < index->n_jobs && is_before(index->due[child + 1], index->due[child]))
            child++;
        if (!is_before(index->due[child], job)) break;
        place_due(index, at, index->due[child]);
    }
    place_due(index, at, job);
}

void tt__job_index_set_due(tt__job_index *index, tt__memory_job *job, int64_t due_ms) {
    job->due_ms = due_ms;
    sift_up(index, job->at_due);
    sift_down(index, job->at_due);
}

static tt_status reserve_due(tt__job_index *index, tt_err *err) {
    if (index->n_jobs < index->due_capacity) return TT_OK;
    size_t size, capacity = index->due_capacity ? 2 * index->due_capacity : FIRST_DUE;
    tt__memory_job **due = NULL;
    if (tt_mul_size(capacity, sizeof *due, &size)) due = tt_realloc(index->due, size);
    if (!due) return tt_fail_nomem(err, "list of jobs", capacity * sizeof *due);
    index->due = due;
    index->due_capacity = capacity;
    return TT_OK;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

tt_status tt__job_index_init(tt__job_index *index, tt_err *err) {
    *index = (tt__job_index){.n_buckets = FIRST_BUCKETS};
    size_t size = FIRST_BUCKETS * sizeof *index->buckets;
    if (getrandom(&index->seed, sizeof index->seed, 0) != sizeof index->seed)
        return tt_fail_errno(err, "cannot read", "the system's random numbers");
    index->buckets = tt_alloc(size);
    return index->buckets ? TT_OK : tt_fail_nomem(err, "table of jobs", size);
}

void tt__job_index_release(tt__job_index *index) {
    tt_free(index->buckets);
    tt_free(index->due);
    *index = (tt__job_index){.buckets = NULL};
}

tt_status tt__job_index_add(tt__job_index *index, tt__memory_job *job, tt_err *err) {
    TT_TRY(reserve_due(index, err));
    grow_buckets(index);
    job->hash = hash_of(index, job->id);
    put_in_bucket(index, job);
    place_due(index, index->n_jobs++, job);
    sift_up(index, job->at_due);
    return TT_OK;
}

void tt__job_index_remove(tt__job_index *index, tt__memory_job *job) {
    tt__memory_job **link = bucket_of(index, job->hash);
    while (*link != job) link = &(*link)->chain;
    *link = job->chain;
    tt__memory_job *last = index->due[--index->n_jobs];
    if (last == job) return;
    place_due(index, job->at_due, last);
    tt__job_index_set_due(index, last, last->due_ms);
}
