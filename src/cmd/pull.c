/* `tintype pull`: fetches models, one after the other. Standard output gets one line for each in sha256sum's form, so that it
 * can check them; everything else goes to standard error. */
#include <stdio.h>
#include <string.h>

#include "cmd/bars.h"
#include "cmd/cancel.h"
#include "cmd/progress.h"
#include "cmd/store_commands.h"
#include "cmd/store_words.h"

/* A person waits as long as the line takes, and has Ctrl-C. */
static const int64_t DEADLINE_MS = (int64_t)24 * 60 * 60 * 1000;

typedef struct pull {
    tt__store_words words;
    const char *kind_text, *alias, *digest_text;
    bool is_quiet;
    tt_model_kind kind;
    char digest[TT_DIGEST_HEX + 1];
    tt__opened opened;
    json_object *results; /* owned: an array, with --json */
    tt__bar bar;
    int n_failed;
} pull;

int tt__pull_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype pull: fetches models into the store, checked and ready to be used.\n"
        "\n"
        "  tintype pull civitai:128078                       a version of a model on CivitAI\n"
        "  tintype pull https://civitai.com/models/101055    its page: the newest version\n"
        "  tintype pull hf://stabilityai/sdxl-vae/sdxl_vae.safetensors --name sdxl-vae\n"
        "  tintype pull https://example.org/x.safetensors --sha256 HEX\n"
        "  tintype pull s3://bucket/folder/x.safetensors\n"
        "\n"
        "Other forms: civitai:101055@128078 (model and version), civitai:128078+98765 (one of its "
        "files),\nurn:air:sdxl:lora:civitai:101055@128078, hf://org/repo@revision/path, "
        "sha256:HEX.\n"
        "\n"
        "  --kind KIND    checkpoint, lora, vae or embedding, where the source does not say it: it "
        "decides\n                 how large the file may be\n"
        "  --name WORD    a word to call it by from now on\n"
        "  --sha256 HEX   the only bytes that are accepted\n"
        "  --quiet        no progress\n"
        "  --json         the results as JSON on standard output\n"
        "\n"
        "Keys come from the environment: CIVITAI_API_KEY, HF_TOKEN, AWS_ACCESS_KEY_ID and\n"
        "AWS_SECRET_ACCESS_KEY. What was fetched before a cancel or a crash is not fetched "
        "again.\n"
        "Prints digest and path of each model. Exit codes: 0 all are here, 1 some are not, 2 the "
        "words\nmake no sense, 130 cancelled.\n");
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static bool fail_words(const char *sentence) {
    fprintf(stderr, "tintype pull: %s\n", sentence);
    return false;
}

static bool check_words(pull *p) {
    const tt__store_words *w = &p->words;
    if (!tt__store_words_count("pull", w, 1, TT__MAX_OPERANDS, "the models to fetch")) return false;
    if (p->kind_text && !tt__store_kind_read(p->kind_text, &p->kind)) return false;
    if (w->n_operands > 1 && p->alias) return fail_words("--name goes with one model");
    if (w->n_operands > 1 && p->digest_text) return fail_words("--sha256 goes with one model");
    if (p->digest_text && !tt_digest_parse(p->digest_text, strlen(p->digest_text), p->digest))
        return fail_words("--sha256: expected 64 hexadecimal digits");
    for (int i = 0; i < w->n_operands; i++) {
        tt_reference r;
        if (!tt__store_reference_read(w->operands[i], &r)) return false;
    }
    return true;
}

static bool read_words(pull *p, int argc, char **argv) {
    const tt__store_flag flags[] = {{"--kind", NULL, &p->kind_text, NULL},
                                    {"--name", NULL, &p->alias, NULL},
                                    {"--sha256", NULL, &p->digest_text, NULL},
                                    {"--quiet", "-q", NULL, &p->is_quiet},
                                    {0}};
    if (!tt__store_words_read("pull", flags, argc, argv, &p->words)) return false;
    return p->words.wants_help || check_words(p);
}

/* ---- one model --------------------------------------------------------------------------------------------------- */

static bool on_progress(void *context, const tt_store_progress *progress) {
    pull *p = context;
    if (!p->is_quiet) tt__bar_show(&p->bar, progress);
    return !tt__cancel_is_wanted();
}

static double seconds_of(const tt_store_model *m) {
    double ms = 0;
    for (int i = 0; i < TT_PHASES; i++) ms += m->ms[i];
    return ms / 1000;
}

/* Small files take no whole seconds. */
static void duration_text(char out[TT_DURATION_BYTES], double seconds) {
    const double exact_below = 9.95;
    if (seconds < exact_below)
        snprintf(out, TT_DURATION_BYTES, "%.1f s", seconds);
    else
        tt__progress_duration(out, seconds);
}

static void tell_found(const tt_store_model *m) {
    char name[TT__NAME_BYTES], size[TT__SIZE_BYTES], duration[TT_DURATION_BYTES];
    tt__shown(name, m->entry.name, 0);
    tt__size_text(size, m->entry.size);
    duration_text(duration, seconds_of(m));
    if (m->was_here)
        fprintf(stderr, "%s: already here, %s, %s\n", name, tt_model_kind_name(m->entry.kind),
                size);
    else
        fprintf(stderr, "%s: %s, %s, %s in %s\n", name, tt_model_kind_name(m->entry.kind), size,
                m->fetched_bytes ? "fetched" : "found under another name", duration);
}

static void add_result(pull *p, const tt_store_model *m, const char *reference) {
    json_object *o = tt__entry_json(&m->entry);
    if (!o) return;
    tt__put_text(o, "asked_for", reference);
    tt__put_bool(o, "was_here", m->was_here);
    tt__put_number(o, "fetched_bytes", m->fetched_bytes);
    tt__put_object(o, "seconds", json_object_new_double(seconds_of(m)));
    json_object_array_add(p->results, o);
}

