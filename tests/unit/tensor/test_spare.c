/* Memory of freed weights: who gets it, and that nobody keeps it. */
#include "tensor/spare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "tensor/ops.h"

enum { SIZE = 1 << 20 };

static void blocks_are_kept_only_between_begin_and_end(void **state) {
    (void)state;
    tt_spare s;
    void *p = tt_alloc_aligned(SIZE);
    tt_spare_init(&s);
    assert_false(tt_spare_put(&s, p, SIZE));
    tt_spare_begin(&s);
    assert_true(tt_spare_put(&s, p, SIZE));
    assert_null(tt_spare_take(&s, SIZE - 1));
    assert_ptr_equal(tt_spare_take(&s, SIZE), p);
    assert_null(tt_spare_take(&s, SIZE));
    assert_true(tt_spare_put(&s, p, SIZE));
    tt_spare_end(&s); /* frees it: the leak checker says if not */
    assert_null(tt_spare_take(&s, SIZE));
    tt_spare_release(&s);
}

static void each_size_finds_its_own(void **state) {
    (void)state;
    enum { N = 5 };
    tt_spare s;
    void *blocks[N];
    tt_spare_init(&s);
    tt_spare_begin(&s);
    for (size_t i = 0; i < N; i++) {
        blocks[i] = tt_alloc_aligned(SIZE + i);
        assert_true(tt_spare_put(&s, blocks[i], SIZE + i));
    }
    for (size_t i = 0; i < N; i++) assert_ptr_equal(tt_spare_take(&s, SIZE + i), blocks[i]);
    for (size_t i = 0; i < N; i++) tt_free(blocks[i]);
    tt_spare_release(&s);
}

static void small_blocks_and_none_are_not_kept(void **state) {
    (void)state;
    tt_spare s;
    int small = 0;
    tt_spare_init(&s);
    tt_spare_begin(&s);
    assert_false(tt_spare_put(&s, &small, sizeof small));
    assert_false(tt_spare_put(&s, NULL, SIZE));
    tt_spare_release(&s);
}

/* On the reference back-end, whose weights are plain copies. */
static void a_new_weight_takes_the_place_of_a_freed_one(void **state) {
    (void)state;
    enum { SIDE = 512 };
    tt_err err;
    tt_ops *ops;
    const tt_ops_options how = {TT_BACKEND_REF, TT_F32, 1};
    assert_int_equal(tt_ops_open(&how, &ops, &err), TT_OK);
    float *plain = tt_alloc(SIDE * SIDE * sizeof *plain), bias[SIDE] = {0};
    tt_weight *w;
    assert_int_equal(tt_weight_linear(ops, plain, bias, SIDE, SIDE, &w, &err), TT_OK);
    size_t bytes = tt_ops_weight_bytes(ops);
    tt_ops_recycle_begin(ops);
    tt_weight_free(ops, w);
    assert_int_equal(tt_ops_weight_bytes(ops), 0);
    tt_alloc_fail_after(
        2); /* after the weight and its bias: memory for its data is not asked for */
    tt_status status = tt_weight_linear(ops, plain, bias, SIDE, SIDE, &w, &err);
    tt_alloc_fail_after(-1);
    assert_int_equal(status, TT_OK);
    assert_int_equal(tt_ops_weight_bytes(ops), bytes);
    tt_weight_free(ops, w);
    tt_ops_recycle_end(ops);
    tt_free(plain);
    tt_ops_close(ops);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_kept_only_between_begin_and_end),
        cmocka_unit_test(each_size_finds_its_own),
        cmocka_unit_test(small_blocks_and_none_are_not_kept),
        cmocka_unit_test(a_new_weight_takes_the_place_of_a_freed_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
