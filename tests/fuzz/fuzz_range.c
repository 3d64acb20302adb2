/* Any text as Content-Range, entity tag and content type, any bytes as the beginning of a file: a range that is accepted says
 * the same when it is written out again, and the rest stays inside its bytes. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/download_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

/* The same but for leading zeros. */
static void read_again(const tt__content_range *r) {
    char text[100], total[30] = "*";
    tt__content_range again;
    if (r->has_total) snprintf(total, sizeof total, "%" PRIu64, r->total);
    snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%s", r->first, r->last, total);
    must(tt__content_range_parse(text, &again));
    must(again.first == r->first && again.last == r->last && again.total == r->total &&
         again.has_total == r->has_total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    unsigned char *bytes = malloc(size ? size : 1); /* so that a read behind the end is seen */
    tt__content_range range;
    if (text && bytes) {
        if (size) memcpy(text, data, size);
        if (size) memcpy(bytes, data, size);
        text[size] = '\0';
        if (tt__content_range_parse(text, &range)) {
            must(range.first <= range.last && (!range.has_total || range.last < range.total));
            read_again(&range);
        }
        if (tt__etag_is_strong(text))
            must(text[0] == '"' && strlen(text) < TT_SOURCE_VALIDATOR_BYTES);
        tt__content_type_is_page(text);
        for (uint64_t total = 0; total < 3; total++)
            if (!tt__sniff(bytes, size, total * size)) must(size > 8 && bytes[8] == '{');
    }
    free(text);
    free(bytes);
    return 0;
}
