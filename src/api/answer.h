/* Answers: the JSON of jobs and errors, and the tt__reply_* that end an exchange, counted for /metrics.
 *
 * A job's answer is (runpod.md 4.3)
 *     {"id", "status", "delayTime", "executionTime", "retries", "workerId", "output", "error"}
 * times in whole milliseconds; executionTime from the first claim on; workerId, output and error only when there are any.
 * `error` is always a string, because typed clients insist: another JSON value is given as its text. Outputs are spliced as
 * the blobs they are stored in: never copied, never parsed. */
#ifndef TT_API_ANSWER_H
#define TT_API_ANSWER_H

#include "api/parts.h"

enum { TT__ANSWER_PIECES = 3 };

/* The pieces get one hold each, for the caller. */
tt_status tt__answer_write(const tt_job_view *view, tt_blob *pieces[TT__ANSWER_PIECES],
                           int *n_pieces, tt_err *err);
/* "id" to "workerId" and nothing after it: an object still open. For events and lists. */
tt_status tt__answer_open(const tt_job_view *view, tt_buf *out, tt_err *err);
/* `, "error": "..."`; nothing when the job has none. */
tt_status tt__answer_error(const tt_job_view *view, tt_buf *out, tt_err *err);

/* Each ends the exchange. */
void tt__reply(const tt__call *call, int http, const char *type, const void *bytes, size_t size);
void tt__reply_error(const tt__call *call, int http, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* NOT_FOUND: 404, INVALID and FORMAT: 400, the rest: 503. */
void tt__reply_failure(const tt__call *call, const tt_err *err);
void tt__reply_job(const tt__call *call, const tt_job_view *view);
void tt__reply_brief(const tt__call *call, const char *status_name); /* {"id", "status"} */
void tt__reply_no_job(const tt__call *call);
/* The text of `b` when status is TT_OK, else the failure. Releases b. */
void tt__reply_buf(const tt__call *call, tt_status status, tt_buf *b, const tt_err *err);
/* Counts an exchange that was ended otherwise (events, a client that left). */
void tt__count(const tt__call *call, int http);

#endif
