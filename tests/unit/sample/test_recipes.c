/* Names of distilled models' files as they are published, and what they are run with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sample/recipes.h"
#include "sample/sampler.h"

static void expect(const char *text, const char *name) {
    const tt_sample_recipe *r = tt_sample_recipe_find(text);
    const char *found = r ? r->name : "none";
    if (strcmp(found, name ? name : "none") != 0)
        fail_msg("%s: found %s, expected %s", text, found, name ? name : "none");
}

static void published_file_names_are_understood(void **state) {
    (void)state;
    expect("sd_xl_turbo_1.0_fp16.safetensors", "turbo");
    expect("sdxl_lightning_4step.safetensors", "lightning-4");
    expect("sdxl_lightning_2step_lora.safetensors", "lightning-2");
    expect("sdxl_lightning_8step_unet.safetensors", "lightning-8");
    expect("Hyper-SDXL-1step-lora.safetensors", "hyper-1");
    expect("Hyper-SDXL-2steps-lora.safetensors", "hyper-2");
    expect("Hyper-SDXL-8steps-lora.safetensors", "hyper-8");
    expect("Hyper-SDXL-8steps-CFG-lora.safetensors", "hyper-cfg-8");
    expect("Hyper-SDXL-12steps-CFG-lora.safetensors", "hyper-cfg-12");
    expect("lcm-lora-sdxl", "lcm");
    expect("TCD-SDXL-LoRA", "tcd");
    expect("dmd2_sdxl_4step_lora_fp16.safetensors", "dmd2-4");
    expect("dreamshaperXL_lightningDPMSDE.safetensors", "lightning-4");
    expect("DreamShaperXL_Turbo_v2_1.safetensors", "turbo");
}

/* Merges want settings of their own. */
static void only_the_makers_names_are_taken_unasked(void **state) {
    (void)state;
    static const struct {
        const char *file, *name;
    } cases[] = {
        {"sd_xl_turbo_1.0_fp16.safetensors", "turbo"},
        {"sdxl_lightning_4step.safetensors", "lightning-4"},
        {"Hyper-SDXL-8steps.safetensors", "hyper-8"},
        {"my-lightning_8-step-merge.safetensors", "lightning-8"},
        {"DreamShaperXL_Turbo_v2_1.safetensors", NULL},
        {"dreamshaperXL_lightningDPMSDE.safetensors", NULL},
        {"lcm-lora-sdxl", NULL},
        {"sd_xl_base_1.0.safetensors", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tt_sample_recipe *r = tt_sample_recipe_of_file(cases[i].file);
        if (!cases[i].name)
            assert_null(r);
        else
            assert_string_equal(r->name, cases[i].name);
    }
}

static void what_was_not_distilled_has_no_recipe(void **state) {
    (void)state;
    expect("", NULL);
    expect("sd_xl_base_1.0.safetensors", NULL);
    expect("hyperrealistic_v3.safetensors", NULL);
    expect("filcmaker.safetensors", NULL);
    expect("juggernautXL_v9.safetensors", NULL);
    expect("sdxl_lightning_1step_x0.safetensors", NULL); /* predicts the picture */
    expect("dmd2_sdxl_1step_unet.safetensors", NULL);
    expect("lightning-99999999999999999999step", NULL);
}

static void names_mean_themselves_in_any_case(void **state) {
    (void)state;
    for (const tt_sample_recipe *r = tt_sample_recipes(); r->name; r++) expect(r->name, r->name);
    expect("Lightning-8", "lightning-8");
    expect("lightning", "lightning-4");
    expect("Hyper", "hyper-8");
    expect("lcm-5", NULL);
}

static void every_recipe_makes_a_sampler(void **state) {
    (void)state;
    for (const tt_sample_recipe *r = tt_sample_recipes(); r->name; r++) {
        tt_sampler_options o;
        tt_err err;
        tt_sampler_options_defaults(&o);
        o.sampler = r->sampler;
        o.schedule = r->schedule;
        o.steps = r->steps;
        o.eta = r->eta;
        if (tt_sampler_check(&o, &err) != TT_OK) fail_msg("%s: %s", r->name, err.message);
        assert_true(r->guidance >= 1);
        assert_non_null(strstr(r->source, "https://"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_file_names_are_understood),
        cmocka_unit_test(only_the_makers_names_are_taken_unasked),
        cmocka_unit_test(what_was_not_distilled_has_no_recipe),
        cmocka_unit_test(names_mean_themselves_in_any_case),
        cmocka_unit_test(every_recipe_makes_a_sampler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
