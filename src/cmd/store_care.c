/* `tintype gc` and `tintype verify`: room, and damage. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "cmd/cancel.h"
#include "cmd/store_commands.h"
#include "cmd/store_text.h"
#include "cmd/store_words.h"

/* ---- gc ---------------------------------------------------------------------------------------------------------- */

int tt__gc_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype gc: makes room in the store.\n"
        "\n"
        "  tintype gc                left-overs of downloads, bytes that no name points at, and "
        "what is\n                            over TINTYPE_MODELS_MAX_BYTES\n"
        "  tintype gc --need 20GB    also the models used least, until 20 GB fit\n"
        "  tintype gc --dry-run      says what would go\n"
        "  tintype gc --json\n"
        "\n"
        "Stays: what is pinned, in use, in a read-only folder, or could not be fetched again. "
        "Exit code 1\nwhen there is not as much room as was asked for.\n");
}

static void tell_count(int n, const char *one, const char *many) {
    if (n > 0) printf("  %d %s\n", n, n == 1 ? one : many);
}

static int print_sweep(const tt_library_sweep *s, bool is_rehearsal) {
    char freed[TT__SIZE_BYTES], kept[TT__SIZE_BYTES];
    tt__size_text(freed, s->freed_bytes);
    tt__size_text(kept, s->kept_bytes);
    printf("%s %s; %s of models %s\n", is_rehearsal ? "would free" : "freed", freed, kept,
           is_rehearsal ? "would stay" : "stay");
    tell_count(s->n_evicted, "model, to be fetched again when it is wanted",
               "models, to be fetched again when they are wanted");
    tell_count(s->n_orphans, "file without a name", "files without a name");
    tell_count(s->n_parts, "left-over of a download", "left-overs of downloads");
    tell_count(s->n_names, "name without a model", "names without a model");
    return tt__print("", 0);
}

static int print_sweep_json(const tt_library_sweep *s, bool is_rehearsal, const char *problem) {
    json_object *o = json_object_new_object();
    tt__put_bool(o, "dry_run", is_rehearsal);
    tt__put_number(o, "freed_bytes", s->freed_bytes);
    tt__put_number(o, "kept_bytes", s->kept_bytes);
    tt__put_number(o, "evicted", (uint64_t)s->n_evicted);
    tt__put_number(o, "evicted_bytes", s->evicted_bytes);
    tt__put_number(o, "orphans", (uint64_t)s->n_orphans);
    tt__put_number(o, "parts", (uint64_t)s->n_parts);
    tt__put_number(o, "names", (uint64_t)s->n_names);
    if (problem) tt__put_text(o, "error", problem);
    return tt__print_json(o);
}

/* The collection does what it can; whether that was enough is for whoever needed it. */
static tt_status check_room(const tt__opened *o, const tt_library_sweep *s, uint64_t need,
                            bool is_rehearsal, tt_err *err) {
    char kept[TT__SIZE_BYTES], needed[TT__SIZE_BYTES], most[TT__SIZE_BYTES];
    uint64_t max_bytes = o->options.store.library.max_bytes, free_bytes = UINT64_MAX;
    struct statvfs disk;
    tt__size_text(kept, s->kept_bytes);
    tt__size_text(needed, need);
    tt__size_text(most, max_bytes);
    if (max_bytes && (need > max_bytes || s->kept_bytes > max_bytes - need))
        return tt_fail(err, TT_E_IO,
                       "not enough room: %s of models stay, %s are needed, and "
                       "TINTYPE_MODELS_MAX_BYTES is %s",
                       kept, needed, most);
    if (statvfs(o->options.root, &disk) == 0)
        free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize + (is_rehearsal ? s->freed_bytes : 0);
    tt__size_text(most, free_bytes);
    if (need == 0 ||
        (free_bytes > TT_STORE_RESERVE_BYTES && free_bytes - TT_STORE_RESERVE_BYTES >= need))
        return TT_OK;
    return tt_fail(err, TT_E_IO,
                   "not enough room: %s are needed, the disk has %s, and 256 MiB of it stay free",
                   needed, most);
}

static int collect(const tt__opened *o, uint64_t need, bool is_rehearsal, bool is_json) {
    tt_library_sweep sweep = {0};
    tt_err err;
    int printed = TT_EXIT_OK;
    tt_status collected = tt_library_gc(o->library, need, is_rehearsal, &sweep, &err);
    tt_status status = collected;
    if (status == TT_OK) status = check_room(o, &sweep, need, is_rehearsal, &err);
    if (is_json)
        printed = print_sweep_json(&sweep, is_rehearsal, status == TT_OK ? NULL : err.message);
    else if (collected == TT_OK)
        printed = print_sweep(&sweep, is_rehearsal);
    if (status == TT_OK) return printed;
    tt__store_tell(err.message);
    return TT_EXIT_FAILED;
}