static void give_found(pull *p, const tt_store_model *m, const char *reference) {
    char line[TT_MODEL_PATH_BYTES + TT_DIGEST_HEX + 8];
    if (!p->is_quiet) tell_found(m);
    if (p->results) {
        add_result(p, m, reference);
        return;
    }
    const tt_library_entry *e = &m->entry;
    int n = snprintf(line, sizeof line, "%s%s%s\n", e->digest, *e->digest ? "  " : "", e->path);
    if (tt__print(line, (unsigned long)n) != TT_EXIT_OK) p->n_failed++;
}

static void add_failure(pull *p, const char *reference, const tt_fetch_error *error) {
    json_object *o = json_object_new_object(), *why = json_object_new_object();
    tt__put_text(o, "asked_for", reference);
    tt__put_text(why, "class", tt_fetch_class_name(error->class_));
    tt__put_text(why, "message", error->err.message);
    tt__put_object(o, "error", why);
    json_object_array_add(p->results, o);
}

static void give_failure(pull *p, const char *reference, const tt_fetch_error *error) {
    bool is_cancelled = error->class_ == TT_FETCH_CANCELLED;
    p->n_failed++;
    if (p->results) add_failure(p, reference, error);
    tt__store_tell(error->err.message);
    if (is_cancelled)
        fprintf(stderr, "What was fetched so far is kept; the same command goes on from there.\n");
}

/* Only URLs carry a digest in the reference. */
static tt_status pin_reference(const pull *p, const tt_reference *r, const char *text,
                               char pinned[TT_REFERENCE_BYTES], tt_fetch_error *error) {
    bool is_pinned_here = r->type == TT_REF_URL && *p->digest && !*r->digest;
    int n = snprintf(pinned, TT_REFERENCE_BYTES, "%s%s%s", text, is_pinned_here ? "#sha256=" : "",
                     is_pinned_here ? p->digest : "");
    if (n >= 0 && n < TT_REFERENCE_BYTES) return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_REFERENCE, "a model's reference is too long");
}

static tt_status check_digest(const pull *p, const tt_reference *r, const tt_store_model *model,
                              tt_fetch_error *error) {
    const char *found = model->entry.digest;
    if (!*p->digest || strcmp(found, p->digest) == 0) return TT_OK;
    return tt_fetch_fail(error, TT_FETCH_DIGEST, "%.300s: expected the SHA-256 %s, found %s",
                         r->identity, p->digest, *found ? found : "none");
}

/* The name comes last: it is not for bytes that nobody wants. */
static tt_status give_name(pull *p, const char *reference, tt_store_fetch_options *options,
                           tt_store_model *model, tt_fetch_error *error) {
    tt_store_model again;
    if (!p->alias) return TT_OK;
    options->alias = p->alias;
    TT_TRY(tt_store_fetch(p->opened.store, reference, options, &again, error));
    tt_store_release(p->opened.store, &again);
    snprintf(model->entry.alias, sizeof model->entry.alias, "%s", p->alias);
    return TT_OK;
}

static tt_status fetch(pull *p, const char *text, tt_store_fetch_options *options,
                       tt_store_model *model, tt_fetch_error *error) {
    char reference[TT_REFERENCE_BYTES];
    tt_reference r;
    TT_TRY(tt_reference_parse(text, &r, &error->err));
    if (r.has_kind && !p->kind_text) options->kind = r.kind;
    TT_TRY(pin_reference(p, &r, text, reference, error));
    TT_TRY(tt_store_fetch(p->opened.store, reference, options, model, error));
    tt_status status = check_digest(p, &r, model, error);
    if (status == TT_OK) status = give_name(p, reference, options, model, error);
    if (status != TT_OK) tt_store_release(p->opened.store, model);
    return status;
}

static void pull_one(pull *p, const char *text) {
    tt_store_fetch_options options = {.kind = p->kind,
                                      .deadline_ms = DEADLINE_MS,
                                      .asks_again = true,
                                      .progress = on_progress,
                                      .progress_context = p};
    tt_store_model model;
    tt_fetch_error error = {.retry_after_ms = -1};
    tt__bar_init(&p->bar, text);
    tt_status status = fetch(p, text, &options, &model, &error);
    tt__bar_end(&p->bar);
    if (status != TT_OK) {
        give_failure(p, text, &error);
        return;
    }
    give_found(p, &model, text);
    tt_store_release(p->opened.store, &model);
}

static int pull_all(pull *p) {
    tt__cancel_watch();
    if (p->words.is_json) p->results = json_object_new_array();
    for (int i = 0; i < p->words.n_operands && !tt__cancel_is_wanted(); i++)
        pull_one(p, p->words.operands[i]);
    int code = p->n_failed ? TT_EXIT_FAILED : TT_EXIT_OK;
    if (p->words.is_json) {
        json_object *answer = json_object_new_object();
        tt__put_object(answer, "models", p->results);
        int printed = tt__print_json(answer);
        if (printed != TT_EXIT_OK) code = printed;
    }
    return tt__cancel_is_wanted() ? tt__cancel_exit_code() : code;
}

int tt__pull(int argc, char **argv) {
    pull p = {.kind = TT_MODEL_CHECKPOINT}; /* the largest limit, where nobody says what it is */
    int code = TT_EXIT_USAGE;
    if (!read_words(&p, argc, argv)) return code;
    if (p.words.wants_help) return tt__pull_help(false);
    if (tt__opened_open(&p.opened, true, &code)) code = pull_all(&p);
    tt__opened_close(&p.opened);
    return code;
}
