/* The noise streams against torch's (tools/golden/samplers.py) and against published vectors. */
#include "golden_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sample/noise.h"

enum { LATENTS = 4 * 128 * 128, ENDS = 32 };

static double largest_difference(const float *found, const float *expected, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)found[i] - expected[i]);
        if (!(difference <= worst)) worst = difference;
    }
    return worst;
}

/* Draws one recorded call and compares both ends of it. */
static double check_call(golden_file *g, tt_noise *noise) {
    uint32_t n = golden_u32(g);
    uint32_t kept = n < ENDS ? n : ENDS;
    float first[ENDS], last[ENDS];
    golden_take(g, first, kept * sizeof(float));
    golden_take(g, last, kept * sizeof(float));
    float *values = malloc(n * sizeof *values); /* exactly n: the sanitizer sees a write beyond */
    assert_non_null(values);
    tt_noise_fill(noise, values, n);
    double worst = fmax(largest_difference(values, first, kept),
                        largest_difference(values + n - kept, last, kept));
    free(values);
    return worst;
}

static void cpu_streams_match_torch(void **state) {
    (void)state;
    golden_file g;
    double worst[2] = {0};
    golden_open(&g, "noise.bin");
    for (uint32_t n = golden_u32(&g); n > 0; n--) {
        char name[GOLDEN_NAME];
        uint64_t seed;
        tt_noise_kind kind;
        tt_noise noise;
        golden_take(&g, name, sizeof name);
        golden_take(&g, &seed, sizeof seed);
        assert_int_equal(tt_noise_kind_parse(name, &kind, NULL), TT_OK);
        tt_noise_init(&noise, kind, seed);
        for (uint32_t calls = golden_u32(&g); calls > 0; calls--)
            worst[kind] = fmax(worst[kind], check_call(&g, &noise));
    }
    golden_close(&g);
    printf("cpu: within %.2g; cpu-f16: within %.2g\n", worst[TT_NOISE_CPU_F32],
           worst[TT_NOISE_CPU_F16]);
    assert_true(worst[TT_NOISE_CPU_F32] <= 2e-6);
    assert_true(worst[TT_NOISE_CPU_F16] == 0);
}

static void expect_start(tt_noise *noise, const float *expected, int n, double tolerance) {
    float *values = malloc(LATENTS * sizeof *values);
    assert_non_null(values);
    tt_noise_fill(noise, values, LATENTS);
    double worst = largest_difference(values, expected, n);
    free(values);
    if (!(worst <= tolerance))
        fail_msg("%s, seed %llu: differs by %.3g", tt_noise_kind_name(noise->kind),
                 (unsigned long long)noise->seed, worst);
}

/* Values printed by torch 1.13 for float16, by a CUDA card for float32. */
static void half_and_cuda_streams_match_published_vectors(void **state) {
    (void)state;
    tt_noise noise;
    tt_noise_init(&noise, TT_NOISE_CPU_F16, 0);
    expect_start(&noise, (float[]){-.90088f, .48120f, 1.19824f, .90527f, .79980f, -.25488f}, 6,
                 6e-6);
    tt_noise_init(&noise, TT_NOISE_CPU_F16, 42);
    expect_start(&noise, (float[]){.38672f, 1.47168f, .14685f, -1.11914f}, 4, 6e-6);
    tt_noise_init(&noise, TT_NOISE_CUDA, 0);
    expect_start(&noise,
                 (float[]){-.924662f, -.425344f, -2.643846f, .145184f, -.120867f, -.579726f}, 6,
                 2e-6);
    tt_noise_init(&noise, TT_NOISE_CUDA, 42);
    expect_start(&noise, (float[]){.194019f, 2.161374f, -.172051f, .849061f}, 4, 2e-6);
    expect_start(&noise, (float[]){.139138f, -.108216f, -.717422f}, 3, 2e-6);
}

