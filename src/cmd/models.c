/* `tintype models` and `tintype show`: what is in the store. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "cmd/store_commands.h"
#include "cmd/store_text.h"
#include "cmd/store_words.h"

enum {
    MAX_LISTED = 64 * 1024, /* what one folder of the store may hold */
    MAX_TABLE_BYTES = 64 << 20,
    DIGEST_SHOWN = 12,
    NAME_COLUMNS = 40,
    BASE_COLUMNS = 14,
};

/* ---- the list ---------------------------------------------------------------------------------------------------- */

typedef struct row {
    char digest[TT_DIGEST_HEX + 1], name[TT_MODEL_NAME_BYTES], alias[TT_MODEL_NAME_BYTES];
    char base_model[64];
    tt_model_kind kind;
    uint64_t size;
    int64_t used_s;
    bool is_pinned, is_leased, is_read_only;
} row;

typedef struct list {
    tt__store_words words;
    const char *kind_text, *sort;
    tt_model_kind kind;
    tt__opened opened;
    row *rows; /* owned */
    size_t n, capacity;
    json_object *array; /* with --json, instead of rows */
    bool is_short_of_memory;
} list;

int tt__models_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype models: the models in the store.\n"
        "\n"
        "  tintype models                  all, those used last first\n"
        "  tintype models --kind lora      checkpoint, lora, vae or embedding\n"
        "  tintype models --sort size      used, size, name or kind\n"
        "  tintype models --json\n"
        "\n"
        "Other commands take a model's reference, its own word (tintype pull --name), or the "
        "beginning of its\ndigest as it is shown here.\n"
        "The store's folder: TINTYPE_MODELS.\n");
}

static bool grow(list *l) {
    if (l->n < l->capacity) return true;
    size_t capacity = l->capacity ? 2 * l->capacity : 64, bytes;
    if (capacity > MAX_LISTED || !tt_mul_size(capacity, sizeof *l->rows, &bytes)) return false;
    row *rows = tt_realloc(l->rows, bytes);
    if (!rows) return false;
    l->rows = rows;
    l->capacity = capacity;
    return true;
}

static row row_of(const tt_library_entry *e) {
    row r = {.kind = e->kind,
             .size = e->size,
             .used_s = e->used_s ? e->used_s : e->fetched_s,
             .is_pinned = e->is_pinned,
             .is_leased = e->is_leased,
             .is_read_only = e->is_read_only};
    snprintf(r.digest, sizeof r.digest, "%s", e->digest);
    snprintf(r.name, sizeof r.name, "%s", e->name);
    snprintf(r.alias, sizeof r.alias, "%s", e->alias);
    snprintf(r.base_model, sizeof r.base_model, "%s", e->base_model);
    return r;
}

static bool add(void *context, const tt_library_entry *entry) {
    list *l = context;
    if (l->kind_text && entry->kind != l->kind) return true;
    l->is_short_of_memory = !grow(l);
    if (l->is_short_of_memory) return false;
    l->rows[l->n++] = row_of(entry);
    return true;
}

