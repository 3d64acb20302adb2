/* Tables, grids and whole runs against diffusers' schedulers (tools/golden/samplers.py). */
#include "golden_file.h"
#include "golden_model.h"

#include <math.h>
#include <stdio.h>

#include "sample/sampler.h"
#include "unit/sample/new_sampler.h"

enum { N = GOLDEN_N, TABLE = 1000, GRID_STEPS = 200 };
static const uint64_t run_seed = 20240229;

static void sigma_tables_agree(golden_file *g) {
    double worst = 0;
    for (uint32_t n = golden_u32(g); n > 0; n--) {
        tt_training training;
        tt_training_defaults(&training);
        char betas[GOLDEN_NAME];
        float expected[TABLE];
        training.zero_terminal_snr = golden_f32(g) > 0;
        golden_take(g, betas, sizeof betas);
        golden_take(g, expected, sizeof expected);
        training.beta_schedule = betas;
        tt_noise_table table;
        assert_int_equal(tt_noise_table_init(&table, &training, true, NULL), TT_OK);
        for (int i = 0; i < TABLE; i++)
            worst = fmax(worst, golden_relative_error(table.sigmas[i], expected[i]));
        tt_noise_table_release(&table);
    }
    printf("sigma tables: worst relative error %.2g\n", worst);
    assert_true(worst <
                1e-5); /* 1.2e-7, but for zero-snr: torch's own square roots differ by an ulp */
}

static void grids_agree_for_1_to_200_steps(golden_file *g) {
    for (uint32_t n = golden_u32(g); n > 0; n--) {
        char sampler[GOLDEN_NAME], spacing[GOLDEN_NAME];
        double sums[GRID_STEPS];
        golden_take(g, sampler, sizeof sampler);
        golden_take(g, spacing, sizeof spacing);
        golden_take(g, sums, sizeof sums);
        for (int steps = 1; steps <= GRID_STEPS; steps++) {
            tt_sampler_options options;
            tt_sampler_options_defaults(&options);
            options.sampler = sampler;
            options.schedule = spacing;
            options.steps = steps;
            options.n_values = 1;
            tt_sampler *s;
            if (strcmp(sampler, "lcm") == 0 && steps > 50) { /* its grid has 50 points */
                assert_int_equal(tt_sampler_check(&options, NULL), TT_E_INVALID);
                continue;
            }
            assert_int_equal(tt_sampler_new(&options, &s, NULL), TT_OK);
            double sum = 0;
            for (int i = 0; i < steps; i++) sum += (double)tt_sampler_timesteps(s)[i] * (i + 1);
            tt_sampler_free(s);
            if (golden_relative_error(sum, sums[steps - 1]) > 1e-7)
                fail_msg("%s %s %d steps: weighted sum of timesteps %.9g, expected %.9g", sampler,
                         spacing, steps, sum, sums[steps - 1]);
        }
    }
}

typedef struct expected_run {
    char sampler[GOLDEN_NAME], schedule[GOLDEN_NAME], spacing[GOLDEN_NAME], betas[GOLDEN_NAME];
    uint32_t steps, v, zero_snr;
    float eta, init_scale;
    float timesteps[64], sigmas[65], latents[GOLDEN_KEPT];
    bool has_sigmas;
} expected_run;

static void take_run(golden_file *g, expected_run *e) {
    golden_take(g, e->sampler, sizeof e->sampler);
    golden_take(g, e->schedule, sizeof e->schedule);
    golden_take(g, e->spacing, sizeof e->spacing);
    golden_take(g, e->betas, sizeof e->betas);
    e->steps = golden_u32(g);
    e->v = golden_u32(g);
    e->zero_snr = golden_u32(g);
    e->eta = golden_f32(g);
    e->init_scale = golden_f32(g);
    assert_true(e->steps >= 1 && e->steps <= 64);
    golden_take(g, e->timesteps, e->steps * sizeof(float));
    e->has_sigmas = strcmp(e->sampler, "ddim") != 0 && strcmp(e->sampler, "lcm") != 0;
    if (e->has_sigmas) golden_take(g, e->sigmas, (e->steps + 1) * sizeof(float));
    golden_take(g, e->latents, sizeof e->latents);
}

