/* What the dispatcher says to the handler process, without ever waiting for it.
 *
 * There is no queue of messages: what is owed stands in the job (its text, chunks that left, a cancel) or in the dispatcher
 * (resize, quit, restart), and jobs with something to tell form a list. So what a stopped handler process makes us keep is
 * bounded, needs no memory, and loops need no time. When the channel is full, an epoll of its own says when it takes more:
 * the loop watches that for reading, the only thing it knows to watch for. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "worker/dispatch_parts.h"

tt_status tt__dispatch_open_channel(tt_dispatch *d, tt_err *err) {
    d->tell.writable_fd = epoll_create1(EPOLL_CLOEXEC);
    if (d->tell.writable_fd < 0) return tt_fail_errno(err, "cannot make", "an epoll");
    return tt_loop_watch(d->options.loop, d->options.channel_fd, tt__dispatch_on_readable, d, err);
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

void tt__dispatch_tell(tt_dispatch *d, tt__run *run) {
    if (run->tell.is_listed) return;
    run->tell.is_listed = true;
    run->tell.next = NULL;
    if (d->tell.last)
        d->tell.last->tell.next = run;
    else
        d->tell.first = run;
    d->tell.last = run;
}

void tt__dispatch_untell(tt_dispatch *d, tt__run *run) {
    if (!run->tell.is_listed) return;
    tt__run *before = NULL, *at = d->tell.first;
    while (at != run) {
        before = at;
        at = at->tell.next;
    }
    if (before)
        before->tell.next = run->tell.next;
    else
        d->tell.first = run->tell.next;
    if (d->tell.last == run) d->tell.last = before;
    run->tell.is_listed = false;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static tt_channel_result say(tt_dispatch *d, uint32_t type, uint64_t job, int64_t value) {
    tt_packet_header header = {.type = type, .job = job, .value = value};
    size_t sent = 0;
    return tt_channel_try_send(d->options.channel_fd, &header, NULL, 0, &sent);
}

static tt_channel_result say_job(tt_dispatch *d, tt__run *run) {
    tt_packet_header header = {.type = TT_MESSAGE_JOB,
                               .job = run->number,
                               .value = run->attempt,
                               .extra = run->deadline_ms};
    return tt_channel_try_send(d->options.channel_fd, &header, run->envelope.text,
                               run->envelope.size, &run->tell.sent_bytes);
}

/* The handlers have it now; up to 20 MB a job need not be held twice. The id stays. */
static void drop_text(tt__run *run) {
    run->tell.has_job = true;
    tt_free(run->envelope.text);
    run->envelope.text = NULL;
    run->envelope.size = 0;
    run->envelope.input = (tt_span){0};
}

/* Everything about one job. */
static tt_channel_result say_all_of(tt_dispatch *d, tt__run *run) {
    tt_channel_result r = TT_CHANNEL_DONE;
    if (!run->tell.has_job && (r = say_job(d, run)) == TT_CHANNEL_DONE) drop_text(run);
    while (r == TT_CHANNEL_DONE && run->tell.n_chunks > 0) {
        r = say(d, TT_MESSAGE_SENT, run->number, TT_SENT_CHUNK);
        if (r == TT_CHANNEL_DONE) run->tell.n_chunks--;
    }
    if (r == TT_CHANNEL_DONE && run->tell.progress) {
        r = say(d, TT_MESSAGE_SENT, run->number, TT_SENT_PROGRESS);
        if (r == TT_CHANNEL_DONE) run->tell.progress = false;
    }
    if (r == TT_CHANNEL_DONE && run->tell.cancel) {
        r = say(d, TT_MESSAGE_CANCEL, run->number, 0);
        if (r == TT_CHANNEL_DONE) run->tell.cancel = false;
    }
    return r;
}

static tt_channel_result say_flag(tt_dispatch *d, bool *flag, uint32_t type, int64_t value) {
    if (!*flag) return TT_CHANNEL_DONE;
    tt_channel_result r = say(d, type, 0, value);
    if (r == TT_CHANNEL_DONE) *flag = false;
    return r;
}

/* A job whose text is half sent is the first of the list: nothing may come between its packets. */
static bool is_between_messages(const tt_dispatch *d) {
    const tt__run *first = d->tell.first;
    return !first || first->tell.has_job || first->tell.sent_bytes == 0;
}

static tt_channel_result say_all(tt_dispatch *d) {
    tt_channel_result r = TT_CHANNEL_DONE;
    if (is_between_messages(d)) r = say_flag(d, &d->tell.resize, TT_MESSAGE_RESIZE, d->concurrency);
    while (r == TT_CHANNEL_DONE && d->tell.first) {
        tt__run *run = d->tell.first;
        r = say_all_of(d, run);
        if (r == TT_CHANNEL_DONE) tt__dispatch_untell(d, run);
    }
    if (r == TT_CHANNEL_DONE) r = say_flag(d, &d->tell.resize, TT_MESSAGE_RESIZE, d->concurrency);
    if (r == TT_CHANNEL_DONE) r = say_flag(d, &d->tell.reload, TT_MESSAGE_RELOAD, 0);
    if (r == TT_CHANNEL_DONE) r = say_flag(d, &d->tell.quit, TT_MESSAGE_QUIT, 0);
    return r;
}

static void on_writable(void *dispatch);

static void watch_writable(tt_dispatch *d, bool is_wanted) {
    if (is_wanted == d->tell.is_blocked) return;
    struct epoll_event event = {.events = EPOLLOUT};
    int op = is_wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    if (epoll_ctl(d->tell.writable_fd, op, d->options.channel_fd, &event) != 0) return;
    d->tell.is_blocked = is_wanted;
    if (!is_wanted)
        tt_loop_unwatch(d->options.loop, d->tell.writable_fd);
    else if (tt_loop_watch(d->options.loop, d->tell.writable_fd, on_writable, d, NULL) != TT_OK)
        tt_log_write(d->options.log, TT_LOG_ERROR, NULL, "Out of memory: cannot watch the channel");
}

/* The other side being gone is noticed by reading, which comes after what it said before. */
void tt__dispatch_flush(tt_dispatch *d) {
    tt_channel_result r = TT_CHANNEL_DONE;
    if (d->state == TT__READY || d->state == TT__QUITTING)
        r = say_all(d);
    else
        r = say_flag(d, &d->tell.restart, TT_MESSAGE_RESTART, 0);
    watch_writable(d, r == TT_CHANNEL_WAIT);
}

static void on_writable(void *dispatch) {
    tt__dispatch_flush(dispatch);
}

void tt_dispatch_reload(tt_dispatch *d) {
    d->tell.reload = true;
    tt__dispatch_flush(d);
}

void tt__dispatch_close_channel(tt_dispatch *d) {
    if (d->options.channel_fd < 0) return;
    watch_writable(d, false);
    tt_loop_unwatch(d->options.loop, d->options.channel_fd);
    close(d->options.channel_fd);
    d->options.channel_fd = -1;
    if (d->tell.writable_fd >= 0) close(d->tell.writable_fd);
    d->tell.writable_fd = -1;
}
