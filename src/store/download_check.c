/* The head of an answer, before a byte of its body is taken: is this the range that was asked for, of the same bytes as all
 * the ranges before? The first good head begins the attempt: only now size and identity are known. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "store/download_parts.h"

tt_status tt__problem_set(tt__problem *p, tt__trouble trouble, tt_fetch_class class_,
                          const char *format, ...) {
    char sentence[TT_ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    p->trouble = trouble;
    p->wait_ms = -1;
    return tt_fetch_fail(&p->error, class_, "%s", sentence);
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

static tt_status refuse(tt__lane *lane, int status) {
    static const struct {
        int status;
        tt_fetch_class class_;
        const char *sentence;
    } CLASSES[] = {
        {401, TT_FETCH_AUTH, "the server asks for a key"},
        {403, TT_FETCH_FORBIDDEN, "the server forbids it"},
        {404, TT_FETCH_GONE, "it is not there"},
        {410, TT_FETCH_GONE, "it is no longer there"},
        {451, TT_FETCH_REGION, "it is blocked in this country"},
    };
    const char *name = lane->d->file.name;
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++)
        if (CLASSES[i].status == status)
            return tt__problem_set(&lane->problem, TT__FATAL, CLASSES[i].class_, "%s: %s (HTTP %d)",
                                   name, CLASSES[i].sentence, status);
    if (status >= 300 && status < 400)
        return tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_REFUSED,
                               "%s: the link leads on to another place (HTTP %d)", name, status);
    return tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_NETWORK, "%s: HTTP %d", name,
                           status);
}

/* Storage answers an old link with any of these, or sends the caller back to where links are made. */
static bool may_be_expired(const tt__download *d, int status) {
    if (!d->options->again) return false;
    if (status >= 300 && status < 400) return true;
    return d->file.is_signed && (status == 400 || status == 401 || status == 403);
}

static tt_status check_status(tt__lane *lane, const tt_http_response *head) {
    tt__download *d = lane->d;
    tt__problem *p = &lane->problem;
    int s = head->status;
    if (s == 200 || s == 206) return TT_OK;
    if (s != 429 && tt__is_edge_page(head))
        return tt__problem_set(p, TT__AGAIN, TT_FETCH_EDGE,
                               "%s: a page of the service's front instead of the file (HTTP %d)",
                               d->file.name, s);
    if (s == 429 || s == 503) {
        tt_status status = tt__problem_set(p, TT__BUSY, s == 429 ? TT_FETCH_RATE : TT_FETCH_NETWORK,
                                           "%s: the server is busy (HTTP %d)", d->file.name, s);
        p->wait_ms = p->error.retry_after_ms = head->retry_after_ms;
        return status;
    }
    if (s == 416)
        return tt__problem_set(p, TT__NO_RANGES, TT_FETCH_RANGE,
                               "%s: the server has no bytes %llu-%llu (HTTP 416)", d->file.name,
                               (unsigned long long)lane->first, (unsigned long long)lane->last);
    if (tt_http_is_retryable(s))
        return tt__problem_set(p, TT__AGAIN, TT_FETCH_NETWORK, "%s: HTTP %d", d->file.name, s);
    tt_status status = refuse(lane, s);
    if (may_be_expired(d, s)) p->trouble = TT__EXPIRED;
    return status;
}

/* ---- what the body will be --------------------------------------------------------------------------------------- */

static tt_status check_content(tt__lane *lane, const tt_http_response *head) {
    const char *coding = tt_http_response_header(head, "Content-Encoding");
    if (coding && *coding && strcasecmp(coding, "identity") != 0)
        return tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_CONTENT,
                               "%s: compressed (%.40s), expected the bytes as they are",
                               lane->d->file.name, coding);
    if (tt__content_type_is_page(head->content_type))
        return tt__problem_set(&lane->problem, TT__FATAL, TT_FETCH_CONTENT,
                               "%s: the server sends a page (%.60s), expected a model",
                               lane->d->file.name, head->content_type);
    return TT_OK;
}

static tt_status no_range(tt__lane *lane, const char *found) {
    return tt__problem_set(&lane->problem, TT__NO_RANGES, TT_FETCH_RANGE,
                           "%s: expected bytes %llu-%llu of one file, found %.100s",
                           lane->d->file.name, (unsigned long long)lane->first,
                           (unsigned long long)lane->last, found);
}

/* The last range may end earlier than asked for when the size was not known then. */
static tt_status check_range(tt__lane *lane, const tt_http_response *head, uint64_t *total) {
    const char *text = tt_http_response_header(head, "Content-Range");
    tt__content_range r;
    if (head->status == 200) return no_range(lane, "all of it (HTTP 200)");
    if (!text) return no_range(lane, "no Content-Range");
    if (!tt__content_range_parse(text, &r) || !r.has_total) return no_range(lane, text);
    uint64_t last = lane->last < r.total ? lane->last : r.total - 1;
    if (r.first != lane->first || r.last != last) return no_range(lane, text);
    if (head->content_length >= 0 && (uint64_t)head->content_length != r.last - r.first + 1)
        return no_range(lane, "a Content-Length that contradicts its Content-Range");
    if (lane->d->is_begun && r.total != lane->d->total)
        return no_range(lane, "a file of another size");
    lane->last = last;
    *total = r.total;
    return TT_OK;
}

