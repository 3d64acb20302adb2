/* `tintype rm`, `pin` and `unpin`. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/store_commands.h"
#include "cmd/store_text.h"
#include "cmd/store_words.h"

int tt__rm_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype rm: takes models out of the store.\n"
        "\n"
        "  tintype rm REF...          asks on a terminal; a script is not asked\n"
        "  tintype rm --dry-run REF   says what would go\n"
        "  tintype rm --yes REF       does not ask\n"
        "  tintype rm --json REF...\n"
        "\n"
        "The name goes, and its bytes with it unless another name has them or they are in use. A "
        "digest\nor its beginning means all names of these bytes.\n");
}

int tt__pin_help(bool is_all) {
    (void)is_all;
    return tt__store_help("tintype pin, tintype unpin: what is pinned is kept when room is made.\n"
                          "\n"
                          "  tintype pin REF...\n"
                          "  tintype pin --off REF...       the same as unpin\n"
                          "  tintype unpin REF... [--json]\n");
}

/* ---- rm ---------------------------------------------------------------------------------------------------------- */

typedef struct removal {
    tt__store_words words;
    bool is_rehearsal, is_sure;
    tt__opened opened;
    json_object *results; /* owned: an array, with --json */
    uint64_t freed;
    int n_removed, n_failed;
} removal;

