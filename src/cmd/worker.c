/* `tintype worker` and `tintype serve`; see run.h. Flags and environment are checked against the table of options, then
 * handed to tt_worker_main in the words that RunPod's workers know. What the SDK reads from the environment and people may
 * also say as a flag is put into the environment. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/request.h"
#include "app/values.h"
#include "app/worker.h"
#include "cmd/args.h"
#include "cmd/config.h"
#include "cmd/model_path.h"
#include "cmd/run.h"
#include "cmd/store_options.h"

enum { MAX_WORDS = 24, NUMBER_BYTES = 16 };

typedef struct service {
    tt_settings settings; /* owned */
    tt_problems problems;
    tt__help_wish help;
    bool is_serve;
    tt_engine_options engine_options;
    tt_app_folders folders;
    tt__store_options store_options;
    tt_presets_watch *presets; /* owned; NULL: none */
    char model_path[PATH_MAX];
    tt_log log;
    tt_app_worker *worker; /* owned */
    char port[NUMBER_BYTES];
    char *words[MAX_WORDS + 1]; /* for tt_worker_main; borrowed */
    int n_words;
} service;

static bool is_said(const char *variable) {
    const char *value = getenv(variable);
    return value && value[0] && strcmp(value, "0") != 0;
}

bool tt__worker_is_wanted(int argc, char **argv) {
    if (is_said("RUNPOD_WEBHOOK_GET_JOB") || is_said("RUNPOD_REALTIME_PORT") ||
        is_said("TINTYPE_SERVE_API"))
        return true;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--rp_serve_api") == 0) return true;
    return false;
}

/* ---- what was said ----------------------------------------------------------------------------------------------- */

static tt_status read_words(service *s, int argc, char **argv, tt_err *err) {
    TT_TRY(tt_settings_init(&s->settings, err));
    TT_TRY(tt__args_read_environment(&s->settings, err));
    /* A job without a prompt is a mistake of the client's, not a wish for the operator's prompt. */
    tt_settings_forget(&s->settings, TT_OPT_PROMPT);
    return tt__args_read(&s->settings, TT_FOR_WORKER, argc, argv, &s->help, &s->problems, err);
}

static tt_status use_default_preset(const service *s, tt_settings *job, tt_presets *p,
                                    tt_problems *problems) {
    tt_err err;
    bool has_choice = tt_presets_default(p) || s->settings.of[TT_OPT_PRESET].value;
    if (has_choice && tt_settings_choose_preset(job, p, problems, &err) != TT_OK &&
        problems->count == 0)
        tt_problems_add(problems, "%s", err.message);
    return problems->count ? TT_E_INVALID : TT_OK;
}

/* The environment's defaults for jobs, judged before a job has to. */
static tt_status check_job_defaults(service *s, tt_err *err) {
    tt_settings job;
    tt_app_request request;
    tt_request generic;
    tt_err told_as_problems;
    tt_status read = TT_E_INVALID;
    tt_request_defaults(NULL, &generic);
    tt_settings_copy(&job, &s->settings);
    tt_presets *presets = s->presets ? tt_presets_watch_get(s->presets) : NULL;
    if (presets && use_default_preset(s, &job, presets, &s->problems) != TT_OK)
        tt_settings_forget(&job, TT_OPT_PRESET); /* said already */
    tt_status status = tt_settings_set_text(&job, TT_OPT_PROMPT, TT_FROM_JOB, "prompt", "", err);
    if (status == TT_OK)
        read = tt_app_request_read(&job, &generic, &request, &s->problems, &told_as_problems);
    if (read == TT_OK) tt_app_request_release(&request);
    tt_settings_release(&job);
    tt_presets_release(presets);
    return status;
}

static void open_presets(service *s) {
    tt_err err;
    const char *path = tt__config_path(&s->settings, &s->problems);
    int before = s->problems.count;
    if (!path) return;
    tt_status status = tt_presets_watch_new(path, &s->log, &s->presets, &s->problems, &err);
    if (status != TT_OK && s->problems.count == before)
        tt_problems_add(&s->problems, "%s", err.message);
}

