/* Who may name what, over presets, folders and a store that may not fetch. Nobody is asked: the files are of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temp_tree.h"

#include "app/models_store.h"
#include "base/alloc.h"
#include "base/file.h"
#include "unit/app/fake_engine.h"
#include "unit/app/fake_sdk.h"

enum { PATH_BYTES = 512 };

typedef struct shelf {
    char folder[64], loras[PATH_BYTES], store_root[PATH_BYTES];
    tt_app_folders folders;
    tt_store_options options;
    tt_store *store; /* opened when it is asked for */
    tt_presets *presets;
    tt_app_stock stock;
    tt_app_models models;
    int n_asked;
} shelf;

static void put_file(const shelf *s, const char *name) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    assert_int_equal(tt_file_write(path, "bytes", 5, NULL), TT_OK);
}

static tt_status open_store(void *context, tt_store **out, tt_err *err) {
    shelf *s = context;
    if (!s->store) TT_TRY(tt_store_open(&s->options, &s->store, err));
    *out = s->store;
    return TT_OK;
}

static void on_asked(void *context, const char *reference, const tt_store_model *model,
                     const tt_fetch_error *error) {
    shelf *s = context;
    (void)reference, (void)model, (void)error;
    s->n_asked++;
}

/* `policy` is JSON; NULL: there are no presets. */
static void begin(shelf *s, const char *policy) {
    char text[2048], path[PATH_BYTES];
    tt_problems problems;
    tt_err err;
    *s = (shelf){.folder = "/tmp/tt-models-XXXXXX"};
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->loras, sizeof s->loras, "%s/loras", s->folder);
    snprintf(s->store_root, sizeof s->store_root, "%s/store", s->folder);
    assert_int_equal(mkdir(s->loras, 0700), 0);
    put_file(s, "mine.safetensors");
    put_file(s, "neg.safetensors");
    put_file(s, "loras/style.safetensors");
    put_file(s, "loras/other.safetensors");
    s->folders.of_kind[TT_MODEL_LORA] = s->folders.of_kind[TT_MODEL_EMBEDDING] = s->loras;
    s->options = (tt_store_options){.library = {.root = s->store_root}, .is_offline = true};
    snprintf(path, sizeof path, "%s/tintype.json", s->folder);
    snprintf(text, sizeof text,
             "{\"policy\": %s, \"presets\": {\"boats\": {\"loras\": [{\"name\": \"style\", "
             "\"source\": \"mine.safetensors\"}, {\"name\": \"gone\", \"source\": "
             "\"gone.safetensors\"}, {\"name\": \"far\", \"source\": \"civitai:7\"}], "
             "\"embeddings\": [{\"name\": \"other\", \"source\": \"neg.safetensors\"}]}}}",
             policy ? policy : "{}");
    tt_problems_init(&problems);
    if (tt_presets_parse(text, strlen(text), path, &s->presets, &problems, &err) != TT_OK)
        fail_msg("%s", err.message);
    s->stock = (tt_app_stock){.folders = &s->folders,
                              .presets = policy ? s->presets : NULL,
                              .preset = policy ? tt_presets_at(s->presets, 0) : NULL,
                              .store = open_store,
                              .store_context = s,
                              .asked = on_asked,
                              .asked_context = s,
                              .hides_folders = true};
    s->models = tt_app_models_of_stock(&s->stock);
}

static void end(shelf *s) {
    tt_store_close(s->store);
    tt_presets_release(s->presets);
    assert_int_equal(temp_tree_remove(s->folder), 0);
}

static void assert_found(shelf *s, const char *text, bool is_trusted, const char *name) {
    const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = text, .is_trusted = is_trusted};
    tt_app_found found;
    char path[PATH_BYTES];
    tt_err err;
    if (tt_app_models_find(&s->models, &ask, &found, &err) != TT_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    assert_string_equal(found.path, path);
    tt_app_models_release(&s->models, &found);
}

static void assert_refused(shelf *s, const char *text, bool is_trusted, const char *sentence) {
    const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = text, .is_trusted = is_trusted};
    tt_app_found found;
    tt_err err = {.code = TT_OK};
    assert_int_not_equal(tt_app_models_find(&s->models, &ask, &found, &err), TT_OK);
    assert_string_equal(err.message, sentence);
    assert_null(strstr(err.message, s->folder));
}

static void a_word_means_the_presets_model_before_the_folders(void **state) {
    (void)state;
    shelf s;
    begin(&s, "{}");
    assert_found(&s, "style", false, "mine.safetensors");
    assert_found(&s, "style", true, "mine.safetensors");
    assert_found(&s, "other", false, "loras/other.safetensors");
    assert_null(s.store); /* nobody needed it */
    end(&s);
}

static void a_word_that_means_nothing_is_told_with_the_nearest(void **state) {
    (void)state;
    shelf s;
    begin(&s, "{}");
    assert_refused(&s, "stile", false,
                   "no LoRA \"stile\" in the preset boats, did you mean \"style\"?");
    assert_refused(&s, "xyzzy", false, "no LoRA \"xyzzy\" in the preset boats");
    end(&s);
}

