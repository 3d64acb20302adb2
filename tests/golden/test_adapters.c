/* Every kind of adapter and every family of keys, merged into the test models and compared with tools/golden/adapters.py
 * (numpy in f64 from the papers' formulas; what PEFT and diffusers support was compared with them when the data was made). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/counter.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/json_tree.h"
#include "weights/adapter.h"

/* Of the tensor's largest value. Measured: 1.2e-7, which is f32 itself. */
#define LARGEST_RELATIVE_ERROR 1e-6
#define ADAPTERS               "adapters/"

enum { MAX_USES = 8, NAME_BYTES = 256 };

static double worst; /* over all cases, for the message at the end */

typedef struct used {
    int n;
    tt_adapter *adapters[MAX_USES];
    tt_adapter_strength strengths[MAX_USES];
} used;

static json_object *item(json_object *array, size_t i) {
    return json_object_array_get_idx(array, i);
}

static void open_all(used *u, json_object *c, const tt_checkpoint *checkpoint) {
    tt_err err;
    json_object *uses = member(c, "uses");
    u->n = (int)json_object_array_length(uses);
    assert_in_range(u->n, 1, MAX_USES);
    for (int i = 0; i < u->n; i++) {
        char relative[NAME_BYTES];
        json_object *use = item(uses, (size_t)i);
        snprintf(relative, sizeof relative, ADAPTERS "%s.safetensors",
                 json_object_get_string(item(use, 0)));
        TT_GOLDEN_OK(
            tt_adapter_open(tt_golden_data_path(relative), checkpoint, &u->adapters[i], &err), err);
        assert_int_equal(tt_adapter_get_report(u->adapters[i])->n_unmatched, 0);
        u->strengths[i] = tt_adapter_strength_all((float)json_object_get_double(item(use, 1)));
    }
}

static void close_all(used *u) {
    for (int i = 0; i < u->n; i++) tt_adapter_close(u->adapters[i]);
}

static void merge(const used *u, const tt_checkpoint *c, const char *name, float *values,
                  size_t n) {
    tt_err err;
    memset(values, 0, n * sizeof *values); /* a bias that the checkpoint does not have */
    if (tt_checkpoint_has(c, name))
        TT_GOLDEN_OK(tt_checkpoint_read(c, name, TT_F32, -1, NULL, values, &err), err);
    bool is_touched = false;
    for (int i = 0; i < u->n; i++) {
        is_touched = is_touched || tt_adapter_touches(u->adapters[i], name, &u->strengths[i]);
        TT_GOLDEN_OK(tt_adapter_apply(u->adapters[i], name, &u->strengths[i], values, n, &err),
                     err);
    }
    assert_true(is_touched);
}

static void near(double found, double expected, double scale, const char *what, const char *name,
                 const char *file) {
    double error = fabs(found - expected) / scale;
    if (error > worst) worst = error;
    if (!(error <= LARGEST_RELATIVE_ERROR))
        fail_msg("%s, %s: %s is %.9g, expected %.9g (%.2g)", file, name, what, found, expected,
                 error);
}

static void compare(json_object *t, const float *values, size_t n, const char *file) {
    const char *name = tt_golden_string(t, "name");
    double squares = 0, along = 0, largest = tt_golden_number(t, "largest");
    float *probe = tt_alloc(n * sizeof *probe);
    tt_counter_fill("probe", 1, 0, probe, n);
    for (size_t i = 0; i < n; i++) {
        squares += (double)values[i] * (double)values[i];
        along += (double)values[i] * (double)probe[i];
    }
    tt_free(probe);
    json_object *at = member(t, "at"), *expected = member(t, "values");
    for (size_t i = 0; i < json_object_array_length(at); i++)
        near((double)values[json_object_get_int64(item(at, i))],
             json_object_get_double(item(expected, i)), largest, "an element", name, file);
    double norm = sqrt(tt_golden_number(t, "squares"));
    near(sqrt(squares), norm, norm, "the norm", name, file);
    near(along, tt_golden_number(t, "probe"), norm, "the sum along the probe", name, file);
}

static void check_case(json_object *c, tt_golden_layout layout) {
    tt_golden_path path;
    tt_checkpoint *checkpoint;
    used u = {0};
    tt_err err;
    TT_GOLDEN_OK(tt_golden_model(tt_golden_string(c, "model"), layout, &path, &err), err);
    TT_GOLDEN_OK(tt_checkpoint_open(path.text, &checkpoint, &err), err);
    open_all(&u, c, checkpoint);
    json_object *tensors = member(c, "tensors");
    const char *file = json_object_get_string(item(item(member(c, "uses"), 0), 0));
    for (size_t i = 0; i < json_object_array_length(tensors); i++) {
        json_object *t = item(tensors, i);
        size_t n = (size_t)tt_golden_number(t, "count");
        float *values = tt_alloc_aligned(n * sizeof *values);
        merge(&u, checkpoint, tt_golden_string(t, "name"), values, n);
        compare(t, values, n, file);
        tt_free(values);
    }
    close_all(&u);
    tt_checkpoint_close(checkpoint);
}

static void merged_weights_are_as_the_formulas_say(tt_golden_layout layout) {
    json_object *cases = tt_golden_cases(ADAPTERS "cases.json");
    for (size_t i = 0; i < json_object_array_length(cases); i++) check_case(item(cases, i), layout);
    print_message("%zu cases, largest error %.2g\n", json_object_array_length(cases), worst);
    json_object_put(cases);
}

static void merged_weights_of_an_ldm_file_are_right(void **state) {
    (void)state;
    merged_weights_are_as_the_formulas_say(TT_GOLDEN_LDM);
}

static void merged_weights_of_a_folder_are_right(void **state) {
    (void)state;
    merged_weights_are_as_the_formulas_say(TT_GOLDEN_FOLDER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_weights_of_an_ldm_file_are_right),
        cmocka_unit_test(merged_weights_of_a_folder_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
