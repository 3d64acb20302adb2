/* See log.h. A line is built in the caller's frame and leaves in one write(2), so lines of several threads (and of a child
 * that shares the descriptor) never mix: pipes keep writes of up to PIPE_BUF bytes whole, terminals and files longer ones
 * too. Memory is asked for only by a message over the limit, whose end must be seen; when there is none its beginning is
 * kept. A line that cannot be written is lost: nothing may wait for a log. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"

enum {
    HALF_BYTES = TT_MAX_LOG_BYTES / 2,
    MARK_BYTES = 64, /* " ...TRUNCATED 123 BYTES... " */
    MESSAGE_BYTES = TT_MAX_LOG_BYTES + MARK_BYTES + 1,
    MAX_JOB_ID_BYTES = 256, /* ours have about 40; a stranger's longer one is cut */
    /* JSON doubles quotes and backslashes; the rest of a line is some 60 bytes. */
    LINE_BYTES = 2 * (MESSAGE_BYTES + MAX_JOB_ID_BYTES) + 128,
};

static const char *const NAMES[] = {"NOTSET", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

const char *tt_log_level_name(tt_log_level level) {
    return NAMES[level];
}

tt_status tt_log_level_parse(const char *text, tt_log_level *out, tt_err *err) {
    for (int i = 0; i < (int)(sizeof NAMES / sizeof *NAMES); i++) {
        bool is_alias = i == TT_LOG_WARN && strcasecmp(text, "WARNING") == 0;
        if (!is_alias && strcasecmp(text, NAMES[i]) != 0) continue;
        *out = (tt_log_level)i;
        return TT_OK;
    }
    return tt_fail(err, TT_E_INVALID,
                   "log level: expected ERROR, WARN, INFO, DEBUG, TRACE or NOTSET, found \"%.40s\"",
                   text);
}

/* ---- the message ------------------------------------------------------------------------------------------------- */

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The halves of a message of `size` bytes with a mark between them, cut between characters. */
static void keep_halves(const char *text, size_t size, char out[MESSAGE_BYTES]) {
    const char *tail = text + size - HALF_BYTES;
    while (is_continuation(*tail)) tail++;
    memcpy(out, text, HALF_BYTES);
    out[HALF_BYTES] = '\0';
    tt_utf8_make_printable(out, true);
    size_t head = strlen(out);
    snprintf(out + head, MESSAGE_BYTES - head, " ...TRUNCATED %zu BYTES... %s",
             size - 2 * HALF_BYTES, tail);
}

static void format_message(char out[MESSAGE_BYTES], const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int wanted = vsnprintf(out, TT_MAX_LOG_BYTES + 1, format, args);
    if (wanted < 0) out[0] = '\0';
    bool is_long = wanted > TT_MAX_LOG_BYTES;
    char *whole = is_long ? tt_alloc((size_t)wanted + 1) : NULL;
    if (whole) {
        vsnprintf(whole, (size_t)wanted + 1, format, again);
        keep_halves(whole, (size_t)wanted, out);
        tt_free(whole);
    }
    va_end(again);
    tt_utf8_make_printable(out, is_long && !whole);
}

/* ---- the line ---------------------------------------------------------------------------------------------------- */

typedef struct line {
    char text[LINE_BYTES];
    size_t size;
} line;

/* Everything put into a line was bounded before, so it fits; a mistake in that sum cuts. */
static void put(line *l, const char *text) {
    size_t size = strlen(text), room = sizeof l->text - 1 - l->size; /* 1: the newline */
    if (size > room) size = room;
    memcpy(l->text + l->size, text, size);
    l->size += size;
}

/* A printable text as a JSON string: only two characters need an escape. */
static void put_json(line *l, const char *text) {
    put(l, "\"");
    for (char escape[3]; *text; text++) {
        bool needs_escape = *text == '"' || *text == '\\';
        snprintf(escape, sizeof escape, "%s%c", needs_escape ? "\\" : "", *text);
        put(l, escape);
    }
    put(l, "\"");
}

static void put_json_line(line *l, const char *level, const char *job_id, const char *message) {
    put(l, "{\"requestId\": ");
    if (job_id)
        put_json(l, job_id);
    else
        put(l, "null");
    put(l, ", \"message\": ");
    put_json(l, message);
    put(l, ", \"level\": \"");
    put(l, level);
    put(l, "\"}");
}

static void put_text_line(line *l, const char *level, const char *job_id, const char *message) {
    char padded[16];
    snprintf(padded, sizeof padded, "%-7s| ", level);
    put(l, padded);
    if (job_id) {
        put(l, job_id);
        put(l, " | ");
    }
    put(l, message);
}

/* One write as a rule; what a signal or a full pipe left over is tried again, a descriptor that refuses is given up. */
static void send_line(int fd, const line *l) {
    for (size_t at = 0; at < l->size;) {
        ssize_t n = write(fd, l->text + at, l->size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        at += (size_t)n;
    }
}

void tt_log_write(const tt_log *log, tt_log_level level, const char *job_id, const char *format,
                  ...) {
    if (!log || level == TT_LOG_NOTSET || level > log->level) return;
    int saved = errno;
    char message[MESSAGE_BYTES], id[MAX_JOB_ID_BYTES + 1];
    va_list args;
    va_start(args, format);
    format_message(message, format, args);
    va_end(args);
    if (job_id) {
        int wanted = snprintf(id, sizeof id, "%s", job_id);
        tt_utf8_make_printable(id, wanted > MAX_JOB_ID_BYTES);
    }
    line l;
    l.size = 0;
    if (log->is_json)
        put_json_line(&l, NAMES[level], job_id ? id : NULL, message);
    else
        put_text_line(&l, NAMES[level], job_id ? id : NULL, message);
    l.text[l.size++] = '\n';
    send_line(log->fd, &l);
    errno = saved;
}
