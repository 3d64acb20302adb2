/* The inside of pool.c and pool_tender.c. */
#ifndef TT_WORKER_POOL_PARTS_H
#define TT_WORKER_POOL_PARTS_H

#include "base/limits.h"
#include "worker/channel.h"
#include "worker/pool.h"
#include "worker/sdk_parts.h"

typedef enum tt__thread_state {
    TT__THREAD_NONE,
    TT__THREAD_RUNS,
    TT__THREAD_ENDED
} tt__thread_state;

typedef struct tt__pool tt__pool;

typedef struct tt__pool_thread { /* number 0 is the thread that runs the pool */
    tt__pool *pool;
    int index;
    pthread_t id;
    tt__thread_state state;
} tt__pool_thread;

struct tt__pool {
    tt__outlet outlet; /* first: replies write through it */
    const tt_pool_options *options;
    int fd;
    pthread_mutex_t send_lock; /* one whole message at a time */
    tt__pool_thread threads[TT_MAX_CONCURRENCY];

    pthread_mutex_t lock; /* for `shared`, the jobs' lists and the threads' states */
    pthread_cond_t work;  /* a job waits, is_quitting, n_threads */
    pthread_cond_t tick;  /* a job ended, is_quitting */
    struct {
        tt_job *running; /* by `next` */
        tt_job *first_waiting, *last_waiting;
        int n_threads; /* wanted */
        bool is_quitting;
        bool has_ended_job; /* since the tender last looked */
        bool was_modified;  /* the modifier was asked once */
    } shared;
};

/* One message; false when the other side is gone. Any thread. */
bool tt__pool_send(tt__pool *p, const tt_packet_header *header, const void *bytes, size_t size);

/* The thread that asks the configuration's concurrency_modifier and metrics. */
void *tt__pool_tend(void *pool);
/* The first take should know what the modifier wants; but one that takes its time does not hold the worker up. */
void tt__pool_wait_for_modifier(tt__pool *p);

#endif