static bool add_json(void *context, const tt_library_entry *entry) {
    list *l = context;
    if (l->kind_text && entry->kind != l->kind) return true;
    json_object *o = tt__entry_json(entry);
    l->is_short_of_memory = !l->array || !o || json_object_array_add(l->array, o) != 0;
    if (l->is_short_of_memory) json_object_put(o);
    return !l->is_short_of_memory;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static const char *name_of(const row *r) {
    return *r->alias ? r->alias : r->name;
}

static int by_name(const void *a, const void *b) {
    int order = strcasecmp(name_of(a), name_of(b));
    return order ? order : strcmp(((const row *)a)->digest, ((const row *)b)->digest);
}

static int by_size(const void *a, const void *b) {
    const row *x = a, *y = b;
    return x->size != y->size ? (x->size < y->size ? 1 : -1) : by_name(a, b);
}

static int by_use(const void *a, const void *b) {
    const row *x = a, *y = b;
    return x->used_s != y->used_s ? (x->used_s < y->used_s ? 1 : -1) : by_name(a, b);
}

static int by_kind(const void *a, const void *b) {
    const row *x = a, *y = b;
    return x->kind != y->kind ? (x->kind > y->kind ? 1 : -1) : by_name(a, b);
}

static const struct {
    const char *name;
    int (*compare)(const void *a, const void *b);
} ORDERS[] = {{"used", by_use}, {"size", by_size}, {"name", by_name}, {"kind", by_kind}};
enum { N_ORDERS = sizeof ORDERS / sizeof *ORDERS };

static int order_of(const char *name) {
    for (int i = 0; name && i < N_ORDERS; i++)
        if (strcmp(name, ORDERS[i].name) == 0) return i;
    return name ? -1 : 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* "detail (Detail Tweaker XL v1)", or either; "(no name)". */
static void label_of(const row *r, char out[TT__NAME_BYTES]) {
    char text[2 * TT_MODEL_NAME_BYTES + 4];
    bool has_both = *r->alias && *r->name && strcmp(r->alias, r->name) != 0;
    snprintf(text, sizeof text, "%s%s%s%s", name_of(r), has_both ? " (" : "",
             has_both ? r->name : "", has_both ? ")" : "");
    tt__shown(out, *text ? text : "(no name)", NAME_COLUMNS);
}

static tt_status put_padded(tt_buf *out, const char *text, int columns, tt_err *err) {
    int room = columns - tt__columns(text);
    return tt_buf_printf(out, err, "%s%*s  ", text, room > 0 ? room : 0, "");
}

static tt_status put_flags(tt_buf *out, const row *r, tt_err *err) {
    const char *const words[] = {r->is_pinned ? "pinned" : "", r->is_leased ? "in use" : "",
                                 r->is_read_only ? "read-only" : ""};
    const char *between = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!*words[i]) continue;
        TT_TRY(tt_buf_printf(out, err, "%s%s", between, words[i]));
        between = ", ";
    }
    return TT_OK;
}

typedef struct widths {
    int name, base;
} widths;

static widths measure(const list *l) {
    widths w = {.name = (int)sizeof "NAME" - 1, .base = (int)sizeof "BASE" - 1};
    for (size_t i = 0; i < l->n; i++) {
        char text[TT__NAME_BYTES];
        label_of(&l->rows[i], text);
        if (tt__columns(text) > w.name) w.name = tt__columns(text);
        tt__shown(text, l->rows[i].base_model, BASE_COLUMNS);
        if (tt__columns(text) > w.base) w.base = tt__columns(text);
    }
    return w;
}

static void trim_end(tt_buf *out) {
    while (out->size > 0 && out->data[out->size - 1] == ' ') out->data[--out->size] = '\0';
}

static tt_status put_row(tt_buf *out, const row *r, widths w, int64_t now_s, tt_err *err) {
    char name[TT__NAME_BYTES], base[TT__NAME_BYTES], size[TT__SIZE_BYTES], used[TT__AGO_BYTES];
    label_of(r, name);
    tt__shown(base, r->base_model, BASE_COLUMNS);
    tt__size_text(size, r->size);
    tt__ago_text(used, r->used_s, now_s);
    TT_TRY(put_padded(out, name, w.name, err));
    TT_TRY(tt_buf_printf(out, err, "%-10s  ", tt_model_kind_name(r->kind)));
    TT_TRY(put_padded(out, base, w.base, err));
    TT_TRY(tt_buf_printf(out, err, "%8s  %-14s  %-*.*s  ", size, used, DIGEST_SHOWN, DIGEST_SHOWN,
                         *r->digest ? r->digest : "-"));
    TT_TRY(put_flags(out, r, err));
    trim_end(out);
    return tt_buf_puts(out, "\n", err);
}

static int by_digest(const void *a, const void *b) {
    return strcmp(((const row *)a)->digest, ((const row *)b)->digest);
}

/* The same bytes under two names count once. Sorts the rows by digest. */
static uint64_t bytes_of_all(list *l) {
    uint64_t total = 0;
    if (l->n > 1) qsort(l->rows, l->n, sizeof *l->rows, by_digest);
    for (size_t i = 0; i < l->n; i++)
        if (i == 0 || !*l->rows[i].digest || by_digest(&l->rows[i], &l->rows[i - 1]) != 0)
            total += l->rows[i].size;
    return total;
}

