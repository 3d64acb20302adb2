/* Where a reference's bytes are, as the fakes of CivitAI, Hugging Face and S3 tell it, with their refusals and traps. After each
 * test the fakes say whether a credential went where it should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/source.h"
#include "support/fake_models.h"

enum { DEADLINE_MS = 60 * 1000 };

static tt_source_services services;
static tt_source_file file;
static tt_fetch_error error;

static int set_up(void **state) {
    (void)state;
    services = fake_models_services();
    fake_models_reset();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    fake_models_check();
    return 0;
}

static tt_status resolve(const char *text) {
    tt_reference r;
    tt_err err;
    if (tt_reference_parse(text, &r, &err) != TT_OK) fail_msg("%s: %s", text, err.message);
    error = (tt_fetch_error){.class_ = TT_FETCH_OK};
    return tt_source_resolve(&services, &r, DEADLINE_MS, &file, &error);
}

static void expect_found(const char *text) {
    if (resolve(text) != TT_OK) fail_msg("%s: %s", text, error.err.message);
}

static void expect_failure(const char *text, tt_fetch_class class_, const char *sentence) {
    if (resolve(text) == TT_OK) fail_msg("%s was found at %s", text, file.url);
    if (error.class_ != class_ || !strstr(error.err.message, sentence))
        fail_msg("%s: expected %s \"%s\", found %s \"%s\"", text, tt_fetch_class_name(class_),
                 sentence, tt_fetch_class_name(error.class_), error.err.message);
    assert_null(strstr(error.err.message, fake_models_token("civitai")));
    assert_null(strstr(error.err.message, fake_models_token("huggingface")));
    assert_string_equal(file.url, "");
}

static bool begins_with(const char *text, const char *word) {
    return strncmp(text, word, strlen(word)) == 0;
}

/* ---- CivitAI ------------------------------------------------------------------------------------------------------ */

static void a_version_leads_to_its_file_at_the_store(void **state) {
    (void)state;
    expect_found("civitai:202");
    assert_true(begins_with(file.url, fake_models_url("civitai_cdn")));
    assert_true(file.is_signed);
    assert_string_equal(file.headers, "");
    assert_int_equal(strlen(file.digest), TT_DIGEST_HEX);
    assert_true(file.size > 0);
    assert_string_equal(file.name, "Old Photo v2");
    assert_string_equal(file.base_model, "SDXL 1.0");
    assert_string_equal(file.resolved, "civitai:202+2002");
    assert_true(file.has_kind);
    assert_int_equal(file.kind, TT_MODEL_LORA);
}

static void the_store_itself_is_not_asked(void **state) {
    (void)state;
    expect_found("civitai:202");
    assert_int_equal(fake_models_requests("civitai_cdn"), 0);
    assert_int_equal(fake_models_requests("civitai"),
                     2); /* metadata, endpoint: each success counts there */
}

static void a_model_means_its_newest_version(void **state) {
    (void)state;
    expect_found("urn:air:sdxl:lora:civitai:2");
    assert_string_equal(file.resolved, "civitai:202+2002");
    expect_found("https://civitai.com/models/2/old-photo?modelVersionId=201");
    assert_string_equal(file.resolved, "civitai:201+2001");
}

static void the_file_is_chosen_here(void **state) {
    (void)state;
    expect_found("civitai:101");
    assert_string_equal(file.resolved, "civitai:101+1001");
    assert_int_equal(file.kind, TT_MODEL_CHECKPOINT);
    expect_found("civitai:101+1002");
    assert_string_equal(file.resolved, "civitai:101+1002");
    assert_int_equal(file.kind, TT_MODEL_VAE);
    expect_found("civitai:101?type=VAE");
    assert_string_equal(file.resolved, "civitai:101+1002");
    expect_failure("civitai:101+9", TT_FETCH_GONE, "the version has no file 9");
    expect_failure("civitai:101?fp=fp32", TT_FETCH_GONE, "no safetensors file with fp=fp32");
}

