/* See store_words.h. */
#include "cmd/store_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/show.h"
#include "base/nearest.h"
#include "cmd/store_text.h"

/* ---- words ------------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *command;
    const tt__store_flag *flags;
    char **at, **end; /* what is not read yet */
    tt__store_words *out;
} reader;

static bool is_flag_named(const tt__store_flag *flag, const char *word, size_t n) {
    if (flag->short_name && strlen(flag->short_name) == n &&
        strncmp(word, flag->short_name, n) == 0)
        return true;
    return strlen(flag->name) == n && strncmp(word, flag->name, n) == 0;
}

static const tt__store_flag *find_flag(const tt__store_flag *flags, const char *word, size_t n) {
    for (; flags->name; flags++)
        if (is_flag_named(flags, word, n)) return flags;
    return NULL;
}

static bool tell_unknown(const reader *r, const char *word, size_t n) {
    tt_nearest nearest;
    char shown[TT_SHOWN_BYTES];
    tt_show_text(shown, word, n);
    tt_nearest_init(&nearest, shown);
    for (const tt__store_flag *f = r->flags; f->name; f++) tt_nearest_offer(&nearest, f->name);
    tt_nearest_offer(&nearest, "--json");
    tt_nearest_offer(&nearest, "--help");
    if (nearest.best)
        fprintf(stderr, "tintype %s: unknown flag %s, did you mean %s?\n", r->command, shown,
                nearest.best);
    else
        fprintf(stderr, "tintype %s: unknown flag %s; --help lists the known ones\n", r->command,
                shown);
    return false;
}

static bool read_flag(reader *r, const char *word) {
    size_t n = strcspn(word, "=");
    const char *value = word[n] == '=' ? word + n + 1 : NULL;
    const tt__store_flag *flag = find_flag(r->flags, word, n);
    if (!flag) return tell_unknown(r, word, n);
    if (!flag->value && value) {
        fprintf(stderr, "tintype %s: %s takes no value\n", r->command, flag->name);
        return false;
    }
    if (flag->value && !value && r->at < r->end) value = *r->at++;
    if (flag->value && (!value || !*value)) {
        fprintf(stderr, "tintype %s: %s: expected a value after it\n", r->command, flag->name);
        return false;
    }
    if (flag->value) *flag->value = value;
    if (flag->is_said) *flag->is_said = true;
    return true;
}

static bool add_operand(reader *r, const char *word) {
    if (r->out->n_operands < TT__MAX_OPERANDS) {
        r->out->operands[r->out->n_operands++] = word;
        return true;
    }
    fprintf(stderr, "tintype %s: more than %d models at once\n", r->command, TT__MAX_OPERANDS);
    return false;
}

static bool is_word(const char *word, const char *a, const char *b) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

bool tt__store_words_read(const char *command, const tt__store_flag *flags, int argc, char **argv,
                          tt__store_words *out) {
    reader r = {.command = command, .flags = flags, .at = argv, .end = argv + argc, .out = out};
    bool flags_ended = false, is_fine = true;
    memset(out, 0, sizeof *out);
    while (r.at < r.end) {
        const char *word = *r.at++;
        bool is_flag = !flags_ended && word[0] == '-' && word[1]; /* "-" is a file */
        if (is_flag && strcmp(word, "--") == 0)
            flags_ended = true;
        else if (is_flag && is_word(word, "--help", "-h"))
            out->wants_help = true;
        else if (is_flag && is_word(word, "--json", "--json=true"))
            out->is_json = true;
        else if (!(is_flag ? read_flag(&r, word) : add_operand(&r, word)))
            is_fine = false;
    }
    return is_fine || out->wants_help;
}

bool tt__store_words_count(const char *command, const tt__store_words *w, int least, int most,
                           const char *what) {
    if (w->n_operands >= least && w->n_operands <= most) return true;
    char shown[TT_SHOWN_BYTES];
    if (w->n_operands < least) {
        fprintf(stderr, "tintype %s: expected %s; \"tintype %s --help\" has examples\n", command,
                what, command);
    } else {
        const char *odd = w->operands[most];
        tt_show_text(shown, odd, strlen(odd));
        fprintf(stderr, "tintype %s: unexpected argument \"%s\"\n", command, shown);
    }
    return false;
}

