/* Every rule of the format has its own hostile file here, and its own sentence. The shipped model,
 * written by the format's own Python library, is the outside truth for well-formed files. */
#include "weights/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/safetensors_writer.c"

static char folder[] = "/tmp/tt_safetensors_XXXXXX";
static char path[128];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Opens `path`; the sentence must name the file and contain `sentence`. */
static void refuses_file(tt_status code, const char *sentence) {
    tt_err err = {0};
    tt_safetensors *s = (void *)1;
    tt_status status = tt_safetensors_open(path, TT_ST_PREAD, &s, &err);
    if (!strstr(err.message, sentence)) print_error("found: %s\n", err.message);
    assert_int_equal(status, code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, sentence));
    assert_non_null(strstr(err.message, path));
    assert_null(s);
}

static void refuses(const char *header, size_t data_size, const char *sentence) {
    char data[256] = {0};
    assert_true(data_size <= sizeof data);
    st_save_raw(path, strlen(header), header, strlen(header), data, data_size);
    refuses_file(TT_E_FORMAT, sentence);
}

static tt_safetensors *accepts(const char *header, size_t data_size) {
    char data[256] = {0};
    assert_true(data_size <= sizeof data);
    st_save_raw(path, strlen(header), header, strlen(header), data, data_size);
    tt_err err = {0};
    tt_safetensors *s = NULL;
    if (tt_safetensors_open(path, TT_ST_PREAD, &s, &err) != TT_OK) fail_msg("%s", err.message);
    return s;
}

/* "{"a":<entry>}" */
static void refuses_entry(const char *entry, size_t data_size, const char *sentence) {
    char header[512];
    snprintf(header, sizeof header, "{\"a\":%s}", entry);
    refuses(header, data_size, sentence);
}

/* ---- well-formed
 * ------------------------------------------------------------------------------------ */

static void reads_what_was_written(void **state) {
    (void)state;
    st_writer w;
    float values[6] = {1, -2, 3.5f, 0, 1e-3f, 9};
    st_begin(&w);
    st_metadata(&w, "format", "pt");
    st_metadata(&w, "note", "two\nlines \"quoted\" \\ and \xc3\xa9");
    st_add_f32(&w, "first", TT_F32, 2, (int64_t[]){2, 3}, values);
    st_add(&w, "odd", TT_U8, 1, (int64_t[]){3}, "abc"); /* the next tensor is not aligned */
    st_add_f32(&w, "half", TT_F16, 1, (int64_t[]){6}, values);
    st_save(&w, path);
    for (int access = TT_ST_PREAD; access <= TT_ST_MAP; access++) {
        tt_safetensors *s;
        assert_int_equal(tt_safetensors_open(path, (tt_st_access)access, &s, NULL), TT_OK);
        assert_int_equal(tt_safetensors_count(s), 3);
        assert_string_equal(tt_safetensors_at(s, 1)->name, "odd");
        assert_string_equal(tt_safetensors_metadata(s, "note"),
                            "two\nlines \"quoted\" \\ and \xc3\xa9");
        assert_null(tt_safetensors_metadata(s, "absent"));
        const tt_st_tensor *t = tt_safetensors_find(s, "first");
        assert_non_null(t);
        assert_int_equal(t->info.rank, 2);
        assert_int_equal(t->info.shape[1], 3);
        assert_int_equal(t->info.dtype, TT_F32);
        float back[6];
        assert_int_equal(tt_safetensors_read(s, t, 0, back, sizeof back, NULL), TT_OK);
        assert_memory_equal(back, values, sizeof back);
        assert_int_equal(tt_safetensors_read(s, t, 8, back, 4, NULL), TT_OK);
        assert_true(back[0] == 3.5f);
        assert_int_equal(tt_safetensors_read(s, t, 8, back, 20, NULL), TT_E_INTERNAL);
        assert_null(tt_safetensors_find(s, "firs"));
        assert_int_equal(tt_safetensors_mapped(s, t) != NULL, access == TT_ST_MAP);
        tt_safetensors_close(s);
    }
}

