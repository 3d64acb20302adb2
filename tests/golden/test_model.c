/* The random models that the other golden tests open: the C writer must arrive at the bytes that
 * the Python tool computed, or no comparison below means anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "support/counter.h"
#include "support/golden_model.h"

static const char *const models[] = {"kernel", "quirks", "pruned", "vpred"};
enum { N_MODELS = sizeof models / sizeof *models };

/* From tools/golden/counter.py: uniform("a tensor", 4). */
static void counter_gives_the_values_python_gives(void **state) {
    (void)state;
    static const float expected[] = {0x1.de80c20000000p-1f, -0x1.51d7040000000p-2f,
                                     0x1.81f5ee0000000p-1f, -0x1.0a36ca0000000p-1f};
    float found[4];
    tt_counter_fill("a tensor", 1, 0, found, 4);
    assert_memory_equal(found, expected, sizeof expected);
}

static int64_t manifest_crc32(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tests/golden/data/models/%s.json.gz", TT_SOURCE_DIR, name);
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    static char text[4 << 20];
    int size = gzread(file, text, sizeof text - 1);
    gzclose(file);
    assert_in_range(size, 1, sizeof text - 2);
    text[size] = 0;
    json_object *root = json_tokener_parse(text), *ldm, *crc;
    assert_true(json_object_object_get_ex(root, "ldm", &ldm));
    assert_true(json_object_object_get_ex(ldm, "crc32", &crc));
    int64_t value = json_object_get_int64(crc);
    json_object_put(root);
    return value;
}

/* Of everything after the header. */
static int64_t data_crc32(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint64_t header;
    assert_int_equal(fread(&header, sizeof header, 1, file), 1);
    assert_int_equal(fseek(file, (long)header, SEEK_CUR), 0);
    static unsigned char block[1 << 16];
    uLong crc = crc32(0, NULL, 0);
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) crc = crc32(crc, block, (uInt)n);
    fclose(file);
    return (int64_t)crc;
}

static void ldm_file_has_the_bytes_python_computed(void **state) {
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        tt_golden_path path;
        tt_err err;
        if (tt_golden_model(models[i], TT_GOLDEN_LDM, &path, &err)) fail_msg("%s", err.message);
        assert_int_equal(data_crc32(path.text), manifest_crc32(models[i]));
    }
}

static void asking_twice_gives_the_same_folder(void **state) {
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        tt_golden_path one, two;
        tt_err err;
        assert_int_equal(tt_golden_model(models[i], TT_GOLDEN_FOLDER, &one, &err), TT_OK);
        assert_int_equal(tt_golden_model(models[i], TT_GOLDEN_FOLDER, &two, &err), TT_OK);
        assert_string_equal(one.text, two.text);
    }
}

static void unknown_model_is_named(void **state) {
    (void)state;
    tt_golden_path path;
    tt_err err;
    assert_int_equal(tt_golden_model("nothing", TT_GOLDEN_LDM, &path, &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "nothing.json.gz"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_gives_the_values_python_gives),
        cmocka_unit_test(ldm_file_has_the_bytes_python_computed),
        cmocka_unit_test(asking_twice_gives_the_same_folder),
        cmocka_unit_test(unknown_model_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
