/* References of models from any bytes. What is accepted has an identity that is a spelling of itself, holds nothing that a
 * log, a file name or a header could choke on, and leads nowhere by "..". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "store/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

static void is_clean(const char *text) {
    must(tt_utf8_is_valid(text, strlen(text), NULL));
    for (; *text; text++) must((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static int has_dots(const char *path) {
    size_t n = strlen(path);
    return strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
           (n >= 3 && strcmp(path + n - 3, "/..") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[2 * TT_REFERENCE_BYTES];
    tt_reference r, again;
    tt_err err;
    if (size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (tt_reference_parse(text, &r, &err) != TT_OK) {
        is_clean(err.message);
        return 0;
    }
    is_clean(r.identity);
    must(r.identity[0] != '\0');
    char *query = r.type == TT_REF_URL ? strchr(r.path, '?') : NULL; /* there dots lead nowhere */
    if (query) *query = '\0';
    if (r.type != TT_REF_PATH && r.type != TT_REF_NAME) must(!has_dots(r.path));
    must(!has_dots(r.repo) && !has_dots(r.revision) && !has_dots(r.bucket));
    must(tt_reference_parse(r.identity, &again, &err) == TT_OK);
    must(again.type == r.type && strcmp(again.identity, r.identity) == 0);
    return 0;
}