static void accepts_no_tensors_scalars_and_empty_dimensions(void **state) {
    (void)state;
    tt_safetensors_close(accepts("{}", 0));
    tt_safetensors_close(accepts("{\"__metadata__\":{}}", 0));
    tt_safetensors *s = accepts("{\"e\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[2,2]},"
                                "\"s\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}",
                                2);
    assert_int_equal(tt_safetensors_find(s, "s")->info.rank, 0);
    assert_int_equal(tt_safetensors_find(s, "e")->size, 0);
    tt_safetensors_close(s);
}

static void accepts_json_space_around_the_header(void **state) {
    (void)state;
    tt_safetensors_close(accepts(" \r\n\t{ \"a\" : { \"data_offsets\" : [ 0 , 1 ] , \"shape\" : [ "
                                 "1 ] , \"dtype\" : \"U8\" } "
                                 "} \r\n\t ",
                                 1));
}

static void accepts_tensors_in_any_order(void **state) {
    (void)state;
    tt_safetensors_close(accepts("{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                                 "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                 3));
}

static void decodes_escaped_names(void **state) {
    (void)state;
    tt_safetensors *s = accepts("{\"\\u0061\\/\\\"\\u00e9\\uD83D\\ude00\":"
                                "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                                0);
    assert_string_equal(tt_safetensors_at(s, 0)->name, "a/\"\xc3\xa9\xf0\x9f\x98\x80");
    tt_safetensors_close(s);
}

static void accepts_every_dtype(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    for (int i = 0; i < TT_DTYPE_COUNT; i++)
        st_add(&w, tt_dtype_name((tt_dtype)i), (tt_dtype)i, 1, (int64_t[]){3}, NULL);
    st_save(&w, path);
    tt_safetensors *s;
    assert_int_equal(tt_safetensors_open(path, TT_ST_PREAD, &s, NULL), TT_OK);
    for (int i = 0; i < TT_DTYPE_COUNT; i++)
        assert_int_equal(tt_safetensors_find(s, tt_dtype_name((tt_dtype)i))->info.dtype, i);
    tt_safetensors_close(s);
}

static void finds_each_of_many_tensors(void **state) {
    (void)state;
    enum { N = 3000 };
    st_writer w;
    char name[32];
    st_begin(&w);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "block.%d.weight", i);
        st_add(&w, name, TT_I32, 1, (int64_t[]){1}, &i);
    }
    st_save(&w, path);
    tt_safetensors *s;
    assert_int_equal(tt_safetensors_open(path, TT_ST_PREAD, &s, NULL), TT_OK);
    for (int i = 0; i < N; i++) {
        int value = -1;
        snprintf(name, sizeof name, "block.%d.weight", i);
        const tt_st_tensor *t = tt_safetensors_find(s, name);
        assert_non_null(t);
        assert_int_equal(tt_safetensors_read(s, t, 0, &value, sizeof value, NULL), TT_OK);
        assert_int_equal(value, i);
    }
    tt_safetensors_close(s);
}

static void opens_the_shipped_model(void **state) {
    (void)state;
    tt_err err = {0};
    tt_safetensors *s = NULL;
    if (tt_safetensors_open(TT_SOURCE_DIR "/models/tintype-tiny.safetensors", TT_ST_PREAD, &s,
                            &err) != TT_OK)
        fail_msg("%s", err.message);
    assert_true(tt_safetensors_count(s) > 900);
    assert_non_null(tt_safetensors_metadata(s, "tintype.config"));
    const tt_st_tensor *t = tt_safetensors_find(s, "model.diffusion_model.input_blocks.0.0.weight");
    assert_non_null(t);
    assert_int_equal(t->info.rank, 4);
    tt_safetensors_close(s);
}

/* ---- the file
 * --------------------------------------------------------------------------------------- */

