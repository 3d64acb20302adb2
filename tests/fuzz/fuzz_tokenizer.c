/* The tokenizer on any bytes. The first byte says what the rest is: text as it stands; code points, three bytes each,
 * so that the text is always valid; or a tokenizer.json. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utf8proc.h>

#include "base/json.h"
#include "base/limits.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POSITIONS = 77, BYTES_PER_POINT = 3, SOME_TEXT_BYTES = 4096 };

static tt_tokenizer *clip; /* opened by the first input, for the whole run */

static void check(int condition) {
    if (!condition) abort();
}

/* What holds for every text that is accepted. */
static void check_tokens(const tt_tokenizer *t, const tt_tokens *tokens, int32_t pad_id) {
    int32_t ids[POSITIONS];
    size_t bad_at;
    tt_buf text;
    for (size_t i = 0; i < tokens->n; i++)
        check(tokens->ids[i] >= 0 && tokens->ids[i] < tt_tokenizer_size(t));
    check(tt_tokenizer_pad(t, tokens, pad_id, POSITIONS, ids, NULL) == TT_OK);
    check(ids[0] == tt_tokenizer_bos_id(t));
    tt_buf_init(&text, TT_GIB);
    check(tt_tokenizer_decode(t, tokens->ids, tokens->n, &text, NULL) == TT_OK);
    check(text.size == 0 || tt_utf8_is_valid(text.data, text.size, &bad_at));
    tt_buf_release(&text);
}

static void encode(const tt_tokenizer *t, const char *text, size_t size, int32_t pad_id) {
    size_t bad_at;
    tt_tokens tokens = {0};
    tt_status status = tt_tokenizer_encode(t, text, size, pad_id, &tokens, NULL);
    if (size <= SOME_TEXT_BYTES) check((status == TT_OK) == tt_utf8_is_valid(text, size, &bad_at));
    if (status == TT_OK) check_tokens(t, &tokens, pad_id);
    tt_tokens_release(&tokens);
}

static void encode_points(const uint8_t *data, size_t size, int32_t pad_id) {
    char text[SOME_TEXT_BYTES] = {0};
    size_t n = 0;
    for (size_t i = 0; i + BYTES_PER_POINT <= size && n + 4 <= sizeof text; i += BYTES_PER_POINT) {
        int32_t c = (data[i] << 16 | data[i + 1] << 8 | data[i + 2]) % 0x110000;
        if (c < 0xd800 || c > 0xdfff)
            n += (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)text + n);
    }
    encode(clip, text, n, pad_id);
}

static void open_json(const char *json, size_t size) {
    static const char SOME[] = "a photo<|ENDOFTEXT|> of !\xc3\xa9 ab<|startoftext|>";
    tt_tokenizer *t;
    char path[64];
    int fd = memfd_create("tokenizer.json", 0);
    check(fd >= 0 && write(fd, json, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tt_status status = tt_tokenizer_open_json(path, &t, NULL);
    close(fd);
    if (status != TT_OK) return;
    encode(t, SOME, sizeof SOME - 1, tt_tokenizer_pad_id(t));
    tt_tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    if (!clip) check(tt_tokenizer_open(&clip, NULL) == TT_OK);
    const char *rest = (const char *)data + 1;
    switch (*data % 5) {
    case 0:
        encode(clip, rest, size - 1, tt_tokenizer_eos_id(clip));
        break;
    case 1:
        encode(clip, rest, size - 1, 0);
        break;
    case 2:
        encode_points(data + 1, size - 1, tt_tokenizer_eos_id(clip));
        break;
    case 3:
        encode_points(data + 1, size - 1, 0);
        break;
    default:
        open_json(rest, size - 1);
        break;
    }
    return 0;
}
