/* See parameters.h: what the two directions share. Writing is in parameters_write.c, reading in
 * parameters_parse.c. */
#include "image/parameters.h"

#include <string.h>

#include "image/parameters_form.h"

const char tt__negative_mark[] = "Negative prompt:";

const char *const tt__field_keys[TT__N_FIELDS] = {
    [TT__FIELD_STEPS] = "Steps",
    [TT__FIELD_SAMPLER] = "Sampler",
    [TT__FIELD_SCHEDULE] = "Schedule type",
    [TT__FIELD_CFG] = "CFG scale",
    [TT__FIELD_SEED] = "Seed",
    [TT__FIELD_SIZE] = "Size",
    [TT__FIELD_MODEL] = "Model",
    [TT__FIELD_VERSION] = "Version",
    [TT__FIELD_EXACT_PROMPT] = "Exact prompt",
    [TT__FIELD_EXACT_NEGATIVE] = "Exact negative prompt",
};

bool tt__is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word_byte(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80; /* letters of other alphabets, and more: no harm */
}

size_t tt__key_length(const char *text, size_t n) {
    size_t length = 0;
    while (length < n && (is_word_byte(text[length]) ||
                          (length > 0 && text[length] && strchr(" -/", text[length]))))
        length++;
    return length;
}

int tt__field_of_key(const char *key, size_t n) {
    for (int i = 0; i < TT__N_FIELDS; i++)
        if (strlen(tt__field_keys[i]) == n && !memcmp(tt__field_keys[i], key, n)) return i;
    return TT__N_FIELDS;
}