static void refuses_other_kinds_of_file_by_name(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *sentence;
    } cases[] = {
        {"PK\3\4\0\0\x08\x08\0\0archive/data.pkl", 26, "convert it to safetensors"},
        {"\x80\x02\x8a\x0al\xfc\x9c", 7, "pickle"},
        {"\x80\x02}q\0(X\x05\0\0\0", 11, "pickle"},
        {"\x1f\x8b\x08\x08\x12\x34\x56\x78\0\x03", 10, "gzip"},
        {"<!DOCTYPE html><html>", 21, "web page"},
        {"\n  <html><head></head>", 22, "web page"},
        {"{\"error\":\"Unauthorized\"}", 24, "error answer"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:", 54, "git lfs pull"},
        {"GGUF\3\0\0\0\0\0\0\0", 12, "GGUF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        st_save_bytes(path, cases[i].bytes, cases[i].size);
        refuses_file(TT_E_FORMAT, cases[i].sentence);
    }
}

/* With no time stamp and no name a gzip file begins like a header of 559903 bytes. */
static void recognises_gzip_with_a_plausible_length(void **state) {
    (void)state;
    size_t size = 600000;
    char *bytes = calloc(1, size);
    memcpy(bytes, "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
    st_save_bytes(path, bytes, size);
    free(bytes);
    refuses_file(TT_E_FORMAT, "gzip");
}

static void refuses_what_is_not_a_file(void **state) {
    (void)state;
    tt_err err;
    tt_safetensors *s;
    assert_int_equal(tt_safetensors_open(folder, TT_ST_PREAD, &s, &err), TT_E_FORMAT);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(tt_safetensors_open("/nowhere/x", TT_ST_PREAD, &s, &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/x"));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuses_file(TT_E_FORMAT, "not a regular file");
    unlink(path);
}

static void refuses_empty_and_tiny_files(void **state) {
    (void)state;
    st_save_bytes(path, "", 0);
    refuses_file(TT_E_FORMAT, "is empty");
    st_save_bytes(path, "\2\0\0\0", 4);
    refuses_file(TT_E_FORMAT, "too few");
    st_save_bytes(path, "\0\0\0\0\0\0\0\0", 8);
    refuses_file(TT_E_FORMAT, "the header ends where '{' was expected");
}

static void refuses_header_lengths_that_cannot_be(void **state) {
    (void)state;
    st_save_raw(path, UINT64_MAX, "{}", 2, NULL, 0);
    refuses_file(TT_E_FORMAT, "the limit is 33554432");
    st_save_raw(path, UINT64_MAX - 7, "{}", 2, NULL, 0); /* 8 + N wraps around */
    refuses_file(TT_E_FORMAT, "the limit is 33554432");
    st_save_raw(path, TT_ST_MAX_HEADER_BYTES + 1, "{}", 2, NULL, 0);
    refuses_file(TT_E_FORMAT, "the limit is 33554432");
    st_save_raw(path, 3, "{}", 2, NULL, 0);
    refuses_file(TT_E_FORMAT, "the file is cut off: its header has 3 bytes, the whole file 10");
}

static void names_a_file_that_shrinks_while_open(void **state) {
    (void)state;
    tt_safetensors *s =
        accepts("{\"a\":{\"dtype\":\"U8\",\"shape\":[200],\"data_offsets\":[0,200]}}", 200);
    assert_int_equal(truncate(path, 100), 0);
    char bytes[200];
    tt_err err;
    assert_int_equal(tt_safetensors_read(s, tt_safetensors_at(s, 0), 0, bytes, 200, &err), TT_E_IO);
    assert_non_null(strstr(err.message, "became shorter"));
    assert_non_null(strstr(err.message, path));
    tt_safetensors_close(s);
}

/* ---- the JSON
 * --------------------------------------------------------------------------------------- */

static void refuses_json_that_is_not_a_header(void **state) {
    (void)state;
    refuses("[]", 0, "expected '{' at the start of the header, found '['");
    refuses("", 0, "the header ends where '{' was expected");
    refuses("{", 0, "expected a string as tensor name");
    refuses("{\"a\"}", 0, "expected ':'");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},}", 0,
            "expected a string as tensor name");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", 0,
            "the header ends where '}' was expected");
    refuses("{}{}", 0, "more text after");
    refuses("{} x", 0, "more text after");
    refuses("{\"a\":[]}", 0, "expected '{' before a tensor's fields");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[[[[[[]]]]]],\"data_offsets\":[0,0]}}", 0,
            "shape must hold whole numbers");
}

