/* From a manifest to a model on disk.
 *
 * A manifest (gzip, JSON) has
 *     tensors: [[canonical name, shape, scale, offset], ...]
 *     ldm:     {metadata: {...}, tensors: [[stored name, dtype, operation, shape, [tensor
 * numbers]], ...]} folder:  {files: {path: text}, weights: {path: [[stored name, dtype, tensor
 * number], ...]}} Operations: copy, stack (rows one after the other), transpose, marker (no values:
 * shape [0]).
 *
 * Files are written beside their final name and renamed, so that what is found is whole. */
#include "support/golden_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "support/counter.h"
#include "support/temp_tree.h"
#include "tensor/tensor.h"

#define MAX_MANIFEST_BYTES (4 * TT_MIB) /* they are 0.3 MB */
#define MAX_HEADER_BYTES   (4 * TT_MIB)

enum { MAX_PARTS = 3, MAX_NAME = 256, HEADER_ALIGN = 8 };

typedef struct manifest {
    const char *name;  /* borrowed */
    json_object *root; /* owned */
    json_object *tensors;
    uint64_t hash;
} manifest;

/* One tensor of a file to be written. */
typedef struct row {
    const char *name, *dtype, *operation;
    json_object *shape;
    int64_t parts[MAX_PARTS]; /* tensor numbers */
    int n_parts;
} row;

/* ---- reading the manifest
 * --------------------------------------------------------------------------- */

static tt_status read_gzip(const char *path, tt_buf *out, tt_err *err) {
    gzFile file = gzopen(path, "rb");
    if (!file) return tt_fail_errno(err, "cannot read", path);
    int got = 0;
    tt_status status = TT_OK;
    do {
        status = tt_buf_reserve(out, 64 * TT_KIB, err);
        if (status) break;
        got = gzread(file, out->data + out->size, 64 * TT_KIB);
        if (got > 0) out->size += (size_t)got;
    } while (got > 0);
    if (!status && got < 0) status = tt_fail(err, TT_E_FORMAT, "%s: not a gzip file", path);
    gzclose(file);
    return status;
}

static tt_status manifest_open(const char *name, manifest *m, tt_err *err) {
    *m = (manifest){.name = name};
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tests/golden/data/models/%s.json.gz", TT_SOURCE_DIR, name);
    tt_buf text;
    tt_buf_init(&text, MAX_MANIFEST_BYTES);
    tt_status status = read_gzip(path, &text, err);
    if (!status) status = tt_json_parse(text.data, text.size, &m->root, err);
    if (!status) m->hash = tt_fnv1a64(text.data, text.size);
    if (!status && !json_object_object_get_ex(m->root, "tensors", &m->tensors))
        status = tt_fail(err, TT_E_FORMAT, "%s: no tensors", path);
    tt_buf_release(&text);
    return status;
}

static void manifest_close(manifest *m) {
    json_object_put(m->root);
    m->root = NULL;
}

static json_object *at(json_object *array, size_t i) {
    return json_object_array_get_idx(array, i);
}

static size_t shape_count(json_object *shape) {
    size_t count = 1;
    for (size_t i = 0; i < json_object_array_length(shape); i++)
        count *= (size_t)json_object_get_int64(at(shape, i));
    return count;
}

/* Rows of the ldm file have five members, rows of a folder three. */
static row parse_row(const manifest *m, json_object *r) {
    row out = {.name = json_object_get_string(at(r, 0)), .dtype = json_object_get_string(at(r, 1))};
    if (json_object_array_length(r) == 3) {
        out.operation = "copy";
        out.n_parts = 1;
        out.parts[0] = json_object_get_int64(at(r, 2));
        out.shape = at(at(m->tensors, (size_t)out.parts[0]), 1);
        return out;
    }
    out.operation = json_object_get_string(at(r, 2));
    out.shape = at(r, 3);
    json_object *parts = at(r, 4);
    size_t n = json_object_array_length(parts);
    out.n_parts = n < MAX_PARTS ? (int)n : MAX_PARTS;
    for (int i = 0; i < out.n_parts; i++)
        out.parts[i] = json_object_get_int64(at(parts, (size_t)i));
    return out;
}

/* ---- values
 * ----------------------------------------------------------------------------------------- */

