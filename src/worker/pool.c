/* See pool.h. One thread reads the channel and hands jobs out; handler threads write to it themselves, one whole message at a
 * time under send_lock. Locks are taken in the order lock, job, send_lock.
 *
 * The worker sends no more jobs than it asked for threads, so the list of waiting jobs is short and every job that was sent
 * counts as running: when this process dies, each of them ends as crashed.
 *
 * At the channel's end nobody wants results any more: jobs are cancelled. A handler that does not return then is ended with
 * the process by the system (keeper.h). */
#include "worker/pool.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "worker/error_report.h"
#include "worker/pool_parts.h"

enum {
    TENDER_END_S = 5, /* a modifier that sleeps holds the end up so long */
    KEPT_MESSAGE_BYTES =
        256 * 1024, /* of the buffer for jobs: a large one's memory is given back */
};

bool tt__pool_send(tt__pool *p, const tt_packet_header *header, const void *bytes, size_t size) {
    pthread_mutex_lock(&p->send_lock);
    tt_status status = tt_channel_send(p->fd, header, bytes, size, NULL);
    pthread_mutex_unlock(&p->send_lock);
    return status == TT_OK;
}

/* ---- the outlet of replies ---------------------------------------------------------------------------------------- */

static tt_status send_piece(tt__outlet *o, tt_job *job, const void *bytes, size_t size,
                            tt_err *err) {
    tt_packet_header header = {.type = TT_MESSAGE_OUTPUT, .job = job->number};
    if (tt__pool_send((tt__pool *)o, &header, bytes, size)) return TT_OK;
    return tt_fail(err, TT_E_IO, "the worker is gone");
}

static bool send_chunk(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    tt_packet_header header = {.type = TT_MESSAGE_STREAM, .job = job->number};
    if (tt_job_is_cancelled(job) || !tt__job_wait_for_chunk(job, TT_MAX_UNSENT_CHUNKS))
        return false;
    return tt__pool_send((tt__pool *)o, &header, json, size);
}

static void send_progress(tt__outlet *o, tt_job *job, const char *json, size_t size) {
    tt__job_state *s = job->state;
    pthread_mutex_lock(&s->lock);
    bool must_wait = s->shared.is_progress_unsent;
    s->shared.is_progress_unsent = true;
    if (must_wait) {
        s->shared.progress.size = 0;
        tt_buf_append(&s->shared.progress, json, size, NULL); /* no memory: this one is dropped */
    }
    pthread_mutex_unlock(&s->lock);
    tt_packet_header header = {.type = TT_MESSAGE_PROGRESS, .job = job->number};
    if (!must_wait) tt__pool_send((tt__pool *)o, &header, json, size);
}

/* ---- running jobs ------------------------------------------------------------------------------------------------- */

static int64_t end_flags(const tt_job *job, const tt__settled *settled) {
    int64_t flags = settled->refreshes_worker ? TT_END_REFRESH_WORKER : 0;
    if (settled->voids_pieces) flags |= TT_END_NO_OUTPUT;
    if (atomic_load(&job->state->was_noticed)) flags |= TT_END_STOPPED;
    return flags;
}

/* A small output travels with the end: one packet, one wake-up of the worker. */
static void send_end(tt__pool *p, const tt_job *job, const tt__settled *settled) {
    tt_span output = settled->output;
    tt_packet_header header = {.type = TT_MESSAGE_ERROR, .job = job->number};
    if (settled->error.text) tt__pool_send(p, &header, settled->error.text, settled->error.size);
    if (output.size > TT_CHANNEL_PAYLOAD_BYTES) {
        header.type = TT_MESSAGE_OUTPUT;
        header.extra = (int64_t)output.size;
        tt__pool_send(p, &header, output.text, output.size);
        output = (tt_span){0};
    }
    header = (tt_packet_header){
        .type = TT_MESSAGE_END, .job = job->number, .value = end_flags(job, settled)};
    tt__pool_send(p, &header, output.text, output.size);
}

