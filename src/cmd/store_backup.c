/* `tintype backup` and `tintype restore`: what is known of the models, without their bytes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "cmd/store_commands.h"
#include "cmd/store_words.h"

int tt__backup_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype backup, tintype restore: the names of all models, where they came from, their "
        "digests and\npins, as one JSON file. No model's bytes, and no keys.\n"
        "\n"
        "  tintype backup models.json       - is standard output\n"
        "  tintype restore models.json      - is standard input; names that are there already "
        "stay\n"
        "\n"
        "A restored model is fetched when it is wanted, or by tintype pull, and then has to be "
        "the\nsame bytes.\n");
}

static tt_status read_all(int fd, tt_buf *out, tt_err *err) {
    enum { PIECE_BYTES = 64 * 1024 };
    for (;;) {
        TT_TRY(tt_buf_reserve(out, PIECE_BYTES, err));
        ssize_t n = read(fd, out->data + out->size, PIECE_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tt_fail_errno(err, "cannot read", "standard input");
        if (n == 0) return TT_OK;
        out->size += (size_t)n;
        out->data[out->size] = '\0';
    }
}

static bool is_dash(const char *path) {
    return strcmp(path, "-") == 0;
}

static int backup(tt_library *l, const char *path) {
    tt_buf text;
    tt_err err;
    int code = TT_EXIT_OK;
    tt_buf_init(&text, TT_MAX_JSON_BYTES); /* what restore reads */
    tt_status status = tt_library_backup(l, &text, &err);
    if (status == TT_OK && is_dash(path)) code = tt__print(text.data, text.size);
    if (status == TT_OK && !is_dash(path)) status = tt_file_write(path, text.data, text.size, &err);
    if (status != TT_OK) {
        tt__store_tell(err.message);
        code = TT_EXIT_FAILED;
    }
    tt_buf_release(&text);
    return code;
}

static int print_restored(int n_restored, int n_missing, bool is_json) {
    if (is_json) {
        json_object *o = json_object_new_object();
        tt__put_number(o, "restored", (uint64_t)n_restored);
        tt__put_number(o, "to_be_fetched", (uint64_t)n_missing);
        return tt__print_json(o);
    }
    printf("%d %s restored; %d of them to be fetched\n", n_restored,
           n_restored == 1 ? "name" : "names", n_missing);
    return tt__print("", 0);
}

static int restore(tt_library *l, const char *path, bool is_json) {
    tt_buf text;
    tt_err err;
    int n_restored = 0, n_missing = 0;
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    tt_status status =
        is_dash(path) ? read_all(STDIN_FILENO, &text, &err) : tt_file_read(path, &text, &err);
    if (status == TT_OK)
        status = tt_library_restore(l, text.data ? text.data : "", text.size, &n_restored,
                                    &n_missing, &err);
    tt_buf_release(&text);
    if (status == TT_OK) return print_restored(n_restored, n_missing, is_json);
    tt__store_tell(err.message);
    return TT_EXIT_FAILED;
}

static int run(const char *command, int argc, char **argv) {
    const tt__store_flag flags[] = {{0}};
    tt__store_words words;
    tt__opened opened;
    int code = TT_EXIT_USAGE;
    if (!tt__store_words_read(command, flags, argc, argv, &words)) return code;
    if (words.wants_help) return tt__backup_help(false);
    if (!tt__store_words_count(command, &words, 1, 1, "one file, or -")) return code;
    if (tt__opened_open(&opened, false, &code))
        code = strcmp(command, "backup") == 0
                   ? backup(opened.library, words.operands[0])
                   : restore(opened.library, words.operands[0], words.is_json);
    tt__opened_close(&opened);
    return code;
}

int tt__backup(int argc, char **argv) {
    return run("backup", argc, argv);
}

int tt__restore(int argc, char **argv) {
    return run("restore", argc, argv);
}