static void read_log(service *s) {
    const char *level = NULL, *endpoint = getenv("RUNPOD_ENDPOINT_ID");
    tt_err err;
    s->log = (tt_log){.level = TT_LOG_INFO, .fd = STDOUT_FILENO};
    s->log.is_json = endpoint && endpoint[0];
    tt_value_string(&s->settings, TT_OPT_LOG_LEVEL, &level, &s->problems);
    if (level && tt_log_level_parse(level, &s->log.level, &err) != TT_OK)
        tt_problems_add(&s->problems, "%s: %s", s->settings.of[TT_OPT_LOG_LEVEL].spelling,
                        err.message);
    const char *inherited = getenv("RUNPOD_LOG_LEVEL"); /* the SDK complains where it is wrong */
    if (!inherited || !inherited[0]) inherited = getenv("RUNPOD_DEBUG_LEVEL");
    if (!level && inherited) tt_log_level_parse(inherited, &s->log.level, &err);
}

static tt_status check_words(service *s, tt_err *err) {
    tt_err told_as_problem;
    bool is_served = s->is_serve, unused_switch;
    int unused_number;
    const char *unused_text;
    static const tt_option_id numbers[] = {TT_OPT_PORT, TT_OPT_CONCURRENCY, TT_OPT_QUEUE_LIMIT};
    static const tt_option_id switches[] = {TT_OPT_DEBUGGER, TT_OPT_NO_ISOLATION,
                                            TT_OPT_PRIVATE_WEBHOOKS};
    static const tt_option_id texts[] = {TT_OPT_HOST,        TT_OPT_API_KEY,
                                         TT_OPT_CORS_ORIGIN, TT_OPT_WEBHOOK_SECRET,
                                         TT_OPT_TEST_INPUT,  TT_OPT_TEST_OUTPUT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        tt_value_integer(&s->settings, numbers[i], &unused_number, &s->problems);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        tt_value_switch(&s->settings, switches[i], &unused_switch, &s->problems);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        tt_value_string(&s->settings, texts[i], &unused_text, &s->problems);
    tt_value_switch(&s->settings, TT_OPT_SERVE_API, &is_served, &s->problems);
    s->is_serve = s->is_serve || is_served;
    read_log(s);
    open_presets(s);
    TT_TRY(check_job_defaults(s, err));
    if (tt__store_options_read(&s->store_options, &s->log, err) != TT_OK)
        tt_problems_add(&s->problems, "%s", err->message);
    tt_app_engine_read(&s->settings, &s->engine_options, &s->problems, &told_as_problem);
    tt_app_folders_read(&s->settings, &s->folders, &s->problems);
    return tt_problems_status(&s->problems, err);
}

/* ---- told on to the SDK ------------------------------------------------------------------------------------------ */

static void add_word(service *s, const char *word) {
    /* tt_worker_main has main's signature and does not write to its words. */
    if (s->n_words < MAX_WORDS) s->words[s->n_words++] = (char *)(uintptr_t)word;
}

/* "flag value" where somebody set the option. */
static void add_text(service *s, const char *flag, tt_option_id id) {
    const char *value = NULL;
    tt_value_string(&s->settings, id, &value, &s->problems);
    if (!value || s->settings.of[id].origin == TT_FROM_DEFAULT) return;
    add_word(s, flag);
    add_word(s, value);
}

static void add_switch(service *s, const char *flag, tt_option_id id) {
    bool is_on = false;
    tt_value_switch(&s->settings, id, &is_on, &s->problems);
    if (is_on) add_word(s, flag);
}

static void add_port(service *s) {
    int port = 0;
    if (s->settings.of[TT_OPT_PORT].origin == TT_FROM_DEFAULT) return;
    tt_value_integer(&s->settings, TT_OPT_PORT, &port, &s->problems);
    snprintf(s->port, sizeof s->port, "%d", port);
    add_word(s, "--rp_api_port");
    add_word(s, s->port);
}

static void choose_words(service *s) {
    add_word(s, "tintype");
    if (s->is_serve) add_word(s, "--rp_serve_api");
    add_text(s, "--rp_api_host", TT_OPT_HOST);
    add_port(s);
    add_text(s, "--rp_log_level", TT_OPT_LOG_LEVEL);
    add_text(s, "--test_input", TT_OPT_TEST_INPUT);
    add_text(s, "--test_output", TT_OPT_TEST_OUTPUT);
    add_switch(s, "--rp_debugger", TT_OPT_DEBUGGER);
    add_switch(s, "--no-isolation", TT_OPT_NO_ISOLATION);
}

static void put_into_environment(service *s, tt_option_id id) {
    const tt_option *row = tt_option_get(id);
    char number[NUMBER_BYTES];
    const char *text = NULL;
    int value = 0;
    bool is_on = false;
    if (s->settings.of[id].origin != TT_FROM_FLAG) return;
    if (row->type == TT_OPTION_STRING) tt_value_string(&s->settings, id, &text, &s->problems);
    if (row->type == TT_OPTION_INTEGER) {
        tt_value_integer(&s->settings, id, &value, &s->problems);
        snprintf(number, sizeof number, "%d", value);
        text = number;
    }
    if (row->type == TT_OPTION_SWITCH) {
        tt_value_switch(&s->settings, id, &is_on, &s->problems);
        text = is_on ? "1" : "0";
    }
    if (text) setenv(row->environment, text, 1);
}

/* Presets bring their own. */
static tt_status find_own_model(service *s, tt_err *err) {
    if (s->engine_options.model_path) return TT_OK;
    tt_status status = tt__model_path_find(s->model_path, sizeof s->model_path, err);
    if (status == TT_OK) s->engine_options.model_path = s->model_path;
    return s->presets ? TT_OK : status;
}

static tt_status open_worker(service *s, tt_err *err) {
    TT_TRY(find_own_model(s, err));
    const tt_app_worker_options options = {.settings = &s->settings,
                                           .engine = s->engine_options,
                                           .log = &s->log,
                                           .folders = &s->folders,
                                           .store = &s->store_options.store,
                                           .presets = s->presets};
    TT_TRY(tt_app_worker_new(&options, &s->worker, err));
    choose_words(s);
    put_into_environment(s, TT_OPT_CORS_ORIGIN);
    put_into_environment(s, TT_OPT_QUEUE_LIMIT);
    put_into_environment(s, TT_OPT_PRIVATE_WEBHOOKS);
    return TT_OK;
}

static void tell_failure(const service *s, const tt_err *err) {
    enum { MAX_TEXT_BYTES = 64 * 1024 };
    tt_buf faults;
    tt_buf_init(&faults, MAX_TEXT_BYTES);
    if (s->problems.count > 1 && tt_problems_write(&s->problems, "\n  ", &faults, NULL) == TT_OK)
        fprintf(stderr, "tintype: %d things are wrong:\n  %s\n", s->problems.count, faults.data);
    else
        fprintf(stderr, "tintype: %s\n", err->message);
    tt_buf_release(&faults);
}

static int run(service *s, int argc, char **argv) {
    tt_err err;
    tt_status status = read_words(s, argc, argv, &err);
    if (status == TT_OK && s->help)
        return s->is_serve ? tt__serve_help(true) : tt__worker_help(true);
    if (status == TT_OK) status = check_words(s, &err);
    int code = TT_EXIT_USAGE;
    if (status == TT_OK) {
        code = TT_EXIT_FAILED;
        status = open_worker(s, &err);
    }
    if (status == TT_OK)
        return tt_worker_main(s->n_words, s->words, tt_app_worker_config(s->worker));
    tell_failure(s, &err);
    return code;
}

static int serve(bool is_serve, int argc, char **argv) {
    service s = {.is_serve = is_serve};
    tt_problems_init(&s.problems);
    int code = run(&s, argc, argv);
    tt_app_worker_free(s.worker);
    tt_presets_watch_free(s.presets);
    tt__store_options_release(&s.store_options);
    tt_settings_release(&s.settings);
    return code;
}

int tt__worker(int argc, char **argv) {
    return serve(false, argc, argv);
}

int tt__serve(int argc, char **argv) {
    return serve(true, argc, argv);
}