int tt__gc(int argc, char **argv) {
    bool is_rehearsal = false;
    const char *need_text = NULL;
    const tt__store_flag flags[] = {
        {"--dry-run", "-n", NULL, &is_rehearsal}, {"--need", NULL, &need_text, NULL}, {0}};
    tt__store_words words;
    tt__opened opened;
    uint64_t need = 0;
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read("gc", flags, argc, argv, &words)) return code;
    if (words.wants_help) return tt__gc_help(false);
    if (!tt__store_words_count("gc", &words, 0, 0, "nothing")) return code;
    if (need_text && !tt__size_read(need_text, &need)) {
        tt__store_tell("--need: expected a size such as 20GB");
        return code;
    }
    if (tt__opened_open(&opened, false, &code))
        code = collect(&opened, need, is_rehearsal, words.is_json);
    tt__opened_close(&opened);
    return code;
}

/* ---- verify ------------------------------------------------------------------------------------------------------ */

int tt__verify_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype verify: reads models and compares them with their digests.\n"
        "\n"
        "  tintype verify               all of them\n"
        "  tintype verify REF [--json]  one\n"
        "\n"
        "Bytes that are not what their name says are moved away, and fetched again when they are "
        "wanted. Exit\ncodes: 0 all are good, 1 some are bad or missing, 2 the words make no "
        "sense, 130 cancelled.\n");
}

typedef struct verification {
    json_object *results; /* owned: an array, with --json */
} verification;

static bool tell_verified(void *context, const tt_library_entry *e, bool is_good) {
    verification *v = context;
    char name[TT__NAME_BYTES], size[TT__SIZE_BYTES];
    if (v->results) {
        json_object *o = json_object_new_object();
        tt__put_text(o, "sha256", e->digest);
        tt__put_text(o, "path", e->path);
        tt__put_bool(o, "good", is_good);
        json_object_array_add(v->results, o);
        return !tt__cancel_is_wanted();
    }
    tt__shown(name, *e->name ? e->name : "(no name)", 0);
    tt__size_text(size, e->size);
    printf("%-4s  %.12s  %8s  %s\n", is_good ? "good" : "BAD", e->digest, size, name);
    fflush(stdout); /* each takes seconds */
    return !tt__cancel_is_wanted();
}

static int print_verified(verification *v, const tt_library_verified *found) {
    if (v->results) {
        json_object *o = json_object_new_object();
        tt__put_number(o, "good", (uint64_t)found->n_good);
        tt__put_number(o, "bad", (uint64_t)found->n_bad);
        tt__put_number(o, "missing", (uint64_t)found->n_missing);
        tt__put_object(o, "models", v->results);
        v->results = NULL;
        return tt__print_json(o);
    }
    printf("%d good, %d bad, %d missing\n", found->n_good, found->n_bad, found->n_missing);
    return tt__print("", 0);
}

static int verify(tt_library *l, const tt_reference *only, bool is_json) {
    verification v = {.results = is_json ? json_object_new_array() : NULL};
    tt_library_verified found;
    tt_err err;
    tt__cancel_watch();
    if (tt_library_verify(l, only, tell_verified, &v, &found, &err) != TT_OK) {
        tt__store_tell(err.message);
        json_object_put(v.results);
        return TT_EXIT_FAILED;
    }
    int printed = print_verified(&v, &found);
    if (tt__cancel_is_wanted()) return tt__cancel_exit_code();
    return found.n_bad || found.n_missing ? TT_EXIT_FAILED : printed;
}

int tt__verify(int argc, char **argv) {
    const tt__store_flag flags[] = {{0}};
    tt__store_words words;
    tt__opened opened;
    tt_reference r;
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read("verify", flags, argc, argv, &words)) return code;
    if (words.wants_help) return tt__verify_help(false);
    if (!tt__store_words_count("verify", &words, 0, 1, "one model or none")) return code;
    if (words.n_operands && !tt__store_reference_read(words.operands[0], &r)) return code;
    if (tt__opened_open(&opened, false, &code))
        code = verify(opened.library, words.n_operands ? &r : NULL, words.is_json);
    tt__opened_close(&opened);
    return code;
}
