/* Textual inversions of one request: a folder may hold hundreds, so only those are opened whose names its prompts could mean. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "pipeline/parts.h"
#include "text/embedding.h"

enum { MAX_KEPT = 16 }; /* files of a dozen KiB each */
#define MAX_KEPT_BYTES (16 * TT_MIB)

static tt_status open_embedding(const void *context, const char *path, void **out, tt_err *err) {
    const tt_engine *e = context;
    const int64_t widths[] = {tt_clip_width(e->clips[0]), tt_clip_width(e->clips[1])};
    tt_embedding *embedding;
    TT_TRY(tt_embedding_open(path, widths, &embedding, err));
    *out = embedding;
    return TT_OK;
}

static void close_embedding(void *embedding) {
    tt_embedding_close(embedding);
}

const tt__opened_kind *tt__embedding_files(void) {
    static const tt__opened_kind kind = {.what = "cannot read the embedding",
                                         .open = open_embedding,
                                         .close = close_embedding,
                                         .max_kept = MAX_KEPT,
                                         .max_bytes = MAX_KEPT_BYTES};
    return &kind;
}

tt_status tt__check_embeddings(const tt_request *r, tt_err *err) {
    if (r->n_embeddings < 0 || r->n_embeddings > TT_MAX_EMBEDDING_FILES)
        return tt_fail(err, TT_E_INVALID, "embeddings: expected 0 to %d, found %d",
                       TT_MAX_EMBEDDING_FILES, r->n_embeddings);
    if (r->n_embeddings > 0 && !r->embeddings)
        return tt_fail(err, TT_E_INVALID, "embeddings: %d are counted and none is given",
                       r->n_embeddings);
    for (int i = 0; i < r->n_embeddings; i++)
        if (!r->embeddings[i] || !r->embeddings[i][0])
            return tt_fail(err, TT_E_INVALID, "embedding %d: a path is missing", i + 1);
    for (int i = 0; r->embedding_names && i < r->n_embeddings; i++)
        if (!r->embedding_names[i] || !r->embedding_names[i][0])
            return tt_fail(err, TT_E_INVALID, "embedding %d: a name is missing", i + 1);
    return TT_OK;
}

/* The file's name without its folder and ending. */
static tt_status name_of(const char *path, char *out, size_t size, tt_err *err) {
    static const char ending[] = ".safetensors";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name), suffix = sizeof ending - 1;
    if (n > suffix && strcmp(name + n - suffix, ending) == 0) n -= suffix;
    if (n >= size)
        return tt_fail(err, TT_E_INVALID, "embeddings: a name of %zu bytes, at most %zu", n,
                       size - 1);
    memcpy(out, name, n);
    out[n] = '\0';
    return TT_OK;
}

static bool is_mentioned(const tt_request *r, const char *name) {
    const char *const texts[] = {r->prompt, r->prompt_2, r->negative_prompt, r->negative_prompt_2};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] && tt_embedding_is_mentioned(texts[i], strlen(texts[i]), name)) return true;
    return false;
}

static tt_status open_one(tt_generation *g, const char *path, const char *name, tt_err *err) {
    tt__words *w = &g->words;
    if (w->n_embeddings == TT_MAX_EMBEDDINGS)
        return tt_fail(err, TT_E_INVALID, "embeddings: prompts name more than %d",
                       TT_MAX_EMBEDDINGS);
    const tt__opened_file *file;
    TT_TRY(tt__opened_get(&g->engine->embedding_files, g->engine, path, &file, err));
    TT_TRY(tt_embedding_rename(file->thing, name, err)); /* it may have had another one before */
    w->embedding_files[w->n_embeddings] = file;
    w->embeddings[w->n_embeddings++] = file->thing;
    return TT_OK;
}

tt_status tt__open_embeddings(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    for (int i = 0; i < r->n_embeddings; i++) {
        char name[TT_NAME_BYTES];
        const char *called = r->embedding_names ? r->embedding_names[i] : r->embeddings[i];
        TT_TRY(name_of(called, name, sizeof name, err));
        if (is_mentioned(r, name)) TT_TRY(open_one(g, r->embeddings[i], name, err));
    }
    return TT_OK;
}