static tt_status put_table(list *l, tt_buf *out, tt_err *err) {
    char total[TT__SIZE_BYTES], root[TT_MODEL_PATH_BYTES];
    widths w = measure(l);
    int64_t now_s = (int64_t)time(NULL);
    tt__size_text(total, bytes_of_all(l));
    if (l->n > 1) qsort(l->rows, l->n, sizeof *l->rows, ORDERS[order_of(l->sort)].compare);
    TT_TRY(tt_buf_printf(out, err, "%-*s  %-10s  %-*s  %8s  %-14s  DIGEST\n", w.name, "NAME",
                         "KIND", w.base, "BASE", "SIZE", "LAST USED"));
    for (size_t i = 0; i < l->n; i++) TT_TRY(put_row(out, &l->rows[i], w, now_s, err));
    tt__clean(root, sizeof root, l->opened.options.root);
    return tt_buf_printf(out, err, "\n%zu %s, %s; the store is %s\n", l->n,
                         l->n == 1 ? "model" : "models", total, root);
}

static int say_empty(const list *l) {
    char text[TT_MODEL_PATH_BYTES + 256], root[TT_MODEL_PATH_BYTES];
    tt__clean(root, sizeof root, l->opened.options.root);
    int n = snprintf(text, sizeof text,
                     "%s in the store (%s).\nFetch one: tintype pull civitai:128078, or tintype "
                     "pull --help.\n",
                     l->kind_text ? "No model of this kind is" : "No models are", root);
    return tt__print(text, (unsigned long)n);
}

static int print_table(list *l) {
    tt_buf text;
    tt_err err;
    int code = TT_EXIT_FAILED;
    if (l->n == 0) return say_empty(l);
    tt_buf_init(&text, MAX_TABLE_BYTES);
    if (put_table(l, &text, &err) == TT_OK)
        code = tt__print(text.data, text.size);
    else
        tt__store_tell(err.message);
    tt_buf_release(&text);
    return code;
}

static int print_json(list *l) {
    json_object *answer = json_object_new_object();
    const char *reason = tt_library_read_only_reason(l->opened.library);
    tt__put_text(answer, "store", l->opened.options.root);
    if (reason) tt__put_text(answer, "cannot_be_written", reason);
    tt__put_object(answer, "models", l->array);
    l->array = NULL;
    return tt__print_json(answer);
}

static int print_list(list *l) {
    tt_err err;
    if (l->words.is_json) l->array = json_object_new_array();
    tt_status status =
        tt_library_list(l->opened.library, l->words.is_json ? add_json : add, l, &err);
    if (status == TT_OK && l->is_short_of_memory)
        status = tt_fail_nomem(&err, "list of models", l->n * sizeof *l->rows);
    if (status == TT_OK) return l->words.is_json ? print_json(l) : print_table(l);
    tt__store_tell(err.message);
    return TT_EXIT_FAILED;
}

static bool read_words(list *l, int argc, char **argv) {
    const tt__store_flag flags[] = {
        {"--kind", NULL, &l->kind_text, NULL}, {"--sort", NULL, &l->sort, NULL}, {0}};
    if (!tt__store_words_read("models", flags, argc, argv, &l->words)) return false;
    if (l->words.wants_help) return true;
    if (!tt__store_words_count("models", &l->words, 0, 0, "nothing")) return false;
    if (l->kind_text && !tt__store_kind_read(l->kind_text, &l->kind)) return false;
    if (order_of(l->sort) >= 0) return true;
    fprintf(stderr, "tintype models: --sort: expected used, size, name or kind\n");
    return false;
}

int tt__models(int argc, char **argv) {
    list l = {.n = 0};
    int code = TT_EXIT_USAGE;
    if (!read_words(&l, argc, argv)) return code;
    if (l.words.wants_help) return tt__models_help(false);
    if (tt__opened_open(&l.opened, false, &code)) code = print_list(&l);
    tt__opened_close(&l.opened);
    json_object_put(l.array);
    tt_free(l.rows);
    return code;
}

