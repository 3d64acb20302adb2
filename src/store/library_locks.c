/* Who is fetching what. A lock is a file under the identity's hash:
 *
 *     <nonce> <machine> <pid> <start of the process> <counter, 20 digits>
 *
 * made under another name and linked into place (O_EXCL where links are unknown). Its holder counts up every few seconds. Who
 * finds it taken watches the counter on its own clock: a minute without a change and the holder is dead or cut off, at once
 * where the process is known to be dead. Then it is renamed away, which one of several wins, and taken afresh. Between looking
 * and renaming somebody else may have done the same, and a living lock is lost: then two fetch at once, each into its own part,
 * and the first to commit wins. A lock that lies costs bandwidth, nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/library_parts.h"

enum { FILE_MODE = 0644, LOCK_BYTES = sizeof((tt__sighting *)0)->text };

struct tt_library_lock {
    tt_library *l;
    char key[TT__KEY_HEX + 1], nonce[TT__NONCE_HEX + 1];
    uint64_t counter;
    bool is_real; /* false: no_locks */
};

typedef struct lock_text {
    char nonce[TT__NONCE_HEX + 1], machine[TT__NONCE_HEX + 1];
    long pid;
    uint64_t started, counter;
} lock_text;

static int folder_of(const tt_library *l) {
    return l->own->v1[TT__LOCKS];
}

static size_t format(const tt_library_lock *k, char text[LOCK_BYTES]) {
    int n = snprintf(text, LOCK_BYTES, "%s %s %ld %" PRIu64 " %020" PRIu64 "\n", k->nonce,
                     k->l->machine, (long)getpid(), tt__process_start(getpid()), k->counter);
    return n > 0 ? (size_t)n : 0;
}

static bool read_text(const tt_library *l, const char *key, char text[LOCK_BYTES]) {
    tt_buf all;
    tt_buf_init(&all, LOCK_BYTES - 1);
    bool is_read = tt__read_at(folder_of(l), key, &all, NULL) == TT_OK;
    snprintf(text, LOCK_BYTES, "%s", all.data ? all.data : "");
    tt_buf_release(&all);
    return is_read;
}

