/* The journal's bytes: what is written is read, the newer slot counts, and nothing else is a journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/download_parts.h"

enum { FILE_BYTES = 2 * TT__JOURNAL_SLOT_BYTES, CHECKED_BYTES = TT__JOURNAL_SLOT_BYTES - 32 };

static tt__journal sample(void) {
    tt__journal j = {.total = 100 * 4096 + 1, .chunk_bytes = 4096, .sequence = 6};
    memset(j.identity, 0xab, sizeof j.identity);
    tt__journal_add(&j, 0);
    tt__journal_add(&j, 63);
    tt__journal_add(&j, 100);
    return j;
}

static void expect_same(const tt__journal *a, const tt__journal *b) {
    assert_int_equal(a->total, b->total);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->chunk_bytes, b->chunk_bytes);
    assert_memory_equal(a->identity, b->identity, sizeof a->identity);
    assert_memory_equal(a->written, b->written, sizeof a->written);
}

/* A new checksum, as a careful forger would write it. */
static void seal(unsigned char *slot) {
    assert_int_equal(
        EVP_Digest(slot, CHECKED_BYTES, slot + CHECKED_BYTES, NULL, EVP_sha256(), NULL), 1);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    unsigned char bytes[FILE_BYTES] = {0};
    tt__journal j = sample(), read;
    tt__journal_format(&j, bytes);
    assert_true(tt__journal_parse(bytes, sizeof bytes, &read));
    expect_same(&j, &read);
    assert_true(tt__journal_parse(bytes, TT__JOURNAL_SLOT_BYTES, &read)); /* one slot is enough */
    assert_false(tt__journal_parse(bytes, TT__JOURNAL_SLOT_BYTES - 1, &read));
    assert_int_equal(tt__journal_n_chunks(&read), 101);
    assert_true(tt__journal_has(&read, 63));
    assert_false(tt__journal_has(&read, 62));
    assert_false(tt__journal_has(&read, UINT64_MAX));
}

/* The layout as the head of download_journal.c draws it, byte by byte. */
static void the_bytes_are_where_they_are_said_to_be(void **state) {
    (void)state;
    unsigned char slot[TT__JOURNAL_SLOT_BYTES];
    tt__journal j = sample();
    static const unsigned char HEAD[32] = {'t', 't', '.', 'p', 'a', 'r', 't', 's', 2, 0, 0, 0, 0,
                                           16,  0,   0,   1,   64,  6,   0,   0,   0, 0, 0, 6};
    tt__journal_format(&j, slot);
    assert_memory_equal(slot, HEAD, sizeof HEAD);
    assert_int_equal(slot[32], 0xab);
    assert_int_equal(slot[64], 1);
    assert_int_equal(slot[64 + 7], 0x80);
    assert_int_equal(slot[64 + 12], 0x10);
    assert_int_equal(slot[15424], 0);
}

static void the_newer_slot_counts_and_a_torn_one_does_not(void **state) {
    (void)state;
    unsigned char bytes[FILE_BYTES];
    tt__journal old = sample(), new = sample(), read;
    new.sequence = 7;
    tt__journal_add(&new, 50);
    tt__journal_format(&old, bytes);
    tt__journal_format(&new, bytes + TT__JOURNAL_SLOT_BYTES);
    assert_true(tt__journal_parse(bytes, sizeof bytes, &read));
    expect_same(&new, &read);
    enum {
        FIELDS_BYTES = 128,
        STEP = 11
    }; /* every byte matters; of the long map some are enough */
    for (size_t at = 0; at < TT__JOURNAL_SLOT_BYTES;
         at += at < FIELDS_BYTES || at >= CHECKED_BYTES - STEP ? 1 : STEP) {
        bytes[TT__JOURNAL_SLOT_BYTES + at] ^= 0x10;
        assert_true(tt__journal_parse(bytes, sizeof bytes, &read));
        expect_same(&old, &read);
        bytes[TT__JOURNAL_SLOT_BYTES + at] ^= 0x10;
    }
}

static void claims_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t at;
        unsigned char byte;
    } CASES[] = {{8, 1},      /* an older version */
                 {8, 3},      /* a newer one */
                 {13, 0},     /* chunks of no bytes */
                 {15, 0xff},  /* chunks of gigabytes */
                 {24, 7},     /* a slot that lies elsewhere */
                 {76, 0x30},  /* a chunk beyond the last */
                 {15423, 1},  /* the same, far beyond */
                 {15424, 1},  /* something after the end */
                 {23, 0x40}}; /* more chunks than the map has places */
    tt__journal j = sample(), read;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        unsigned char bytes[FILE_BYTES] = {0};
        tt__journal_format(&j, bytes);
        bytes[CASES[i].at] = CASES[i].byte;
        seal(bytes);
        if (tt__journal_parse(bytes, sizeof bytes, &read)) fail_msg("case %zu was accepted", i);
    }
    unsigned char bytes[FILE_BYTES] = {0};
    assert_false(tt__journal_parse(bytes, sizeof bytes, &read));
    j = (tt__journal){.total = 0, .chunk_bytes = 4096}; /* of nothing */
    tt__journal_format(&j, bytes);
    assert_false(tt__journal_parse(bytes, sizeof bytes, &read));
}

static void slots_are_written_in_turn(void **state) {
    (void)state;
    char path[] = "/tmp/tt_journal_XXXXXX";
    tt__journal j = sample(), read;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (uint64_t i = 1; i < 10; i++) {
        tt__journal_add(&j, i);
        assert_true(tt__journal_write(fd, &j));
        assert_true(tt__journal_read(path, &read));
        expect_same(&j, &read);
        assert_int_equal(read.sequence, 6 + i);
    }
    assert_int_equal(lseek(fd, 0, SEEK_END), FILE_BYTES);
    close(fd);
    unlink(path);
    assert_false(tt__journal_read(path, &read));
    assert_false(tt__journal_read("/tmp", &read));
    assert_false(tt__journal_write(-1, &j));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_bytes_are_where_they_are_said_to_be),
        cmocka_unit_test(the_newer_slot_counts_and_a_torn_one_does_not),
        cmocka_unit_test(claims_that_cannot_be_are_refused),
        cmocka_unit_test(slots_are_written_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
