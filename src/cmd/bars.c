/* See bars.h. The line, from the left: name, bar, percentage, bytes, speed, time left. On a narrow terminal the bar goes
 * first, then the speed, then the bytes; the name gets what is left. */
#include "cmd/bars.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/progress.h"

enum {
    USUAL_COLUMNS = 80,
    MAX_COLUMNS = 300,
    MIN_NAME = 8,
    MAX_NAME = 40,
    MIN_CELLS = 8,
    MAX_CELLS = 40,
    BRACKETS = 2,        /* of the bar */
    GAP = 2,             /* blanks before each part */
    LINE_MS = 10 * 1000, /* between plain lines, where a tenth takes longer */
    TENTHS = 10,
    MEASURED_BYTES =
        1000 * 1000, /* from fewer no speed is told: they are the first answers' heads */
};

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return USUAL_COLUMNS;
    return size.ws_col < MAX_COLUMNS ? size.ws_col : MAX_COLUMNS;
}

void tt__bar_init(tt__bar *b, const char *reference) {
    *b = (tt__bar){.is_terminal = isatty(STDERR_FILENO), .tenths = -1, .told_ms = tt_clock_ms()};
    tt__shown(b->reference, reference, 0);
}

/* ---- what is said ------------------------------------------------------------------------------------------------ */

/* What is done where no bytes flow. */
static const char *phase_words(tt_store_phase phase) {
    switch (phase) {
    case TT_PHASE_LOOKUP:
        return "looking";
    case TT_PHASE_WAIT:
        return "waiting for another process that fetches it";
    case TT_PHASE_RESOLVE:
        return "asking where it is";
    case TT_PHASE_VERIFY:
        return "checking";
    case TT_PHASE_COMMIT:
        return "putting it away";
    default:
        return "connecting";
    }
}

static bool has_amount(const tt_store_progress *p) {
    return p->phase == TT_PHASE_DOWNLOAD && (p->download.bytes_total || p->download.bytes_done);
}

static int percent(const tt_download_progress *d) {
    enum { ALL = 100 };
    if (!d->bytes_total) return 0;
    double part = (double)d->bytes_done / (double)d->bytes_total;
    return part >= 1 ? ALL : (int)(part * ALL);
}

/* "3.12 GB of 6.94 GB" */
static void amount_text(char out[64], const tt_download_progress *d) {
    char done[TT__SIZE_BYTES], total[TT__SIZE_BYTES];
    tt__size_text(done, d->bytes_done);
    tt__size_text(total, d->bytes_total);
    snprintf(out, 64, "%s%s%s", done, d->bytes_total ? " of " : "", d->bytes_total ? total : "");
}

/* "212 MB/s, 18 s left"; "" while neither is known */
static void speed_text(char out[64], const tt_download_progress *d) {
    char rate[TT__SIZE_BYTES], left[TT_DURATION_BYTES];
    out[0] = '\0';
    if (!(d->bytes_per_s >= 1) || d->bytes_done < MEASURED_BYTES) return;
    tt__size_text(rate, (uint64_t)d->bytes_per_s);
    tt__progress_duration(left, (double)d->eta_ms / 1000);
    snprintf(out, 64, "%s/s%s%s%s", rate, d->eta_ms >= 0 ? ", " : "", d->eta_ms >= 0 ? left : "",
             d->eta_ms >= 0 ? " left" : "");
}

/* ---- the bar ----------------------------------------------------------------------------------------------------- */

static void draw_cells(char out[MAX_CELLS + 3], int cells, const tt_download_progress *d) {
    out[0] = '\0';
    if (cells < MIN_CELLS || !d->bytes_total) return;
    if (cells > MAX_CELLS) cells = MAX_CELLS;
    int filled = cells * percent(d) / 100;
    out[0] = '[';
    memset(out + 1, '#', (size_t)filled);
    memset(out + 1 + filled, '.', (size_t)(cells - filled));
    snprintf(out + 1 + cells, 2, "]");
}

/* With the gap before each that is there. */
static int columns_of(const char *a, const char *b, const char *c) {
    const char *const texts[] = {a, b, c};
    int columns = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (*texts[i]) columns += (int)strlen(texts[i]) + GAP;
    return columns;
}