static bool asks(const removal *r) {
    return !r->is_sure && !r->is_rehearsal && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* Only a line that begins with y is a yes; an end of input is not. */
static bool ask(const tt_library_entry *e) {
    char name[TT__NAME_BYTES], size[TT__SIZE_BYTES], answer[16];
    tt__shown(name, *e->name ? e->name : e->digest, 0);
    tt__size_text(size, e->size);
    fprintf(stderr, "Remove %s, %s? [y/N] ", name, size);
    fflush(stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void tell_removed(removal *r, const char *text, const tt_library_entry *e, uint64_t freed) {
    char name[TT__NAME_BYTES], size[TT__SIZE_BYTES];
    r->n_removed++;
    r->freed += freed;
    if (r->results) {
        json_object *o = json_object_new_object();
        tt__put_text(o, "asked_for", text);
        tt__put_text(o, "sha256", e->digest);
        tt__put_number(o, "freed_bytes", freed);
        json_object_array_add(r->results, o);
        return;
    }
    tt__shown(name, *e->name ? e->name : text, 0);
    tt__size_text(size, freed);
    if (r->is_rehearsal)
        printf("would remove %s\n", name);
    else if (freed)
        printf("removed %s, %s\n", name, size);
    else
        printf("removed the name %s; its bytes are in use or have another name\n", name);
}

static void fail_one(removal *r, const char *text, const tt_err *err) {
    r->n_failed++;
    tt__store_tell(err->message);
    if (!r->results) return;
    json_object *o = json_object_new_object();
    tt__put_text(o, "asked_for", text);
    tt__put_text(o, "error", err->message);
    json_object_array_add(r->results, o);
}

/* What is there may also be a name without bytes. */
static tt_status find(tt_library *l, const tt_reference *r, tt_library_entry *out, tt_err *err) {
    tt_status status = tt_library_find(l, r, out, err);
    if (status == TT_OK || tt_library_recall(l, r->identity, out, NULL) == TT_OK) return TT_OK;
    return status == TT_E_FORMAT ? TT_OK : status; /* touched bytes may go */
}

static void remove_one(removal *r, const char *text) {
    tt_library_entry entry = {.identity = ""};
    tt_reference reference;
    tt_err err;
    uint64_t freed = 0;
    tt_status status = tt_reference_parse(text, &reference, &err);
    if (status == TT_OK) status = find(r->opened.library, &reference, &entry, &err);
    if (status == TT_OK && entry.is_read_only)
        status = tt_fail(&err, TT_E_INVALID, "%.300s is in a read-only folder", text);
    if (status == TT_OK && asks(r) && !ask(&entry)) return;
    if (status == TT_OK && !r->is_rehearsal)
        status = tt_library_remove(r->opened.library, &reference, &freed, &err);
    if (status == TT_OK)
        tell_removed(r, text, &entry, freed);
    else
        fail_one(r, text, &err);
}

static int remove_all(removal *r) {
    if (r->words.is_json) r->results = json_object_new_array();
    for (int i = 0; i < r->words.n_operands; i++) remove_one(r, r->words.operands[i]);
    int code = r->n_failed ? TT_EXIT_FAILED : TT_EXIT_OK, printed;
    if (r->words.is_json) {
        json_object *answer = json_object_new_object();
        tt__put_bool(answer, "dry_run", r->is_rehearsal);
        tt__put_number(answer, "freed_bytes", r->freed);
        tt__put_object(answer, "models", r->results);
        printed = tt__print_json(answer);
    } else {
        printed = tt__print("", 0);
    }
    return printed != TT_EXIT_OK ? printed : code;
}

int tt__rm(int argc, char **argv) {
    removal r = {.freed = 0};
    const tt__store_flag flags[] = {
        {"--dry-run", "-n", NULL, &r.is_rehearsal}, {"--yes", "-y", NULL, &r.is_sure}, {0}};
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read("rm", flags, argc, argv, &r.words)) return code;
    if (r.words.wants_help) return tt__rm_help(false);
    if (!tt__store_words_count("rm", &r.words, 1, TT__MAX_OPERANDS, "the models to remove"))
        return code;
    if (tt__opened_open(&r.opened, false, &code)) code = remove_all(&r);
    tt__opened_close(&r.opened);
    return code;
}

/* ---- pin --------------------------------------------------------------------------------------------------------- */

static tt_status pin_one(tt_library *l, const char *text, bool pinned, tt_err *err) {
    tt_reference reference;
    TT_TRY(tt_reference_parse(text, &reference, err));
    return tt_library_pin(l, &reference, pinned, err);
}

static void put_result(json_object *results, const char *text, bool pinned, const char *error) {
    json_object *o = json_object_new_object();
    tt__put_text(o, "asked_for", text);
    if (error)
        tt__put_text(o, "error", error);
    else
        tt__put_bool(o, "pinned", pinned);
    json_object_array_add(results, o);
}

static int pin_all(tt_library *l, const tt__store_words *words, bool pinned) {
    json_object *results = words->is_json ? json_object_new_array() : NULL;
    int code = TT_EXIT_OK;
    for (int i = 0; i < words->n_operands; i++) {
        const char *text = words->operands[i];
        char shown[TT__NAME_BYTES];
        tt_err err;
        bool is_done = pin_one(l, text, pinned, &err) == TT_OK;
        tt__shown(shown, text, 0);
        if (!is_done) tt__store_tell(err.message);
        if (!is_done) code = TT_EXIT_FAILED;
        if (results)
            put_result(results, text, pinned, is_done ? NULL : err.message);
        else if (is_done)
            printf("%s %s\n", pinned ? "pinned" : "unpinned", shown);
    }
    int printed = TT_EXIT_OK;
    if (words->is_json) {
        json_object *answer = json_object_new_object();
        tt__put_object(answer, "models", results);
        printed = tt__print_json(answer);
    } else {
        printed = tt__print("", 0);
    }
    return printed != TT_EXIT_OK ? printed : code;
}

static int pin(const char *command, bool pinned, int argc, char **argv) {
    bool is_off = false;
    const tt__store_flag flags[] = {{"--off", NULL, NULL, &is_off}, {0}};
    tt__store_words words;
    tt__opened opened;
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read(command, flags, argc, argv, &words)) return code;
    if (words.wants_help) return tt__pin_help(false);
    if (!tt__store_words_count(command, &words, 1, TT__MAX_OPERANDS, "the models")) return code;
    if (tt__opened_open(&opened, false, &code))
        code = pin_all(opened.library, &words, pinned && !is_off);
    tt__opened_close(&opened);
    return code;
}

int tt__pin(int argc, char **argv) {
    return pin("pin", true, argc, argv);
}

int tt__unpin(int argc, char **argv) {
    return pin("unpin", false, argc, argv);
}
