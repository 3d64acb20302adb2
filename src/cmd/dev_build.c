/* See dev_build.h. The command is a list of words, never a shell's line: file names may be anything. */
#include "cmd/dev_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/program_path.h"

#define MERGED_LIBRARY "libtintype-worker.a"

/* The SDK's rooms, each before those it needs. */
static const char *const ROOMS[] = {"worker", "api", "job", "net", "base"};
enum { N_ROOMS = sizeof ROOMS / sizeof *ROOMS };

/* What the SDK itself is linked with. */
static const char *const LIBRARIES[] = {"-lcurl",   "-lmicrohttpd", "-lcrypto",
                                        "-ljson-c", "-lpthread",    "-lm"};
enum { N_LIBRARIES = sizeof LIBRARIES / sizeof *LIBRARIES };

/* A library that was built with sanitizers links with nothing else. The program was built together with it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER "-fsanitize=address,undefined"
#elif defined(__SANITIZE_THREAD__)
#define SANITIZER "-fsanitize=thread"
#else
#define SANITIZER NULL
#endif

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static bool is_there(const char *folder, const char *rest, char out[PATH_MAX]) {
    int n = snprintf(out, PATH_MAX, "%s/%s", folder, rest);
    return n > 0 && n < PATH_MAX && tt_file_exists(out);
}

static bool find_headers(const char *folder, const char *const *places, char out[PATH_MAX]) {
    char header[PATH_MAX];
    for (; *places; places++) {
        bool has_folder = is_there(folder, *places, out);
        if (has_folder && is_there(out, "tintype/worker.h", header)) return true;
    }
    return false;
}

static bool find_installed(const char *prefix, tt__sdk *out) {
    static const char *const headers[] = {"include", NULL};
    static const char *const folders[] = {"lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu",
                                          "lib64", "."};
    char library[PATH_MAX];
    if (!find_headers(prefix, headers, out->include)) return false;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (is_there(prefix, folders[i], out->library) &&
            is_there(out->library, MERGED_LIBRARY, library))
            return true;
    return false;
}

static bool find_build_tree(const char *folder, tt__sdk *out) {
    static const char *const headers[] = {"../../include", "../include", "include", NULL};
    char library[PATH_MAX], name[64];
    for (int i = 0; i < N_ROOMS; i++) {
        snprintf(name, sizeof name, "libtt_%s.a", ROOMS[i]);
        if (!is_there(folder, name, library)) return false;
    }
    out->is_build_tree = true;
    return is_there(folder, ".", out->library) && find_headers(folder, headers, out->include);
}

tt_status tt__sdk_find(const char *folder, tt__sdk *out, tt_err *err) {
    char program[PATH_MAX], prefix[PATH_MAX + 8];
    *out = (tt__sdk){.is_build_tree = false};
    if (folder) {
        if (find_installed(folder, out) || find_build_tree(folder, out)) return TT_OK;
        return tt_fail(err, TT_E_NOT_FOUND,
                       "no SDK in %s: it has neither lib/" MERGED_LIBRARY
                       " and include/tintype/worker.h, nor is it a build tree",
                       folder);
    }
    tt__program_directory(program);
    snprintf(prefix, sizeof prefix, "%s/..", program);
    if (find_build_tree(program, out) || find_installed(prefix, out)) return TT_OK;
    return tt_fail(err, TT_E_NOT_FOUND,
                   "no SDK beside the program (%s): name its folder with --sdk or TINTYPE_SDK",
                   program);
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

enum { MAX_WORDS = 96, MAX_FLAGS_BYTES = 4096, PIECE_BYTES = PATH_MAX + 32 };

typedef struct command_line {
    char *words[MAX_WORDS + 1]; /* NULL-terminated; borrowed */
    int n;
    char flags[MAX_FLAGS_BYTES]; /* CC and CFLAGS, cut into words */
    size_t flags_used;
    char include[PIECE_BYTES], libraries[N_ROOMS][PIECE_BYTES];
} command_line;

static void add(command_line *c, const char *word) {
    if (word && c->n < MAX_WORDS) c->words[c->n++] = (char *)(uintptr_t)word;
}

/* Words at blanks, as make cuts them. */
static void add_words(command_line *c, const char *text) {
    while (*(text += strspn(text, " \t\n"))) {
        size_t length = strcspn(text, " \t\n");
        if (c->flags_used + length + 1 > sizeof c->flags) return;
        char *word = c->flags + c->flags_used;
        memcpy(word, text, length);
        word[length] = '\0';
        c->flags_used += length + 1;
        add(c, word);
        text += length;
    }
}

static void add_libraries(command_line *c, const tt__sdk *sdk) {
    int n = sdk->is_build_tree ? N_ROOMS : 1;
    for (int i = 0; i < n; i++) {
        if (sdk->is_build_tree)
            snprintf(c->libraries[i], PIECE_BYTES, "%s/libtt_%s.a", sdk->library, ROOMS[i]);
        else
            snprintf(c->libraries[i], PIECE_BYTES, "%s/" MERGED_LIBRARY, sdk->library);
        add(c, c->libraries[i]);
    }
    for (int i = 0; i < N_LIBRARIES; i++) add(c, LIBRARIES[i]);
}

static void write_command(command_line *c, const tt__sdk *sdk, char **sources, int n_sources,
                          const char *program) {
    const char *cc = getenv("CC"), *flags = getenv("CFLAGS");
    add_words(c, cc && cc[0] ? cc : "cc");
    add(c, "-std=c17");
    add(c, "-D_GNU_SOURCE");
    add(c, "-g");
    add(c, "-Wall");
    add(c, "-Wextra");
    add(c, SANITIZER);
    snprintf(c->include, sizeof c->include, "-I%s", sdk->include);
    add(c, c->include);
    add_words(c, flags ? flags : "");
    for (int i = 0; i < n_sources; i++) add(c, sources[i]);
    add(c, "-o");
    add(c, program);
    add_libraries(c, sdk);
}

bool tt__sdk_compile(const tt__sdk *sdk, char **sources, int n_sources, const char *program) {
    command_line c = {.n = 0};
    int status = 0;
    write_command(&c, sdk, sources, n_sources, program);
    pid_t child = fork();
    if (child == 0) {
        execvp(c.words[0], c.words);
        fprintf(stderr, "tintype: cannot start the compiler %s: %s\n", c.words[0], strerror(errno));
        _exit(127);
    }
    if (child < 0) {
        fprintf(stderr, "tintype: cannot start the compiler: %s\n", strerror(errno));
        return false;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
