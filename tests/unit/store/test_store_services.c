/* The store with the fakes of CivitAI, Hugging Face and S3: from what a person writes to bytes with the digest that the service
 * promised, with the services' troubles in between. The digests compared with are those of the fakes' own list. */
#include "unit/store/library_case.h"

#include "store/store.h"
#include "support/fake_models.h"

static lb_case *lb;
static tt_store *s;
static tt_store_options options;

static void open_store(void) {
    tt_err err;
    if (tt_store_open(&options, &s, &err) != TT_OK) fail_msg("%s", err.message);
}

static int set_up(void **state) {
    (void)state;
    lb = lb_begin();
    options = (tt_store_options){
        .library = {.root = lb->root}, .services = fake_models_services(), .reserve_bytes = 1};
    open_store();
    fake_models_reset();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tt_store_close(s);
    lb_end(lb);
    fake_models_check();
    return 0;
}

static int n_requests(void) {
    return fake_models_requests("civitai") + fake_models_requests("huggingface") +
           fake_models_requests("s3");
}

static tt_status fetch(const char *reference, tt_model_kind kind, tt_store_model *m,
                       tt_fetch_error *e) {
    tt_store_fetch_options o = {.kind = kind};
    return tt_store_fetch(s, reference, &o, m, e);
}

/* Fetched, and the bytes' own digest is one that the fakes list. */
static tt_library_entry expect(const char *reference, tt_model_kind kind) {
    tt_store_model m;
    tt_fetch_error e;
    tt_library_verified v;
    tt_err err;
    if (fetch(reference, kind, &m, &e) != TT_OK)
        fail_msg("%s: %s: %s", reference, tt_fetch_class_name(e.class_), e.err.message);
    assert_non_null(strstr(fake_models_control("GET", "/items", NULL), m.entry.digest));
    tt_store_release(s, &m);
    tt_reference r = {.type = TT_REF_DIGEST};
    memcpy(r.digest, m.entry.digest, sizeof r.digest);
    assert_int_equal(tt_library_verify(tt_store_library(s), &r, NULL, NULL, &v, &err), TT_OK);
    assert_int_equal(v.n_good, 1);
    return m.entry;
}

static void expect_failure(const char *reference, tt_fetch_class class_, const char *part) {
    tt_store_model m;
    tt_fetch_error e;
    if (fetch(reference, TT_MODEL_LORA, &m, &e) == TT_OK || e.class_ != class_ ||
        !strstr(e.err.message, part))
        fail_msg("%s: expected %s \"%s\", found %s \"%s\"", reference, tt_fetch_class_name(class_),
                 part, tt_fetch_class_name(e.class_), e.err.message);
}

/* ---------------------------------------------------------------------------------------------------------------- */

static void a_version_of_civitai_is_fetched_once(void **state) {
    (void)state;
    tt_library_entry e = expect("civitai:101", TT_MODEL_CHECKPOINT);
    assert_int_equal(e.kind, TT_MODEL_CHECKPOINT);
    assert_string_equal(e.base_model, "SDXL 1.0");
    assert_true(*e.name && *e.resolved);
    int n = n_requests();
    expect("https://civitai.com/models/1?modelVersionId=101", TT_MODEL_CHECKPOINT);
    expect("101", TT_MODEL_CHECKPOINT);
    assert_int_equal(fake_models_requests("civitai_cdn") > 0, 1);
    assert_true(n_requests() <=
                n + 1); /* the page names the model too: another identity, the same bytes */
    assert_int_equal(tt_store_get_counts(s).fetched, 1);
}

static void the_same_bytes_of_another_service_are_not_fetched_again(void **state) {
    (void)state;
    tt_library_entry a = expect("civitai:202", TT_MODEL_LORA);
    tt_library_entry b = expect("hf://tintype/tiny/loras/old-photo.safetensors", TT_MODEL_LORA);
    assert_string_equal(a.digest, b.digest);
    assert_int_equal(fake_models_requests("huggingface_cdn"), 0);
    tt_store_counts counts = tt_store_get_counts(s);
    assert_int_equal(counts.fetched, 1);
    assert_int_equal(counts.found, 0);
}

static void buckets_are_read_with_the_store_s_account(void **state) {
    (void)state;
    tt_library_entry e = expect("s3://models/loras/old photo (1).safetensors", TT_MODEL_LORA);
    assert_true(e.can_be_fetched_again);
}

static void what_is_refused_is_not_asked_for_again(void **state) {
    (void)state;
    expect_failure("civitai:301", TT_FETCH_FORBIDDEN, "");
    int n = n_requests();
    expect_failure("civitai:301", TT_FETCH_FORBIDDEN, "");
    assert_int_equal(n_requests(), n);
    expect_failure("hf://tintype/tiny/nothing.safetensors", TT_FETCH_GONE, "");
    n = n_requests();
    expect_failure("hf://tintype/tiny/nothing.safetensors", TT_FETCH_GONE, "");
    assert_int_equal(n_requests(), n);
}

static void a_better_key_is_another_question(void **state) {
    (void)state;
    tt_store_close(s);
    options.services.hf_token = "hf_wrong_token";
    open_store();
    expect_failure("hf://tintype/gated/a.safetensors", TT_FETCH_AUTH, "HF_TOKEN");
    assert_int_equal(tt_store_get_counts(s).hf_token, TT_KEY_REFUSED);
    tt_store_close(s);
    options.services.hf_token = fake_models_token("huggingface");
    open_store();
    expect("hf://tintype/gated/a.safetensors", TT_MODEL_LORA);
}

