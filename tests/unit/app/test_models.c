/* Who may name which file, and what a folder of models has. The folders are real, made for each test. */
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

#include "app/models.h"
#include "base/file.h"

/* loras/ old-photo.safetensors, "plain", .hidden.safetensors, folder.safetensors/ ; secret.safetensors beside it */
typedef struct place {
    char root[64], folder[128], path[256];
} place;

static const char *in(place *p, const char *name) {
    snprintf(p->path, sizeof p->path, "%s/%s", p->root, name);
    return p->path;
}

static void put(place *p, const char *name) {
    assert_int_equal(tt_file_write(in(p, name), "x", 1, NULL), TT_OK);
}

static const char *const FILES[] = {"loras/old-photo.safetensors", "loras/plain",
                                    "loras/.hidden.safetensors", "secret.safetensors"};
enum { N_FILES = sizeof FILES / sizeof *FILES };

static int make_place(void **state) {
    place *p = calloc(1, sizeof *p);
    snprintf(p->root, sizeof p->root, "/tmp/tintype-models-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    snprintf(p->folder, sizeof p->folder, "%s/loras", p->root);
    assert_int_equal(mkdir(p->folder, 0700), 0);
    assert_int_equal(mkdir(in(p, "loras/folder.safetensors"), 0700), 0);
    for (int i = 0; i < N_FILES; i++) put(p, FILES[i]);
    *state = p;
    return 0;
}

static int remove_place(void **state) {
    place *p = *state;
    for (int i = 0; i < N_FILES; i++) unlink(in(p, FILES[i]));
    rmdir(in(p, "loras/folder.safetensors"));
    rmdir(p->folder);
    rmdir(p->root);
    free(p);
    return 0;
}

static tt_status find(place *p, const char *text, bool is_trusted, tt_app_found *found,
                      tt_err *err) {
    const tt_app_folders folders = {.of_kind = {[TT_MODEL_LORA] = p->folder}};
    const tt_app_models models = tt_app_models_of_folders(&folders);
    const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = text, .is_trusted = is_trusted};
    return tt_app_models_find(&models, &ask, found, err);
}

static void paths_are_known_in_every_disguise(void **state) {
    (void)state;
    static const char *const paths[] = {"/x",
                                        "./x",
                                        "../x",
                                        "~/x",
                                        "a/b",
                                        "a\\b",
                                        "..",
                                        ".hidden",
                                        "file:x",
                                        "file:///x",
                                        "C:\\x",
                                        "x/../y",
                                        "https://host/../x",
                                        "..\\x"};
    static const char *const names[] = {"old-photo",
                                        "old photo.safetensors",
                                        "a..b",
                                        "civitai:128078",
                                        "https://host/x",
                                        "hf://org/repo/x.safetensors",
                                        "urn:air:sdxl:lora:x",
                                        "sha256:00",
                                        "x:y"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!tt_app_is_path(paths[i])) fail_msg("%s is a path", paths[i]);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tt_app_is_path(names[i])) fail_msg("%s is no path", names[i]);
}

static void a_name_is_found_with_and_without_its_ending(void **state) {
    place *p = *state;
    static const char *const names[] = {"old-photo", "old-photo.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        tt_app_found found;
        assert_int_equal(find(p, names[i], false, &found, NULL), TT_OK);
        assert_string_equal(found.path, in(p, "loras/old-photo.safetensors"));
        assert_string_equal(found.name, "old-photo");
        assert_string_equal(found.digest, "");
    }
}

static void a_job_may_not_name_a_path(void **state) {
    place *p = *state;
    char absolute[256];
    snprintf(absolute, sizeof absolute, "%s", in(p, "secret.safetensors"));
    const char *const paths[] = {absolute,      "../secret", "../secret.safetensors",
                                 "./old-photo", ".hidden",   "old-photo/../plain"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        tt_app_found found;
        tt_err err;
        assert_int_equal(find(p, paths[i], false, &found, &err), TT_E_INVALID);
        assert_non_null(strstr(err.message, "a job may not name files by their path"));
        assert_string_equal(found.path, "");
    }
}

static void a_person_at_the_machine_may(void **state) {
    place *p = *state;
    tt_app_found found;
    assert_int_equal(find(p, in(p, "secret.safetensors"), true, &found, NULL), TT_OK);
    assert_string_equal(found.name, "secret");
    assert_int_equal(find(p, "old-photo", true, &found, NULL), TT_OK);
    tt_err err;
    assert_int_equal(find(p, "/no/such/file", true, &found, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "no file /no/such/file");
}

static void what_is_not_there_is_told_without_a_path(void **state) {
    place *p = *state;
    tt_app_found found;
    tt_err err;
    static const char *const missing[] = {"nothing", "folder", "folder.safetensors"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        assert_int_equal(find(p, missing[i], false, &found, &err), TT_E_NOT_FOUND);
        assert_null(strstr(err.message, p->root));
    }
    assert_int_equal(find(p, "civitai:128078", false, &found, &err), TT_E_UNSUPPORTED);
    assert_int_equal(find(p, "", false, &found, &err), TT_E_INVALID);
}

static void without_a_folder_names_are_refused(void **state) {
    (void)state;
    tt_app_found found;
    tt_err err;
    const tt_app_ask ask = {.kind = TT_MODEL_LORA, .text = "old-photo"};
    assert_int_equal(tt_app_models_find(NULL, &ask, &found, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message,
                        "no LoRA \"old-photo\": there is no folder to look for names in "
                        "(--lora-folder)");
}

typedef struct names {
    int n, most;
    char last[256];
} names;

static bool count(void *context, const char *name) {
    names *n = context;
    snprintf(n->last, sizeof n->last, "%s", name);
    return ++n->n < n->most;
}

static void a_list_has_the_names_of_models_only(void **state) {
    place *p = *state;
    const tt_app_folders folders = {.of_kind = {[TT_MODEL_LORA] = p->folder}};
    const tt_app_models models = tt_app_models_of_folders(&folders);
    names n = {.most = 10};
    assert_int_equal(tt_app_models_list(&models, TT_MODEL_LORA, count, &n, NULL), TT_OK);
    assert_int_equal(n.n, 2); /* a folder with the ending counts: whoever asks for it is told */
    n = (names){.most = 1};
    assert_int_equal(tt_app_models_list(&models, TT_MODEL_LORA, count, &n, NULL), TT_OK);
    assert_int_equal(n.n, 1);
    n = (names){.most = 10};
    assert_int_equal(tt_app_models_list(&models, TT_MODEL_EMBEDDING, count, &n, NULL), TT_OK);
    assert_int_equal(n.n, 0);
}

static void only_https_is_fetched_and_only_by_who_can(void **state) {
    (void)state;
    tt_buf out;
    tt_err err;
    tt_buf_init(&out, 16);
    assert_int_equal(tt_app_models_fetch(NULL, "http://host/a.png", &out, &err), TT_E_INVALID);
    assert_int_equal(tt_app_models_fetch(NULL, "https://host/a.png", &out, &err), TT_E_UNSUPPORTED);
    tt_buf_release(&out);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_known_in_every_disguise),
        WITH_PLACE(a_name_is_found_with_and_without_its_ending),
        WITH_PLACE(a_job_may_not_name_a_path),
        WITH_PLACE(a_person_at_the_machine_may),
        WITH_PLACE(what_is_not_there_is_told_without_a_path),
        cmocka_unit_test(without_a_folder_names_are_refused),
        WITH_PLACE(a_list_has_the_names_of_models_only),
        cmocka_unit_test(only_https_is_fetched_and_only_by_who_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
