/* The job as its handler sees it. Reading costs nothing until asked: the tree of the input and NUL-terminated copies of its
 * parts are made on first use and kept as long as the job. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "worker/sdk_parts.h"

struct tt__kept {
    tt__kept *next;
    const char *from; /* where in the job's text it was copied from */
    char text[];
};

/* ---- life --------------------------------------------------------------------------------------------------------- */

static tt_status init_state(tt__job_state *s, tt_err *err) {
    if (pthread_mutex_init(&s->lock, NULL) != 0 || tt_clock_condition_init(&s->changed) != 0)
        return tt_fail(err, TT_E_INTERNAL, "cannot make a lock");
    tt_buf_init(&s->shared.progress, TT_MAX_JSON_BYTES);
    return TT_OK;
}

tt_status tt__job_new(const char *text, size_t size, const char *default_id, tt_job **out,
                      tt_err *err) {
    tt_job *job = tt_alloc(sizeof *job);
    tt__job_state *state = tt_alloc(sizeof *state);
    tt_status status = TT_OK;
    if (!job || !state)
        status = tt_fail_nomem(err, "job", sizeof *job + sizeof *state);
    else
        status = tt_envelope_parse(text, size, default_id, &job->envelope, err);
    if (status == TT_OK && init_state(state, err) != TT_OK) {
        tt_envelope_release(&job->envelope);
        status = TT_E_INTERNAL;
    }
    if (status != TT_OK) {
        tt_free(job);
        tt_free(state);
        return status;
    }
    job->state = state;
    job->attempt = 1;
    job->deadline_ms = INT64_MAX;
    *out = job;
    return TT_OK;
}

void tt__job_free(tt_job *job) {
    if (!job) return;
    tt__job_state *s = job->state;
    while (s->shared.kept) {
        tt__kept *next = s->shared.kept->next;
        tt_free(s->shared.kept);
        s->shared.kept = next;
    }
    json_object_put(s->shared.input);
    tt_buf_release(&s->shared.progress);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    tt_free(s);
    tt_envelope_release(&job->envelope);
    tt_free(job);
}

/* ---- stopping ----------------------------------------------------------------------------------------------------- */

void tt__job_cancel(tt_job *job) {
    pthread_mutex_lock(&job->state->lock);
    atomic_store(&job->state->is_cancelled, true);
    pthread_cond_broadcast(&job->state->changed);
    pthread_mutex_unlock(&job->state->lock);
}

bool tt_job_is_cancelled(const tt_job *job) {
    bool is = atomic_load(&job->state->is_cancelled) ||
              (job->deadline_ms != INT64_MAX && tt_clock_ms() >= job->deadline_ms);
    if (is) atomic_store(&job->state->was_noticed, true);
    return is;
}

int64_t tt_job_remaining_ms(const tt_job *job) {
    if (job->deadline_ms == INT64_MAX) return INT64_MAX;
    int64_t left = job->deadline_ms - tt_clock_ms();
    return left > 0 ? left : 0;
}

bool tt_job_sleep_ms(const tt_job *job, int64_t ms) {
    tt__job_state *s = job->state;
    int64_t end_ms;
    if (__builtin_add_overflow(tt_clock_ms(), ms < 0 ? 0 : ms, &end_ms)) end_ms = INT64_MAX;
    if (job->deadline_ms < end_ms) end_ms = job->deadline_ms;
    struct timespec end = tt_clock_moment(end_ms);
    int waited = 0;
    pthread_mutex_lock(&s->lock);
    while (waited != ETIMEDOUT && !atomic_load(&s->is_cancelled))
        waited = pthread_cond_timedwait(&s->changed, &s->lock, &end);
    pthread_mutex_unlock(&s->lock);
    return !tt_job_is_cancelled(job);
}

/* The wait ends by a chunk that left or by the cancel that follows a deadline, a stop or the end of the channel; the time
 * limit only covers a deadline that nobody announced. */
