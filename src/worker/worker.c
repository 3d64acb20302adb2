/* tt_worker_main: reads arguments and environment, chooses the mode (runpod.md 2.1), and runs it.
 *
 *     --rp_serve_api, RUNPOD_REALTIME_PORT     serve.c      the API on this machine
 *     --test_input, or no platform             desk.c       one test job
 *     else                                     below        jobs from the platform
 *
 * This file is one of three in the room that read the surroundings and print (the others are desk.c and keeper.c): it stands
 * where a program's main would. */
#include "tintype/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "worker/desk.h"
#include "worker/environment.h"
#include "worker/flags.h"
#include "worker/host.h"
#include "worker/platform.h"
#include "worker/serve.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, DEFAULT_PORT = 8000, MAX_PORT = 65535 };

typedef struct setting { /* what was said, once read */
    const tt_worker_config *config;
    tt_flags flags;
    tt_environment environment;
    tt_log log;
    int realtime_port;   /* 0: no realtime mode */
    int64_t queue_limit; /* 0: the default */
    bool is_isolated;
} setting;

/* ---- what was said ------------------------------------------------------------------------------------------------ */

static const char *look_up(void *context, const char *name) {
    (void)context;
    return getenv(name); /* lint: allow: the program's main */
}

static const char *variable(const char *name) {
    const char *value = look_up(NULL, name);
    return value ? value : "";
}

/* On with 1, true, yes, on; off with 0, false, no, off. */
static bool is_on(const char *name, bool fallback) {
    static const char *const ON[] = {"1", "true", "yes", "on"}, *const OFF[] = {"0", "false", "no",
                                                                                "off"};
    const char *value = variable(name);
    for (size_t i = 0; i < sizeof ON / sizeof ON[0]; i++) {
        if (strcasecmp(value, ON[i]) == 0) return true;
        if (strcasecmp(value, OFF[i]) == 0) return false;
    }
    return fallback;
}

static tt_status read_number(const char *name, int64_t max, int64_t *out, tt_err *err) {
    const char *text = variable(name);
    char *end;
    if (!text[0]) return TT_OK;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || *end || n < 0 || n > max)
        return tt_fail(err, TT_E_INVALID, "%s: expected a number from 0 to %lld, found \"%.80s\"",
                       name, (long long)max, text);
    *out = n;
    return TT_OK;
}

static tt_status check_config(const tt_worker_config *c, tt_err *err) {
    if (!c->handler) return tt_fail(err, TT_E_INVALID, "the worker's configuration has no handler");
    if (c->concurrency < 0 || c->concurrency > TT_MAX_CONCURRENCY)
        return tt_fail(err, TT_E_INVALID, "concurrency: expected 1 to %d, found %d",
                       TT_MAX_CONCURRENCY, c->concurrency);
    if (c->n_checks < 0 || (c->n_checks > 0 && !c->checks))
        return tt_fail(err, TT_E_INVALID, "the worker's configuration has no checks");
    return TT_OK;
}

static tt_status read_environment(setting *s, tt_err *err) {
    enum { MAX_QUEUE = 100 * 1000 * 1000 };
    int64_t port = 0;
    TT_TRY(tt_environment_read(look_up, NULL, &s->environment, err));
    TT_TRY(read_number("RUNPOD_REALTIME_PORT", MAX_PORT, &port, err));
    TT_TRY(read_number("TINTYPE_QUEUE_LIMIT", MAX_QUEUE, &s->queue_limit, err));
    s->realtime_port = (int)port;
    s->is_isolated = !s->flags.no_isolation && is_on("TINTYPE_ISOLATION", true);
    s->log = (tt_log){s->environment.log_level, s->environment.logs_json, STDOUT_FILENO};
    if (s->flags.log_level) TT_TRY(tt_log_level_parse(s->flags.log_level, &s->log.level, err));
    return TT_OK;
}

/* The reference reports "unknown" where the platform gave no id, not the one it made up. */
static const char *told_worker_id(const setting *s) {
    return s->environment.has_pod_id ? s->environment.worker_id : NULL;
}

static tt_pool_options pool_options(const setting *s, bool is_local) {
    const tt_environment *e = &s->environment;
    tt_pool_options pool = {.config = s->config,
                            .log = &s->log,
                            .is_local = is_local,
                            .runs_checks = true,
                            .worker_id = told_worker_id(s),
                            .hostname = e->hostname};
    pool.fitness = (tt_fitness_options){.disk_path = e->spool_folder[0] ? e->spool_folder : NULL,
                                        .skips_system_checks = e->skips_system_checks,
                                        .min_memory_gb = e->min_memory_gb,
                                        .min_disk_percent = e->min_disk_percent,
                                        .checks_network = e->checks_network,
                                        .only_warns = is_local};
    return pool;
}

/* ---- the platform ------------------------------------------------------------------------------------------------- */

typedef struct platform_mode {
    tt_host host;
    tt_platform *platform;
} platform_mode;

static void start_platform(void *context) {
    platform_mode *m = context;
    tt_platform_start(m->platform, m->host.dispatch);
}

/* What was still to be delivered is, before the worker ends. */
static void drain_unfit(void *context) {
    tt_dispatch_drain(((platform_mode *)context)->host.dispatch);
}

