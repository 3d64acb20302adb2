/* A walk over all of a root: which bytes there are, how old, who names, pins and uses them. For what has to see everything at
 * once; a lookup never does. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/library_parts.h"

enum { FIRST_CAPACITY = 64, PREFIX = 2 };

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static bool is_digest(const char *name) {
    return strlen(name) == TT_DIGEST_HEX && tt__is_hex(name, TT_DIGEST_HEX);
}

static bool walk_folder(const tt__root *root, const char *prefix,
                        bool (*each)(void *context, const char *digest), void *context) {
    struct dirent *file;
    bool goes_on = true;
    int dir = tt__blob_folder(root, prefix, false);
    DIR *folder = tt__walk(dir);
    for (int n = 0; folder && goes_on && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (is_digest(file->d_name) && strncmp(file->d_name, prefix, PREFIX) == 0)
            goes_on = each(context, file->d_name);
    if (folder) closedir(folder);
    if (dir >= 0) close(dir);
    return goes_on;
}

void tt__blobs_walk(const tt__root *root, bool (*each)(void *context, const char *digest),
                    void *context) {
    DIR *folder = tt__walk(root->v1[TT__BLOBS]);
    struct dirent *file;
    bool goes_on = true;
    for (int n = 0; folder && goes_on && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (strlen(file->d_name) == PREFIX && tt__is_hex(file->d_name, PREFIX))
            goes_on = walk_folder(root, file->d_name, each, context);
    if (folder) closedir(folder);
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

typedef struct making {
    tt_library *l;
    const tt__root *root;
    tt__index *index;
    size_t n_sorted;
    bool is_out_of_memory;
} making;

static tt__indexed *add(making *m, const char *digest) {
    tt__index *x = m->index;
    if (x->n == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : FIRST_CAPACITY;
        tt__indexed *items = tt_realloc(x->items, capacity * sizeof *items);
        if (!items) {
            m->is_out_of_memory = true;
            return NULL;
        }
        x->items = items;
        x->capacity = capacity;
    }
    tt__indexed *item = &x->items[x->n++];
    *item = (tt__indexed){.size = 0};
    memcpy(item->digest, digest, sizeof item->digest);
    return item;
}

static bool add_blob(void *context, const char *digest) {
    making *m = context;
    struct stat st;
    tt__facts facts;
    if (m->index->n >= TT_LIBRARY_MAX_FILES) return false;
    if (tt__blob_look(m->root, digest, 0, &st, &facts) == TT__BLOB_ABSENT) return true;
    tt__indexed *item = add(m, digest);
    if (!item) return false;
    item->has_bytes = true;
    item->size = (uint64_t)st.st_size;
    item->changed_s = st.st_mtim.tv_sec;
    item->used_s = tt__used_s(m->root, digest);
    item->is_rare = facts.size > 0 && !facts.can_be_fetched_again;
    if (item->used_s < item->changed_s) item->used_s = item->changed_s;
    return true;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const tt__indexed *)a)->digest, ((const tt__indexed *)b)->digest);
}

static void sort(tt__index *x) {
    if (x->n) qsort(x->items, x->n, sizeof *x->items, compare);
}

static tt__indexed *find_in(tt__indexed *items, size_t n, const char *digest) {
    tt__indexed wanted = {.size = 0};
    snprintf(wanted.digest, sizeof wanted.digest, "%s", digest);
    return n ? bsearch(&wanted, items, n, sizeof *items, compare) : NULL;
}

tt__indexed *tt__index_find(const tt__index *x, const char *digest) {
    return find_in(x->items, x->n, digest);
}

static void add_name(making *m, const char *file) {
    tt_library_entry entry;
    if (!tt__name_read_file(m->root, file, &entry)) return;
    tt__indexed *item = find_in(m->index->items, m->n_sorted, entry.digest);
    if (!item) return; /* a name without bytes */
    item->n_names++;
    item->is_pinned = item->is_pinned || entry.is_pinned;
}

static void add_names(making *m) {
    DIR *folder = tt__walk(m->root->v1[TT__NAMES]);
    struct dirent *file;
    for (int n = 0; folder && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (file->d_name[0] != '.') add_name(m, file->d_name);
    if (folder) closedir(folder);
}

static void add_lease(void *context, const char *digest) {
    making *m = context;
    tt__indexed *item = tt__index_find(m->index, digest);
    if (item) item->is_leased = true;
}

tt_status tt__index_make(tt_library *l, const tt__root *root, tt__index *out, tt_err *err) {
    making m = {.l = l, .root = root, .index = out};
    *out = (tt__index){NULL, 0, 0};
    tt__blobs_walk(root, add_blob, &m);
    if (m.is_out_of_memory) {
        size_t size = 2 * out->capacity * sizeof *out->items;
        tt__index_release(out);
        return tt_fail_nomem(err, "index of models", size);
    }
    sort(out);
    m.n_sorted = out->n;
    add_names(&m);
    if (root->is_ours) tt__leases_walk(l, tt__fs_now_s(l), add_lease, &m, false);
    return TT_OK;
}

void tt__index_release(tt__index *x) {
    tt_free(x->items);
    *x = (tt__index){NULL, 0, 0};
}
