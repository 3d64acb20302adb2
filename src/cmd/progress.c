/* See progress.h. Pictures of a batch count as one long run, so that the time left is that of the
 * whole job. */
#include "cmd/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    USUAL_COLUMNS = 80,
    USUAL_TEXT_COLUMNS = 44, /* kept free beside the bar, so that its length stays as it is */
    MAX_BAR_CELLS = 40,
    MIN_BAR_CELLS = 5,
};

void tt__progress_view_init(tt__progress_view *view) {
    *view = (tt__progress_view){.is_terminal = isatty(STDERR_FILENO), .columns = USUAL_COLUMNS};
    struct winsize size;
    if (view->is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        view->columns = size.ws_col;
}

void tt__progress_duration(char out[TT_DURATION_BYTES], double seconds) {
    enum { MINUTE = 60, HOUR = 3600, MOST_HOURS = 99999 };
    if (!(seconds < (double)MOST_HOURS * HOUR)) seconds = (double)MOST_HOURS * HOUR;
    long s = (long)(seconds + 0.5);
    if (s < MINUTE)
        snprintf(out, TT_DURATION_BYTES, "%ld s", s);
    else if (s < HOUR)
        snprintf(out, TT_DURATION_BYTES, "%ld min %02ld s", s / MINUTE, s % MINUTE);
    else
        snprintf(out, TT_DURATION_BYTES, "%ld h %02ld min", s / HOUR, s % HOUR / MINUTE);
}

static int steps_done(const tt_progress *p) {
    return p->picture * p->n_steps + p->step;
}

static int steps_in_all(const tt_progress *p) {
    return p->n_pictures * p->n_steps;
}

/* Fast runs read better as steps per second. */
static void describe_speed(char out[TT_DURATION_BYTES], double seconds_per_step) {
    if (seconds_per_step >= 1)
        snprintf(out, TT_DURATION_BYTES, "%.2f s/it", seconds_per_step);
    else
        snprintf(out, TT_DURATION_BYTES, "%.1f it/s", 1 / seconds_per_step);
}

void tt__progress_text(char out[TT_PROGRESS_BYTES], const tt_progress *p, double started_ms) {
    char picture[2 * TT_DURATION_BYTES] = "", rest[3 * TT_DURATION_BYTES] = "";
    int done = steps_done(p);
    double seconds = (p->elapsed_ms - started_ms) / 1000;
    if (p->n_pictures > 1)
        snprintf(picture, sizeof picture, "picture %d/%d, ", p->picture + 1, p->n_pictures);
    if (done > 0 && seconds > 0) {
        char speed[TT_DURATION_BYTES], left[TT_DURATION_BYTES];
        describe_speed(speed, seconds / done);
        tt__progress_duration(left, seconds / done * (steps_in_all(p) - done));
        bool is_over = done == steps_in_all(p); /* what remains is the VAE */
        snprintf(rest, sizeof rest, ", %s, %s%s", speed, is_over ? "decoding" : left,
                 is_over ? "" : " left");
    }
    snprintf(out, TT_PROGRESS_BYTES, "%s%d/%d steps%s", picture, p->step, p->n_steps, rest);
}

/* "[########........]" as wide as the terminal allows; nothing on a narrow one. */
static void draw_bar(char out[MAX_BAR_CELLS + 4], int room, const tt_progress *p) {
    int cells = room - 3 < MAX_BAR_CELLS ? room - 3 : MAX_BAR_CELLS;
    out[0] = '\0';
    if (cells < MIN_BAR_CELLS) return;
    int filled = (int)((double)cells * steps_done(p) / steps_in_all(p));
    out[0] = '[';
    memset(out + 1, '.', (size_t)cells);
    memset(out + 1, '#', (size_t)filled);
    snprintf(out + 1 + cells, 3, "] ");
}

static void show_bar(tt__progress_view *view, const tt_progress *p) {
    char text[TT_PROGRESS_BYTES], bar[MAX_BAR_CELLS + 4];
    tt__progress_text(text, p, view->started_ms);
    int length = (int)strlen(text);
    draw_bar(bar, view->columns - 1 - (length > USUAL_TEXT_COLUMNS ? length : USUAL_TEXT_COLUMNS),
             p);
    fprintf(stderr, "\r\033[K%s%.*s", bar, view->columns - 1, text);
    fflush(stderr);
    view->is_open = true;
}

static void show_line(tt__progress_view *view, const tt_progress *p) {
    enum { TENTHS = 10 };
    int tenths = (int)((int64_t)TENTHS * steps_done(p) / steps_in_all(p));
    if (p->step == 0 || tenths <= view->shown_tenths) return;
    char text[TT_PROGRESS_BYTES];
    tt__progress_text(text, p, view->started_ms);
    fprintf(stderr, "%s\n", text);
    view->shown_tenths = tenths;
}

void tt__progress_view_show(tt__progress_view *view, const tt_progress *progress) {
    if (progress->n_steps <= 0 || progress->n_pictures <= 0) return;
    if (progress->picture == 0 && progress->step == 0) view->started_ms = progress->elapsed_ms;
    if (view->is_terminal)
        show_bar(view, progress);
    else
        show_line(view, progress);
}

void tt__progress_view_end(tt__progress_view *view) {
    if (view->is_open) fputc('\n', stderr);
    view->is_open = false;
}
