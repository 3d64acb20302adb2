/* Plain folders: files that people put there by hand, beside v1 or in a root that has none, where they are used to have them.
 * Found by name, never written, never removed, never hashed. A name is only ever compared with what the folder lists, and
 * what is opened is what it listed. */
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "store/library_parts.h"

static const struct {
    const char *name; /* "" is the root itself */
    tt_model_kind kind;
} PLACES[] = {
    {"checkpoints", TT_MODEL_CHECKPOINT},
    {"Stable-diffusion", TT_MODEL_CHECKPOINT},
    {"loras", TT_MODEL_LORA},
    {"Lora", TT_MODEL_LORA},
    {"vae", TT_MODEL_VAE},
    {"VAE", TT_MODEL_VAE},
    {"embeddings", TT_MODEL_EMBEDDING},
    {"", TT_MODEL_CHECKPOINT},
};
enum { N_PLACES = sizeof PLACES / sizeof *PLACES };

static const char ENDING[] = ".safetensors";
enum { ENDING_BYTES = sizeof ENDING - 1 };

static bool is_model_file(const char *name) {
    size_t n = strlen(name);
    return n > ENDING_BYTES && name[0] != '.' && strcasecmp(name + n - ENDING_BYTES, ENDING) == 0;
}

static int open_place(const tt__root *root, const char *name) {
    if (root->fd < 0) return -1;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    return openat(root->fd, *name ? name : ".", flags);
}

/* Everything that is known without opening it. */
static bool describe(const tt__root *root, int dir, int place, const char *file,
                     tt_library_entry *out) {
    struct stat st;
    memset(out, 0, sizeof *out);
    if (!is_model_file(file) || !tt__stat_at(dir, file, &st) || st.st_size <= 0) return false;
    int n = snprintf(out->path, sizeof out->path, "%.*s%s%s/%.255s", TT_MODEL_PATH_BYTES - 512,
                     root->path, *PLACES[place].name ? "/" : "", PLACES[place].name, file);
    if (n < 0 || n >= (int)sizeof out->path) return false;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(strlen(file) - ENDING_BYTES), file);
    tt_utf8_make_printable(out->name, true);
    out->kind = PLACES[place].kind;
    out->size = (uint64_t)st.st_size;
    out->fetched_s = st.st_mtim.tv_sec;
    out->is_read_only = true;
    return true;
}

static bool walk_place(const tt__root *root, int place,
                       bool (*each)(void *context, const tt_library_entry *entry), void *context) {
    tt_library_entry entry;
    struct dirent *file;
    bool goes_on = true;
    int dir = open_place(root, PLACES[place].name);
    DIR *folder = tt__walk(dir);
    for (int n = 0; folder && goes_on && n < TT_LIBRARY_MAX_FILES && (file = readdir(folder)); n++)
        if (describe(root, dir, place, file->d_name, &entry)) goes_on = each(context, &entry);
    if (folder) closedir(folder);
    if (dir >= 0) close(dir);
    return goes_on;
}

bool tt__plain_walk(const tt_library *l, bool (*each)(void *context, const tt_library_entry *entry),
                    void *context) {
    bool goes_on = true;
    for (int i = 0; goes_on && i < l->n_roots; i++)
        for (int place = 0; goes_on && place < N_PLACES; place++)
            goes_on = walk_place(&l->roots[i], place, each, context);
    return goes_on;
}

typedef struct search {
    const char *name;
    size_t n;
    tt_library_entry *out;
    bool is_found;
} search;

static bool compare(void *context, const tt_library_entry *entry) {
    search *s = context;
    const char *file = strrchr(entry->path, '/') + 1;
    size_t n = strlen(file) - ENDING_BYTES;
    if (n != s->n || strncmp(file, s->name, n) != 0) return true;
    *s->out = *entry;
    s->is_found = true;
    return false;
}

bool tt__plain_find(const tt_library *l, const char *name, tt_library_entry *out) {
    search s = {.name = name, .n = strlen(name), .out = out};
    if (is_model_file(name)) s.n -= ENDING_BYTES;
    if (s.n == 0 || strchr(name, '/')) return false;
    tt__plain_walk(l, compare, &s);
    return s.is_found;
}