static void a_job_names_references_where_the_policy_is_open(void **state) {
    (void)state;
    shelf s;
    begin(&s, "{\"loras\": \"listed\"}");
    assert_refused(&s, "civitai:8", false,
                   "only LoRAs that the preset lists may be used here, by their names");
    assert_int_equal(s.n_asked, 0);
    end(&s);
    begin(&s, "{\"loras\": \"open\"}");
    assert_refused(&s, "civitai:8", false, "civitai:8: not here, and nothing may be fetched");
    assert_refused(&s, "https://example.org/x.safetensors", false,
                   "models from url may not be named by requests here");
    assert_int_equal(s.n_asked, 1);
    end(&s);
}

static void without_presets_a_job_names_files_of_the_folder(void **state) {
    (void)state;
    shelf s;
    begin(&s, NULL);
    assert_found(&s, "style", false, "loras/style.safetensors");
    assert_refused(&s, "civitai:8", false,
                   "no LoRA \"civitai:8\": only names of files here are known, nothing is "
                   "downloaded");
    assert_int_equal(s.n_asked, 0);
    end(&s);
}

static void a_job_names_no_path_in_any_disguise(void **state) {
    (void)state;
    static const char *const paths[] = {"/etc/passwd", "./mine.safetensors", "../x", "~/x",
                                        "a/../../x",   "file:/etc/passwd",   "a\\b", "a/b"};
    shelf s;
    begin(&s, "{\"loras\": \"open\", \"sources\": [\"civitai\", \"url\", \"s3\"]}");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = paths[i]};
        tt_app_found found;
        tt_err err;
        assert_int_equal(tt_app_models_find(&s.models, &ask, &found, &err), TT_E_INVALID);
        assert_non_null(strstr(err.message, "a job may not name files by their path"));
    }
    end(&s);
}

static void a_person_names_what_he_likes(void **state) {
    (void)state;
    shelf s;
    char path[PATH_BYTES];
    begin(&s, NULL);
    snprintf(path, sizeof path, "%s/mine.safetensors", s.folder);
    assert_found(&s, path, true, "mine.safetensors");
    assert_found(&s, "style", true, "loras/style.safetensors");
    assert_null(s.store);
    assert_refused(&s, "civitai:8", true, "civitai:8: not here, and nothing may be fetched");
    assert_refused(&s, "no-such", true, "no LoRA \"no-such\" in the folder of --lora-folder");
    assert_refused(&s, "civitai:x", true,
                   "civitai:x: expected numbers up to 2147483647, as in civitai:VERSION, "
                   "civitai:MODEL@VERSION or civitai:MODEL@VERSION+FILE");
    end(&s);
}

static void a_listed_file_that_is_gone_is_told_without_its_folder(void **state) {
    (void)state;
    shelf s;
    begin(&s, "{}");
    assert_refused(&s, "gone", false, "no file gone.safetensors");
    assert_refused(&s, "far", false, "civitai:7: not here, and nothing may be fetched");
    end(&s);
}

typedef struct names {
    char text[256];
} names;

static bool add_name(void *context, const char *name) {
    names *n = context;
    size_t used = strlen(n->text);
    snprintf(n->text + used, sizeof n->text - used, "%s ", name);
    return true;
}

static void lists_have_the_presets_names_first_and_each_once(void **state) {
    (void)state;
    shelf s;
    names n = {""};
    begin(&s, "{}");
    assert_int_equal(tt_app_models_list(&s.models, TT_MODEL_EMBEDDING, add_name, &n, NULL), TT_OK);
    assert_string_equal(n.text, "other style ");
    end(&s);
}

static void pictures_are_not_fetched_where_no_service_is_named(void **state) {
    (void)state;
    shelf s;
    tt_buf out;
    tt_err err;
    begin(&s, "{}");
    tt_buf_init(&out, 1000);
    assert_int_equal(tt_app_models_fetch(&s.models, "https://example.org/a.png", &out, &err),
                     TT_E_UNSUPPORTED);
    end(&s);
}

static void lost_memory_is_an_error_wherever_it_is_lost(void **state) {
    (void)state;
    enum { MANY = 200 };
    bool was_out = true;
    for (int i = 0; was_out && i < MANY; i++) {
        const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = "far"};
        tt_app_found found;
        shelf s;
        tt_err err;
        begin(&s, "{}");
        tt_alloc_fail_after(i);
        tt_status status = tt_app_models_find(&s.models, &ask, &found, &err);
        tt_alloc_fail_after(-1);
        assert_int_not_equal(status, TT_OK);
        was_out = status != TT_E_NOT_FOUND;
        end(&s);
    }
    assert_false(was_out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_means_the_presets_model_before_the_folders),
        cmocka_unit_test(a_word_that_means_nothing_is_told_with_the_nearest),
        cmocka_unit_test(a_job_names_references_where_the_policy_is_open),
        cmocka_unit_test(without_presets_a_job_names_files_of_the_folder),
        cmocka_unit_test(a_job_names_no_path_in_any_disguise),
        cmocka_unit_test(a_person_names_what_he_likes),
        cmocka_unit_test(a_listed_file_that_is_gone_is_told_without_its_folder),
        cmocka_unit_test(lists_have_the_presets_names_first_and_each_once),
        cmocka_unit_test(pictures_are_not_fetched_where_no_service_is_named),
        cmocka_unit_test(lost_memory_is_an_error_wherever_it_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