static void refuses_bad_strings(void **state) {
    (void)state;
    refuses("{\"a", 0, "ends inside a string");
    refuses("{\"a\\", 0, "ends inside a string");
    refuses("{\"a\\x\"", 0, "not an escape");
    refuses("{\"\\u12", 0, "four hexadecimal digits");
    refuses("{\"\\u12g4\"", 0, "four hexadecimal digits");
    refuses("{\"\\u0000\"", 0, "NUL");
    refuses("{\"\\ud800\"", 0, "surrogate");
    refuses("{\"\\ud800\\u0041\"", 0, "surrogate");
    refuses("{\"\\udc00\\ud800\"", 0, "surrogate");
    refuses("{\"a\nb\":", 0, "control character 10 inside a string");
    refuses("{\"a\\u0007b\":{}}", 0, "contains control character 7");
    refuses("{\"a\x7f\":{}}", 0, "contains control character 127");
    refuses("{\"\xff\xfe\":{}}", 0, "not valid UTF-8");
    refuses("{\"\xed\xa0\x80\":{}}", 0, "not valid UTF-8");
}

static void refuses_metadata_that_is_not_strings(void **state) {
    (void)state;
    refuses("{\"__metadata__\":[]}", 0, "expected '{' before the metadata");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, "expected a string as metadata value");
    refuses("{\"__metadata__\":{\"a\":null}}", 0, "expected a string as metadata value");
    refuses("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "expected a string as metadata value");
}

static void refuses_duplicates_of_any_key(void **state) {
    (void)state;
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
            "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
            0, "tensor \"a\" occurs twice");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
            "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
            0, "tensor \"a\" occurs twice");
    refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ occurs twice");
    refuses("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "metadata key \"k\" occurs twice");
    refuses_entry("{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", 0,
                  "dtype occurs twice");
}

static void refuses_incomplete_or_unknown_fields(void **state) {
    (void)state;
    refuses_entry("{\"shape\":[0],\"data_offsets\":[0,0]}", 0, "tensor \"a\": dtype is missing");
    refuses_entry("{\"dtype\":\"U8\",\"data_offsets\":[0,0]}", 0, "shape is missing");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[0]}", 0, "data_offsets is missing");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1}", 0,
                  "unknown field \"x\"");
    refuses_entry("{}", 0, "expected a string as field");
}

static void refuses_unknown_dtypes(void **state) {
    (void)state;
    refuses_entry("{\"dtype\":\"float\",\"shape\":[0],\"data_offsets\":[0,0]}", 0,
                  "\"float\" is not a dtype");
    const char *header = "{\"a\":{\"dtype\":\"F4\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    st_save_raw(path, strlen(header), header, strlen(header), NULL, 0);
    refuses_file(TT_E_UNSUPPORTED, "dtype F4 is not supported");
}

static void refuses_numbers_that_are_not_sizes(void **state) {
    (void)state;
    static const char *const bad[] = {"-1", "1.0", "1e3", "1E1", "01", "\"1\"", "null", "+1", ""};
    char entry[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(entry, sizeof entry, "{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,%s]}",
                 bad[i]);
        refuses_entry(entry, 2, "data_offsets must hold whole numbers");
    }
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[18446744073709551617],\"data_offsets\":[0,1]}", 1,
                  "larger than 2^63 - 1");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[9223372036854775808],\"data_offsets\":[0,1]}", 1,
                  "larger than 2^63 - 1");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}", 1, "expected ','");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}", 1, "expected ']'");
}

static void refuses_shapes_that_overflow(void **state) {
    (void)state;
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[3,9223372036854775807],\"data_offsets\":[0,254]}",
                  254, "overflows");
    refuses_entry("{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}", 0,
                  "overflows");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}", 1,
                  "more than 8 dimensions");
}

static void refuses_shapes_that_disagree_with_offsets(void **state) {
    (void)state;
    refuses_entry("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}", 4,
                  "tensor \"a\": shape and dtype need 8 bytes, data_offsets give 4");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,1]}", 2,
                  "before they begin");
}

