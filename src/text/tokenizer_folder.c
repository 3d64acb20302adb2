/* A tokenizer folder as diffusers writes it: which files are there, and what tokenizer_config.json
 * adds to them.
 *
 * From the configuration come the padding token and, for the older two files, which special tokens
 * are looked for in normalised text ("normalized": true), that is in any case of letters. The
 * published SDXL folders say so for both markers; a tokenizer made from a bare vocabulary, as the
 * built-in one is, looks for them as they stand. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "text/tokenizer_parts.h"

enum { PATH_BYTES = 4096 };

static const char CONFIG[] = "tokenizer_config.json";

/* A token is written as its text, or as an object with the text as "content". */
static tt_status read_token(json_object *value, const char **content, bool *normalised,
                            tt_err *err) {
    *content = NULL;
    *normalised = false;
    if (json_object_is_type(value, json_type_string)) *content = json_object_get_string(value);
    if (!json_object_is_type(value, json_type_object)) return TT_OK;
    TT_TRY(tt_json_get_string(value, "content", content, err));
    return tt_json_get_bool(value, "normalized", normalised, err);
}

static int32_t find_id(const tt_tokenizer *t, const char *name) {
    const tt__bpe *b = &t->bpe;
    size_t size = strlen(name);
    for (int32_t id = 0; id < b->n_ids; id++)
        if (b->spans[id].size == size && !memcmp(b->text + b->spans[id].start, name, size))
            return id;
    return -1;
}

/* Makes `content` a special token, or changes how the one it is is looked for. */
static tt_status set_special(tt_tokenizer *t, const char *content, bool normalised, tt_err *err) {
    int32_t id = find_id(t, content);
    if (id < 0)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "special token \"%.64s\" is not in vocab.json; a tokenizer.json can add it",
                       content);
    tt__tokenizer_remove_special(t, id);
    return tt__tokenizer_add_special(t, content, strlen(content), id, normalised, err);
}

/* The named tokens, of which a later one decides; then the list of added tokens, which decides over
 * all. */
static tt_status apply_specials(tt_tokenizer *t, json_object *config, tt_err *err) {
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    json_object *value = NULL;
    const char *content;
    bool normalised;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!json_object_object_get_ex(config, keys[i], &value)) continue;
        TT_TRY(read_token(value, &content, &normalised, err));
        if (content && *content) TT_TRY(set_special(t, content, normalised, err));
    }
    json_object_object_get_ex(config, "added_tokens_decoder", &value);
    if (!json_object_is_type(value, json_type_object)) return TT_OK;
    json_object_object_foreach(value, id, token) {
        (void)id;
        TT_TRY(read_token(token, &content, &normalised, err));
        if (content && *content) TT_TRY(set_special(t, content, normalised, err));
    }
    return TT_OK;
}

static tt_status apply_padding(tt_tokenizer *t, json_object *config, tt_err *err) {
    json_object *value = NULL;
    const char *content;
    bool normalised;
    json_object_object_get_ex(config, "pad_token", &value);
    TT_TRY(read_token(value, &content, &normalised, err));
    if (!content) return TT_OK;
    int32_t id = find_id(t, content);
    if (id < 0)
        return tt_fail(err, TT_E_FORMAT, "pad_token \"%.64s\" is not in the vocabulary", content);
    t->pad_id = id;
    return TT_OK;
}

static tt_status apply_config(tt_tokenizer *t, const char *folder, bool has_specials, tt_err *err) {
    char path[PATH_BYTES];
    json_object *config = NULL;
    TT_TRY(tt_path_join(path, sizeof path, folder, CONFIG, err));
    if (!tt_file_exists(path)) return TT_OK;
    TT_TRY(tt_json_read_file(path, &config, err));
    tt_status status = TT_OK;
    if (!json_object_is_type(config, json_type_object))
        status =
            tt_fail(err, TT_E_FORMAT, "expected an object, found %s", tt_json_type_name(config));
    if (status == TT_OK && !has_specials) status = apply_specials(t, config, err);
    if (status == TT_OK) status = apply_padding(t, config, err);
    if (status != TT_OK) tt_fail_prefix(err, status, "%s", path);
    json_object_put(config);
    return status;
}

tt_status tt_tokenizer_open_folder(const char *path, tt_tokenizer **out, tt_err *err) {
    char json[PATH_BYTES], vocabulary[PATH_BYTES], merges[PATH_BYTES];
    *out = NULL;
    TT_TRY(tt_path_join(json, sizeof json, path, "tokenizer.json", err));
    TT_TRY(tt_path_join(vocabulary, sizeof vocabulary, path, "vocab.json", err));
    TT_TRY(tt_path_join(merges, sizeof merges, path, "merges.txt", err));
    bool is_json = tt_file_exists(json);
    if (!is_json && !tt_file_exists(vocabulary))
        return tt_fail(err, TT_E_NOT_FOUND, "%s has neither tokenizer.json nor vocab.json", path);
    TT_TRY(is_json ? tt_tokenizer_open_json(json, out, err)
                   : tt_tokenizer_open_files(vocabulary, merges, out, err));
    tt_status status = apply_config(*out, path, is_json, err);
    if (status == TT_OK) return TT_OK;
    tt_tokenizer_close(*out);
    *out = NULL;
    return status;
}
