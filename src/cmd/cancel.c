/* See cancel.h. The one process-wide variable of the program: signals leave no other place. */
#include "cmd/cancel.h"

#include <signal.h>
#include <stddef.h>

enum {
    EXIT_BY_SIGNAL = 128
}; /* what a shell reports for a program that a signal ended, plus its number */

static volatile sig_atomic_t received_signal;

static void remember(int signal_number) {
    received_signal = signal_number;
}

void tt__cancel_watch(void) {
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool tt__cancel_is_wanted(void) {
    return received_signal != 0;
}

int tt__cancel_exit_code(void) {
    return EXIT_BY_SIGNAL + (int)received_signal;
}