static void unlink_job(tt__pool *p, const tt_job *job) {
    tt_job **link = &p->shared.running;
    while (*link && *link != job) link = &(*link)->next;
    if (*link) *link = job->next;
}

static void run_job(tt__pool *p, tt_job *job) {
    const tt_worker_config *config = p->options->config;
    tt_reply reply;
    tt__settled settled;
    tt__reply_init(&reply, &p->outlet, job);
    reply.is_streaming = config->is_streaming;
    reply.worker_id = p->options->worker_id;
    reply.hostname = p->options->hostname;
    config->handler(job, &reply, config->context);
    tt__reply_settle(&reply, &settled);
    send_end(p, job, &settled);
    tt__reply_release(&reply);
    pthread_mutex_lock(&p->lock);
    unlink_job(p, job);
    p->shared.has_ended_job = true;
    pthread_cond_signal(&p->tick);
    pthread_mutex_unlock(&p->lock);
    tt__job_free(job);
}

/* The next waiting job, which counts as running; NULL: this thread is not wanted any more. Under the lock. */
static tt_job *next_job(tt__pool *p, int index) {
    while (!p->shared.is_quitting && !p->shared.first_waiting && index < p->shared.n_threads)
        pthread_cond_wait(&p->work, &p->lock);
    tt_job *job = p->shared.first_waiting;
    if (p->shared.is_quitting || index >= p->shared.n_threads || !job) return NULL;
    p->shared.first_waiting = job->next;
    if (!job->next) p->shared.last_waiting = NULL;
    job->next = p->shared.running;
    p->shared.running = job;
    return job;
}

