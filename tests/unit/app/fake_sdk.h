/* A stand-in for the SDK's job and reply (tintype/worker.h), for tests of the handler: the job is a text, the reply keeps
 * what it was given. Include it in one file per program. */
#ifndef TESTS_UNIT_APP_FAKE_SDK_H
#define TESTS_UNIT_APP_FAKE_SDK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tintype/worker.h"

#ifndef FAKE
#define FAKE __attribute__((weak))
#endif

enum { FAKE_MAX_PROGRESS = 64 };

struct tt_job {
    const char *text;
    bool is_local, is_cancelled;
    int n_asked;      /* how often somebody asked whether it is cancelled */
    int cancel_after; /* asked this often, it is; 0: never */
};

struct tt_reply {
    char *output; /* of all pieces; NULL: none */
    size_t size, largest_piece;
    int n_pieces;
    char *error; /* the sentence; NULL: none */
    char *progress[FAKE_MAX_PROGRESS];
    int n_progress;
};

static inline char *fake_copy(const char *text, size_t size) {
    char *copy = malloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

FAKE const char *tt_job_id(const tt_job *job) {
    (void)job;
    return "job-1";
}

FAKE const char *tt_job_text(const tt_job *job, size_t *size_bytes) {
    *size_bytes = strlen(job->text);
    return job->text;
}

FAKE bool tt_job_is_local(const tt_job *job) {
    return job->is_local;
}

FAKE bool tt_job_is_cancelled(const tt_job *job) {
    tt_job *counted = (tt_job *)(uintptr_t)job;
    counted->n_asked++;
    return job->is_cancelled || (job->cancel_after > 0 && job->n_asked >= job->cancel_after);
}

FAKE void tt_reply_append(tt_reply *reply, const void *bytes, size_t size_bytes) {
    reply->output = realloc(reply->output, reply->size + size_bytes + 1);
    memcpy(reply->output + reply->size, bytes, size_bytes);
    reply->size += size_bytes;
    reply->output[reply->size] = '\0';
    reply->n_pieces++;
    if (size_bytes > reply->largest_piece) reply->largest_piece = size_bytes;
}

FAKE void tt_reply_error(tt_reply *reply, const char *format, ...) {
    char text[64 * 1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    free(reply->error);
    reply->error = fake_copy(text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

FAKE void tt_reply_progress(tt_reply *reply, const char *json, size_t size_bytes) {
    if (reply->n_progress < FAKE_MAX_PROGRESS)
        reply->progress[reply->n_progress++] = fake_copy(json, size_bytes);
}

static inline void fake_reply_release(tt_reply *reply) {
    for (int i = 0; i < reply->n_progress; i++) free(reply->progress[i]);
    free(reply->output);
    free(reply->error);
    *reply = (tt_reply){.output = NULL};
}

#endif