/* Everything behind the name: the most that fits into `room` columns beside a short name. */
static void tail_text(char out[TT__BAR_BYTES], const tt_download_progress *d, int room) {
    char amount[64], speed[64], cells[MAX_CELLS + 3], share[8] = "";
    amount_text(amount, d);
    speed_text(speed, d);
    if (d->bytes_total) snprintf(share, sizeof share, "%3d %%", percent(d));
    int texts = columns_of(share, amount, speed);
    if (texts > room) speed[0] = '\0';
    texts = columns_of(share, amount, speed);
    if (texts > room) amount[0] = '\0';
    texts = columns_of(share, amount, speed);
    draw_cells(cells, room - texts - GAP - BRACKETS, d);
    const char *const parts[] = {cells, share, amount, speed};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t used = strlen(out);
        if (*parts[i]) snprintf(out + used, TT__BAR_BYTES - used, "  %s", parts[i]);
    }
}

void tt__bar_line(char out[TT__BAR_BYTES], const char *reference, const tt_store_progress *p,
                  int columns) {
    char name[TT__NAME_BYTES], tail[TT__BAR_BYTES];
    const char *text = *p->name ? p->name : reference;
    int most = columns - MIN_NAME;
    tt__shown(name, text, MAX_NAME);
    int wanted = tt__columns(name) < columns / 3 ? tt__columns(name) : columns / 3;
    if (columns - wanted < most) most = columns - wanted;
    if (has_amount(p))
        tail_text(tail, &p->download, most);
    else
        snprintf(tail, sizeof tail, "  %s", phase_words(p->phase));
    int room = columns - (int)strlen(tail); /* all of the tail is ASCII */
    if (room < MIN_NAME) {
        tail[0] = '\0';
        room = columns;
    }
    tt__shown(name, text, room < MAX_NAME ? room : MAX_NAME);
    snprintf(out, TT__BAR_BYTES, "%s%s", name, tail);
}

/* A line that a narrower window has broken into several is wiped with all of them. */
static void wipe(tt__bar *b, int columns) {
    int lines_above = b->drawn > 0 && columns > 0 ? (b->drawn - 1) / columns : 0;
    if (lines_above > 0) fprintf(stderr, "\033[%dA", lines_above);
    fputs("\r\033[J", stderr);
    b->drawn = 0;
}

static void show_bar(tt__bar *b, const tt_store_progress *p) {
    char line[TT__BAR_BYTES];
    int columns = terminal_columns();
    tt__bar_line(line, b->reference, p,
                 columns - 1); /* the last column makes some terminals wrap */
    wipe(b, columns);
    fputs(line, stderr);
    fflush(stderr);
    b->drawn = tt__columns(line);
}

/* ---- plain lines ------------------------------------------------------------------------------------------------- */

static bool is_worth_a_line(const tt__bar *b, const tt_store_progress *p) {
    bool is_time = tt_clock_ms() - b->told_ms >= LINE_MS;
    if (!has_amount(p)) return is_time || (p->phase == TT_PHASE_WAIT && b->phase != p->phase);
    return is_time || percent(&p->download) / TENTHS > b->tenths;
}

static void show_line(tt__bar *b, const tt_store_progress *p) {
    char name[TT__NAME_BYTES], amount[64], speed[64];
    if (!is_worth_a_line(b, p)) return;
    tt__shown(name, *p->name ? p->name : b->reference, 0);
    amount_text(amount, &p->download);
    speed_text(speed, &p->download);
    if (!has_amount(p))
        fprintf(stderr, "%s: %s\n", name, phase_words(p->phase));
    else
        fprintf(stderr, "%s: %d %%, %s%s%s\n", name, percent(&p->download), amount,
                *speed ? ", " : "", speed);
    b->tenths = has_amount(p) ? percent(&p->download) / TENTHS : b->tenths;
    b->told_ms = tt_clock_ms();
    b->phase = p->phase;
}

void tt__bar_show(tt__bar *b, const tt_store_progress *p) {
    if (b->is_terminal)
        show_bar(b, p);
    else
        show_line(b, p);
}

void tt__bar_end(tt__bar *b) {
    if (b->drawn > 0) wipe(b, terminal_columns());
    fflush(stderr);
}