static void keys_are_checked(void **state) {
    (void)state;
    tt_store_check_keys(s, 60 * 1000);
    tt_store_counts counts = tt_store_get_counts(s);
    assert_int_equal(counts.civitai_key, TT_KEY_ACCEPTED);
    tt_store_close(s);
    options.services.civitai_key = "no-such-key-here";
    options.services.hf_token = "";
    open_store();
    assert_int_equal(tt_store_get_counts(s).civitai_key, TT_KEY_UNKNOWN);
    tt_store_check_keys(s, 60 * 1000);
    counts = tt_store_get_counts(s);
    assert_int_equal(counts.civitai_key, TT_KEY_REFUSED);
    assert_int_equal(counts.hf_token, TT_KEY_ABSENT);
}

static void a_cache_of_hugging_face_is_read_in_place(void **state) {
    (void)state;
    static const char COMMIT[] = "0123456789abcdef0123456789abcdef01234567";
    char path[4096], hub[4096];
    tt_store_model m;
    tt_fetch_error e;
    const char *caches[] = {hub};
    static const char *const FOLDERS[] = {"hub", "hub/models--org--name",
                                          "hub/models--org--name/refs",
                                          "hub/models--org--name/snapshots"};
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        lb_path(lb, path, "%s", FOLDERS[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    lb_path(lb, path, "hub/models--org--name/refs/main");
    lb_write(path, COMMIT);
    lb_path(lb, path, "hub/models--org--name/snapshots/%s", COMMIT);
    assert_int_equal(mkdir(path, 0755), 0);
    lb_path(lb, path, "hub/models--org--name/snapshots/%s/a.safetensors", COMMIT);
    lb_write(path, "bytes");
    lb_path(lb, hub, "hub");
    tt_store_close(s);
    options.hf_caches = caches;
    options.n_hf_caches = 1;
    open_store();
    int n = n_requests();
    if (fetch("hf://org/name/a.safetensors", TT_MODEL_LORA, &m, &e) != TT_OK)
        fail_msg("%s", e.err.message);
    assert_true(m.was_here && m.entry.is_read_only);
    assert_non_null(strstr(m.entry.path, "/snapshots/"));
    assert_string_equal(m.entry.resolved,
                        "hf://org/name@0123456789abcdef0123456789abcdef01234567/a.safetensors");
    tt_store_release(s, &m);
    if (fetch("hf://org/name", TT_MODEL_CHECKPOINT, &m, &e) != TT_OK) fail_msg("%s", e.err.message);
    assert_string_equal(m.entry.name, "org/name");
    assert_string_equal(m.entry.resolved, "hf://org/name@0123456789abcdef0123456789abcdef01234567");
    tt_store_release(s, &m);
    assert_true(tt_store_has(s, "hf://org/name", TT_MODEL_CHECKPOINT));
    assert_false(tt_store_has(s, "hf://org/other", TT_MODEL_CHECKPOINT));
    assert_int_equal(n_requests(), n);
    for (int i = 0; i < TT_FETCH_CLASSES; i++)
        assert_int_equal(tt_store_get_counts(s).failed[i], 0);
}

#define COMMIT40 "0123456789abcdef0123456789abcdef01234567"

static void a_path_through_a_snapshot_has_a_name(void **state) {
    (void)state;
    static const struct {
        const char *path, *name; /* NULL: none */
    } cases[] = {
        {"/hub/models--org--name/snapshots/" COMMIT40, "hf://org/name@" COMMIT40},
        {"/hub/models--org--name/snapshots/" COMMIT40 "/", "hf://org/name@" COMMIT40},
        {"models--o--a--b/snapshots/" COMMIT40 "/vae/x.safetensors",
         "hf://o/a--b@" COMMIT40 "/vae/x.safetensors"},
        {"/models--x--y/models--org--name/snapshots/" COMMIT40, "hf://org/name@" COMMIT40},
        {"/hub/models--org--name/snapshots/main", NULL},
        {"/hub/models--org--name/snapshots/" COMMIT40 "0", NULL},
        {"/hub/models--org/snapshots/" COMMIT40, NULL},
        {"/hub/models--org--name", NULL},
        {"/hub/models--org--name/blobs/" COMMIT40, NULL},
        {"/hub/mymodels--org--name/snapshots/" COMMIT40, NULL},
        {"/models/sdxl", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[TT_REFERENCE_BYTES] = "";
        assert_int_equal(tt_hf_cache_name(cases[i].path, name), cases[i].name != NULL);
        if (cases[i].name) assert_string_equal(name, cases[i].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_version_of_civitai_is_fetched_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_bytes_of_another_service_are_not_fetched_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(buckets_are_read_with_the_store_s_account, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_is_not_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_better_key_is_another_question, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cache_of_hugging_face_is_read_in_place, set_up,
                                        tear_down),
        cmocka_unit_test(a_path_through_a_snapshot_has_a_name),
    };
    return cmocka_run_group_tests(tests, fake_models_start, fake_models_stop);
}
