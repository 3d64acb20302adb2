/* Seeds against numpy.random.SeedSequence, the tree against torchsde (tools/golden/manners.py). */
#include "golden_file.h"

#include <math.h>
#include <stdio.h>

#include "sample/brownian.h"
#include "sample/seed_sequence.h"

enum { N = 64 };

static void expect_words(uint64_t entropy, const uint32_t *path, int n_path,
                         const uint32_t *words) {
    uint32_t found[4];
    tt_seed_sequence(entropy, path, n_path, found, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(found[i], words[i]);
}

/* numpy 2.4: SeedSequence(entropy, spawn_key=..., pool_size=24).generate_state(4). */
static void seeds_are_numpys(void **state) {
    (void)state;
    expect_words(UINT64_C(0), NULL, 0,
                 (uint32_t[]){4025752534u, 2687548107u, 2326983537u, 1576567101u});
    expect_words(UINT64_C(42), NULL, 0,
                 (uint32_t[]){387750627u, 2536650517u, 4078839648u, 2023786165u});
    expect_words(UINT64_C(9223372036854788153), NULL, 0,
                 (uint32_t[]){1681691819u, 895059929u, 1593388169u, 2439609406u});
    expect_words(UINT64_C(0), (uint32_t[]){0, 0}, 2,
                 (uint32_t[]){245430115u, 3436620678u, 4120055464u, 1627243804u});
    expect_words(UINT64_C(42), (uint32_t[]){5, 3}, 2,
                 (uint32_t[]){3084123560u, 468215949u, 242942938u, 2650128260u});
    expect_words(UINT64_C(9223372036854788153), (uint32_t[]){4097, 13}, 2,
                 (uint32_t[]){3180078107u, 3522840428u, 1406803659u, 1809320809u});
}

static void tree_is_torchsdes(void **state) {
    (void)state;
    golden_file g;
    float found[N], expected[N], scratch[TT_BROWNIAN_SCRATCH * N];
    double worst = 0, paths[TT_BROWNIAN_ENDS * N];
    golden_open(&g, "brownian.bin");
    for (uint32_t trees = golden_u32(&g); trees > 0; trees--) {
        uint64_t seed;
        golden_take(&g, &seed, sizeof seed);
        float low = golden_f32(&g), high = golden_f32(&g);
        tt_brownian tree;
        tt_brownian_init(&tree, TT_NOISE_CPU_F32, seed, low, high, N, scratch, paths);
        for (uint32_t queries = golden_u32(&g); queries > 0; queries--) {
            float from = golden_f32(&g), to = golden_f32(&g);
            golden_take(&g, expected, sizeof expected);
            tt_brownian_fill(&tree, from, to, found);
            for (int k = 0; k < N; k++) worst = fmax(worst, fabs((double)found[k] - expected[k]));
        }
    }
    golden_close(&g);
    printf("tree: within %.2g\n", worst);
    assert_true(worst < 5e-6); /* 9.5e-7 */
}

static void a_path_adds_up_whatever_is_asked_first(void **state) {
    (void)state;
    float scratch[TT_BROWNIAN_SCRATCH * N], whole[N], part[N], again[N], sum[N] = {0};
    const float ends[] = {14.6f, 9.25f, 9.2f, 3.5f, 0.7f, 0.03f};
    double paths[TT_BROWNIAN_ENDS * N];
    tt_brownian tree;
    tt_brownian_init(&tree, TT_NOISE_CPU_F32, 7, 0.03f, 14.6f, N, scratch, paths);
    tt_brownian_fill(&tree, ends[0], ends[5], whole);
    for (int i = 0; i < 5; i++) {
        tt_brownian_fill(&tree, ends[i], ends[i + 1], part);
        for (int k = 0; k < N; k++) sum[k] += part[k] * sqrtf(ends[i] - ends[i + 1]);
    }
    for (int k = 0; k < N; k++)
        assert_float_equal(sum[k], whole[k] * sqrtf(ends[0] - ends[5]), 1e-4f);
    tt_brownian_fill(&tree, ends[0], ends[5], again);
    assert_memory_equal(whole, again, sizeof whole);
    tt_brownian_fill(&tree, ends[5], ends[0], again); /* the other way */
    for (int k = 0; k < N; k++) assert_float_equal(again[k], -whole[k], 0);
}

/* The step before ends where the next begins; what is remembered of it changes nothing. */
static void what_was_asked_before_changes_nothing(void **state) {
    (void)state;
    float scratch[TT_BROWNIAN_SCRATCH * N], walked[N], alone[N];
    double paths[TT_BROWNIAN_ENDS * N];
    const float ends[] = {9, 7, 8.5f, 7, 3, 3.5f, 9, 2.25f, 7};
    tt_brownian walk, single;
    tt_brownian_init(&walk, TT_NOISE_CPU_F32, 3, 1, 9, N, scratch, paths);
    for (size_t i = 0; i + 1 < sizeof ends / sizeof ends[0]; i++) {
        float other_scratch[TT_BROWNIAN_SCRATCH * N];
        double other_paths[TT_BROWNIAN_ENDS * N];
        tt_brownian_init(&single, TT_NOISE_CPU_F32, 3, 1, 9, N, other_scratch, other_paths);
        tt_brownian_fill(&walk, ends[i], ends[i + 1], walked);
        tt_brownian_fill(&single, ends[i], ends[i + 1], alone);
        assert_memory_equal(walked, alone, sizeof walked);
    }
}

static void queries_are_kept_inside_and_may_be_empty(void **state) {
    (void)state;
    float scratch[TT_BROWNIAN_SCRATCH * N], inside[N], outside[N];
    double paths[TT_BROWNIAN_ENDS * N];
    tt_brownian tree;
    tt_brownian_init(&tree, TT_NOISE_CUDA, 7, 1, 2, N, scratch, paths);
    tt_brownian_fill(&tree, 2, 1, inside);
    tt_brownian_fill(&tree, 5, 1, outside);
    for (int k = 0; k < N; k++) assert_float_equal(outside[k], inside[k] / 2, 1e-6f);
    tt_brownian_fill(&tree, 1, 0.5f, outside);
    for (int k = 0; k < N; k++) assert_true(outside[k] == 0);
    tt_brownian_fill(&tree, 1.5f, 1.5f, outside);
    for (int k = 0; k < N; k++) assert_true(outside[k] == 0);
    tt_brownian_fill(&tree, 1.500001f, 1.5f, outside); /* as short as times are kept */
    for (int k = 0; k < N; k++) assert_true(isfinite(outside[k]) && outside[k] != 0);
}

static void noise_has_mean_0_and_deviation_1(void **state) {
    (void)state;
    enum { MANY = 65536 };
    static float scratch[TT_BROWNIAN_SCRATCH * MANY], values[MANY];
    static double paths[TT_BROWNIAN_ENDS * MANY];
    tt_brownian tree;
    tt_brownian_init(&tree, TT_NOISE_CPU_F32, 11, 0.03f, 14.6f, MANY, scratch, paths);
    tt_brownian_fill(&tree, 3.3f, 2.9f, values);
    double sum = 0, squares = 0;
    for (int k = 0; k < MANY; k++) {
        sum += values[k];
        squares += (double)values[k] * values[k];
    }
    assert_true(fabs(sum / MANY) < 0.02);
    assert_true(fabs(squares / MANY - 1) < 0.02);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_are_numpys),
        cmocka_unit_test(tree_is_torchsdes),
        cmocka_unit_test(a_path_adds_up_whatever_is_asked_first),
        cmocka_unit_test(what_was_asked_before_changes_nothing),
        cmocka_unit_test(queries_are_kept_inside_and_may_be_empty),
        cmocka_unit_test(noise_has_mean_0_and_deviation_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