static void refuses_data_that_is_not_tiled(void **state) {
    (void)state;
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
            6, "tensor \"b\" overlaps the one before it");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
            4, "overlaps");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
            3, "a hole before tensor \"b\"");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}", 2,
                  "a hole before tensor \"a\"");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}", 8,
                  "cut off: tensor \"a\" ends at byte 9 of 8 bytes");
    refuses_entry("{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}", 12,
                  "3 bytes after the last tensor");
    refuses("{}", 1, "1 bytes after the last tensor");
}

static void refuses_long_names_and_too_many_tensors(void **state) {
    (void)state;
    char name[TT_ST_MAX_NAME_BYTES + 2], header[700];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(header, sizeof header, "{\"%s\":{}}", name);
    refuses(header, 0, "has 513 bytes, the limit is 512");
    st_writer w;
    st_begin(&w);
    for (int i = 0; i <= TT_ST_MAX_TENSORS; i++) {
        snprintf(header, sizeof header, "%d", i);
        st_add(&w, header, TT_U8, 1, (int64_t[]){0}, NULL);
    }
    st_save(&w, path);
    refuses_file(TT_E_FORMAT, "more than 65536 tensors");
}

static void reports_where_the_header_is_wrong(void **state) {
    (void)state;
    const char *header = "{\"a\":{\"dtype\":7}}";
    st_save_raw(path, strlen(header), header, strlen(header), NULL, 0);
    tt_err err;
    tt_safetensors *s;
    assert_int_equal(tt_safetensors_open(path, TT_ST_PREAD, &s, &err), TT_E_FORMAT);
    assert_int_equal(err.position, 8 + 14);
}

static void survives_any_allocation_failing(void **state) {
    (void)state;
    st_writer w;
    char name[32];
    st_begin(&w);
    st_metadata(&w, "format", "pt");
    for (int i = 0; i < 600; i++) { /* enough for every table to grow */
        snprintf(name, sizeof name, "t%d", i);
        st_add(&w, name, TT_F32, 1, (int64_t[]){1}, NULL);
    }
    st_save(&w, path);
    tt_status status = TT_E_NOMEM;
    int64_t n = 0;
    for (; status != TT_OK; n++) {
        tt_err err = {0};
        tt_safetensors *s;
        tt_alloc_fail_after(n);
        status = tt_safetensors_open(path, TT_ST_PREAD, &s, &err);
        tt_alloc_fail_after(-1);
        if (status == TT_OK)
            tt_safetensors_close(s);
        else
            assert_int_equal(status, TT_E_NOMEM);
    }
    assert_true(n > 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(accepts_no_tensors_scalars_and_empty_dimensions),
        cmocka_unit_test(accepts_json_space_around_the_header),
        cmocka_unit_test(accepts_tensors_in_any_order),
        cmocka_unit_test(decodes_escaped_names),
        cmocka_unit_test(accepts_every_dtype),
        cmocka_unit_test(finds_each_of_many_tensors),
        cmocka_unit_test(opens_the_shipped_model),
        cmocka_unit_test(refuses_other_kinds_of_file_by_name),
        cmocka_unit_test(recognises_gzip_with_a_plausible_length),
        cmocka_unit_test(refuses_what_is_not_a_file),
        cmocka_unit_test(refuses_empty_and_tiny_files),
        cmocka_unit_test(refuses_header_lengths_that_cannot_be),
        cmocka_unit_test(names_a_file_that_shrinks_while_open),
        cmocka_unit_test(refuses_json_that_is_not_a_header),
        cmocka_unit_test(refuses_bad_strings),
        cmocka_unit_test(refuses_metadata_that_is_not_strings),
        cmocka_unit_test(refuses_duplicates_of_any_key),
        cmocka_unit_test(refuses_incomplete_or_unknown_fields),
        cmocka_unit_test(refuses_unknown_dtypes),
        cmocka_unit_test(refuses_numbers_that_are_not_sizes),
        cmocka_unit_test(refuses_shapes_that_overflow),
        cmocka_unit_test(refuses_shapes_that_disagree_with_offsets),
        cmocka_unit_test(refuses_data_that_is_not_tiled),
        cmocka_unit_test(refuses_long_names_and_too_many_tensors),
        cmocka_unit_test(reports_where_the_header_is_wrong),
        cmocka_unit_test(survives_any_allocation_failing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
