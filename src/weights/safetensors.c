/* The file around the header: opening, recognising what is not safetensors, reading bytes. Reads
 * are positioned (pread), so threads share one descriptor without a lock. */
#include "weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "weights/st_header.h"

enum { LENGTH_BYTES = 8, SNIFF_BYTES = 64 };
/* The kernel moves at most about 2 GiB per call. */
static const size_t max_read_bytes = (size_t)1 << 30;

struct tt_safetensors {
    char *path; /* owned */
    int fd;     /* owned; -1 once closed */
    uint64_t file_bytes, data_start;
    char *map; /* the whole file, or NULL */
    tt__st_header header;
};

static tt_status read_at(const tt_safetensors *s, uint64_t offset, void *dst, size_t size,
                         tt_err *err) {
    char *to = dst;
    while (size > 0) {
        size_t wanted = size < max_read_bytes ? size : max_read_bytes;
        ssize_t got = pread(s->fd, to, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return tt_fail(err, TT_E_IO, "cannot read: %s", strerror(errno));
        if (got == 0)
            return tt_fail(err, TT_E_IO,
                           "the file ended at byte %llu: it became shorter while in use",
                           (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return TT_OK;
}

/* ---- what it is instead
 * ----------------------------------------------------------------------------- */

static const char pickle_advice[] =
    "a pickle file (.ckpt, .pt, .bin), which can run code when loaded: convert it to safetensors, "
    "for example with "
    "safetensors.torch.save_file(torch.load(path, weights_only=True)[\"state_dict\"], out)";

static const struct {
    const char *magic;
    size_t size;
    const char *what;
} other_kinds[] = {
    {"PK\3\4", 4, pickle_advice},
    {"\x80\x02", 2, pickle_advice},
    {"\x80\x03", 2, pickle_advice},
    {"\x80\x04", 2, pickle_advice},
    {"\x1f\x8b", 2, "compressed with gzip: unpack it first"},
    {"version https://git-lfs", 23, "a git-lfs pointer, not the model: run git lfs pull"},
    {"GGUF", 4, "a GGUF file: only safetensors files are read"},
    {"<", 1, "a web page (HTML), probably an error or log-in page: download the model again"},
    {"{", 1, "a JSON text, probably an error answer: download the model again"},
};

/* The kind of file that these first bytes belong to; NULL: unknown. */
static const char *other_kind(const char *head, size_t size) {
    size_t i = 0;
    while (i < size && (head[i] == ' ' || head[i] == '\n' || head[i] == '\r' || head[i] == '\t'))
        i++;
    for (size_t k = 0; k < sizeof other_kinds / sizeof *other_kinds; k++) {
        size_t n = other_kinds[k].size;
        bool is_text = n == 1; /* may follow white space */
        size_t at = is_text ? i : 0;
        if (size - at >= n && memcmp(head + at, other_kinds[k].magic, n) == 0)
            return other_kinds[k].what;
    }
    return NULL;
}

static tt_status fail_other_kind(const tt_safetensors *s, const char *head, size_t size,
                                 tt_err *err) {
    const char *kind = other_kind(head, size);
    if (kind) return tt_fail_at(err, TT_E_FORMAT, 0, "not a safetensors file but %s", kind);
    uint64_t length;
    if (size < LENGTH_BYTES)
        return tt_fail_at(err, TT_E_FORMAT, 0,
                          "%llu bytes are too few for a safetensors file, which has at least 8",
                          (unsigned long long)s->file_bytes);
    memcpy(&length, head, sizeof length);
    if (length > TT_ST_MAX_HEADER_BYTES)
        return tt_fail_at(
            err, TT_E_FORMAT, 0,
            "the header would have %llu bytes, the limit is %llu: not a safetensors file, or "
            "a damaged one",
            (unsigned long long)length, (unsigned long long)TT_ST_MAX_HEADER_BYTES);
    return tt_fail_at(err, TT_E_FORMAT, 0,
                      "the file is cut off: its header has %llu bytes, the whole file %llu",
                      (unsigned long long)length, (unsigned long long)s->file_bytes);
}

/* ---- opening
 * ---------------------------------------------------------------------------------------- */

static tt_status open_regular(tt_safetensors *s, tt_err *err) {
    struct stat info;
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (s->fd < 0)
        return tt_fail(err, errno == ENOENT ? TT_E_NOT_FOUND : TT_E_IO, "cannot open: %s",
                       strerror(errno));
    if (fstat(s->fd, &info) != 0) return tt_fail(err, TT_E_IO, "cannot stat: %s", strerror(errno));
    if (S_ISDIR(info.st_mode))
        return tt_fail(err, TT_E_FORMAT, "this is a directory, not a safetensors file");
    if (!S_ISREG(info.st_mode)) return tt_fail(err, TT_E_FORMAT, "this is not a regular file");
    if (info.st_size == 0) return tt_fail(err, TT_E_FORMAT, "the file is empty");
    s->file_bytes = (uint64_t)info.st_size;
    return TT_OK;
}

static tt_status read_header(tt_safetensors *s, tt_err *err) {
    char head[SNIFF_BYTES] = {0};
    size_t head_size = s->file_bytes < SNIFF_BYTES ? (size_t)s->file_bytes : SNIFF_BYTES;
    TT_TRY(read_at(s, 0, head, head_size, err));
    uint64_t length = UINT64_MAX;
    if (head_size >= LENGTH_BYTES) memcpy(&length, head, sizeof length);
    if (length > TT_ST_MAX_HEADER_BYTES || length > s->file_bytes - LENGTH_BYTES)
        return fail_other_kind(s, head, head_size, err);
    tt__st_header *h = &s->header;
    h->text = tt_alloc((size_t)length + 1);
    if (!h->text) return tt_fail_nomem(err, "safetensors header", length + 1);
    h->text_size = (size_t)length;
    TT_TRY(read_at(s, LENGTH_BYTES, h->text, h->text_size, err));
    size_t i = 0;
    while (i < h->text_size && strchr(" \t\r\n", h->text[i]) && h->text[i]) i++;
    const char *kind = other_kind(head, head_size);
    if (i < h->text_size && h->text[i] != '{' && kind) /* a plausible length by accident */
        return tt_fail_at(err, TT_E_FORMAT, 0, "not a safetensors file but %s", kind);
    s->data_start = LENGTH_BYTES + length;
    return tt__st_header_parse(h, s->file_bytes - s->data_start, err);
}

static tt_status map_file(tt_safetensors *s, tt_err *err) {
    void *map = mmap(NULL, (size_t)s->file_bytes, PROT_READ, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED) return tt_fail(err, TT_E_IO, "cannot map: %s", strerror(errno));
    s->map = map;
    return TT_OK;
}

tt_status tt_safetensors_open(const char *path, tt_st_access access, tt_safetensors **out,
                              tt_err *err) {
    *out = NULL;
    tt_safetensors *s = tt_alloc(sizeof *s);
    if (!s) return tt_fail_nomem(err, "safetensors file", sizeof *s);
    s->fd = -1;
    s->path = tt_strdup(path);
    tt_status status = s->path ? TT_OK : tt_fail_nomem(err, "path", strlen(path) + 1);
    if (status == TT_OK) status = open_regular(s, err);
    if (status == TT_OK) status = read_header(s, err);
    if (status == TT_OK && access == TT_ST_MAP) status = map_file(s, err);
    if (status != TT_OK) {
        tt_safetensors_close(s);
        return tt_fail_prefix(err, status, "%s", path);
    }
    *out = s;
    return TT_OK;
}

void tt_safetensors_close(tt_safetensors *s) {
    if (!s) return;
    if (s->map) munmap(s->map, (size_t)s->file_bytes);
    if (s->fd >= 0) close(s->fd);
    tt__st_header_release(&s->header);
    tt_free(s->path);
    tt_free(s);
}

const char *tt_safetensors_path(const tt_safetensors *s) {
    return s->path;
}

size_t tt_safetensors_count(const tt_safetensors *s) {
    return s->header.n_tensors;
}

const tt_st_tensor *tt_safetensors_at(const tt_safetensors *s, size_t i) {
    return &s->header.tensors[i];
}

const tt_st_tensor *tt_safetensors_find(const tt_safetensors *s, const char *name) {
    int64_t id = tt__names_find(&s->header.tensor_names, name);
    return id == TT__NO_NAME ? NULL : &s->header.tensors[id];
}

const char *tt_safetensors_metadata(const tt_safetensors *s, const char *key) {
    int64_t id = tt__names_find(&s->header.metadata_keys, key);
    return id == TT__NO_NAME ? NULL : s->header.metadata[id].value;
}

const void *tt_safetensors_mapped(const tt_safetensors *s, const tt_st_tensor *t) {
    return s->map ? s->map + s->data_start + t->offset : NULL;
}

tt_status tt_safetensors_read(const tt_safetensors *s, const tt_st_tensor *t, uint64_t offset,
                              void *dst, size_t size, tt_err *err) {
    if (offset > t->size || size > t->size - offset)
        return tt_fail(err, TT_E_INTERNAL, "%s: %zu bytes at %llu are outside tensor \"%s\"",
                       s->path, size, (unsigned long long)offset, t->name);
    if (s->map) {
        memcpy(dst, s->map + s->data_start + t->offset + offset, size);
        return TT_OK;
    }
    tt_status status = read_at(s, s->data_start + t->offset + offset, dst, size, err);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", s->path);
}