static void *work(void *pool_thread) {
    tt__pool_thread *t = pool_thread;
    tt__pool *p = t->pool;
    tt_job *job;
    pthread_mutex_lock(&p->lock);
    while ((job = next_job(p, t->index))) {
        pthread_mutex_unlock(&p->lock);
        run_job(p, job);
        pthread_mutex_lock(&p->lock);
    }
    t->state = TT__THREAD_ENDED;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Under the lock. A thread that the system refuses is one fewer: its jobs wait for the others. */
static void start_thread(tt__pool *p, int index) {
    tt__pool_thread *t = &p->threads[index];
    if (t->state == TT__THREAD_RUNS) return;
    if (t->state == TT__THREAD_ENDED) pthread_join(t->id, NULL);
    *t = (tt__pool_thread){.pool = p, .index = index, .state = TT__THREAD_RUNS};
    if (pthread_create(&t->id, NULL, work, t) == 0) return;
    t->state = TT__THREAD_NONE;
    tt_log_write(p->options->log, TT_LOG_WARN, NULL, "Cannot start handler thread %d: %s", index,
                 strerror(errno));
}

static void resize(tt__pool *p, int64_t n_threads) {
    int n = n_threads < 1 ? 1 : (int)n_threads;
    if (n_threads > TT_MAX_CONCURRENCY) n = TT_MAX_CONCURRENCY;
    pthread_mutex_lock(&p->lock);
    p->shared.n_threads = n;
    for (int i = 1; i < n; i++) start_thread(p, i);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
}

/* ---- reading the channel ------------------------------------------------------------------------------------------ */

static void refuse_job(tt__pool *p, uint64_t number, const tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    tt_error_report report = {"InvalidJob", err->message, p->options->hostname,
                              p->options->worker_id};
    tt_error_report_append(&text, &report, NULL);
    tt_packet_header header = {.type = TT_MESSAGE_ERROR, .job = number};
    tt__pool_send(p, &header, text.data, text.size);
    header.type = TT_MESSAGE_END;
    tt__pool_send(p, &header, NULL, 0);
    tt_buf_release(&text);
}

static void add_job(tt__pool *p, const tt_packet_header *header, const tt_buf *text) {
    tt_job *job;
    tt_err err;
    if (tt__job_new(text->data, text->size, "job", &job, &err) != TT_OK) {
        refuse_job(p, header->job, &err);
        return;
    }
    job->number = header->job;
    job->attempt = (int)header->value;
    job->deadline_ms = header->extra;
    job->is_local = p->options->is_local;
    pthread_mutex_lock(&p->lock);
    if (p->shared.last_waiting)
        p->shared.last_waiting->next = job;
    else
        p->shared.first_waiting = job;
    p->shared.last_waiting = job;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

static tt_job *find(tt_job *job, uint64_t number) {
    while (job && job->number != number) job = job->next;
    return job;
}

/* Under the lock; NULL when it ended meanwhile. */
static tt_job *find_job(tt__pool *p, uint64_t number) {
    tt_job *job = find(p->shared.running, number);
    return job ? job : find(p->shared.first_waiting, number);
}

static void cancel_job(tt__pool *p, uint64_t number) {
    pthread_mutex_lock(&p->lock);
    tt_job *job = find_job(p, number);
    if (job) tt__job_cancel(job);
    pthread_mutex_unlock(&p->lock);
}

static void cancel_all(tt__pool *p) {
    for (tt_job *job = p->shared.running; job; job = job->next) tt__job_cancel(job);
}

/* The newest progress that came meanwhile goes out; the job may end, and be freed, as soon as the lock is open. */
static void progress_left(tt__pool *p, uint64_t number) {
    tt_buf newest = {0};
    pthread_mutex_lock(&p->lock);
    tt_job *job = find_job(p, number);
    if (job) {
        tt__job_state *s = job->state;
        pthread_mutex_lock(&s->lock);
        newest = s->shared.progress;
        tt_buf_init(&s->shared.progress, TT_MAX_JSON_BYTES);
        s->shared.is_progress_unsent = newest.size > 0;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&p->lock);
    tt_packet_header header = {.type = TT_MESSAGE_PROGRESS, .job = number};
    if (newest.size) tt__pool_send(p, &header, newest.data, newest.size);
    tt_buf_release(&newest);
}

static void chunk_left(tt__pool *p, uint64_t number) {
    pthread_mutex_lock(&p->lock);
    tt_job *job = find_job(p, number);
    if (job) tt__job_chunk_left(job);
    pthread_mutex_unlock(&p->lock);
}

static void take_message(tt__pool *p, const tt_packet_header *header, const tt_buf *bytes) {
    switch (header->type) {
    case TT_MESSAGE_JOB:
        add_job(p, header, bytes);
        break;
    case TT_MESSAGE_CANCEL:
        cancel_job(p, header->job);
        break;
    case TT_MESSAGE_RESIZE:
        resize(p, header->value);
        break;
    case TT_MESSAGE_SENT:
        if (header->value == TT_SENT_PROGRESS)
            progress_left(p, header->job);
        else
            chunk_left(p, header->job);
        break;
    case TT_MESSAGE_RELOAD:
        if (p->options->config->reload) p->options->config->reload(p->options->config->context);
        break;
    default:
        break; /* a RESTART that came too late */
    }
}

static void quit(tt__pool *p, bool is_orderly) {
    pthread_mutex_lock(&p->lock);
    p->shared.is_quitting = true;
    if (!is_orderly) cancel_all(p);
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->tick);
    pthread_mutex_unlock(&p->lock);
}

static void *read_channel(void *pool) {
    tt__pool *p = pool;
    char packet[TT_CHANNEL_PAYLOAD_BYTES];
    tt_packet_header header;
    tt_buf message;
    size_t size;
    tt_buf_init(&message, TT_MAX_JSON_BYTES);
    while (tt_channel_receive(p->fd, &header, packet, &size, NULL) == TT_OK && header.type != 0 &&
           header.type != TT_MESSAGE_QUIT) {
        tt_buf_append(&message, packet, size, NULL); /* one that is cut is refused as no JSON */
        if (header.flags & TT_MESSAGE_MORE) continue;
        take_message(p, &header, &message);
        message.size = 0;
        if (message.capacity > KEPT_MESSAGE_BYTES) tt_buf_release(&message);
    }
    tt_buf_release(&message);
    quit(p, header.type == TT_MESSAGE_QUIT);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void say_unfit(tt__pool *p, const char *check, const char *reason) {
    char text[TT_FITNESS_NAME_BYTES + TT_ERR_MESSAGE_BYTES];
    int n = snprintf(text, sizeof text, "%.*s%c%s", TT_FITNESS_NAME_BYTES - 1, check, '\0', reason);
    tt_packet_header header = {.type = TT_MESSAGE_UNFIT};
    tt__pool_send(p, &header, text, (size_t)n);
}

static bool prepare(tt__pool *p) {
    const tt_pool_options *o = p->options;
    const tt_worker_config *config = o->config;
    char failed[TT_FITNESS_NAME_BYTES] = "start";
    tt_err err = {.message = "it gave no reason"};
    tt_status status = config->start ? config->start(config->context, &err) : TT_OK;
    if (status == TT_OK && o->runs_checks)
        status = tt_fitness_run(&o->fitness, o->log, config, failed, &err);
    if (status != TT_OK) say_unfit(p, failed, err.message);
    return status == TT_OK;
}

static void init(tt__pool *p, const tt_pool_options *options, int fd) {
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->send_lock, NULL);
    pthread_cond_init(&p->work, NULL);
    tt_clock_condition_init(&p->tick);
    p->outlet = (tt__outlet){send_piece, send_chunk, send_progress};
    p->options = options;
    p->fd = fd;
    p->shared.n_threads = 1;
}

static void release(tt__pool *p) {
    while (p->shared.first_waiting) {
        tt_job *next = p->shared.first_waiting->next;
        tt__job_free(p->shared.first_waiting);
        p->shared.first_waiting = next;
    }
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->send_lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->tick);
}

