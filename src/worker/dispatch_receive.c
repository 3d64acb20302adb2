/* What the handler process says. Packets of output and error go straight to the end of their job's buffers; progress and
 * chunks are handed to the source as soon as they are whole. A round reads a bounded number of packets: a handler that talks
 * without end must not keep the loop from its heartbeats. */
#include <string.h>

#include "base/alloc.h"
#include "worker/dispatch_parts.h"

enum { PACKETS_PER_ROUND = 64 };

/* The first failure stays; what it belongs to is given free, since the job can only fail now. */
static void note(tt__run *run, tt_status status, const tt_err *err) {
    if (status == TT_OK || run->failure.code != TT_OK) return;
    run->failure = *err;
    tt_buf_release(&run->output);
    tt_buf_release(&run->chunks);
}

static void add(tt_dispatch *d, tt__run *run, tt_buf *to, const tt_packet_header *header,
                size_t size) {
    tt_err err;
    if (run->failure.code != TT_OK || run->is_stopped) return;
    if (header->extra > 0 && to->size == 0 && (uint64_t)header->extra <= to->limit_bytes)
        tt_buf_reserve(to, (size_t)header->extra, NULL); /* once, instead of doubling */
    note(run, tt_buf_append(to, d->packet, size, &err), &err);
}

/* ---- progress and chunks ------------------------------------------------------------------------------------------ */

static void forget_ticket(tt__ticket *t) {
    if (t->previous)
        t->previous->next = t->next;
    else
        t->dispatch->tickets = t->next;
    if (t->next) t->next->previous = t->previous;
    tt_free(t);
}

static void on_sent(void *ticket) {
    tt__ticket *t = ticket;
    tt_dispatch *d = t->dispatch;
    tt__run *run = tt__dispatch_run(d, t->number);
    forget_ticket(t);
    if (!run) return;
    run->tell.n_chunks++;
    tt__dispatch_tell(d, run);
    tt__dispatch_flush(d);
}

static tt__ticket *new_ticket(tt_dispatch *d, uint64_t number) {
    tt__ticket *t = tt_alloc(sizeof *t);
    if (!t) return NULL;
    *t = (tt__ticket){.next = d->tickets, .dispatch = d, .number = number};
    if (t->next) t->next->previous = t;
    d->tickets = t;
    return t;
}

static tt_status keep_chunk(const tt_dispatch *d, tt__run *run, tt_err *err) {
    if (!d->options.return_aggregate_stream) return TT_OK;
    TT_TRY(tt_buf_puts(&run->chunks, run->chunks.size ? ", " : "[", err));
    return tt_buf_append(&run->chunks, run->message.data, run->message.size, err);
}

static void pass_chunk(tt_dispatch *d, tt__run *run) {
    tt_err err;
    tt_blob *chunk = NULL;
    tt__ticket *ticket = new_ticket(d, run->number);
    tt_status status = ticket ? TT_OK : tt_fail_nomem(&err, "chunk", sizeof *ticket);
    if (status == TT_OK) status = keep_chunk(d, run, &err);
    if (status == TT_OK) status = tt_blob_take(&run->message, &chunk, &err);
    note(run, status, &err);
    if (status == TT_OK)
        d->options.source->stream(d->options.source, run->key, chunk, on_sent, ticket);
    else if (ticket)
        on_sent(ticket);
    tt_blob_release(chunk);
}

static void pass_progress(tt_dispatch *d, tt__run *run) {
    tt_blob *value;
    run->tell.progress = true;
    tt__dispatch_tell(d, run);
    if (tt_blob_take(&run->message, &value, NULL) != TT_OK) return; /* the next one may do better */
    d->options.source->progress(d->options.source, run->key, value);
    tt_blob_release(value);
}

/* A PROGRESS or STREAM; of a stopped job nobody wants to hear. */
static void add_message(tt_dispatch *d, tt__run *run, const tt_packet_header *header, size_t size) {
    tt_err err;
    note(run, tt_buf_append(&run->message, d->packet, size, &err), &err);
    if (header->flags & TT_MESSAGE_MORE) return;
    bool is_wanted = !run->is_stopped && !run->is_given_up && run->failure.code == TT_OK;
    if (is_wanted && header->type == TT_MESSAGE_STREAM)
        pass_chunk(d, run);
    else if (is_wanted)
        pass_progress(d, run);
    run = tt__dispatch_run(d, header->job); /* the source may have ended it */
    if (run) run->message.size = 0;
    tt__dispatch_flush(d);
}