bool tt__store_kind_read(const char *text, tt_model_kind *out) {
    tt_err err;
    if (tt_model_kind_parse(text, out, &err) == TT_OK) return true;
    fprintf(stderr, "tintype: --kind: %s\n", err.message);
    return false;
}

bool tt__store_reference_read(const char *text, tt_reference *out) {
    tt_err err;
    if (tt_reference_parse(text, out, &err) == TT_OK) return true;
    tt__store_tell(err.message);
    return false;
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static tt_status open_store(tt__opened *o, bool trusts, int *exit_code, tt_err *err) {
    const char *level = getenv("TINTYPE_LOG_LEVEL");
    *exit_code = TT_EXIT_USAGE;
    o->log = (tt_log){.level = TT_LOG_WARN, .fd = STDERR_FILENO};
    if (level && *level) TT_TRY(tt_log_level_parse(level, &o->log.level, err));
    TT_TRY(tt__store_options_read(&o->options, &o->log, err));
    *exit_code = TT_EXIT_FAILED;
    if (trusts) o->options.store.trust_first_use = true;
    TT_TRY(tt_store_open(&o->options.store, &o->store, err));
    o->library = tt_store_library(o->store);
    return TT_OK;
}

bool tt__opened_open(tt__opened *o, bool trusts, int *exit_code) {
    tt_err err;
    memset(o, 0, sizeof *o);
    if (open_store(o, trusts, exit_code, &err) == TT_OK) return true;
    tt__store_tell(err.message);
    return false;
}

void tt__opened_close(tt__opened *o) {
    tt_store_close(o->store);
    tt__store_options_release(&o->options);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

void tt__store_tell(const char *sentence) {
    char shown[2 * TT_ERR_MESSAGE_BYTES];
    tt__clean(shown, sizeof shown, sentence);
    fprintf(stderr, "tintype: %s\n", shown);
}

void tt__put_object(json_object *o, const char *name, json_object *value) {
    if (!o || !value || json_object_object_add(o, name, value) != 0) json_object_put(value);
}

void tt__put_text(json_object *o, const char *name, const char *text) {
    char copy[TT_MODEL_PATH_BYTES];
    tt__clean(copy, sizeof copy, text);
    tt__put_object(o, name, json_object_new_string(copy));
}

void tt__put_number(json_object *o, const char *name, uint64_t value) {
    tt__put_object(o, name,
                   json_object_new_int64((int64_t)value)); /* sizes and times: below 2^63 */
}

void tt__put_bool(json_object *o, const char *name, bool value) {
    tt__put_object(o, name, json_object_new_boolean(value));
}

json_object *tt__entry_json(const tt_library_entry *e) {
    json_object *o = json_object_new_object();
    if (!o) return NULL;
    tt__put_text(o, "reference", e->identity);
    tt__put_text(o, "alias", e->alias);
    tt__put_text(o, "name", e->name);
    tt__put_text(o, "kind", tt_model_kind_name(e->kind));
    tt__put_text(o, "base_model", e->base_model);
    tt__put_text(o, "version", e->version);
    tt__put_number(o, "size_bytes", e->size);
    tt__put_text(o, "sha256", e->digest);
    tt__put_text(o, "path", e->path);
    tt__put_text(o, "fetched_from", e->resolved);
    tt__put_number(o, "fetched_at", (uint64_t)(e->fetched_s > 0 ? e->fetched_s : 0));
    tt__put_number(o, "used_at", (uint64_t)(e->used_s > 0 ? e->used_s : 0));
    tt__put_bool(o, "pinned", e->is_pinned);
    tt__put_bool(o, "in_use", e->is_leased);
    tt__put_bool(o, "read_only", e->is_read_only);
    return o;
}

int tt__print_json(json_object *o) {
    static const char no_memory[] = "out of memory: the answer's JSON";
    const int form =
        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    const char *text = o ? json_object_to_json_string_ext(o, form) : NULL;
    int code = TT_EXIT_FAILED;
    if (!text)
        tt__store_tell(no_memory);
    else if (tt__print(text, strlen(text)) == TT_EXIT_OK)
        code = tt__print("\n", 1);
    json_object_put(o);
    return code;
}

int tt__store_help(const char *text) {
    return tt__print(text, strlen(text));
}
