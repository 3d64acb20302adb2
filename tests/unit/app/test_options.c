/* The table of options, and the two texts that are made from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "app/help.h"
#include "app/options.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/nearest.h"
#include "unit/app/fake_engine.h"

enum { TEXT_BYTES = 1 << 20, HELP_COLUMNS = 100 };
enum { EVERY_COMMAND = TT_FOR_RUN | TT_FOR_WORKER | TT_FOR_DEV };

static tt_buf help_text(void) {
    tt_buf text;
    tt_err err;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_help_options(EVERY_COMMAND, TT_HELP_ALL, &text, &err), TT_OK);
    return text;
}

static json_object *schema_fields(json_object **root) {
    tt_buf text;
    tt_err err;
    json_object *at;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_help_schema(&text, &err), TT_OK);
    assert_int_equal(tt_json_parse(text.data, text.size, root, &err), TT_OK);
    tt_buf_release(&text);
    assert_true(json_object_object_get_ex(*root, "properties", &at));
    assert_true(json_object_object_get_ex(at, "input", &at));
    assert_true(json_object_object_get_ex(at, "properties", &at));
    return at;
}

static void every_row_is_complete(void **state) {
    (void)state;
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        assert_true(row->flag || row->field || row->environment);
        if (row->flag) assert_non_null(row->environment);
        assert_true(tt_option_is_for((tt_option_id)i, EVERY_COMMAND));
        assert_int_equal(row->id, i); /* the rows stand in the order of the ids */
        assert_non_null(tt_option_group((tt_option_id)i));
        assert_non_null(row->help);
        assert_non_null(row->example);
        assert_true(row->fixed_default || row->default_text);
        if (row->type == TT_OPTION_CHOICE || row->type == TT_OPTION_NAME)
            assert_non_null(row->choices);
        if (row->type == TT_OPTION_INTEGER || row->type == TT_OPTION_NUMBER)
            assert_true(row->minimum <= row->maximum);
        if (row->type == TT_OPTION_SWITCH) assert_null(row->value_name);
        if (row->type == TT_OPTION_LIST) assert_non_null(row->items);
    }
}

static void every_name_leads_to_one_row(void **state) {
    (void)state;
    tt_option_id id;
    const char *spelling;
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        if (row->flag) {
            assert_true(tt_option_find_flag(row->flag, strlen(row->flag), &id, &spelling));
            assert_int_equal(id, i);
            assert_string_equal(spelling, row->flag);
        }
        if (row->field) {
            assert_true(tt_option_find_field(row->field, &id, &spelling));
            assert_int_equal(id, i);
        }
        for (int k = 0; k < TT_OPTION_ALIASES && row->field_aliases[k]; k++) {
            assert_true(tt_option_find_field(row->field_aliases[k], &id, &spelling));
            assert_int_equal(id, i);
            assert_string_equal(spelling, row->field_aliases[k]);
        }
        for (int k = 0; k < TT_OPTION_ALIASES && row->flag_aliases[k]; k++) {
            assert_true(tt_option_find_flag(row->flag_aliases[k], strlen(row->flag_aliases[k]), &id,
                                            &spelling));
            assert_int_equal(id, i);
        }
    }
}

static void names_of_existing_clients_are_known(void **state) {
    (void)state;
    static const struct {
        const char *field;
        tt_option_id id;
    } cases[] = {{"num_inference_steps", TT_OPT_STEPS},
                 {"guidance_scale", TT_OPT_CFG},
                 {"cfg", TT_OPT_CFG},
                 {"scheduler", TT_OPT_SAMPLER},
                 {"num_images", TT_OPT_COUNT},
                 {"count", TT_OPT_COUNT},
                 {"batch", TT_OPT_COUNT},
                 {"output_format", TT_OPT_FORMAT},
                 {"negative_prompt", TT_OPT_NEGATIVE_PROMPT},
                 {"high_noise_frac", TT_OPT_REFINER_START},
                 {"denoising_strength", TT_OPT_STRENGTH},
                 {"init_image", TT_OPT_IMAGE},
                 {"image_url", TT_OPT_IMAGE},
                 {"mask_image", TT_OPT_MASK},
                 {"subseed", TT_OPT_VARIATION_SEED},
                 {"hr_scale", TT_OPT_HIRES_SCALE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_option_id id;
        const char *spelling;
        assert_true(tt_option_find_field(cases[i].field, &id, &spelling));
        assert_int_equal(id, cases[i].id);
    }
}

static void a_flag_is_found_by_its_whole_name_only(void **state) {
    (void)state;
    tt_option_id id;
    const char *spelling;
    assert_false(tt_option_find_flag("--step", 6, &id, &spelling));
    assert_false(tt_option_find_flag("--steps24", 9, &id, &spelling));
    assert_true(tt_option_find_flag("--steps=24", 7, &id, &spelling));
    assert_int_equal(id, TT_OPT_STEPS);
}

static void every_row_appears_in_the_help(void **state) {
    (void)state;
    tt_buf text = help_text();
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        const char *name = row->flag ? row->flag : row->field ? row->field : row->environment;
        if (!strstr(text.data, name)) fail_msg("%s is not in the help", name);
        if (row->environment && !strstr(text.data, row->environment))
            fail_msg("%s is not in the help", row->environment);
        if (row->field && !strstr(text.data, row->field))
            fail_msg("%s is not in the help", row->field);
    }
    tt_buf_release(&text);
}

