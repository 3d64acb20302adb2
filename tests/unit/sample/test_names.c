/* What people paste, and what it means here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sample/names.h"
#include "sample/sampler.h"

static void expect(const char *pasted, const char *sampler, const char *schedule) {
    const char *found_sampler, *found_schedule;
    tt_err err;
    if (tt_sample_lookup(pasted, &found_sampler, &found_schedule, &err) != TT_OK)
        fail_msg("%s: %s", pasted, err.message);
    if (strcmp(found_sampler, sampler) != 0)
        fail_msg("%s: found %s, expected %s", pasted, found_sampler, sampler);
    bool equal =
        schedule ? found_schedule && strcmp(found_schedule, schedule) == 0 : !found_schedule;
    if (!equal)
        fail_msg("%s: schedule %s, expected %s", pasted, found_schedule ? found_schedule : "none",
                 schedule ? schedule : "none");
}

static void names_from_a1111_are_understood(void **state) {
    (void)state;
    expect("DPM++ 2M Karras", "dpmpp_2m", "karras");
    expect("DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras");
    expect("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential");
    expect("dpm++ 2m", "dpmpp_2m", NULL);
    expect("DPM++ 2M SGM Uniform", "dpmpp_2m", "sgm_uniform");
    expect("Euler a", "euler_a", NULL);
    expect("Euler a Karras", "euler_a", "karras");
    expect("Euler", "euler", NULL);
    expect("Euler Uniform", "euler", "normal");
    expect("Euler Automatic", "euler", "default");
    expect("Heun", "heun", NULL);
    expect("DDIM", "ddim", NULL);
    expect("UniPC", "unipc", NULL);
    expect("LCM", "lcm", NULL);
    expect("LMS Karras", "lms", "karras");
    expect("DPM2", "dpm2", NULL);
    expect("DPM2 a Karras", "dpm2_a", "karras");
    expect("DPM++ SDE Karras", "dpmpp_sde", "karras");
    expect("DPM++ 2S a", "dpmpp_2s_a", NULL);
    expect("DPM++ 3M SDE Exponential", "dpmpp_3m_sde", "exponential");
    expect("PLMS", "pndm", NULL);
    expect("Euler a Beta", "euler_a", "beta");
    expect("DPM++ 2M Align Your Steps", "dpmpp_2m", "ays");
    expect("Euler KL Optimal", "euler", "kl_optimal");
}

static void names_from_comfyui_and_k_diffusion_are_understood(void **state) {
    (void)state;
    expect("dpmpp_2m", "dpmpp_2m", NULL);
    expect("dpmpp_2m_karras", "dpmpp_2m", "karras");
    expect("dpmpp_2m_sde_gpu", "dpmpp_2m_sde", NULL);
    expect("dpmpp_2m_sde_gpu karras", "dpmpp_2m_sde", "karras");
    expect("euler_ancestral", "euler_a", NULL);
    expect("euler_ancestral normal", "euler_a", "normal");
    expect("uni_pc", "unipc", NULL);
    expect("uni_pc_bh2", "unipc", NULL);
    expect("sample_euler_ancestral", "euler_a", NULL);
    expect("sample_dpmpp_2m", "dpmpp_2m", NULL);
    expect("dpm_2", "dpm2", NULL);
    expect("dpm_2_ancestral", "dpm2_a", NULL);
    expect("dpmpp_sde_gpu", "dpmpp_sde", NULL);
    expect("dpmpp_3m_sde_gpu exponential", "dpmpp_3m_sde", "exponential");
    expect("dpmpp_2s_ancestral", "dpmpp_2s_a", NULL);
    expect("res_multistep simple", "res_multistep", "simple");
    expect("euler_cfg_pp", "euler_cfgpp", NULL);
    expect("euler ddim_uniform", "euler", "ddim_uniform");
    expect("euler_linear_quadratic", "euler", "linear_quadratic");
}

static void names_from_diffusers_and_hosted_services_are_understood(void **state) {
    (void)state;
    expect("EulerDiscreteScheduler", "euler", NULL);
    expect("EulerDiscrete", "euler", NULL);
    expect("EulerAncestralDiscreteScheduler", "euler_a", NULL);
    expect("HeunDiscreteScheduler", "heun", NULL);
    expect("DPMSolverMultistepScheduler", "dpmpp_2m", NULL);
    expect("DPMSolverMultistep", "dpmpp_2m", NULL);
    expect("DDIMScheduler", "ddim", NULL);
    expect("UniPCMultistepScheduler", "unipc", NULL);
    expect("LCMScheduler", "lcm", NULL);
    expect("K_EULER", "euler", NULL);
    expect("K_EULER_ANCESTRAL", "euler_a", NULL);
    expect("KarrasDPM", "dpmpp_2m", "karras");
    expect("LMSDiscreteScheduler", "lms", NULL);
    expect("KDPM2DiscreteScheduler", "dpm2", NULL);
    expect("KDPM2AncestralDiscreteScheduler", "dpm2_a", NULL);
    expect("DPMSolverSDEScheduler", "dpmpp_sde", NULL);
    expect("TCDScheduler", "tcd", NULL);
    expect("EDMEulerScheduler", "euler", NULL);
    /* RunPod's worker-sdxl */
    expect("PNDM", "pndm", NULL);
    expect("KLMS", "lms", NULL);
    expect("DPMSolverSinglestep", "dpmpp_2s", NULL);
}

