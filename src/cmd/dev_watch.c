/* See dev_watch.h. */
#include "cmd/dev_watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cmd/cancel.h"

/* Editors and formatters save twice in a row. */
enum { QUIET_MS = 50, MAX_QUIET_ROUNDS = 20, EVENTS_BYTES = 16 * 1024 };
/* A signal that comes just before poll does not wake it. */
enum { LOOK_UP_MS = 500 };

static tt_status watch_folder_of(int fd, const char *file, tt_err *err) {
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(file, '/');
    size_t length = slash == file ? 1 : slash ? (size_t)(slash - file) : 0;
    if (length >= sizeof folder) return tt_fail(err, TT_E_INVALID, "path too long: %.200s", file);
    if (slash) {
        memcpy(folder, file, length);
        folder[length] = '\0';
    }
    if (inotify_add_watch(fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
        return tt_fail_errno(err, "cannot watch", folder);
    return TT_OK;
}

tt_status tt__watch_open(tt__watch *w, char **files, int n_files, tt_err *err) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) return tt_fail_errno(err, "cannot watch", files[0]);
    for (int i = 0; i < n_files; i++) {
        tt_status status = watch_folder_of(w->fd, files[i], err);
        if (status == TT_OK) continue;
        tt__watch_close(w);
        return status;
    }
    return TT_OK;
}

void tt__watch_close(tt__watch *w) {
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
}

static bool is_of_interest(const char *name) {
    static const char *const endings[] = {".c", ".h", ".json"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcmp(dot, endings[i]) == 0) return name[0] != '.'; /* editors' own files begin so */
    return false;
}

/* Reads all events that wait; true when one is of interest. */
static bool drain(int fd) {
    _Alignas(struct inotify_event) char events[EVENTS_BYTES];
    bool is_saved = false;
    ssize_t n;
    while ((n = read(fd, events, sizeof events)) > 0)
        for (char *at = events; at < events + n;) {
            struct inotify_event head;
            memcpy(&head, at, sizeof head);
            if (head.len > 0) is_saved |= is_of_interest(at + sizeof head);
            at += sizeof head + head.len;
        }
    return is_saved;
}

static void settle(int fd) {
    struct pollfd saved = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < MAX_QUIET_ROUNDS && poll(&saved, 1, QUIET_MS) > 0; i++) drain(fd);
}

tt__watch_event tt__watch_wait(tt__watch *w, int other_fd) {
    struct pollfd fds[2] = {{.fd = w->fd, .events = POLLIN}, {.fd = other_fd, .events = POLLIN}};
    while (!tt__cancel_is_wanted()) {
        int n = poll(fds, 2, LOOK_UP_MS);
        if (n < 0 && errno != EINTR) break;
        if (n <= 0) continue;
        if (fds[0].revents && drain(w->fd)) {
            settle(w->fd);
            return TT_WATCH_SAVED;
        }
        if (fds[1].revents) return TT_WATCH_OTHER;
    }
    return TT_WATCH_INTERRUPTED;
}