/* As typed: the flag and a value, whatever stands between. */
static void every_flag_has_an_example_in_the_help(void **state) {
    (void)state;
    tt_buf text = help_text();
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        char start[64];
        if (!row->flag) continue;
        snprintf(start, sizeof start, "Example: %s", row->flag);
        if (!strstr(text.data, start)) fail_msg("%s has no example", row->flag);
    }
    assert_non_null(strstr(text.data, "Example: --steps 24\n"));
    assert_non_null(strstr(text.data, "Example: --sampler \"DPM++ 2M Karras\"\n"));
    assert_non_null(strstr(text.data, "Example: --json\n"));
    tt_buf_release(&text);
}

static void the_short_help_has_the_common_options_only(void **state) {
    (void)state;
    tt_buf text, all = help_text();
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_help_options(TT_FOR_RUN, TT_HELP_SHORT, &text, NULL), TT_OK);
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        char start[64];
        if (!row->flag || !tt_option_is_for((tt_option_id)i, TT_FOR_RUN)) continue;
        snprintf(start, sizeof start, "\n  %s%s", row->flag, row->value_name ? " " : "");
        assert_int_equal(strstr(text.data, start) != NULL, row->is_common);
    }
    assert_true(text.size < all.size / 3);
    assert_null(strstr(text.data, "TINTYPE_"));
    tt_buf_release(&text);
    tt_buf_release(&all);
}

static void the_help_is_readable_at_100_columns(void **state) {
    (void)state;
    tt_buf text = help_text();
    int n_lines = 0;
    for (const char *line = text.data; *line;) {
        size_t length = strcspn(line, "\n");
        if (length > HELP_COLUMNS) fail_msg("%zu columns: %.*s", length, (int)length, line);
        if (length > 0) assert_int_not_equal(line[length - 1], ' ');
        line += length + (line[length] == '\n');
        n_lines++;
    }
    assert_true(n_lines > TT_OPTION_COUNT);
    tt_buf_release(&text);
}

static void every_field_appears_in_the_schema_under_all_its_names(void **state) {
    (void)state;
    json_object *root, *fields = schema_fields(&root), *at;
    int n_expected = 0;
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        if (!row->field) continue;
        n_expected++;
        assert_true(json_object_object_get_ex(fields, row->field, &at));
        assert_true(json_object_object_get_ex(at, "description", NULL));
        for (int k = 0; k < TT_OPTION_ALIASES && row->field_aliases[k]; k++, n_expected++)
            assert_true(json_object_object_get_ex(fields, row->field_aliases[k], NULL));
    }
    assert_int_equal(json_object_object_length(fields), n_expected);
    json_object_put(root);
}

static void the_schema_states_ranges_and_defaults(void **state) {
    (void)state;
    json_object *root, *fields = schema_fields(&root), *width, *count, *v;
    assert_true(json_object_object_get_ex(fields, "width", &width));
    assert_true(json_object_object_get_ex(width, "minimum", &v));
    assert_int_equal(json_object_get_int(v), 64);
    assert_true(json_object_object_get_ex(width, "maximum", &v));
    assert_int_equal(json_object_get_int(v), 4096);
    assert_true(json_object_object_get_ex(width, "multipleOf", &v));
    assert_int_equal(json_object_get_int(v), 8);
    assert_true(json_object_object_get_ex(fields, "num_images", &count));
    assert_true(json_object_object_get_ex(count, "default", &v));
    assert_int_equal(json_object_get_int(v), 1);
    json_object_put(root);
}

