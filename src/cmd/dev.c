/* `tintype dev handler.c`; see run.h. One program per round, in a folder of its own that is removed at the end; the handler
 * runs where its file is, so that it finds its test_input.json. A save while it runs ends it and starts the next round. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/show.h"
#include "app/values.h"
#include "base/clock.h"
#include "base/file.h"
#include "cmd/args.h"
#include "cmd/cancel.h"
#include "cmd/dev_build.h"
#include "cmd/dev_watch.h"
#include "cmd/run.h"

enum { MAX_SOURCES = TT__MAX_WATCHED_FOLDERS };

typedef struct bench {
    tt_settings settings; /* owned */
    tt_problems problems;
    tt__help_wish help;
    bool is_once;
    char *sources[MAX_SOURCES]; /* borrowed from argv */
    int n_sources;
    tt__sdk sdk;
    tt__watch watch;
    char folder[PATH_MAX]; /* made by mkdtemp; "" before */
    char program[PATH_MAX];
} bench;

static double seconds_since(int64_t started_us) {
    return (double)(tt_clock_us() - started_us) / 1e6;
}

/* ---- one round --------------------------------------------------------------------------------------------------- */

/* In the child: where its handler's file is, and as a test run, whatever the surroundings say. */
static void become_handler(const bench *b) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", b->sources[0]);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    if (slash && chdir(folder) != 0) fprintf(stderr, "tintype: %s: %s\n", folder, strerror(errno));
    unsetenv("RUNPOD_WEBHOOK_GET_JOB");
    unsetenv("RUNPOD_REALTIME_PORT");
    execl(b->program, b->program, (char *)NULL);
    fprintf(stderr, "tintype: cannot start %s: %s\n", b->program, strerror(errno));
    _exit(127);
}

/* Starts it; *ended can be read once the process and all that it started are gone. */
static pid_t start_handler(const bench *b, int *ended) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        fcntl(ends[1], F_SETFD, 0); /* stays open in the handler: its end is our event */
        become_handler(b);
    }
    close(ends[1]);
    *ended = ends[0];
    if (child < 0) close(ends[0]);
    return child;
}

static int reap(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static int tell_end(int status, double seconds) {
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "-- ended by signal %d (%s) after %.3f s\n", WTERMSIG(status),
                strsignal(WTERMSIG(status)), seconds);
        return TT_EXIT_FAILED;
    }
    fprintf(stderr, "-- ran in %.3f s, exit status %d\n", seconds, WEXITSTATUS(status));
    return WEXITSTATUS(status);
}

/* *is_saved: a file was saved while it ran, which ended it. */
static int run_handler(bench *b, bool *is_saved) {
    int ended = -1;
    int64_t started_us = tt_clock_us();
    pid_t child = start_handler(b, &ended);
    if (child < 0) {
        fprintf(stderr, "tintype: cannot start the handler: %s\n", strerror(errno));
        return TT_EXIT_FAILED;
    }
    tt__watch_event event = b->is_once ? TT_WATCH_OTHER : tt__watch_wait(&b->watch, ended);
    if (event != TT_WATCH_OTHER) kill(child, SIGKILL); /* nobody waits for its result */
    *is_saved = event == TT_WATCH_SAVED;
    int status = reap(child);
    close(ended);
    return tell_end(status, seconds_since(started_us));
}

static int one_round(bench *b, bool *is_saved) {
    int64_t started_us = tt_clock_us();
    *is_saved = false;
    if (!tt__sdk_compile(&b->sdk, b->sources, b->n_sources, b->program)) {
        fprintf(stderr, "-- not compiled\n");
        return TT_EXIT_FAILED;
    }
    fprintf(stderr, "-- compiled in %.3f s\n", seconds_since(started_us));
    return run_handler(b, is_saved);
}

static int repeat(bench *b) {
    tt__cancel_watch();
    while (!tt__cancel_is_wanted()) {
        bool is_saved;
        one_round(b, &is_saved);
        if (is_saved || tt__cancel_is_wanted()) continue;
        fprintf(stderr, "-- waiting for a file to be saved; Ctrl-C ends\n");
        tt__watch_wait(&b->watch, -1);
    }
    return tt__cancel_exit_code();
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

static tt_status read_words(bench *b, int argc, char **argv, tt_err *err) {
    TT_TRY(tt_settings_init(&b->settings, err));
    TT_TRY(tt__args_read_environment(&b->settings, err));
    while (b->n_sources < argc && b->n_sources < MAX_SOURCES && argv[b->n_sources][0] != '-') {
        b->sources[b->n_sources] = argv[b->n_sources];
        b->n_sources++;
    }
    return tt__args_read(&b->settings, TT_FOR_DEV, argc - b->n_sources, argv + b->n_sources,
                         &b->help, &b->problems, err);
}

static tt_status check_words(bench *b, const char **sdk_folder, tt_err *err) {
    tt_value_switch(&b->settings, TT_OPT_ONCE, &b->is_once, &b->problems);
    tt_value_string(&b->settings, TT_OPT_SDK, sdk_folder, &b->problems);
    if (b->n_sources == 0)
        tt_problems_add(&b->problems,
                        "expected the handler's C file first, as in tintype dev handler.c");
    for (int i = 0; i < b->n_sources; i++) {
        char shown[TT_SHOWN_BYTES];
        tt_show_text(shown, b->sources[i], strlen(b->sources[i]));
        if (!tt_file_exists(b->sources[i])) tt_problems_add(&b->problems, "no file %s", shown);
    }
    return tt_problems_status(&b->problems, err);
}

static tt_status make_folder(bench *b, tt_err *err) {
    const char *parent = getenv("TMPDIR");
    bool is_absolute = parent && parent[0] == '/'; /* the handler runs in another directory */
    TT_TRY(tt_path_join(b->folder, sizeof b->folder, is_absolute ? parent : "/tmp",
                        "tintype-dev-XXXXXX", err));
    if (!mkdtemp(b->folder)) {
        tt_fail_errno(err, "cannot make a folder", b->folder);
        b->folder[0] = '\0';
        return err->code;
    }
    return tt_path_join(b->program, sizeof b->program, b->folder, "handler", err);
}

static tt_status prepare(bench *b, const char *sdk_folder, tt_err *err) {
    TT_TRY(tt__sdk_find(sdk_folder, &b->sdk, err));
    if (!b->is_once) TT_TRY(tt__watch_open(&b->watch, b->sources, b->n_sources, err));
    return make_folder(b, err);
}

static void clean_up(bench *b) {
    if (b->program[0]) unlink(b->program);
    if (b->folder[0]) rmdir(b->folder);
    tt__watch_close(&b->watch);
    tt_settings_release(&b->settings);
}

static int work(bench *b, int argc, char **argv) {
    tt_err err;
    const char *sdk_folder = NULL;
    bool is_saved;
    int code = TT_EXIT_USAGE;
    tt_status status = read_words(b, argc, argv, &err);
    if (status == TT_OK && b->help) return tt__dev_help(true);
    if (status == TT_OK) status = check_words(b, &sdk_folder, &err);
    if (status == TT_OK) {
        code = TT_EXIT_FAILED;
        status = prepare(b, sdk_folder, &err);
    }
    if (status == TT_OK) return b->is_once ? one_round(b, &is_saved) : repeat(b);
    fprintf(stderr, "tintype: %s\n", err.message);
    return code;
}

int tt__dev(int argc, char **argv) {
    bench b = {.watch = {.fd = -1}};
    tt_problems_init(&b.problems);
    int code = work(&b, argc, argv);
    clean_up(&b);
    return code;
}
