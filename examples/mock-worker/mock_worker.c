/* Behaviour on demand, for tests of platforms and clients: the keys of RunPod's mock worker. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tintype/worker.h>

/* ---- raw JSON ----------------------------------------------------------------------------------------------------- */

static const char *skip_space(const char *p) {
    return p + strspn(p, " \t\r\n");
}

/* Behind the string that begins at p. */
static const char *skip_string(const char *p) {
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p ? p + 1 : p;
}

/* Behind the value (or name) that begins at p. The text is known to be JSON. */
static const char *skip_value(const char *p) {
    int depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        if (*p == '[' || *p == '{') depth++;
        if (*p == ']' || *p == '}') depth--;
        if (*p) p++;
    } while (*p && (depth > 0 || !strchr(",]}: \t\r\n", *p)));
    return p;
}

/* The next element of an array, or name and then value of an object; NULL at its end. *at starts at the bracket. */
static const char *next_item(const char **at, size_t *size) {
    if (strchr("]}", **at)) return NULL;     /* also at the text's end */
    const char *begin = skip_space(*at + 1); /* over the bracket, the comma or the colon */
    if (strchr("]}", *begin)) return NULL;
    const char *end = skip_value(begin);
    *size = (size_t)(end - begin);
    *at = skip_space(end);
    return begin;
}

/* One member of an object in raw JSON; NULL when it has none. */
static const char *member(const char *object, const char *name) {
    const char *at = object, *item;
    size_t size;
    while ((item = next_item(&at, &size))) {
        int is_it = size == strlen(name) + 2 && memcmp(item + 1, name, size - 2) == 0;
        item = next_item(&at, &size);
        if (is_it || !item) return item;
    }
    return NULL;
}

/* ---- what is asked for -------------------------------------------------------------------------------------------- */

/* The input's key as raw JSON, else what the environment says, else NULL. */
static const char *wish(const tt_job *job, const char *key, const char *variable) {
    const char *value = tt_job_value(job, key);
    return value ? value : getenv(variable);
}

static int is_wished(const tt_job *job, const char *key, const char *variable) {
    const char *value = wish(job, key, variable);
    return value && strcmp(value, "false") != 0 && strcmp(value, "null") != 0 && value[0] != '0';
}

static double seconds(const char *value) {
    return value ? strtod(value, NULL) : 0;
}

static int sleep_s(const tt_job *job, double s) {
    return s <= 0 || tt_job_sleep_ms(job, (int64_t)(s * 1000));
}

static void burn(const tt_job *job, double s) {
    clock_t end = clock() + (clock_t)(s * CLOCKS_PER_SEC);
    while (clock() < end && !tt_job_is_cancelled(job)) {
    }
}

static void report_progress(const tt_job *job, tt_reply *reply, const char *progress) {
    const char *updates = member(progress, "updates"), *item;
    size_t size;
    while (updates && (item = next_item(&updates, &size))) {
        tt_reply_progress(reply, item, size);
        if (!sleep_s(job, seconds(member(progress, "wait_time")))) return;
    }
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void answer_refresh(tt_reply *reply, const char *value) {
    static const char FORMAT[] = "{\"refresh_worker\": true, \"mock_return\": %s}";
    size_t size = sizeof FORMAT + strlen(value);
    char *text = malloc(size);
    if (!text) return;
    int n = snprintf(text, size, FORMAT, value);
    tt_reply_json(reply, text, (size_t)n);
    free(text);
}

static void answer_stream(const tt_job *job, tt_reply *reply, const char *value, double delay_s) {
    const char *item;
    size_t size;
    if (value[0] != '[') {
        if (sleep_s(job, delay_s)) tt_reply_stream(reply, value, strlen(value));
        return;
    }
    while ((item = next_item(&value, &size)))
        if (!sleep_s(job, delay_s) || !tt_reply_stream(reply, item, size)) return;
}

typedef struct mock {
    int is_streaming;
} mock;

static void handle(const tt_job *job, tt_reply *reply, void *context) {
    const mock *m = context;
    const char *fallback = m->is_streaming ? "[\"Hello World!\"]" : "\"Hello World!\"";
    const char *value = wish(job, "mock_return", "MOCK_RETURN");
    const char *progress = wish(job, "mock_progress", "MOCK_PROGRESS");
    double delay_s = seconds(wish(job, "mock_delay", "MOCK_DELAY"));
    if (!value) value = fallback;
    if (is_wished(job, "mock_crash", "MOCK_CRASH")) _exit(1);
    if (progress && progress[0] == '{') report_progress(job, reply, progress);
    burn(job, seconds(wish(job, "mock_burn", "MOCK_BURN")));
    if (!m->is_streaming && !sleep_s(job, delay_s)) return;
    if (is_wished(job, "mock_error", "MOCK_ERROR"))
        tt_reply_exception(reply, "Exception", "Mock error");
    else if (m->is_streaming)
        answer_stream(job, reply, value, delay_s);
    else if (is_wished(job, "mock_refresh", "MOCK_REFRESH"))
        answer_refresh(reply, value);
    else
        tt_reply_json(reply, value, strlen(value));
}

static int modify_concurrency(void *context, int current) {
    const char *wanted = getenv("CONCURRENCY_MODIFIER");
    (void)context;
    return wanted ? (int)strtol(wanted, NULL, 10) : current;
}

int main(int argc, char **argv) {
    mock m = {0};
    tt_worker_config config = {.handler = handle, .context = &m, .handles_flags = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--generator") == 0 || strcmp(argv[i], "--async_generator") == 0)
            m.is_streaming = 1;
        if (strcmp(argv[i], "--return_aggregate_stream") == 0)
            config.return_aggregate_stream = true;
        if (strcmp(argv[i], "--refresh_worker") == 0) config.refresh_worker = true;
    }
    config.is_streaming = m.is_streaming;
    if (getenv("CONCURRENCY_MODIFIER")) config.concurrency_modifier = modify_concurrency;
    return tt_worker_main(argc, argv, &config);
}
