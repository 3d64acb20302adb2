/* See the header. Tensors keep the order in which they were added; the header is padded with spaces
 * to 8 bytes. */
#include "support/safetensors_writer.h"

#include <stdlib.h>
#include <string.h>

static void check(int ok, const char *what) {
    if (ok) return;
    perror(what);
    abort();
}

static FILE *open_text(char **text, size_t *size) {
    FILE *f = open_memstream(text, size);
    check(f != NULL, "open_memstream");
    return f;
}

void st_begin(st_writer *w) {
    memset(w, 0, sizeof *w);
    w->header_out = open_text(&w->header, &w->header_size);
    w->metadata_out = open_text(&w->metadata, &w->metadata_size);
}

static void put_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < ' ')
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

void st_metadata(st_writer *w, const char *key, const char *value) {
    if (w->n_metadata++) fputc(',', w->metadata_out);
    put_json_string(w->metadata_out, key);
    fputc(':', w->metadata_out);
    put_json_string(w->metadata_out, value);
}

/* Room for size bytes more; returns where they go. */
static char *grow_data(st_writer *w, size_t size) {
    if (w->data_size + size > w->data_capacity) {
        w->data_capacity = 2 * (w->data_size + size);
        w->data = realloc(w->data, w->data_capacity);
        check(w->data != NULL, "realloc");
    }
    char *at = w->data + w->data_size;
    w->data_size += size;
    return at;
}

static size_t count_of(int rank, const int64_t *shape) {
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
    return count;
}

/* Writes the header's entry and returns where the bytes go. */
static char *add_entry(st_writer *w, const char *name, tt_dtype dtype, int rank,
                       const int64_t *shape) {
    size_t size = count_of(rank, shape) * tt_dtype_size(dtype);
    if (w->n_tensors++) fputc(',', w->header_out);
    put_json_string(w->header_out, name);
    fprintf(w->header_out, ":{\"dtype\":\"%s\",\"shape\":[", tt_dtype_name(dtype));
    for (int i = 0; i < rank; i++)
        fprintf(w->header_out, "%s%lld", i ? "," : "", (long long)shape[i]);
    fprintf(w->header_out, "],\"data_offsets\":[%zu,%zu]}", w->data_size, w->data_size + size);
    return size ? grow_data(w, size) : NULL;
}

void st_add(st_writer *w, const char *name, tt_dtype dtype, int rank, const int64_t *shape,
            const void *data) {
    size_t size = count_of(rank, shape) * tt_dtype_size(dtype);
    char *to = add_entry(w, name, dtype, rank, shape);
    if (size && data)
        memcpy(to, data, size);
    else if (size)
        memset(to, 0, size);
}

void st_add_f32(st_writer *w, const char *name, tt_dtype dtype, int rank, const int64_t *shape,
                const float *values) {
    size_t count = count_of(rank, shape);
    void *converted = malloc(count * tt_dtype_size(dtype) + 1);
    check(converted != NULL, "malloc");
    tt_convert(converted, dtype, values, TT_F32, count);
    st_add(w, name, dtype, rank, shape, converted);
    free(converted);
}

void st_save_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    check(f != NULL, path);
    if (size) check(fwrite(bytes, 1, size, f) == size, path);
    check(fclose(f) == 0, path);
}

void st_save_raw(const char *path, uint64_t length, const char *header, size_t header_size,
                 const void *data, size_t data_size) {
    FILE *f = fopen(path, "wb");
    check(f != NULL, path);
    check(fwrite(&length, sizeof length, 1, f) == 1, path);
    if (header_size) check(fwrite(header, 1, header_size, f) == header_size, path);
    if (data_size) check(fwrite(data, 1, data_size, f) == data_size, path);
    check(fclose(f) == 0, path);
}

void st_save(st_writer *w, const char *path) {
    fclose(w->header_out);
    fclose(w->metadata_out);
    char *text;
    size_t size;
    FILE *out = open_text(&text, &size);
    fputc('{', out);
    if (w->n_metadata)
        fprintf(out, "\"__metadata__\":{%s}%s", w->metadata, w->n_tensors ? "," : "");
    fprintf(out, "%s}", w->header);
    fflush(out);
    for (size_t pad = (8 - size % 8) % 8; pad > 0; pad--) fputc(' ', out);
    fclose(out);
    st_save_raw(path, size, text, size, w->data, w->data_size);
    free(text);
    free(w->header);
    free(w->metadata);
    free(w->data);
    memset(w, 0, sizeof *w);
}