/* What an entry of the list may look like is told by the schema, and read by request_loras.c. */
static void the_schema_tells_what_a_lora_is(void **state) {
    (void)state;
    json_object *root, *fields = schema_fields(&root), *at;
    static const char *const members[] = {"name", "source", "scale", "unet",
                                          "te",   "te1",    "te2",   "blocks"};
    assert_true(json_object_object_get_ex(fields, "loras", &at));
    assert_true(json_object_object_get_ex(at, "items", &at));
    assert_true(json_object_object_get_ex(at, "anyOf", &at));
    assert_true(json_object_object_get_ex(json_object_array_get_idx(at, 1), "properties", &at));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        assert_true(json_object_object_get_ex(at, members[i], NULL));
    json_object_put(root);
}

static tt_status write_help(tt_buf *out, tt_err *err) {
    return tt_help_options(EVERY_COMMAND, TT_HELP_ALL, out, err);
}

static void a_command_tells_its_own_options_only(void **state) {
    (void)state;
    tt_buf text;
    tt_buf_init(&text, TEXT_BYTES);
    assert_int_equal(tt_help_options(TT_FOR_WORKER, TT_HELP_ALL, &text, NULL), TT_OK);
    assert_non_null(strstr(text.data, "--port"));
    assert_non_null(strstr(text.data, "--model"));
    assert_non_null(strstr(text.data, "TINTYPE_API_KEY"));
    assert_null(strstr(text.data, "--prompt"));
    assert_null(strstr(text.data, "--once"));
    tt_buf_release(&text);
}

/* Flags can be read by everybody on the machine. */
static void secrets_have_no_flag(void **state) {
    (void)state;
    assert_null(tt_option_get(TT_OPT_API_KEY)->flag);
    assert_null(tt_option_get(TT_OPT_WEBHOOK_SECRET)->flag);
}

static void texts_survive_failed_allocations(void **state) {
    (void)state;
    tt_status (*const writers[])(tt_buf *, tt_err *) = {write_help, tt_help_schema};
    for (size_t k = 0; k < 2; k++) {
        tt_status status = TT_E_NOMEM;
        int n = 0;
        for (; status != TT_OK && n < 1000; n++) {
            tt_buf text;
            tt_err err;
            tt_buf_init(&text, TEXT_BYTES);
            tt_alloc_fail_after(n);
            status = writers[k](&text, &err);
            tt_alloc_fail_after(-1);
            if (status != TT_OK) assert_int_equal(status, TT_E_NOMEM);
            tt_buf_release(&text);
        }
        assert_int_equal(status, TT_OK);
        assert_true(n > 1);
    }
}

static void distances_count_single_edits(void **state) {
    (void)state;
    assert_int_equal(tt_edit_distance("", ""), 0);
    assert_int_equal(tt_edit_distance("", "abc"), 3);
    assert_int_equal(tt_edit_distance("steps", "steps"), 0);
    assert_int_equal(tt_edit_distance("step", "steps"), 1);
    assert_int_equal(tt_edit_distance("stesp", "steps"), 1);
    assert_int_equal(tt_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(tt_edit_distance("CFG-scale", "cfg_scale"), 0);
}

static void a_slip_finds_the_name_meant(void **state) {
    (void)state;
    assert_string_equal(tt_option_nearest_field("promt"), "prompt");
    assert_string_equal(tt_option_nearest_field("negativ_prompt"), "negative_prompt");
    assert_string_equal(tt_option_nearest_field("guidence_scale"), "guidance_scale");
    assert_string_equal(tt_option_nearest_flag("--sead", TT_FOR_RUN), "--seed");
    assert_string_equal(tt_option_nearest_flag("--no_preview", TT_FOR_RUN), "--no-preview");
    assert_null(tt_option_nearest_field("xyzzy"));
    assert_null(tt_option_nearest_field(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(every_name_leads_to_one_row),
        cmocka_unit_test(names_of_existing_clients_are_known),
        cmocka_unit_test(a_flag_is_found_by_its_whole_name_only),
        cmocka_unit_test(every_row_appears_in_the_help),
        cmocka_unit_test(every_flag_has_an_example_in_the_help),
        cmocka_unit_test(the_short_help_has_the_common_options_only),
        cmocka_unit_test(the_help_is_readable_at_100_columns),
        cmocka_unit_test(every_field_appears_in_the_schema_under_all_its_names),
        cmocka_unit_test(the_schema_states_ranges_and_defaults),
        cmocka_unit_test(the_schema_tells_what_a_lora_is),
        cmocka_unit_test(a_command_tells_its_own_options_only),
        cmocka_unit_test(secrets_have_no_flag),
        cmocka_unit_test(texts_survive_failed_allocations),
        cmocka_unit_test(distances_count_single_edits),
        cmocka_unit_test(a_slip_finds_the_name_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
