#include "store/model.h"

#include <string.h>

#define GIB ((uint64_t)1 << 30)

static const struct {
    const char *name;
    uint64_t max_bytes;
} kinds[TT_MODEL_KINDS] = {
    [TT_MODEL_CHECKPOINT] = {"checkpoint", 16 * GIB},
    [TT_MODEL_LORA] = {"lora", 2 * GIB},
    [TT_MODEL_VAE] = {"vae", GIB},
    [TT_MODEL_EMBEDDING] = {"embedding", GIB / 16},
};

static const struct {
    const char *name;
    tt_status status;
} classes[TT_FETCH_CLASSES] = {
    [TT_FETCH_OK] = {"ok", TT_OK},
    [TT_FETCH_REFERENCE] = {"reference", TT_E_INVALID},
    [TT_FETCH_AUTH] = {"auth", TT_E_INVALID},
    [TT_FETCH_FORBIDDEN] = {"forbidden", TT_E_INVALID},
    [TT_FETCH_GONE] = {"gone", TT_E_NOT_FOUND},
    [TT_FETCH_REGION] = {"region", TT_E_INVALID},
    [TT_FETCH_RATE] = {"rate", TT_E_IO},
    [TT_FETCH_EDGE] = {"edge", TT_E_IO},
    [TT_FETCH_NETWORK] = {"network", TT_E_IO},
    [TT_FETCH_REFUSED] = {"refused", TT_E_INVALID},
    [TT_FETCH_RANGE] = {"range", TT_E_FORMAT},
    [TT_FETCH_CONTENT] = {"content", TT_E_FORMAT},
    [TT_FETCH_SIZE] = {"size", TT_E_FORMAT},
    [TT_FETCH_DIGEST] = {"digest", TT_E_FORMAT},
    [TT_FETCH_FORMAT] = {"format", TT_E_FORMAT},
    [TT_FETCH_DISK] = {"disk", TT_E_IO},
    [TT_FETCH_DEADLINE] = {"deadline", TT_E_IO},
    [TT_FETCH_CANCELLED] = {"cancelled", TT_E_CANCELLED},
    [TT_FETCH_OFFLINE] = {"offline", TT_E_NOT_FOUND},
    [TT_FETCH_INTERNAL] = {"internal", TT_E_INTERNAL},
};

const char *tt_model_kind_name(tt_model_kind kind) {
    return kinds[kind].name;
}

uint64_t tt_model_kind_max_bytes(tt_model_kind kind) {
    return kinds[kind].max_bytes;
}

tt_status tt_model_kind_parse(const char *name, tt_model_kind *out, tt_err *err) {
    for (int i = 0; i < TT_MODEL_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *out = (tt_model_kind)i;
            return TT_OK;
        }
    return tt_fail(err, TT_E_INVALID, "kind \"%s\": expected checkpoint, lora, vae or embedding",
                   name);
}

const char *tt_fetch_class_name(tt_fetch_class c) {
    return classes[c].name;
}

tt_status tt_fetch_fail(tt_fetch_error *e, tt_fetch_class class_, const char *format, ...) {
    char sentence[TT_ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    e->class_ = class_;
    e->retry_after_ms = -1;
    return tt_fail(&e->err, classes[class_].status, "%s", sentence);
}

bool tt_digest_parse(const char *text, size_t size, char out[TT_DIGEST_HEX + 1]) {
    if (size != TT_DIGEST_HEX) return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool is_upper = c >= 'A' && c <= 'F';
        if (!is_upper && !(c >= 'a' && c <= 'f') && !(c >= '0' && c <= '9')) return false;
        if (out) out[i] = is_upper ? (char)(c - 'A' + 'a') : c;
    }
    if (out) out[TT_DIGEST_HEX] = '\0';
    return true;
}
