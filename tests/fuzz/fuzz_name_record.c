/* Records of the store's names on any bytes: what is accepted is bounded, printable, and reads the same after it was written
 * again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/library_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

static void must_be_printable(const char *text, size_t size) {
    must(memchr(text, '\0', size) != NULL);
    for (; *text; text++) must((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void try_record(const char *text, size_t size) {
    tt_library_entry e, again;
    tt_err err;
    tt_buf b;
    if (tt__record_parse(text, size, &e, &err) != TT_OK) {
        must(err.code != TT_OK && *err.message);
        return;
    }
    must(*e.identity && e.size > 0 && e.kind < TT_MODEL_KINDS);
    must(tt_digest_parse(e.digest, strlen(e.digest), NULL));
    must_be_printable(e.identity, sizeof e.identity);
    must_be_printable(e.name, sizeof e.name);
    must_be_printable(e.alias, sizeof e.alias);
    must_be_printable(e.resolved, sizeof e.resolved);
    tt_buf_init(&b, TT_LIBRARY_MAX_RECORD_BYTES);
    must(tt__record_format(&e, &b, &err) == TT_OK);
    must(tt__record_parse(b.data, b.size, &again, &err) == TT_OK);
    must(memcmp(&e, &again, sizeof e) == 0);
    tt_buf_release(&b);
}

static void try_facts(const char *text, size_t size) {
    tt__facts f, again;
    tt_err err;
    tt_buf b;
    if (tt__facts_parse(text, size, &f, &err) != TT_OK) return;
    must(f.size > 0 && f.kind < TT_MODEL_KINDS);
    tt_buf_init(&b, TT_LIBRARY_MAX_RECORD_BYTES);
    must(tt__facts_format(&f, &b, &err) == TT_OK);
    must(tt__facts_parse(b.data, b.size, &again, &err) == TT_OK);
    must(again.size == f.size && again.stamp_s == f.stamp_s && strcmp(again.name, f.name) == 0);
    tt_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = size ? (const char *)data : "";
    try_record(text, size);
    try_facts(text, size);
    return 0;
}
