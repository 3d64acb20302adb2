/* `tintype`: chooses the subcommand. Only this room prints, exits, or reads argv and the environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/nearest.h"
#include "app/show.h"
#include "cmd/run.h"
#include "cmd/waiting.h"
#include "tintype/engine.h"

static int version(void) {
    char text[64];
    int n = snprintf(text, sizeof text, "tintype %s\n", tt_version());
    return tt__print(text, (unsigned long)n);
}

static int unknown_command(const char *name) {
    static const char *const commands[] = {"run", "schema", "help", "version"};
    tt_nearest nearest;
    char shown[TT_SHOWN_BYTES];
    tt_nearest_init(&nearest, name);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        tt_nearest_offer(&nearest, commands[i]);
    tt_show_text(shown, name, strlen(name));
    if (nearest.best)
        fprintf(stderr, "tintype: unknown command \"%s\", did you mean %s?\n", shown, nearest.best);
    else
        fprintf(stderr, "tintype: unknown command \"%s\"; \"tintype help\" lists the known ones\n",
                shown);
    return TT_EXIT_USAGE;
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
    signal(SIGPIPE, SIG_IGN); /* a reader that left is an error like any other: write says so */
    const char *command = argc > 1 ? argv[1] : "run";
    if (strcmp(command, "run") == 0)
        return tt__run(argc > 1 ? argc - 2 : 0, argv + (argc > 1 ? 2 : 1));
    if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) return version();
    if (strcmp(command, "schema") == 0) return tt__schema();
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0)
        return argc > 2 && strcmp(argv[2], "run") == 0 ? tt__run_help() : tt__help();
    if (command[0] == '-') return tt__run(argc - 1, argv + 1);
    return unknown_command(command);
}