static void without_a_key_the_sentence_names_the_variable(void **state) {
    (void)state;
    services.civitai_key = NULL;
    expect_failure("civitai:202", TT_FETCH_AUTH, "CivitAI wants a key: set CIVITAI_API_KEY");
    services.civitai_key = "";
    expect_failure("civitai:202", TT_FETCH_AUTH, "CivitAI wants a key: set CIVITAI_API_KEY");
}

static void a_wrong_key_is_told_from_none(void **state) {
    (void)state;
    services.civitai_key = "no-such-key-here";
    expect_failure("civitai:202", TT_FETCH_AUTH, "does not accept the key in CIVITAI_API_KEY");
}

static void refusals_of_the_site_are_told(void **state) {
    (void)state;
    expect_failure("civitai:301", TT_FETCH_FORBIDDEN, "in early access until 2099-01-01");
    expect_failure("civitai:401", TT_FETCH_GONE, "archived by its creator");
    expect_failure("civitai:999", TT_FETCH_GONE, "not there at CivitAI (HTTP 404)");
    expect_failure("urn:air:civitai:999", TT_FETCH_GONE, "not there at CivitAI (HTTP 404)");
}

/* A fault at the download endpoint, for ever, and what the user is told. */
static void each_answer_of_the_endpoint_has_its_class(void **state) {
    (void)state;
    static const struct {
        const char *kind, *sentence;
        tt_fetch_class class_;
    } cases[] = {
        {"401_missing", "does not accept the key", TT_FETCH_AUTH},
        {"status\", \"params\": {\"status\": 401, \"body\": \"{\\\"error\\\": "
         "\\\"Unauthorized\\\", "
         "\\\"message\\\": \\\"The creator of this asset has disabled downloads on this "
         "file\\\"}\", "
         "\"content_type\": \"application/json\"}, \"skip\": 0, \"kind\": \"status",
         "its creator allows no downloads", TT_FETCH_FORBIDDEN},
        {"403_early_access", "in early access until 2099-01-01", TT_FETCH_FORBIDDEN},
        {"403_gated", "has no access", TT_FETCH_FORBIDDEN},
        {"403", "refuses this account or this machine's address", TT_FETCH_FORBIDDEN},
        {"404", "HTTP 404", TT_FETCH_GONE},
        {"410", "archived by its creator (HTTP 410)", TT_FETCH_GONE},
        {"429", "too many requests (HTTP 429)", TT_FETCH_RATE},
        {"451", "does not serve the country", TT_FETCH_REGION},
        {"500", "CivitAI fails (HTTP 500)", TT_FETCH_NETWORK},
        {"503", "CivitAI fails (HTTP 503)", TT_FETCH_NETWORK},
        {"cloudflare_503", "a page of CivitAI's front", TT_FETCH_EDGE},
        {"cloudflare_403", "a page of CivitAI's front", TT_FETCH_EDGE},
        {"login_html_200", "does not accept the key", TT_FETCH_AUTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fault[512];
        snprintf(fault, sizeof fault,
                 "{\"kind\": \"%s\", \"times\": null, \"match\": {\"host\": \"civitai\", \"path\": "
                 "\"download\"}}",
                 cases[i].kind);
        fake_models_faults(fault);
        expect_failure("civitai:202", cases[i].class_, cases[i].sentence);
    }
}

static void passing_troubles_are_waited_out(void **state) {
    (void)state;
    static const char *const kinds[] = {"404_transient", "500", "502",
                                        "503",           "429", "cloudflare_503"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char fault[256];
        snprintf(fault, sizeof fault,
                 "{\"kind\": \"%s\", \"times\": 2, \"match\": {\"host\": \"civitai\", \"path\": "
                 "\"download\"}}",
                 kinds[i]);
        fake_models_faults(fault);
        expect_found("civitai:202");
    }
}

static void redirects_that_lead_astray_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *kind, *params;
    } cases[] = {
        {"redirect_to", "\"location\": \"file:///etc/passwd\""},
        {"redirect_to", "\"location\": \"ftp://127.0.0.1/a\""},
        {"redirect_to", "\"location\": \"https://user:pass@example.org/a\""},
        {"redirect_to", "\"location\": \"gopher://x/\""},
        {"redirect_loop", "\"status\": 307"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fault[512];
        snprintf(fault, sizeof fault,
                 "{\"kind\": \"%s\", \"times\": null, \"params\": {%s}, \"match\": {\"host\": "
                 "\"civitai\", \"path\": \"download\"}}",
                 cases[i].kind, cases[i].params);
        fake_models_faults(fault);
        expect_failure("civitai:202", TT_FETCH_REFUSED, "redirect");
    }
}