static void validator_of(const tt_http_response *head, char out[TT_SOURCE_VALIDATOR_BYTES]) {
    const char *etag = tt_http_response_header(head, "ETag");
    const char *modified = tt_http_response_header(head, "Last-Modified");
    const char *text = etag && tt__etag_is_strong(etag) ? etag : modified ? modified : "";
    snprintf(out, TT_SOURCE_VALIDATOR_BYTES, "%s", text);
}

/* A fresh link may lead to another host with validators of its own. Where a digest is promised it will tell; where not,
 * nothing else could. */
static tt_status check_validator(tt__lane *lane, const tt_http_response *head) {
    tt__download *d = lane->d;
    char validator[TT_SOURCE_VALIDATOR_BYTES];
    validator_of(head, validator);
    bool is_elsewhere = *d->file.digest && lane->url_number != d->validator_url_number;
    if (d->is_begun && !is_elsewhere && strcmp(validator, d->validator) != 0)
        return no_range(lane, "the file changed meanwhile");
    if (d->is_begun && (!is_elsewhere || lane->url_number < d->validator_url_number)) return TT_OK;
    memcpy(d->validator, validator, sizeof validator);
    d->validator_url_number = lane->url_number;
    return TT_OK;
}

void tt__check_head(tt__lane *lane, const tt_http_response *head) {
    tt__download *d = lane->d;
    uint64_t total = head->content_length > 0 ? (uint64_t)head->content_length : 0;
    if (check_status(lane, head) != TT_OK || check_content(lane, head) != TT_OK) return;
    if (d->is_stream && head->status == 206) {
        no_range(lane, "a part of it (HTTP 206)");
        return;
    }
    if (!d->is_stream && check_range(lane, head, &total) != TT_OK) return;
    if (check_validator(lane, head) != TT_OK || d->is_begun) return;
    if (tt__begin(d, total) != TT_OK) lane->problem = d->outcome;
}

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

bool tt__identity_of(const tt_source_file *file, const char *validator,
                     unsigned char out[TT__IDENTITY_BYTES]) {
    char text[TT_SOURCE_VALIDATOR_BYTES + 16];
    if (*file->digest)
        snprintf(text, sizeof text, "sha256:%s", file->digest);
    else if (tt__etag_is_strong(validator))
        snprintf(text, sizeof text, "etag:%s", validator);
    else
        return false;
    return EVP_Digest(text, strlen(text), out, NULL, EVP_sha256(), NULL) == 1;
}

static tt_status check_size(tt__download *d, uint64_t total) {
    const tt_source_file *f = &d->file;
    if (total > d->max_bytes)
        return tt__problem_set(&d->outcome, TT__FATAL, TT_FETCH_SIZE,
                               "%s: %llu bytes, expected at most %llu for its kind", f->name,
                               (unsigned long long)total, (unsigned long long)d->max_bytes);
    if (total && f->size_is_exact && f->size && total != f->size)
        return tt__problem_set(&d->outcome, TT__WRONG_BYTES, TT_FETCH_SIZE,
                               "%s: expected %llu bytes, found %llu", f->name,
                               (unsigned long long)f->size, (unsigned long long)total);
    return TT_OK;
}

static tt_status check_resumed(tt__download *d, uint64_t total) {
    const tt__journal *j = &d->window.resumed;
    if (!d->window.has_resumed) return TT_OK;
    if (d->has_identity && j->total == total &&
        memcmp(j->identity, d->identity, sizeof d->identity) == 0)
        return TT_OK;
    return tt__problem_set(&d->outcome, TT__OTHER_FILE, TT_FETCH_RANGE,
                           "%s: the part that is here is of another file", d->file.name);
}

static void count_resumed(tt__download *d) {
    const tt__journal *j = &d->window.resumed;
    d->resumed_bytes = 0;
    for (uint64_t i = 0; d->window.has_resumed && i < d->n_chunks; i++) {
        uint64_t end = (i + 1) * d->chunk_bytes;
        if (tt__journal_has(j, i))
            d->resumed_bytes += (end < d->total ? end : d->total) - i * d->chunk_bytes;
    }
}

/* Shrinks the first range, which was made before the size was known. */
static void fit_ranges(tt__download *d) {
    for (int i = 0; i < TT__MAX_RANGES; i++)
        if (d->ranges[i].is_open && d->ranges[i].end > d->n_chunks) d->ranges[i].end = d->n_chunks;
}

/* The journal is emptied before the part file it speaks of. */
tt_status tt__begin(tt__download *d, uint64_t total) {
    tt_err err;
    TT_TRY(check_size(d, total));
    d->has_identity = tt__identity_of(&d->file, d->validator, d->identity);
    TT_TRY(check_resumed(d, total));
    d->total = total;
    d->n_chunks = UINT64_MAX;
    if (total) {
        d->n_chunks = total / d->chunk_bytes + (total % d->chunk_bytes != 0);
        fit_ranges(d);
    }
    count_resumed(d);
    tt__journal_begin(d, total);
    if (tt__part_prepare(d, total) != TT_OK) {
        d->outcome = (tt__problem){.trouble = TT__FATAL, .wait_ms = -1, .error = *d->error};
        return d->error->err.code;
    }
    if (tt__window_begin(&d->window, total, &err) != TT_OK)
        return tt__problem_set(&d->outcome, TT__FATAL, TT_FETCH_INTERNAL, "%s", err.message);
    d->is_begun = true;
    return TT_OK;
}
