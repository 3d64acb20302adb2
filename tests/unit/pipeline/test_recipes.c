/* Recipes of distilled models: by name onto a request, and from a model's file name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sample/names.h"
#include "sample/recipes.h"
#include "tintype/engine.h"

#define MODEL TT_SOURCE_DIR "/models/tintype-tiny.safetensors"

static tt_err err;

static void the_names_are_those_of_the_recipes(void **state) {
    (void)state;
    const char *const *names = tt_recipe_names();
    int n = 0;
    for (const tt_sample_recipe *r = tt_sample_recipes(); r->name; r++)
        assert_string_equal(names[n++], r->name);
    assert_null(names[n]);
}

static void a_recipe_is_written_into_the_request(void **state) {
    (void)state;
    for (const tt_sample_recipe *recipe = tt_sample_recipes(); recipe->name; recipe++) {
        tt_request r;
        tt_request_defaults(NULL, &r);
        r.prompt = "";
        assert_int_equal(tt_recipe_apply(recipe->name, &r, &err), TT_OK);
        assert_string_equal(r.sampler, recipe->sampler);
        assert_string_equal(r.schedule, recipe->schedule);
        assert_int_equal(r.steps, recipe->steps);
        assert_true(r.guidance == recipe->guidance);
        assert_int_equal(tt_request_check(&r, &err), TT_OK);
    }
    tt_request r;
    tt_request_defaults(NULL, &r);
    assert_int_equal(tt_recipe_apply("Hyper-SDXL-8steps-lora.safetensors", &r, &err), TT_OK);
    assert_int_equal(r.steps, 8);
    assert_int_equal(tt_recipe_apply("slow", &r, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "lightning-4"));
    assert_non_null(strstr(err.message, "found \"slow\""));
    assert_int_equal(tt_recipe_apply(NULL, &r, &err), TT_E_INVALID);
}

/* What people call a recipe's sampler and schedule is understood again: it is a model's default_sampler. */
static void labels_of_recipes_are_names_of_samplers(void **state) {
    (void)state;
    for (const tt_sample_recipe *r = tt_sample_recipes(); r->name; r++) {
        char label[TT_SAMPLE_LABEL_BYTES];
        const char *sampler, *schedule;
        tt_sample_label(r->sampler, r->schedule, label);
        assert_int_equal(tt_sampler_lookup(label, &sampler, &schedule, &err), TT_OK);
        assert_string_equal(sampler, r->sampler);
        if (strcmp(r->schedule, "default") != 0) assert_string_equal(schedule, r->schedule);
    }
}

/* The tiny model says itself what it wants: its name does not count then, but for what it leaves open. */
static void a_file_s_own_words_come_before_its_name(void **state) {
    (void)state;
    char folder[] = "/tmp/tt-recipes-XXXXXX", path[96];
    tt_engine *engine;
    tt_engine_options options;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tiny-lightning-4step.safetensors", folder);
    assert_int_equal(symlink(MODEL, path), 0);
    tt_engine_options_defaults(&options);
    options.model_path = path;
    options.n_threads = 1;
    if (tt_engine_open(&options, &engine, &err)) fail_msg("%s", err.message);
    const tt_engine_info *info = tt_engine_get_info(engine);
    assert_string_equal(info->recipe, "lightning-4");
    assert_int_equal(info->default_steps, 24);
    assert_string_equal(info->default_sampler, "dpmpp_2m_karras");
    assert_false(info->paints_in);
    assert_null(info->refiner_name);
    tt_engine_close(engine);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_are_those_of_the_recipes),
        cmocka_unit_test(a_recipe_is_written_into_the_request),
        cmocka_unit_test(labels_of_recipes_are_names_of_samplers),
        cmocka_unit_test(a_file_s_own_words_come_before_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
