/* GET /events/{id}: a job's life as server-sent events (WHATWG HTML, 9.2).
 *
 *     event: status    {"id", "status", "delayTime", ...}       at first, and whenever the state changes
 *     event: progress  the handler's JSON as it is, numbered by an `id:` line; only the newest is kept, so a client that
 *                      comes back with Last-Event-ID gets that one if it is newer
 *     event: stream    {"waiting": n}                           chunks that /stream would give
 *     event: end       as status, with "error"; the output is at /status/{id}. The stream ends after it
 *     : a comment every 15 s keeps proxies from closing
 *
 * All writing happens on the loop's thread; the queue's listener only marks a job's streams and wakes the loop. A client that is
 * slower than its job therefore skips progress instead of filling memory. */
#ifndef TT_API_EVENTS_H
#define TT_API_EVENTS_H

#include "api/parts.h"

enum { TT__EVENTS_BEAT_MS = 15 * 1000 };

void tt__events_job_changed(tt_api *api, const char *id); /* any thread; NULL: every job */
void tt__events_tell(
    tt_api *api); /* any thread: wakes the loop, after a mark said that it must be */
void tt__events_beat(tt_api *api);  /* the loop's thread: a comment to everyone */
void tt__events_close(tt_api *api); /* ends all, waits for it a little */

#endif
