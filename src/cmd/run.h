/* The subcommands. Each returns the program's exit code. */
#ifndef TT_CMD_RUN_H
#define TT_CMD_RUN_H

#include <stdbool.h>

enum {
    TT_EXIT_OK = 0,
    TT_EXIT_FAILED = 1, /* something went wrong while working */
    TT_EXIT_USAGE = 2,  /* the flags or the job make no sense */
};

/* `tintype run`: one job, from flags or a JSON file, to picture files or to JSON on standard output. argv starts after
 * the subcommand's name. */
int tt__run(int argc, char **argv);

/* `tintype worker` and `tintype serve`: jobs from RunPod's platform, from one test input, or from the endpoint API on this
 * machine (tintype/worker.h says which). */
int tt__worker(int argc, char **argv);
int tt__serve(int argc, char **argv);
/* True when the surroundings or the flags say that the program is a worker, though no command does. */
bool tt__worker_is_wanted(int argc, char **argv);

/* `tintype dev handler.c`: compile, run, watch, repeat. */
int tt__dev(int argc, char **argv);

/* `tintype help`, `tintype schema`. is_all: every option with all there is to know; `run` has a short form, the others have few
 * options and tell all. */
int tt__help(void);
int tt__run_help(bool is_all);
int tt__worker_help(bool is_all);
int tt__serve_help(bool is_all);
int tt__dev_help(bool is_all);
int tt__schema(void);

/* Writes text to standard output and makes sure that it arrived; says so on standard error when not. */
int tt__print(const char *text, unsigned long size);

#endif