static void only_cuda_reads_the_high_half_of_the_seed(void **state) {
    (void)state;
    for (tt_noise_kind kind = TT_NOISE_CPU_F32; kind <= TT_NOISE_CUDA; kind++) {
        tt_noise low, high;
        float a[64], b[64];
        tt_noise_init(&low, kind, 5);
        tt_noise_init(&high, kind, (UINT64_C(1) << 32) + 5);
        tt_noise_fill(&low, a, 64);
        tt_noise_fill(&high, b, 64);
        bool equal = memcmp(a, b, sizeof a) == 0;
        assert_true(equal == (kind != TT_NOISE_CUDA));
    }
}

static void stream_goes_on_over_calls_of_whole_blocks(void **state) {
    (void)state;
    tt_noise once, twice;
    float a[64], b[64];
    tt_noise_init(&once, TT_NOISE_CPU_F32, 9);
    tt_noise_init(&twice, TT_NOISE_CPU_F32, 9);
    tt_noise_fill(&once, a, 16);
    tt_noise_fill(&once, a + 16, 48);
    tt_noise_fill(&twice, b, 16);
    tt_noise_fill(&twice, b + 16, 48);
    assert_memory_equal(a, b, sizeof a);
    tt_noise_init(&twice, TT_NOISE_CPU_F32, 9);
    tt_noise_fill(&twice, b, 16);
    assert_memory_equal(a, b, 16 * sizeof *a);
    assert_true(memcmp(a, a + 16, 16 * sizeof *a) != 0);
}

static void f32_draw_from_a_half_stream_is_single_precision(void **state) {
    (void)state;
    tt_noise half, single;
    float a[32], b[32];
    tt_noise_init(&half, TT_NOISE_CPU_F16, 3);
    tt_noise_init(&single, TT_NOISE_CPU_F32, 3);
    tt_noise_fill_f32(&half, a, 32);
    tt_noise_fill(&single, b, 32);
    assert_memory_equal(a, b, sizeof a);
}

static void normals_have_mean_0_and_deviation_1(void **state) {
    (void)state;
    float *values = malloc(LATENTS * sizeof *values);
    assert_non_null(values);
    for (tt_noise_kind kind = TT_NOISE_CPU_F32; kind <= TT_NOISE_CUDA; kind++) {
        tt_noise noise;
        double sum = 0, squares = 0;
        tt_noise_init(&noise, kind, 1234);
        tt_noise_fill(&noise, values, LATENTS);
        for (int i = 0; i < LATENTS; i++) {
            sum += values[i];
            squares += (double)values[i] * values[i];
        }
        assert_true(fabs(sum / LATENTS) < 0.02);
        assert_true(fabs(squares / LATENTS - 1) < 0.02);
    }
    free(values);
}

static void drawing_nothing_changes_nothing(void **state) {
    (void)state;
    tt_noise noise, before;
    tt_noise_init(&noise, TT_NOISE_CUDA, 1);
    before = noise;
    tt_noise_fill(&noise, NULL, 0);
    assert_int_equal(noise.n_calls, before.n_calls);
}

static void names_round_trip_and_others_are_refused(void **state) {
    (void)state;
    tt_noise_kind kind;
    tt_err err;
    for (tt_noise_kind k = TT_NOISE_CPU_F32; k <= TT_NOISE_CUDA; k++) {
        assert_int_equal(tt_noise_kind_parse(tt_noise_kind_name(k), &kind, &err), TT_OK);
        assert_int_equal(kind, k);
    }
    assert_int_equal(tt_noise_kind_parse(NULL, &kind, &err), TT_OK);
    assert_int_equal(kind, TT_NOISE_CPU_F32);
    assert_int_equal(tt_noise_kind_parse("gpu", &kind, &err), TT_E_INVALID);
    assert_string_equal(err.message, "noise: expected cpu, cpu-f16 or cuda, found \"gpu\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_streams_match_torch),
        cmocka_unit_test(half_and_cuda_streams_match_published_vectors),
        cmocka_unit_test(only_cuda_reads_the_high_half_of_the_seed),
        cmocka_unit_test(stream_goes_on_over_calls_of_whole_blocks),
        cmocka_unit_test(f32_draw_from_a_half_stream_is_single_precision),
        cmocka_unit_test(normals_have_mean_0_and_deviation_1),
        cmocka_unit_test(drawing_nothing_changes_nothing),
        cmocka_unit_test(names_round_trip_and_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