static bool parse(const char *text, lock_text *out) {
    *out = (lock_text){.pid = 0};
    return sscanf(text, "%16[0-9a-f] %16[0-9a-f] %ld %" SCNu64 " %" SCNu64, out->nonce,
                  out->machine, &out->pid, &out->started, &out->counter) == 5;
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static tt__sighting *sighting_unlocked(struct tt__seen *seen, const char *key) {
    for (int i = 0; i < TT__SEEN_LOCKS; i++)
        if (strcmp(seen->locks[i].key, key) == 0) return &seen->locks[i];
    tt__sighting *s = &seen->locks[seen->next];
    seen->next = (seen->next + 1) % TT__SEEN_LOCKS;
    s->text[0] = '\0';
    snprintf(s->key, sizeof s->key, "%s", key);
    return s;
}

/* How long this text has stood still before our eyes. */
static int64_t stood_still_ms(tt_library *l, const char *key, const char *text) {
    int64_t now = tt_clock_ms();
    pthread_mutex_lock(&l->seen.mutex);
    tt__sighting *s = sighting_unlocked(&l->seen, key);
    if (s->text[0] == '\0' || strcmp(s->text, text) != 0) {
        snprintf(s->text, sizeof s->text, "%s", text);
        s->since_ms = now;
    }
    int64_t still = now - s->since_ms;
    pthread_mutex_unlock(&l->seen.mutex);
    return still;
}

static void forget_sighting(tt_library *l, const char *key) {
    pthread_mutex_lock(&l->seen.mutex);
    sighting_unlocked(&l->seen, key)->key[0] = '\0';
    pthread_mutex_unlock(&l->seen.mutex);
}

/* An empty, damaged or unreadable one is watched like any other: its writer may be in the middle of it. */
static bool is_stale(tt_library *l, const char *key) {
    char text[LOCK_BYTES];
    lock_text found;
    struct stat st;
    bool is_read = read_text(l, key, text);
    if (!is_read && fstatat(folder_of(l), key, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false; /* released just now: the next try has it */
    if (is_read && parse(text, &found) &&
        tt__process_is_dead(l, found.machine, found.pid, found.started))
        return true;
    return stood_still_ms(l, key, is_read && *text ? text : "empty") >= TT__LOCK_STALE_MS;
}

static void take_away(tt_library *l, const char *key) {
    char name[TT__FILE_NAME_BYTES], nonce[TT__NONCE_HEX + 1];
    tt__nonce(nonce);
    snprintf(name, sizeof name, ".dead.%s", nonce);
    if (renameat(folder_of(l), key, folder_of(l), name) == 0) unlinkat(folder_of(l), name, 0);
    forget_sighting(l, key);
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

static bool create(const tt_library_lock *k, const char *name) {
    char text[LOCK_BYTES];
    size_t n = format(k, text);
    int fd = openat(folder_of(k->l), name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return false;
    bool is_written = write(fd, text, n) == (ssize_t)n;
    return close(fd) == 0 && is_written;
}

typedef enum attempt { TAKEN, HELD, IMPOSSIBLE } attempt;

/* What link() returned may be lost on the way from the server; how many names the file has is not. */
static attempt link_into_place(const tt_library_lock *k) {
    char name[TT__FILE_NAME_BYTES];
    struct stat st;
    int dir = folder_of(k->l);
    snprintf(name, sizeof name, ".%s.%s", k->key, k->nonce);
    if (!create(k, name)) return IMPOSSIBLE;
    bool has_links = linkat(dir, name, dir, k->key, 0) == 0 || errno == EEXIST;
    bool is_ours = tt__stat_at(dir, name, &st) && st.st_nlink == 2;
    unlinkat(dir, name, 0);
    if (!is_ours && !has_links) is_ours = create(k, k->key);
    return is_ours ? TAKEN : HELD;
}

static attempt take(const tt_library_lock *k) {
    attempt a = link_into_place(k);
    if (a != HELD || !is_stale(k->l, k->key)) return a;
    take_away(k->l, k->key);
    return link_into_place(k);
}

/* Where no lock can be had at all (memory, a full disk), the work is done without. */
bool tt_library_lock_try(tt_library *l, const char *identity, tt_library_lock **out) {
    *out = NULL;
    tt_library_lock *k = l->own ? tt_alloc(sizeof *k) : NULL;
    if (!k) return true;
    k->l = l;
    k->is_real = !l->no_locks;
    tt__key(identity, NULL, k->key);
    tt__nonce(k->nonce);
    attempt a = k->is_real ? take(k) : TAKEN;
    if (a == TAKEN)
        *out = k;
    else
        tt_free(k);
    return a != HELD;
}

/* ---- holding ----------------------------------------------------------------------------------------------------- */

static bool is_still_ours(const tt_library_lock *k) {
    char text[LOCK_BYTES];
    lock_text found;
    return read_text(k->l, k->key, text) && parse(text, &found) &&
           strcmp(found.nonce, k->nonce) == 0;
}

/* Opened and closed each time: closing is what makes others on a network file system see it. */
void tt_library_lock_beat(tt_library_lock *k) {
    char text[LOCK_BYTES];
    if (!k || !k->is_real || !is_still_ours(k)) return;
    k->counter++;
    size_t n = format(k, text);
    int fd = openat(folder_of(k->l), k->key, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    if (pwrite(fd, text, n, 0) != (ssize_t)n)
        errno = 0; /* then it looks dead, and somebody fetches too */
    close(fd);
}

void tt_library_lock_release(tt_library_lock *k) {
    if (!k) return;
    if (k->is_real && is_still_ours(k)) unlinkat(folder_of(k->l), k->key, 0);
    tt_free(k);
}