static tt_sampler *sampler_of(const expected_run *e) {
    tt_sampler_options options;
    tt_sampler_options_defaults(&options);
    options.sampler = e->sampler;
    options.schedule = e->schedule;
    options.steps = (int)e->steps;
    options.n_values = N;
    options.prediction = e->v ? TT_SAMPLE_V : TT_SAMPLE_EPSILON;
    options.training.spacing = e->spacing;
    options.training.beta_schedule = e->betas;
    options.training.zero_terminal_snr = e->zero_snr != 0;
    if (strcmp(e->sampler, "ddim") == 0) options.eta = e->eta;
    return new_sampler(&options);
}

static double schedule_error(const tt_sampler *s, const expected_run *e) {
    double worst = golden_relative_error(tt_sampler_init_scale(s), e->init_scale);
    for (uint32_t i = 0; i < e->steps; i++)
        worst = fmax(worst, golden_relative_error(tt_sampler_timesteps(s)[i], e->timesteps[i]));
    for (uint32_t i = 0; e->has_sigmas && i <= e->steps; i++)
        worst = fmax(worst, golden_relative_error(tt_sampler_sigmas(s)[i], e->sigmas[i]));
    return worst;
}

static void describe(const expected_run *e, char *out, size_t size) {
    snprintf(out, size, "%s %s %u steps %s%s (spacing %s, %s, eta %g)", e->sampler, e->schedule,
             e->steps, e->v ? "v" : "epsilon", e->zero_snr ? " zero-snr" : "", e->spacing, e->betas,
             (double)e->eta);
}

static void runs_agree(golden_file *g) {
    double worst_schedule = 0, worst_latents = 0;
    char what[160], worst_what[160] = "";
    uint32_t n_runs = golden_u32(g);
    for (uint32_t n = 0; n < n_runs; n++) {
        expected_run e;
        take_run(g, &e);
        describe(&e, what, sizeof what);
        tt_sampler *s = sampler_of(&e);
        double schedule = schedule_error(s, &e);
        if (!(schedule < 1e-5)) fail_msg("%s: schedule differs by %.3g", what, schedule);
        float x[N];
        tt_noise noise;
        tt_noise_init(&noise, TT_NOISE_CPU_F32, run_seed);
        tt_noise_fill(&noise, x, N);
        for (int k = 0; k < N; k++) x[k] *= tt_sampler_init_scale(s);
        const tt_denoiser denoiser = {.model = golden_model};
        assert_int_equal(tt_sampler_run(s, x, &denoiser, &noise, NULL), TT_OK);
        tt_sampler_free(s);
        double latents = golden_latent_error(x, e.latents);
        if (!(latents < 1e-4)) fail_msg("%s: latents differ by %.3g deviations", what, latents);
        worst_schedule = fmax(worst_schedule, schedule);
        if (latents > worst_latents) memcpy(worst_what, what, sizeof what);
        worst_latents = fmax(worst_latents, latents);
    }
    printf("%u runs: schedules within %.2g, latents within %.2g deviations (worst: %s)\n", n_runs,
           worst_schedule, worst_latents, worst_what);
}

static void k_diffusion_schedules_agree(golden_file *g) {
    for (uint32_t n = golden_u32(g); n > 0; n--) {
        char schedule[GOLDEN_NAME];
        float timesteps[64], sigmas[64];
        golden_take(g, schedule, sizeof schedule);
        uint32_t steps = golden_u32(g);
        assert_true(steps >= 1 && steps <= 64);
        golden_take(g, timesteps, steps * sizeof(float));
        golden_take(g, sigmas, steps * sizeof(float));
        tt_sampler_options options;
        tt_sampler_options_defaults(&options);
        options.schedule = schedule;
        options.steps = (int)steps;
        options.n_values = 1;
        tt_sampler *s;
        assert_int_equal(tt_sampler_new(&options, &s, NULL), TT_OK);
        for (uint32_t i = 0; i < steps; i++) {
            assert_true(golden_relative_error(tt_sampler_timesteps(s)[i], timesteps[i]) < 1e-6);
            assert_true(golden_relative_error(tt_sampler_sigmas(s)[i], sigmas[i]) < 1e-6);
        }
        tt_sampler_free(s);
    }
}

static void agrees_with_diffusers(void **state) {
    (void)state;
    golden_file g;
    golden_open(&g, "samplers.bin");
    sigma_tables_agree(&g);
    grids_agree_for_1_to_200_steps(&g);
    runs_agree(&g);
    k_diffusion_schedules_agree(&g);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_diffusers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