/* ---- the end of a job --------------------------------------------------------------------------------------------- */

static void end(tt_dispatch *d, tt__run *run, const tt_packet_header *header, size_t size) {
    tt__ending ending = {.end_flags = header->value};
    bool saw_stop = (header->value & TT_END_STOPPED) != 0;
    add(d, run, &run->output, header, size);
    /* It returned because it was told to, or out of time: what it said is no answer. */
    ending.is_stopped = run->is_stopped || saw_stop;
    d->n_deaths = 0;
    tt_backoff_reset(&d->restart_backoff);
    tt__dispatch_end_run(d, run, &ending);
    tt__dispatch_advance(d);
}

static void take_run_message(tt_dispatch *d, const tt_packet_header *header, size_t size) {
    tt__run *run = tt__dispatch_run(d, header->job);
    if (!run) return;
    switch (header->type) {
    case TT_MESSAGE_OUTPUT:
        add(d, run, &run->output, header, size);
        break;
    case TT_MESSAGE_ERROR:
        add(d, run, &run->error, header, size);
        break;
    case TT_MESSAGE_PROGRESS:
    case TT_MESSAGE_STREAM:
        add_message(d, run, header, size);
        break;
    case TT_MESSAGE_END:
        end(d, run, header, size);
        break;
    default:
        break;
    }
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

static void ready(tt_dispatch *d, int64_t pid) {
    if (d->state != TT__STARTING) return;
    d->state = TT__READY;
    d->was_ready = true;
    d->handlers_pid = (int)pid;
    d->tell.resize = true;
    if (d->options.ready) d->options.ready(d->options.context);
    tt__dispatch_advance(d);
}

static void resize(tt_dispatch *d, int64_t n) {
    if (n < 1 || n > TT_MAX_CONCURRENCY || n == d->concurrency) return;
    tt_log_write(d->options.log, TT_LOG_DEBUG, NULL, "Concurrency changes. from=%d to=%d",
                 d->concurrency, (int)n);
    d->concurrency = (int)n;
    d->tell.resize = true;
    tt__dispatch_advance(d);
}

static void unfit(tt_dispatch *d, size_t size) {
    if (size >= sizeof d->packet) size = sizeof d->packet - 1;
    d->packet[size] = '\0';
    size_t name = strlen(d->packet);
    tt__dispatch_unfit(d, d->packet, name < size ? d->packet + name + 1 : "");
}

static void metrics(tt_dispatch *d, const tt_packet_header *header, size_t size) {
    tt_buf_append(&d->metrics, d->packet, size, NULL);
    if (header->flags & TT_MESSAGE_MORE) return;
    if (d->options.metrics)
        d->options.metrics(d->options.context, d->metrics.data ? d->metrics.data : "",
                           d->metrics.size);
    d->metrics.size = 0;
}

static void take_packet(tt_dispatch *d, const tt_packet_header *header, size_t size) {
    switch (header->type) {
    case TT_MESSAGE_READY:
        ready(d, header->value);
        break;
    case TT_MESSAGE_UNFIT:
        unfit(d, size);
        break;
    case TT_MESSAGE_CONCURRENCY:
        resize(d, header->value);
        break;
    case TT_MESSAGE_METRICS:
        metrics(d, header, size);
        break;
    case TT_MESSAGE_DIED:
        tt__dispatch_died(d, (int)header->value);
        break;
    default:
        take_run_message(d, header, size);
        break;
    }
}

void tt__dispatch_on_readable(void *dispatch) {
    tt_dispatch *d = dispatch;
    tt_packet_header header;
    size_t size;
    for (int i = 0; i < PACKETS_PER_ROUND && d->state != TT__ENDED; i++) {
        tt_channel_result r =
            tt_channel_try_receive(d->options.channel_fd, &header, d->packet, &size);
        if (r == TT_CHANNEL_WAIT) return;
        if (r == TT_CHANNEL_GONE) {
            tt__dispatch_channel_gone(d);
            return;
        }
        take_packet(d, &header, size);
    }
}