static void canonical_names_and_labels_mean_themselves(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++)
        for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++) {
            char pasted[128], label[TT_SAMPLE_LABEL_BYTES];
            snprintf(pasted, sizeof pasted, "%s_%s", *sampler, *schedule);
            expect(pasted, *sampler, *schedule);
            tt_sample_label(*sampler, *schedule, label);
            expect(label, *sampler, strcmp(*schedule, "default") == 0 ? NULL : *schedule);
        }
}

static void labels_are_what_people_write(void **state) {
    (void)state;
    char label[TT_SAMPLE_LABEL_BYTES];
    tt_sample_label("dpmpp_2m", "karras", label);
    assert_string_equal(label, "DPM++ 2M Karras");
    tt_sample_label("euler_a", NULL, label);
    assert_string_equal(label, "Euler a");
    tt_sample_label("dpmpp_2m_sde", "sgm_uniform", label);
    assert_string_equal(label, "DPM++ 2M SDE SGM Uniform");
    tt_sample_label("euler", "default", label);
    assert_string_equal(label, "Euler");
}

static void samplers_of_other_programs_are_named_unavailable(void **state) {
    (void)state;
    static const char *const others[] = {"DEIS",    "DPM fast",      "DPM adaptive Karras",
                                         "Restart", "DDPMScheduler", "ipndm"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const char *sampler, *schedule;
        tt_err err;
        assert_int_equal(tt_sample_lookup(others[i], &sampler, &schedule, &err), TT_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, others[i]));
        assert_non_null(strstr(err.message, "not available here; choose one of euler, euler_a"));
    }
}

static void unknown_names_are_refused_with_the_known_ones(void **state) {
    (void)state;
    static const char too_long[] = "a name that is far longer than every name of every sampler "
                                   "that anyone has ever written down, with a schedule";
    static const char *const unknown[] = {"",
                                          "karras",
                                          "Euler b",
                                          "Scheduler",
                                          "sample",
                                          "\xc3\xa9uler",
                                          "FlowMatchEulerDiscreteScheduler",
                                          "eulerrr",
                                          "Euler a a",
                                          "++++",
                                          too_long};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const char *sampler, *schedule;
        tt_err err;
        assert_int_equal(tt_sample_lookup(unknown[i], &sampler, &schedule, &err), TT_E_INVALID);
        assert_null(sampler);
        assert_non_null(strstr(err.message, "expected one of euler, euler_a, heun, dpmpp_2m"));
    }
}

static void schedules_alone_are_understood(void **state) {
    (void)state;
    const char *schedule;
    tt_err err;
    assert_int_equal(tt_sample_lookup_schedule("SGM Uniform", &schedule, &err), TT_OK);
    assert_string_equal(schedule, "sgm_uniform");
    assert_int_equal(tt_sample_lookup_schedule("Karras", &schedule, &err), TT_OK);
    assert_string_equal(schedule, "karras");
    assert_int_equal(tt_sample_lookup_schedule("Align Your Steps", &schedule, &err), TT_OK);
    assert_string_equal(schedule, "ays");
    assert_int_equal(tt_sample_lookup_schedule("Automatic", &schedule, &err), TT_OK);
    assert_string_equal(schedule, "default");
    assert_int_equal(tt_sample_lookup_schedule("gits", &schedule, &err), TT_E_INVALID);
    assert_string_equal(err.message,
                        "schedule: expected one of default, leading, trailing, linspace, normal, "
                        "karras, exponential, sgm_uniform, simple, beta, ays, kl_optimal, "
                        "ddim_uniform, linear_quadratic, found \"gits\"");
}

/* The lists in messages are written out; they must not drift from the tables. */
static void messages_list_every_name(void **state) {
    (void)state;
    const char *sampler, *schedule;
    tt_err err;
    tt_sample_lookup("?", &sampler, &schedule, &err);
    for (const char *const *name = tt_sample_sampler_names(); *name; name++)
        assert_non_null(strstr(err.message, *name));
    tt_sample_lookup_schedule("?", &schedule, &err);
    for (const char *const *name = tt_sample_schedule_names(); *name; name++)
        assert_non_null(strstr(err.message, *name));
}

static void every_listed_pair_makes_a_sampler(void **state) {
    (void)state;
    for (const char *const *sampler = tt_sample_sampler_names(); *sampler; sampler++)
        for (const char *const *schedule = tt_sample_schedule_names(); *schedule; schedule++) {
            tt_sampler_options options;
            tt_err err;
            tt_sampler_options_defaults(&options);
            options.sampler = *sampler;
            options.schedule = *schedule;
            if (tt_sampler_check(&options, &err) != TT_OK) fail_msg("%s", err.message);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_from_a1111_are_understood),
        cmocka_unit_test(names_from_comfyui_and_k_diffusion_are_understood),
        cmocka_unit_test(names_from_diffusers_and_hosted_services_are_understood),
        cmocka_unit_test(canonical_names_and_labels_mean_themselves),
        cmocka_unit_test(labels_are_what_people_write),
        cmocka_unit_test(samplers_of_other_programs_are_named_unavailable),
        cmocka_unit_test(unknown_names_are_refused_with_the_known_ones),
        cmocka_unit_test(schedules_alone_are_understood),
        cmocka_unit_test(messages_list_every_name),
        cmocka_unit_test(every_listed_pair_makes_a_sampler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