static void keys_stay_with_the_site(void **state) {
    (void)state;
    fake_models_faults(
        "{\"kind\": \"redirect_to_other_host\", \"times\": null, \"match\": {\"host\": "
        "\"civitai\", \"path\": \"download\"}}");
    expect_found("civitai:202");
    assert_true(begins_with(file.url, fake_models_url("elsewhere")));
    assert_string_equal(file.headers, "");
}

static void the_guard_refuses_private_addresses(void **state) {
    (void)state;
    services.allow_private = false;
    expect_failure("civitai:202", TT_FETCH_REFUSED, "TINTYPE_ALLOW_PRIVATE=1");
    expect_failure("https://127.0.0.1/a", TT_FETCH_REFUSED, "TINTYPE_ALLOW_PRIVATE=1");
    expect_failure("https://[::1]/a", TT_FETCH_REFUSED, "TINTYPE_ALLOW_PRIVATE=1");
    expect_failure("https://169.254.169.254/latest", TT_FETCH_REFUSED, "TINTYPE_ALLOW_PRIVATE=1");
    expect_failure("https://2130706433/a", TT_FETCH_REFUSED, "TINTYPE_ALLOW_PRIVATE=1");
    expect_failure("http://example.org/a", TT_FETCH_REFUSED,
                   "http://example.org is not asked: only https is (set TINTYPE_ALLOW_PRIVATE=1");
    expect_failure(
        "https://example.org:8443/a", TT_FETCH_REFUSED,
        "port 8443 of example.org is not asked: only 443 is (set TINTYPE_ALLOW_PRIVATE=1");
}

/* 304 and 300 without a Location are no redirects. */
static void an_answer_that_leads_nowhere_is_no_redirect(void **state) {
    (void)state;
    char url[512];
    snprintf(url, sizeof url, "%s/a.safetensors", fake_models_url("elsewhere"));
    fake_models_faults(
        "{\"kind\": \"status\", \"times\": null, \"match\": {\"host\": \"elsewhere\"}, "
        "\"params\": {\"status\": 304}}");
    expect_failure(url, TT_FETCH_CONTENT, "answered HTTP 304");
}

static void what_ends_the_asking_names_the_model(void **state) {
    (void)state;
    fake_models_faults("{\"kind\": \"reset\", \"times\": null, \"match\": {\"host\": \"civitai\"}, "
                       "\"params\": {\"at\": 0}}");
    expect_failure("civitai:202", TT_FETCH_NETWORK, "civitai:202: CivitAI: ");
}

/* ---- Hugging Face ------------------------------------------------------------------------------------------------- */

static void a_size_that_is_no_number_is_no_promise(void **state) {
    (void)state;
    fake_models_faults(
        "{\"kind\": \"status\", \"times\": null, \"match\": {\"host\": \"huggingface\"}, "
        "\"params\": {\"status\": 200, "
        "\"headers\": [[\"X-Linked-Size\", \"-5\"], [\"X-Repo-Commit\", \"0123\"]]}}");
    expect_found("hf://tintype/tiny/loras/old-photo.safetensors");
    assert_int_equal(file.size, 0);
    assert_false(file.size_is_exact);
}

