/* The page of metrics: what is counted, and that what comes from outside cannot break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "app/metrics.h"
#include "unit/app/fake_engine.h"
#include "unit/app/fake_sdk.h"

enum { PAGE_BYTES = 64 * 1024 };
static char page[PAGE_BYTES];

static void assert_line(const char *line) {
    const char *at = strstr(page, line);
    if (!at || (at != page && at[-1] != '\n')) fail_msg("no line %s", line);
}

static void the_store_is_counted_where_there_is_one(void **state) {
    (void)state;
    tt_app_metrics m;
    tt_store_counts counts = {.fetched = 3,
                              .found = 5,
                              .bytes = UINT64_C(6938040682),
                              .seconds = 12.5,
                              .evicted = 1,
                              .evicted_bytes = 4,
                              .civitai_key = TT_KEY_ACCEPTED,
                              .hf_token = TT_KEY_ABSENT};
    counts.failed[TT_FETCH_AUTH] = 2;
    tt_app_metrics_init(&m);
    assert_true(tt_app_metrics_write(&m, NULL, page, sizeof page) > 0);
    assert_null(strstr(page, "tintype_store"));
    size_t size = tt_app_metrics_write(&m, &counts, page, sizeof page);
    assert_int_equal(size, strlen(page));
    assert_line("tintype_store_fetches_total 3\n");
    assert_line("tintype_store_failures_total{class=\"auth\"} 2\n");
    assert_line("tintype_store_failures_total{class=\"gone\"} 0\n");
    assert_line("tintype_store_found_total 5\n");
    assert_line("tintype_store_fetched_bytes_total 6938040682\n");
    assert_line("tintype_store_fetch_seconds_total 12.5\n");
    assert_line("tintype_store_evictions_total 1\n");
    assert_line("tintype_store_evicted_bytes_total 4\n");
    assert_line("tintype_civitai_key{state=\"accepted\"} 1\n");
    assert_line("tintype_civitai_key{state=\"refused\"} 0\n");
    assert_line("tintype_hf_token{state=\"absent\"} 1\n");
    tt_app_metrics_release(&m);
}

static void models_and_adapters_are_counted(void **state) {
    (void)state;
    tt_app_metrics m;
    tt_engine_info info = FAKE_INFO;
    tt_result fresh = {.n_pictures = 1, .n_adapters = 2},
              kept = {.n_pictures = 1, .n_adapters = 2, .adapters_were_kept = true};
    tt_app_metrics_init(&m);
    tt_app_metrics_opened(&m, &info, false);
    info.model_name = "a \"model\"\\\n";
    tt_app_metrics_opened(&m, &info, true);
    tt_app_metrics_drawn(&m, &fresh, 4, 1);
    tt_app_metrics_drawn(&m, &kept, 4, 1);
    assert_true(tt_app_metrics_write(&m, NULL, page, sizeof page) > 0);
    assert_line("tintype_engine_model_loads_total 2\n");
    assert_line("tintype_engine_model_switches_total 1\n");
    assert_line("tintype_engine_adapters_applied_total 2\n");
    assert_line("tintype_engine_adapters_kept_total 1\n");
    const char *line = strstr(page, "\ntintype_engine_open_model{model=\"a \\\"model\\\"\\\\");
    assert_non_null(line);
    assert_non_null(strstr(line, "\"} 1\n"));
    tt_app_metrics_release(&m);
}

/* OpenMetrics: each family says its type and help once, before its samples, and is not interrupted. */
static void every_sample_belongs_to_the_family_before_it(void **state) {
    (void)state;
    tt_app_metrics m;
    tt_engine_info info = FAKE_INFO;
    tt_store_counts counts = {.fetched = 1};
    char family[128] = "";
    tt_app_metrics_init(&m);
    tt_app_metrics_opened(&m, &info, false);
    assert_true(tt_app_metrics_write(&m, &counts, page, sizeof page) > 0);
    for (char *at = page; *at; at += strcspn(at, "\n") + 1) {
        if (strncmp(at, "# TYPE ", 7) == 0) {
            char again[160];
            snprintf(family, sizeof family, "%.*s", (int)strcspn(at + 7, " "), at + 7);
            snprintf(again, sizeof again, "# TYPE %s ", family);
            assert_null(strstr(at + 7, again));
        } else if (at[0] == '#')
            assert_memory_equal(strchr(at + 2, ' ') + 1, family, strlen(family));
        else
            assert_memory_equal(at, family, strlen(family));
    }
    tt_app_metrics_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_store_is_counted_where_there_is_one),
        cmocka_unit_test(models_and_adapters_are_counted),
        cmocka_unit_test(every_sample_belongs_to_the_family_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
