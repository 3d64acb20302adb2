/* What could not be had, and until when, so that a thousand requests for a deleted model ask its service once.
 *
 *     {"class": s, "message": s, "until_s": n}
 *
 * Wall-clock seconds of whoever wrote it: clocks that differ make it a little shorter or longer, and nothing is believed
 * beyond an hour from now. The file's name is a hash of identity and credential: a better key is another question. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "store/library_parts.h"

enum { MAX_DENIAL_S = 60 * 60, MS = 1000 };

static tt_status format(const tt_fetch_error *why, int64_t until_s, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "{\"class\": \"%s\", \"until_s\": %" PRId64 ", \"message\": ",
                         tt_fetch_class_name(why->class_), until_s));
    TT_TRY(tt_json_append_string(out, why->err.message, strlen(why->err.message), err));
    return tt_buf_puts(out, "}\n", err);
}

void tt_library_deny(tt_library *l, const char *identity, const char *credential,
                     const tt_fetch_error *why, int64_t for_ms) {
    char key[TT__KEY_HEX + 1];
    tt_buf text;
    int64_t for_s = for_ms / MS < MAX_DENIAL_S ? (for_ms + MS - 1) / MS : MAX_DENIAL_S;
    if (!l->own || for_s <= 0) return;
    tt__key(identity, credential ? credential : "", key);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    if (format(why, tt__now_s() + for_s, &text, NULL) == TT_OK)
        tt__write_at(l, l->own->v1[TT__NEGATIVE], key, &text, NULL);
    tt_buf_release(&text);
}

static bool class_of(const char *name, tt_fetch_class *out) {
    for (int i = TT_FETCH_OK + 1; i < TT_FETCH_CLASSES; i++)
        if (strcmp(tt_fetch_class_name((tt_fetch_class)i), name) == 0) {
            *out = (tt_fetch_class)i;
            return true;
        }
    return false;
}

static bool read_denial(json_object *tree, tt_fetch_error *why) {
    char name[32], message[TT_ERR_MESSAGE_BYTES];
    int64_t until_s = 0, now_s = tt__now_s();
    tt_fetch_class class_;
    if (!json_object_is_type(tree, json_type_object)) return false;
    if (!tt__member_text(tree, "class", name, sizeof name) || !class_of(name, &class_))
        return false;
    if (!tt__member_text(tree, "message", message, sizeof message)) return false;
    if (tt_json_get_i64(tree, "until_s", &until_s, NULL) != TT_OK) return false;
    if (until_s <= now_s || until_s > now_s + MAX_DENIAL_S) return false;
    tt_fetch_fail(why, class_, "%s", message);
    why->retry_after_ms = (until_s - now_s) * MS;
    return true;
}

bool tt_library_is_denied(tt_library *l, const char *identity, const char *credential,
                          tt_fetch_error *why) {
    char key[TT__KEY_HEX + 1];
    json_object *tree = NULL;
    tt_buf text;
    if (!l->own) return false;
    tt__key(identity, credential ? credential : "", key);
    tt_buf_init(&text, TT_LIBRARY_MAX_RECORD_BYTES);
    bool is_denied = tt__read_at(l->own->v1[TT__NEGATIVE], key, &text, NULL) == TT_OK &&
                     text.size > 0 && tt_json_parse(text.data, text.size, &tree, NULL) == TT_OK &&
                     read_denial(tree, why);
    json_object_put(tree);
    tt_buf_release(&text);
    return is_denied;
}