static void a_large_file_leads_to_the_signed_store(void **state) {
    (void)state;
    expect_found("hf://tintype/tiny/loras/old-photo.safetensors");
    assert_true(begins_with(file.url, fake_models_url("huggingface_cdn")));
    assert_string_equal(file.headers, "");
    assert_true(file.is_signed);
    assert_int_equal(strlen(file.digest), TT_DIGEST_HEX);
    assert_true(file.size > 0 && file.size_is_exact);
    assert_int_equal(strlen(file.version), 40);
    assert_string_equal(file.name, "old-photo.safetensors");
    assert_true(begins_with(file.resolved, "hf://tintype/tiny@"));
    assert_int_equal(fake_models_requests("huggingface_cdn"), 0);
}

static void a_repository_with_one_model_needs_no_path(void **state) {
    (void)state;
    expect_found("hf://tintype/tiny");
    assert_string_equal(file.name, "tintype-tiny.safetensors");
}

static void hubs_refusals_are_told(void **state) {
    (void)state;
    expect_failure("hf://tintype/tiny/nothing.safetensors", TT_FETCH_GONE,
                   "no file nothing.safetensors");
    expect_failure("hf://tintype/tiny@v9/a.safetensors", TT_FETCH_GONE, "no revision v9");
    expect_failure("hf://tintype/missing/a.safetensors", TT_FETCH_GONE, "no such repository");
    expect_found("hf://tintype/gated/a.safetensors");
    services.hf_token = NULL;
    expect_failure("hf://tintype/gated/a.safetensors", TT_FETCH_AUTH, "set HF_TOKEN");
    expect_failure("hf://tintype/missing/a.safetensors", TT_FETCH_AUTH,
                   "a private one: then set HF_TOKEN");
    services.hf_token = "hf_NoSuchToken";
    expect_failure("hf://tintype/tiny/tintype-tiny.safetensors", TT_FETCH_AUTH,
                   "does not accept the token in HF_TOKEN");
}