/* ---- one model --------------------------------------------------------------------------------------------------- */

int tt__show_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype show: all that the store knows of a model.\n"
        "\n"
        "  tintype show REF [--json]      a reference, a word, the beginning of a "
        "digest (8 digits or more)\n");
}

typedef struct search {
    tt_library_entry *entry; /* its digest is what is looked for */
    bool is_leased;
} search;

/* By a digest only the bytes are found: the first name that they have tells more. */
static bool look_closer(void *context, const tt_library_entry *entry) {
    search *s = context;
    if (strcmp(entry->digest, s->entry->digest) != 0) return true;
    s->is_leased = s->is_leased || entry->is_leased;
    if (!*s->entry->identity && *entry->identity) *s->entry = *entry;
    return true;
}

static void print_line(const char *label, const char *text) {
    char shown[TT_MODEL_PATH_BYTES];
    if (!*text) return;
    tt__clean(shown, sizeof shown, text);
    printf("%-14s%s\n", label, shown);
}

static void print_time(const char *label, int64_t then_s) {
    char ago[TT__AGO_BYTES], text[96], date[32] = "";
    struct tm tm;
    time_t then = (time_t)then_s;
    if (!then_s) return;
    tt__ago_text(ago, then_s, (int64_t)time(NULL));
    if (localtime_r(&then, &tm)) strftime(date, sizeof date, "%Y-%m-%d %H:%M", &tm);
    snprintf(text, sizeof text, "%s (%s)", ago, date);
    print_line(label, text);
}

static int print_entry(const tt_library_entry *e) {
    char size[TT__SIZE_BYTES], sizes[64];
    tt__size_text(size, e->size);
    snprintf(sizes, sizeof sizes, "%s (%" PRIu64 " bytes)", size, e->size);
    print_line("name", e->name);
    print_line("called", e->alias);
    print_line("reference", e->identity);
    print_line("kind", tt_model_kind_name(e->kind));
    print_line("base model", e->base_model);
    print_line("version", e->version);
    print_line("size", sizes);
    print_line("sha256", e->digest);
    print_line("path", *e->path ? e->path : "(its bytes are not here: tintype pull fetches them)");
    print_line("fetched from", e->resolved);
    print_time("fetched", e->fetched_s);
    print_time("last used", e->used_s);
    print_line("pinned", e->is_pinned ? "yes: nothing removes it" : "");
    print_line("in use", e->is_leased ? "yes" : "");
    print_line("read-only", e->is_read_only ? "yes" : "");
    return tt__print("", 0);
}

/* Also a name whose bytes are gone: what they were, and where they came from. */
static tt_status find(tt_library *l, const tt_reference *r, tt_library_entry *out, tt_err *err) {
    tt_status status = tt_library_find(l, r, out, err);
    if (status != TT_E_NOT_FOUND || tt_library_recall(l, r->identity, out, NULL) != TT_OK)
        return status;
    return TT_OK;
}

static int show(tt_library *l, const tt_reference *r, bool is_json) {
    tt_library_entry entry;
    tt_err err;
    if (find(l, r, &entry, &err) != TT_OK) {
        tt__store_tell(err.message);
        return TT_EXIT_FAILED;
    }
    search s = {.entry = &entry};
    if (*entry.digest) tt_library_list(l, look_closer, &s, NULL);
    entry.is_leased = s.is_leased;
    return is_json ? tt__print_json(tt__entry_json(&entry)) : print_entry(&entry);
}

int tt__show(int argc, char **argv) {
    const tt__store_flag flags[] = {{0}};
    tt__store_words words;
    tt__opened opened;
    tt_reference r;
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read("show", flags, argc, argv, &words)) return code;
    if (words.wants_help) return tt__show_help(false);
    if (!tt__store_words_count("show", &words, 1, 1, "one model")) return code;
    if (!tt__store_reference_read(words.operands[0], &r)) return code;
    if (tt__opened_open(&opened, false, &code)) code = show(opened.library, &r, words.is_json);
    tt__opened_close(&opened);
    return code;
}
