/* See opened.h. A list and not a table: there are a handful, and looking one up costs a system call anyway. */
#include "pipeline/opened.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

static tt_status identify(const tt__opened_kind *kind, const char *path, tt__file_identity *out,
                          tt_err *err) {
    const uint64_t ns_per_s = 1000000000;
    struct stat st;
    if (stat(path, &st) != 0) return tt_fail_errno(err, kind->what, path);
    *out =
        (tt__file_identity){(uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
                            (uint64_t)st.st_mtim.tv_sec * ns_per_s + (uint64_t)st.st_mtim.tv_nsec};
    return TT_OK;
}

static void close_file(const tt__opened *o, tt__opened_file *f) {
    if (f->thing) o->kind->close(f->thing);
    tt_free(f->path);
    tt_free(f);
}

static tt_status open_file(tt__opened *o, const void *context, const char *path,
                           const tt__file_identity *identity, tt_err *err) {
    tt__opened_file *f = tt_alloc(sizeof *f);
    if (!f) return tt_fail_nomem(err, "an open file", sizeof *f);
    f->identity = *identity;
    f->path = tt_strdup(path);
    tt_status status = f->path ? o->kind->open(context, path, &f->thing, err)
                               : tt_fail_nomem(err, "a path", strlen(path));
    if (status != TT_OK) {
        close_file(o, f);
        return status;
    }
    f->next = o->first;
    o->first = f;
    return TT_OK;
}

tt_status tt__opened_get(tt__opened *o, const void *context, const char *path,
                         const tt__opened_file **out, tt_err *err) {
    tt__file_identity now;
    *out = NULL;
    TT_TRY(identify(o->kind, path, &now, err));
    tt__opened_file **at = &o->first;
    while (*at &&
           (strcmp((*at)->path, path) != 0 || memcmp(&(*at)->identity, &now, sizeof now) != 0))
        at = &(*at)->next;
    tt__opened_file *found = *at;
    if (found) {
        *at = found->next;
        found->next = o->first;
        o->first = found;
    } else {
        TT_TRY(open_file(o, context, path, &now, err));
    }
    *out = o->first;
    return TT_OK;
}

static void close_from(tt__opened *o, tt__opened_file **at) {
    while (*at) {
        tt__opened_file *gone = *at;
        *at = gone->next;
        close_file(o, gone);
    }
}

void tt__opened_trim(tt__opened *o) {
    tt__opened_file **at = &o->first;
    uint64_t left = o->kind->max_bytes;
    for (int n = 0; *at && n < o->kind->max_kept && (*at)->identity.size <= left; n++) {
        left -= (*at)->identity.size;
        at = &(*at)->next;
    }
    close_from(o, at);
}

void tt__opened_release(tt__opened *o) {
    close_from(o, &o->first);
}
