/* A folder of a test's own, with folders and files below it. */
#ifndef TT_SUPPORT_TEMP_TREE_H
#define TT_SUPPORT_TEMP_TREE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"

enum { TEMP_TREE_BYTES = 64 };

/* 0, or -1 when there is no room for one: what cmocka's fixtures return. */
static inline int temp_tree_make(char root[TEMP_TREE_BYTES]) {
    snprintf(root, TEMP_TREE_BYTES, "/tmp/tt-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

/* `path` begins with a slash; its folders are made. */
static inline void temp_tree_write(const char *root, const char *path, const char *text) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = strchr(whole + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    assert_int_equal(tt_file_write(whole, text, strlen(text), NULL), TT_OK);
}

static inline int temp_tree_remove_entry(const char *path, const struct stat *facts, int type,
                                         struct FTW *walk) {
    (void)facts, (void)type, (void)walk;
    return remove(path);
}

static inline int temp_tree_remove(const char *root) {
    enum { MAX_OPEN = 16 };
    return nftw(root, temp_tree_remove_entry, MAX_OPEN, FTW_DEPTH | FTW_PHYS);
}

#endif
