/* The subcommands. Each returns the program's exit code. */
#ifndef TT_CMD_RUN_H
#define TT_CMD_RUN_H

enum {
    TT_EXIT_OK = 0,
    TT_EXIT_FAILED = 1, /* something went wrong while working */
    TT_EXIT_USAGE = 2,  /* the flags or the job make no sense */
};

/* `tintype run`: one job, from flags or a JSON file, to picture files or to JSON on standard output. argv starts after
 * the subcommand's name. */
int tt__run(int argc, char **argv);

/* `tintype help`, `tintype schema`. */
int tt__help(void);
int tt__run_help(void);
int tt__schema(void);

/* Writes text to standard output and makes sure that it arrived; says so on standard error when not. */
int tt__print(const char *text, unsigned long size);

#endif