static bool ends_soon(pthread_t thread) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += TENDER_END_S;
    return pthread_timedjoin_np(thread, NULL, &end) == 0;
}

static void join_threads(tt__pool *p) {
    for (int i = 1; i < TT_MAX_CONCURRENCY; i++) {
        pthread_mutex_lock(&p->lock);
        bool is_used = p->threads[i].state != TT__THREAD_NONE;
        pthread_mutex_unlock(&p->lock);
        if (is_used) pthread_join(p->threads[i].id, NULL);
    }
}

/* Runs jobs until told to quit; false when the tender still uses the pool. */
static bool serve(tt__pool *p) {
    const tt_worker_config *config = p->options->config;
    pthread_t reader, tender;
    bool is_tended = config->concurrency_modifier || config->metrics;
    if (is_tended && pthread_create(&tender, NULL, tt__pool_tend, p) != 0) is_tended = false;
    if (is_tended && config->concurrency_modifier) tt__pool_wait_for_modifier(p);
    tt_packet_header ready = {.type = TT_MESSAGE_READY, .value = getpid()};
    tt__pool_send(p, &ready, NULL, 0);
    if (pthread_create(&reader, NULL, read_channel, p) != 0) {
        say_unfit(p, "start", "the system refuses a thread");
        quit(p, false);
    } else {
        p->threads[0] = (tt__pool_thread){.pool = p};
        work(&p->threads[0]);
        pthread_join(reader, NULL); /* it starts threads, so it goes first */
        join_threads(p);
    }
    return !is_tended || ends_soon(tender);
}

int tt_pool_run(void *options, int channel_fd) {
    const tt_pool_options *o = options;
    tt__pool *p = tt_alloc(sizeof *p);
    if (!p) return 1;
    init(p, o, channel_fd);
    bool is_ready = prepare(p);
    bool is_unused = !is_ready || serve(p);
    if (is_ready && o->config->stop) o->config->stop(o->config->context);
    if (is_unused) {
        release(p);
        tt_free(p);
    }
    return is_ready ? 0 : 1;
}