static void report_unfit(void *context, const char *check, const char *reason) {
    platform_mode *m = context;
    m->host.exit_status = EXIT_FAILED;
    tt_log_write(m->host.log, TT_LOG_ERROR, NULL, "%s: %s", check, reason);
    tt_log_write(m->host.log, TT_LOG_ERROR, NULL, "Worker is unhealthy, exiting.");
    tt_platform_report_unfit(m->platform, check, reason, drain_unfit, m);
}

static tt_status open_platform(platform_mode *m, const setting *s, tt_err *err) {
    tt_platform_options platform = {m->host.loop, &s->log, &s->environment,
                                    s->config->refresh_worker};
    tt_dispatch_options dispatch;
    TT_TRY(tt_platform_new(&platform, &m->platform, err));
    tt_host_dispatch_options(&m->host, &dispatch);
    dispatch.source = tt_platform_source(m->platform);
    dispatch.context = m;
    dispatch.ready = start_platform;
    dispatch.unfit = report_unfit;
    return tt_host_dispatch(&m->host, &dispatch, err);
}

static int run_platform(const setting *s) {
    platform_mode m = {.platform = NULL};
    tt_pool_options pool = pool_options(s, false);
    tt_err err;
    tt_status status = tt_host_begin(&m.host, &pool, s->is_isolated, &err);
    if (status == TT_OK) status = open_platform(&m, s, &err);
    if (status == TT_OK) status = tt_host_run(&m.host, &err);
    if (status != TT_OK) tt_log_write(&s->log, TT_LOG_ERROR, NULL, "%s", err.message);
    tt_platform_free(m.platform);
    tt_host_end(&m.host);
    return status == TT_OK ? m.host.exit_status : EXIT_FAILED;
}

/* ---- the other modes ---------------------------------------------------------------------------------------------- */

static int run_serve(const setting *s) {
    char greeting[80] = "Starting API server.";
    const tt_flags *f = &s->flags;
    bool is_realtime = !f->serve_api;
    if (is_realtime)
        snprintf(greeting, sizeof greeting, "Starting API server for realtime on port %d.",
                 s->realtime_port);
    tt_serve_options options = {
        .pool = pool_options(s, true),
        .is_isolated = s->is_isolated,
        .host = f->api_host ? f->api_host : "localhost",
        .port = f->api_port >= 0 ? f->api_port : DEFAULT_PORT,
        .concurrency = f->api_concurrency,
        .key = variable("TINTYPE_API_KEY"),
        .cors_origin = variable("TINTYPE_CORS_ORIGIN"),
        .webhook_secret = variable("TINTYPE_WEBHOOK_SECRET"),
        .allows_private_webhooks = is_on("TINTYPE_ALLOW_PRIVATE_WEBHOOKS", false),
        .max_waiting = s->queue_limit,
        .worker_id = s->environment.worker_id,
        .greeting = greeting,
    };
    if (is_realtime) {
        options.host = "0.0.0.0";
        options.port = s->realtime_port;
    }
    return tt_serve_run(&options);
}

static int run_desk(const setting *s) {
    tt_desk_options options = {.config = s->config,
                               .log = &s->log,
                               .test_input = s->flags.test_input,
                               .test_output = s->flags.test_output,
                               .worker_id = told_worker_id(s),
                               .hostname = s->environment.hostname};
    return tt_desk_run(&options);
}

static int run_mode(const setting *s) {
    static const char HELLO[] = "--- Starting Serverless Worker |  Version " TT_VERSION " ---\n";
    fputs(HELLO, stdout); /* lint: allow: the program's main */
    fflush(stdout);
    if (s->flags.log_level)
        tt_log_write(&s->log, TT_LOG_INFO, NULL, "Log level set to %s",
                     tt_log_level_name(s->log.level));
    if (s->flags.debugger)
        tt_log_write(&s->log, TT_LOG_INFO, NULL, "--rp_debugger adds nothing to results.");
    if (s->flags.serve_api || s->realtime_port) return run_serve(s);
    if (s->flags.test_input || !s->environment.get_job_url[0]) return run_desk(s);
    return run_platform(s);
}

static int show_help(const char *program) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    if (tt_flags_help(program, &text, NULL) == TT_OK)
        fputs(text.data, stdout); /* lint: allow: the program's main */
    tt_buf_release(&text);
    return 0;
}

static int fail(const char *program, const tt_err *err, int code) {
    fprintf(stderr, "%s: %s\n", program, err->message); /* lint: allow: the program's main */
    return code;
}

int tt_worker_main(int argc, char **argv, const tt_worker_config *config) {
    setting s = {.config = config};
    tt_err err;
    const char *program = argc > 0 ? argv[0] : "worker";
    if (check_config(config, &err) != TT_OK) return fail(program, &err, EXIT_FAILED);
    if (tt_flags_read(argc, argv, config->handles_flags, &s.flags, &err) != TT_OK)
        return fail(program, &err, EXIT_USAGE);
    if (s.flags.help && !config->handles_flags) return show_help(program);
    tt_status status = read_environment(&s, &err);
    int code = status == TT_OK ? run_mode(&s) : fail(program, &err, EXIT_USAGE);
    tt_environment_release(&s.environment);
    return code;
}
