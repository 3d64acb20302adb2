/* `tintype`: chooses the subcommand. Only this room prints, exits, or reads argv and the environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/show.h"
#include "base/nearest.h"
#include "cmd/bench.h"
#include "cmd/presets.h"
#include "cmd/run.h"
#include "cmd/store_commands.h"
#include "cmd/waiting.h"
#include "tintype/engine.h"

static int version(void) {
    char text[64];
    int n = snprintf(text, sizeof text, "tintype %s\n", tt_version());
    return tt__print(text, (unsigned long)n);
}

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv starts after the name */
    int (*help)(bool is_all);
} command;

static int schema(int argc, char **argv) {
    (void)argc, (void)argv;
    return tt__schema();
}

static int schema_help(bool is_all) {
    (void)is_all;
    return tt__help();
}

static const command COMMANDS[] = {
    {"run", tt__run, tt__run_help},
    {"serve", tt__serve, tt__serve_help},
    {"worker", tt__worker, tt__worker_help},
    {"dev", tt__dev, tt__dev_help},
    {"schema", schema, schema_help},
    {"bench", tt__bench, tt__bench_help},
    {"presets", tt__presets, tt__presets_help},
    {"pull", tt__pull, tt__pull_help},
    {"models", tt__models, tt__models_help},
    {"show", tt__show, tt__show_help},
    {"rm", tt__rm, tt__rm_help},
    {"pin", tt__pin, tt__pin_help},
    {"unpin", tt__unpin, tt__pin_help},
    {"gc", tt__gc, tt__gc_help},
    {"verify", tt__verify, tt__verify_help},
    {"backup", tt__backup, tt__backup_help},
    {"restore", tt__restore, tt__backup_help},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static const command *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, COMMANDS[i].name) == 0) return &COMMANDS[i];
    return NULL;
}

static int unknown_command(const char *name) {
    tt_nearest nearest;
    char shown[TT_SHOWN_BYTES];
    tt_nearest_init(&nearest, name);
    for (size_t i = 0; i < N_COMMANDS; i++) tt_nearest_offer(&nearest, COMMANDS[i].name);
    tt_nearest_offer(&nearest, "help");
    tt_nearest_offer(&nearest, "version");
    tt_show_text(shown, name, strlen(name));
    if (nearest.best)
        fprintf(stderr, "tintype: unknown command \"%s\", did you mean %s?\n", shown, nearest.best);
    else
        fprintf(stderr, "tintype: unknown command \"%s\"; \"tintype help\" lists the known ones\n",
                shown);
    return TT_EXIT_USAGE;
}

static int help(int argc, char **argv) {
    const command *about = argc > 2 ? find_command(argv[2]) : NULL;
    bool is_all = argc > 3 && strcmp(argv[3], "all") == 0;
    return about ? about->help(is_all) : tt__help();
}

/* A picture opened as descriptor 1 would receive what is printed. So a closed standard descriptor is filled, in the
 * direction in which using it still fails. */
static void fill_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
}

int main(int argc, char **argv) {
    tt__wait_passively(argv);
    fill_standard_descriptors();
    /* A reader that left, a limit on files (ulimit -f): errors like any other, write says so. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : "";
    const command *found = find_command(name);
    if (found) return found->run(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) return version();
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (name[0] && name[0] != '-') return unknown_command(name);
    int n_words = argc > 1 ? argc - 1 : 0;
    char **words = argv + (argc > 1);
    return tt__worker_is_wanted(n_words, words) ? tt__worker(n_words, words)
                                                : tt__run(n_words, words);
}