bool tt__job_wait_for_chunk(tt_job *job, int max) {
    tt__job_state *s = job->state;
    struct timespec end = tt_clock_moment(job->deadline_ms);
    int waited = 0;
    pthread_mutex_lock(&s->lock);
    while (s->shared.n_unsent >= max && waited != ETIMEDOUT && !atomic_load(&s->is_cancelled))
        waited = pthread_cond_timedwait(&s->changed, &s->lock, &end);
    bool may_send = s->shared.n_unsent < max && !atomic_load(&s->is_cancelled);
    if (may_send) s->shared.n_unsent++;
    pthread_mutex_unlock(&s->lock);
    return may_send;
}

void tt__job_chunk_left(tt_job *job) {
    tt__job_state *s = job->state;
    pthread_mutex_lock(&s->lock);
    if (s->shared.n_unsent > 0) s->shared.n_unsent--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

/* A NUL-terminated copy that lives as long as the job, made once; NULL when memory is out. */
static const char *keep_text(const tt_job *job, const char *text, size_t size) {
    tt__job_state *s = job->state;
    pthread_mutex_lock(&s->lock);
    tt__kept *k = s->shared.kept;
    while (k && k->from != text) k = k->next;
    if (!k && (k = tt_alloc(sizeof *k + size + 1))) {
        memcpy(k->text, text, size);
        k->from = text;
        k->next = s->shared.kept;
        s->shared.kept = k;
    }
    pthread_mutex_unlock(&s->lock);
    return k ? k->text : NULL;
}

const char *tt_job_id(const tt_job *job) {
    return job->envelope.id;
}

const char *tt_job_input(const tt_job *job, size_t *size_bytes) {
    tt_span input = job->envelope.input;
    const char *text = keep_text(job, input.text, input.size);
    if (size_bytes) *size_bytes = text ? input.size : 0;
    return text ? text : "";
}

const char *tt_job_text(const tt_job *job, size_t *size_bytes) {
    if (size_bytes) *size_bytes = job->envelope.size;
    return job->envelope.text;
}

const char *tt_job_member(const tt_job *job, const char *name) {
    tt_span member = tt_envelope_member(&job->envelope, name);
    return member.text ? keep_text(job, member.text, member.size) : NULL;
}

const char *tt_job_value(const tt_job *job, const char *key) {
    const char *value;
    size_t size;
    tt_span input = job->envelope.input;
    if (!tt_json_member(input.text, input.size, key, &value, &size)) return NULL;
    return keep_text(job, value, size);
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

/* One value of the input object; NULL when there is none. The text was checked when the job came, so only memory can fail. */
static json_object *input_value(const tt_job *job, const char *key) {
    tt__job_state *s = job->state;
    tt_span input = job->envelope.input;
    json_object *value = NULL;
    pthread_mutex_lock(&s->lock);
    if (!s->shared.was_read)
        s->shared.was_read = tt_json_parse(input.text, input.size, &s->shared.input, NULL) == TT_OK;
    if (json_object_is_type(s->shared.input, json_type_object))
        json_object_object_get_ex(s->shared.input, key, &value);
    pthread_mutex_unlock(&s->lock);
    return value;
}

const char *tt_job_string(const tt_job *job, const char *key, const char *fallback) {
    json_object *value = input_value(job, key);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : fallback;
}

double tt_job_number(const tt_job *job, const char *key, double fallback) {
    json_object *value = input_value(job, key);
    bool is_number =
        json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
    return is_number ? json_object_get_double(value) : fallback;
}

/* 30.0 is a whole number too: many languages write it so. */
int64_t tt_job_integer(const tt_job *job, const char *key, int64_t fallback) {
    static const double TOO_LARGE = 9223372036854775808.0; /* 2^63 */
    json_object *value = input_value(job, key);
    if (json_object_is_type(value, json_type_double)) {
        double d = json_object_get_double(value);
        return d == floor(d) && d >= -TOO_LARGE && d < TOO_LARGE ? (int64_t)d : fallback;
    }
    if (!json_object_is_type(value, json_type_int)) return fallback;
    return json_object_get_uint64(value) > INT64_MAX ? fallback : json_object_get_int64(value);
}

bool tt_job_bool(const tt_job *job, const char *key, bool fallback) {
    json_object *value = input_value(job, key);
    return json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value)
                                                         : fallback;
}

int tt_job_attempt(const tt_job *job) {
    return job->attempt;
}

bool tt_job_is_local(const tt_job *job) {
    return job->is_local;
}