static void fill(const manifest *m, int64_t number, float *out) {
    json_object *t = at(m->tensors, (size_t)number);
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s/%s", m->name, json_object_get_string(at(t, 0)));
    tt_counter_fill(name, (float)json_object_get_double(at(t, 2)),
                    (float)json_object_get_double(at(t, 3)), out, shape_count(at(t, 1)));
}

/* in [rows, columns] -> out [columns, rows] */
static void transpose(const float *in, float *out, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) out[c * rows + r] = in[r * columns + c];
    }
}

static void row_values(const manifest *m, const row *r, float *out, float *spare) {
    float *next = strcmp(r->operation, "transpose") == 0 ? spare : out;
    for (int i = 0; i < r->n_parts; i++) {
        fill(m, r->parts[i], next);
        next += shape_count(at(at(m->tensors, (size_t)r->parts[i]), 1));
    }
    if (strcmp(r->operation, "transpose") == 0) {
        size_t columns = (size_t)json_object_get_int64(at(r->shape, 0));
        transpose(spare, out, shape_count(r->shape) / columns, columns);
    }
}

/* ---- one safetensors file
 * --------------------------------------------------------------------------- */

static size_t element_bytes(const row *r) {
    return strcmp(r->dtype, "F16") == 0 ? 2 : 4;
}

static tt_status append_header(const manifest *m, json_object *rows, json_object *metadata,
                               tt_buf *b, size_t *largest, tt_err *err) {
    *largest = 0;
    TT_TRY(tt_buf_puts(b, "{", err));
    if (metadata)
        TT_TRY(tt_buf_printf(b, err, "\"__metadata__\":%s,",
                             json_object_to_json_string_ext(metadata, JSON_C_TO_STRING_PLAIN)));
    size_t offset = 0, n = json_object_array_length(rows);
    for (size_t i = 0; i < n; i++) {
        row r = parse_row(m, at(rows, i));
        size_t count = shape_count(r.shape), bytes = count * element_bytes(&r);
        TT_TRY(tt_buf_printf(b, err,
                             "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                             i ? "," : "", r.name, r.dtype,
                             json_object_to_json_string_ext(r.shape, JSON_C_TO_STRING_PLAIN),
                             offset, offset + bytes));
        offset += bytes;
        if (count > *largest) *largest = count;
    }
    TT_TRY(tt_buf_puts(b, "}", err));
    while (b->size % HEADER_ALIGN) TT_TRY(tt_buf_puts(b, " ", err));
    return TT_OK;
}

static bool write_rows(const manifest *m, json_object *rows, float *values, float *spare,
                       FILE *file) {
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        row r = parse_row(m, at(rows, i));
        size_t count = shape_count(r.shape), size = element_bytes(&r);
        row_values(m, &r, values, spare);
        const void *bytes = values;
        if (size == 2) {
            tt_convert(spare, TT_F16, values, TT_F32, count);
            bytes = spare;
        }
        if (fwrite(bytes, size, count, file) != count) return false;
    }
    return true;
}

static tt_status write_file(const manifest *m, json_object *rows, json_object *metadata,
                            const char *path, tt_err *err) {
    tt_status status;
    FILE *file = NULL;
    float *values = NULL, *spare = NULL;
    size_t largest;
    tt_buf header;
    tt_buf_init(&header, MAX_HEADER_BYTES);
    TT_TRY_OUT(append_header(m, rows, metadata, &header, &largest, err));
    values = tt_alloc(largest * sizeof *values);
    spare = tt_alloc(largest * sizeof *spare);
    if (!values || !spare) {
        status = tt_fail_nomem(err, path, largest * sizeof *values);
        goto out;
    }
    file = fopen(path, "wbe");
    uint64_t length = header.size; /* little endian, as are the machines we run on */
    bool good = file && fwrite(&length, sizeof length, 1, file) == 1 &&
                fwrite(header.data, 1, header.size, file) == header.size &&
                write_rows(m, rows, values, spare, file);
    if (file && fclose(file) != 0) good = false;
    if (!good) status = tt_fail_errno(err, "cannot write", path);
out:
    tt_free(values);
    tt_free(spare);
    tt_buf_release(&header);
    return status;
}

/* ---- layouts
 * ---------------------------------------------------------------------------------------- */

