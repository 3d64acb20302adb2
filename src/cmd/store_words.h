/* What the commands about models share: reading their few flags, opening the store, JSON and failures told. */
#ifndef TT_CMD_STORE_WORDS_H
#define TT_CMD_STORE_WORDS_H

#include "base/json.h"
#include "cmd/run.h"
#include "cmd/store_options.h"

enum { TT__MAX_OPERANDS = 256 };

/* A flag of one command: with a value when `value` is not NULL, else a switch. */
typedef struct tt__store_flag {
    const char *name, *short_name; /* "--json"; "-n" or NULL */
    const char **value;
    bool *is_said;
} tt__store_flag;

typedef struct tt__store_words {
    const char *operands[TT__MAX_OPERANDS];
    int n_operands;
    bool is_json, wants_help;
} tt__store_words;

/* Reads argv by the flags (ended by a row without a name; --json and --help are known to all). False when something was
 * wrong and told; exit with TT_EXIT_USAGE then. */
bool tt__store_words_read(const char *command, const tt__store_flag *flags, int argc, char **argv,
                          tt__store_words *out);
/* Tells when there are not as many operands as wished for. */
bool tt__store_words_count(const char *command, const tt__store_words *w, int least, int most,
                           const char *what);
/* False, and told, when it is no kind. */
bool tt__store_kind_read(const char *text, tt_model_kind *out);

/* ---- the store --------------------------------------------------------------------------------------------------- */

typedef struct tt__opened {
    tt__store_options options;
    tt_log log;
    tt_store *store;     /* owned */
    tt_library *library; /* the store's */
} tt__opened;

/* False when the environment makes no sense or the store cannot be opened; told, and *exit_code filled in. trusts: URLs
 * without a digest are taken at their first word, because a person named them. Close it in any case. */
bool tt__opened_open(tt__opened *o, bool trusts, int *exit_code);
void tt__opened_close(tt__opened *o);

/* Parses what a person wrote; told when it makes no sense. */
bool tt__store_reference_read(const char *text, tt_reference *out);

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* "tintype: <sentence>" on standard error. */
void tt__store_tell(const char *sentence);

/* Members of an answer. One that memory is out for is missing; an object that it was out for (NULL) takes none. Text is
 * cleaned as tt__clean does. */
void tt__put_text(json_object *o, const char *name, const char *text);
void tt__put_number(json_object *o, const char *name, uint64_t value);
void tt__put_bool(json_object *o, const char *name, bool value);
void tt__put_object(json_object *o, const char *name, json_object *value); /* takes the value */
/* What `models`, `show` and `pull` say of a model: owned by the caller. */
json_object *tt__entry_json(const tt_library_entry *entry);
/* Prints and puts the object; NULL: memory is out. Returns an exit code. */
int tt__print_json(json_object *o);

/* Prints `text` where somebody wished for help. */
int tt__store_help(const char *text);

#endif
