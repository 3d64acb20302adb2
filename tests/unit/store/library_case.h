/* A library in a fresh folder, and models to put in it, for tests of the library. Digests come from OpenSSL's one-shot
 * function, paths are looked at with plain system calls. */
#ifndef TESTS_UNIT_STORE_LIBRARY_CASE_H
#define TESTS_UNIT_STORE_LIBRARY_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/temp_tree.h"

#include "store/library.h"

typedef struct lb_case {
    char root[64];
    tt_library_options options;
    tt_library *l;
    tt_err err;
} lb_case;

static inline void lb_open(lb_case *c) {
    if (tt_library_open(&c->options, &c->l, &c->err) != TT_OK) fail_msg("%s", c->err.message);
}

static inline lb_case *lb_begin(void) {
    lb_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    snprintf(c->root, sizeof c->root, "/tmp/tt_library_XXXXXX");
    assert_non_null(mkdtemp(c->root));
    c->options.root = c->root;
    lb_open(c);
    assert_null(tt_library_read_only_reason(c->l));
    return c;
}

static inline void lb_end(lb_case *c) {
    tt_library_close(c->l);
    temp_tree_remove(c->root);
    free(c);
}

static inline void lb_digest(const void *bytes, size_t size, char out[TT_DIGEST_HEX + 1]) {
    unsigned char sum[32];
    assert_int_equal(EVP_Digest(bytes, size, sum, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static inline void lb_write(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    if (!f) fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static inline void lb_path(const lb_case *c, char out[4096], const char *format, ...) {
    va_list args;
    int n = snprintf(out, 4096, "%s/", c->root);
    va_start(args, format);
    vsnprintf(out + n, 4096 - (size_t)n, format, args);
    va_end(args);
}

static inline void lb_blob_path(const lb_case *c, const char *digest, char out[4096]) {
    lb_path(c, out, "v1/blobs/sha256/%.2s/%s", digest, digest);
}

static inline bool lb_is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static inline int lb_count(const lb_case *c, const char *folder) {
    char path[4096];
    int n = 0;
    lb_path(c, path, "%s", folder);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static inline tt_reference lb_ref(const char *text) {
    tt_reference r;
    tt_err err;
    if (tt_reference_parse(text, &r, &err) != TT_OK) fail_msg("%s: %s", text, err.message);
    return r;
}

static inline tt_library_entry lb_entry(const char *identity, const char *text) {
    tt_library_entry e = {.kind = TT_MODEL_LORA, .can_be_fetched_again = true};
    snprintf(e.identity, sizeof e.identity, "%s", identity);
    snprintf(e.name, sizeof e.name, "toy");
    lb_digest(text, strlen(text), e.digest);
    e.size = strlen(text);
    return e;
}

static inline tt_status lb_try_put(lb_case *c, tt_library_entry *e, const char *text) {
    tt_library_part part;
    tt_status status = tt_library_part_begin(c->l, e->identity, &part, &c->err);
    if (status != TT_OK) return status;
    lb_write(part.part_path, text);
    status = tt_library_commit(c->l, &part, e, &c->err);
    if (status != TT_OK) tt_library_part_drop(c->l, &part);
    return status;
}

static inline tt_library_entry lb_put(lb_case *c, const char *identity, const char *text) {
    tt_library_entry e = lb_entry(identity, text);
    if (lb_try_put(c, &e, text) != TT_OK) fail_msg("%s", c->err.message);
    return e;
}

static inline tt_status lb_find(lb_case *c, const char *text, tt_library_entry *out) {
    tt_reference r = lb_ref(text);
    return tt_library_find(c->l, &r, out, &c->err);
}

static inline void lb_expect(lb_case *c, const char *reference, const char *text) {
    tt_library_entry e;
    char bytes[4096] = "";
    if (lb_find(c, reference, &e) != TT_OK) fail_msg("%s: %s", reference, c->err.message);
    FILE *f = fopen(e.path, "rb");
    assert_non_null(f);
    bytes[fread(bytes, 1, sizeof bytes - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(bytes, text);
}

static inline void lb_expect_miss(lb_case *c, const char *reference) {
    tt_library_entry e;
    assert_int_equal(lb_find(c, reference, &e), TT_E_NOT_FOUND);
}

/* Moves a file's times into the past. */
static inline void lb_age(const char *path, int64_t seconds) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    times[1].tv_sec -= seconds;
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* A model's age is part of its stamp: both move. */
static inline void lb_age_blob(lb_case *c, const char *digest, int64_t seconds) {
    char path[4096], facts[4200];
    struct stat st;
    lb_blob_path(c, digest, path);
    lb_age(path, seconds);
    assert_int_equal(stat(path, &st), 0);
    snprintf(facts, sizeof facts, "%s.json", path);
    char text[300];
    snprintf(text, sizeof text,
             "{\"v\": 1, \"kind\": \"lora\", \"size\": %lld, \"stamp_s\": %lld, \"again\": true}",
             (long long)st.st_size, (long long)st.st_mtim.tv_sec);
    lb_write(facts, text);
}

#endif