static void hubs_errors_have_their_class(void **state) {
    (void)state;
    static const struct {
        const char *kind, *sentence;
        tt_fetch_class class_;
    } cases[] = {
        {"403_gated", "accept its licence", TT_FETCH_FORBIDDEN},
        {"403", "has disabled access", TT_FETCH_FORBIDDEN},
        {"429", "too many requests", TT_FETCH_RATE},
        {"451", "does not serve the country", TT_FETCH_REGION},
        {"503", "Hugging Face fails (HTTP 503)", TT_FETCH_NETWORK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fault[256];
        snprintf(fault, sizeof fault,
                 "{\"kind\": \"%s\", \"times\": null, \"match\": {\"host\": \"huggingface\"}}",
                 cases[i].kind);
        fake_models_faults(fault);
        expect_failure("hf://tintype/tiny/tintype-tiny.safetensors", cases[i].class_,
                       cases[i].sentence);
    }
}

/* ---- S3 and plain URLs -------------------------------------------------------------------------------------------- */

static void an_object_becomes_a_signed_link(void **state) {
    (void)state;
    expect_found("s3://models/loras/old photo (1).safetensors");
    assert_true(begins_with(file.url, fake_models_url("s3")));
    assert_true(file.is_signed && file.size > 0 && file.size_is_exact);
    assert_true(file.validator[0] == '"');
    expect_failure("s3://models/nothing", TT_FETCH_GONE, "HTTP 404");
    services.s3.secret_access_key = "wrong";
    expect_failure("s3://models/tintype-tiny.safetensors", TT_FETCH_AUTH,
                   "does not accept AWS_ACCESS_KEY_ID");
    services.s3.access_key_id = NULL;
    expect_failure("s3://models/tintype-tiny.safetensors", TT_FETCH_AUTH, "set AWS_ACCESS_KEY_ID");
}

static void a_url_is_asked_for_one_byte(void **state) {
    (void)state;
    char url[512];
    expect_found("hf://tintype/tiny/loras/old-photo.safetensors");
    uint64_t size = file.size;
    snprintf(url, sizeof url, "%s/tintype/tiny/resolve/main/loras/old-photo.safetensors",
             fake_models_url("huggingface"));
    expect_found(url);
    assert_true(begins_with(file.url, fake_models_url("huggingface_cdn")));
    assert_int_equal(file.size, size);
    assert_string_equal(file.digest, "");
    assert_string_equal(file.name, "old-photo.safetensors");
    snprintf(url, sizeof url, "%s/nothing.safetensors", fake_models_url("elsewhere"));
    expect_failure(url, TT_FETCH_GONE, "HTTP 404");
}

/* ---- keys, deadlines ---------------------------------------------------------------------------------------------- */

static void a_key_is_checked_by_asking(void **state) {
    (void)state;
    assert_int_equal(tt_source_check_civitai_key(&services, DEADLINE_MS, &error), TT_KEY_ACCEPTED);
    services.civitai_key = "no-such-key-here";
    assert_int_equal(tt_source_check_civitai_key(&services, DEADLINE_MS, &error), TT_KEY_REFUSED);
    assert_non_null(strstr(error.err.message, "CIVITAI_API_KEY"));
    services.civitai_key = NULL;
    assert_int_equal(tt_source_check_civitai_key(&services, DEADLINE_MS, &error), TT_KEY_ABSENT);
    services.hf_token = "";
    assert_int_equal(tt_source_check_hf_token(&services, DEADLINE_MS, &error), TT_KEY_ABSENT);
}

static void a_silent_server_costs_the_deadline_only(void **state) {
    (void)state;
    tt_reference r;
    fake_models_faults("{\"kind\": \"stall\", \"times\": null, \"params\": {\"before_head\": true, "
                       "\"seconds\": 30}, \"match\": {\"host\": \"civitai\"}}");
    services.time_divisor = 1;
    assert_int_equal(tt_reference_parse("civitai:202", &r, NULL), TT_OK);
    assert_int_not_equal(tt_source_resolve(&services, &r, 300, &file, &error), TT_OK);
    assert_int_equal(error.class_, TT_FETCH_DEADLINE);
    fake_models_faults("[]");
}

static void a_stop_ends_the_wait(void **state) {
    (void)state;
    static atomic_bool stopped;
    atomic_store(&stopped, true);
    services.stop = &stopped;
    fake_models_faults("{\"kind\": \"stall\", \"times\": null, \"params\": {\"before_head\": true, "
                       "\"seconds\": 30}, \"match\": {\"host\": \"civitai\"}}");
    expect_failure("civitai:202", TT_FETCH_CANCELLED, "cancelled");
    fake_models_faults("[]");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_version_leads_to_its_file_at_the_store),
        TEST(the_store_itself_is_not_asked),
        TEST(a_model_means_its_newest_version),
        TEST(the_file_is_chosen_here),
        TEST(without_a_key_the_sentence_names_the_variable),
        TEST(a_wrong_key_is_told_from_none),
        TEST(refusals_of_the_site_are_told),
        TEST(each_answer_of_the_endpoint_has_its_class),
        TEST(passing_troubles_are_waited_out),
        TEST(redirects_that_lead_astray_are_refused),
        TEST(keys_stay_with_the_site),
        TEST(the_guard_refuses_private_addresses),
        TEST(an_answer_that_leads_nowhere_is_no_redirect),
        TEST(what_ends_the_asking_names_the_model),
        TEST(a_size_that_is_no_number_is_no_promise),
        TEST(a_large_file_leads_to_the_signed_store),
        TEST(a_repository_with_one_model_needs_no_path),
        TEST(hubs_refusals_are_told),
        TEST(hubs_errors_have_their_class),
        TEST(an_object_becomes_a_signed_link),
        TEST(a_url_is_asked_for_one_byte),
        TEST(a_key_is_checked_by_asking),
        TEST(a_silent_server_costs_the_deadline_only),
        TEST(a_stop_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, fake_models_start, fake_models_stop);
}
