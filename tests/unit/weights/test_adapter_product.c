/* The small matrix product: exactly the sums that it promises, whatever the processor and however a matrix is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weights/adapter_product.c"

enum { MAX_SIDE = 140, MAX_DEPTH = 300, PANEL = 64 /* k is summed in panels of this depth */ };

static float a[MAX_SIDE * MAX_DEPTH], b[MAX_DEPTH * MAX_SIDE];
static float c[MAX_SIDE * MAX_SIDE], expected[MAX_SIDE * MAX_SIDE];

static void fill(float *values, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)(seed >> 8) / (float)(1 << 23) - 1.0f;
    }
}

/* One rounding per multiplication and addition, k in order, a panel at a time. */
static void plain(const tt__product *p, float *out) {
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++)
            for (int64_t first = 0; first < p->k; first += PANEL) {
                float sum = 0;
                for (int64_t k = first; k < p->k && k < first + PANEL; k++) {
                    float product = p->a[i * p->lda + k] * p->b[k * p->ldb + j];
                    sum += product;
                }
                float scaled = p->scale * sum;
                out[i * p->ldc + j] += scaled;
            }
}

static void check_sizes(void (*run)(const tt__product *)) {
    static const int64_t sizes[][3] = {{1, 1, 1},   {1, 33, 2},    {3, 31, 4},    {6, 32, 32},
                                       {7, 65, 17}, {13, 129, 64}, {64, 36, 129}, {139, 100, 300},
                                       {0, 5, 5},   {5, 0, 5},     {5, 5, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        fill(c, sizeof c / sizeof *c, 3);
        memcpy(expected, c, sizeof c);
        tt__product p = {m, n, k, a, b, k + 1 <= MAX_DEPTH ? k + 1 : k, n, 0.7f, c, MAX_SIDE};
        if (m > 0 && n > 0 && k > 0) run(&p); /* tt__product_run sees to the others */
        plain(&p, expected);
        assert_memory_equal(c, expected, sizeof c); /* and nothing outside is touched */
    }
}

static void every_size_gives_the_plain_sums_bit_for_bit(void **state) {
    (void)state;
    check_sizes(tt__product_run);
    check_sizes(run_plain);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) check_sizes(run_avx);
    if (__builtin_cpu_supports("avx512f")) check_sizes(run_avx512);
#endif
    float one = 1;
    tt__product_run(&(tt__product){.m = 0, .n = 1, .k = 1, .c = &one});
    tt__product_run(&(tt__product){.m = 1, .n = 1, .k = 0, .c = &one});
    assert_true(one == 1);
}

static void cutting_rows_changes_no_bit(void **state) {
    (void)state;
    tt__product p = {50, 70, 40, a, b, 40, 70, 1.5f, expected, 70};
    memset(c, 0, sizeof c);
    memset(expected, 0, sizeof expected);
    tt__product_run(&p);
    for (int64_t i = 0; i < 50; i++)
        tt__product_run(&(tt__product){1, 70, 40, a + i * 40, b, 40, 70, 1.5f, c + i * 70, 70});
    assert_memory_equal(c, expected, sizeof c);
}

static int begin(void **state) {
    (void)state;
    fill(a, sizeof a / sizeof *a, 1);
    fill(b, sizeof b / sizeof *b, 2);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gives_the_plain_sums_bit_for_bit),
        cmocka_unit_test(cutting_rows_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