static tt_status make_directory(const char *path, tt_err *err) {
    if (mkdir(path, 0755) != 0 && errno != EEXIST) return tt_fail_errno(err, "cannot make", path);
    return TT_OK;
}

/* "<directory>/<relative>", making the folder that `relative` names before its slash, if any. */
static tt_status inner_path(const char *directory, const char *relative, char out[PATH_MAX],
                            tt_err *err) {
    const char *slash = strchr(relative, '/');
    if (slash) {
        int n = snprintf(out, PATH_MAX, "%s/%.*s", directory, (int)(slash - relative), relative);
        if (n < 0 || n >= PATH_MAX) return tt_fail(err, TT_E_INVALID, "path too long");
        TT_TRY(make_directory(out, err));
    }
    return tt_path_join(out, PATH_MAX, directory, relative, err);
}

static tt_status write_folder(const manifest *m, const char *directory, tt_err *err) {
    json_object *folder = tt_json_value(m->root, "folder");
    char path[PATH_MAX];
    TT_TRY(make_directory(directory, err));
    json_object_object_foreach(tt_json_value(folder, "files"), file, text) {
        TT_TRY(inner_path(directory, file, path, err));
        TT_TRY(tt_file_write(path, json_object_get_string(text),
                             (size_t)json_object_get_string_len(text), err));
    }
    json_object *format = json_object_new_object();
    if (!format) return tt_fail_nomem(err, path, 0);
    json_object_object_add(format, "format", json_object_new_string("pt"));
    tt_status status = TT_OK;
    json_object_object_foreach(tt_json_value(folder, "weights"), weights, rows) {
        if (!status) status = inner_path(directory, weights, path, err);
        if (!status) status = write_file(m, rows, format, path, err);
    }
    json_object_put(format);
    return status;
}

static tt_status write_layout(const manifest *m, tt_golden_layout layout, const char *path,
                              tt_err *err) {
    if (layout == TT_GOLDEN_FOLDER) return write_folder(m, path, err);
    json_object *ldm = tt_json_value(m->root, "ldm");
    return write_file(m, tt_json_value(ldm, "tensors"), tt_json_value(ldm, "metadata"), path, err);
}

tt_status tt_golden_model_write(const char *name, tt_golden_layout layout, const char *path,
                                tt_err *err) {
    manifest m;
    tt_status status = manifest_open(name, &m, err);
    if (!status) status = write_layout(&m, layout, path, err);
    manifest_close(&m);
    return status;
}

/* ---- made once
 * -------------------------------------------------------------------------------------- */

/* Puts what was written at `part` in place, unless another process was first. */
static tt_status settle(const char *part, const char *path, tt_err *err) {
    if (rename(part, path) == 0) return TT_OK;
    tt_status status = tt_file_exists(path) ? TT_OK : tt_fail_errno(err, "cannot write", path);
    temp_tree_remove(part);
    return status;
}

static tt_status home(char *out, size_t size, tt_err *err) {
    const char *build = getenv("TT_BUILD_DIR"), *temporary = getenv("TMPDIR");
    if (!build) build = temporary ? temporary : "/tmp";
    TT_TRY(tt_path_join(out, size, build, "golden", err));
    return make_directory(out, err);
}

static tt_status find_or_make(const manifest *m, tt_golden_layout layout, char path[PATH_MAX],
                              tt_err *err) {
    char directory[PATH_MAX - 128], part[PATH_MAX];
    TT_TRY(home(directory, sizeof directory, err));
    snprintf(path, PATH_MAX, "%s/%s-%016llx%s", directory, m->name, (unsigned long long)m->hash,
             layout == TT_GOLDEN_LDM ? ".safetensors" : "");
    if (tt_file_exists(path)) return TT_OK;
    snprintf(part, sizeof part, "%s/%s-%ld.part", directory, m->name, (long)getpid());
    TT_TRY(write_layout(m, layout, part, err));
    return settle(part, path, err);
}

tt_status tt_golden_model(const char *name, tt_golden_layout layout, tt_golden_path *out,
                          tt_err *err) {
    manifest m;
    tt_status status = manifest_open(name, &m, err);
    if (!status) status = find_or_make(&m, layout, out->text, err);
    manifest_close(&m);
    return status;
}
