/* The logical checkpoint: a table from canonical names to parts of stored tensors, filled once at opening by
 * file_single.c or file_folder.c and read-only afterwards. Building the table costs under a millisecond for SDXL's 2,500
 * tensors and touches no weights, so opening a 7 GB model is as quick as opening its header. */
#include "weights/checkpoint.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/limits.h"
#include "weights/parts.h"

enum { FIRST_ENTRIES = 1024, PATH_BYTES = 4096 };
/* Names of 65536 tensors at 512 bytes and their views fit. */
#define NAME_ARENA_BYTES (128 * TT_MIB)

/* ---- filling ---------------------------------------------------------------------------------------- */

tt_status tt__checkpoint_open_file(tt_checkpoint *c, const char *path, tt_safetensors **out,
                                   tt_err *err) {
    if (c->n_files == TT__MAX_FILES)
        return tt_fail(err, TT_E_FORMAT, "%s: more than %d safetensors files", c->path,
                       TT__MAX_FILES);
    TT_TRY(tt_safetensors_open(path, c->access, out, err));
    c->files[c->n_files++] = *out;
    return TT_OK;
}

static tt_status fail_view(const tt_safetensors *file, const tt_st_tensor *t, const char *expected,
                           tt_err *err) {
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: %s", tt_safetensors_path(file), t->name,
                   expected);
}

static tt_status apply_view(tt__entry *e, const tt__view *view, tt_err *err) {
    tt_tensor_info *info = &e->info;
    if (view->squeezed && info->rank == 4 && info->shape[2] == 1 && info->shape[3] == 1)
        info->rank = 2;
    if (view->third) {
        if (info->rank < 1 || info->shape[0] % 3 != 0)
            return fail_view(e->file, e->stored, "its rows should be q, k and v, a third each",
                             err);
        info->shape[0] /= 3;
        e->first = (uint64_t)info->shape[0] * (uint64_t)(view->third - 1);
        for (int i = 1; i < info->rank; i++) e->first *= (uint64_t)info->shape[i];
    }
    if (view->transposed) {
        if (info->rank != 2) return fail_view(e->file, e->stored, "expected a matrix", err);
        int64_t rows = info->shape[0];
        info->shape[0] = info->shape[1];
        info->shape[1] = rows;
        e->transposed = true;
    }
    return TT_OK;
}

/* The scale of an fp8 weight: "x.weight" has "x.scale_weight" or "x.weight_scale", a single number. */
static tt_status find_scale(tt__entry *e, tt_err *err) {
    static const char *const suffixes[] = {"scale_weight", "weight_scale"};
    char name[TT__NAME_BYTES];
    bool is_fp8 = e->info.dtype == TT_F8_E4M3 || e->info.dtype == TT_F8_E5M2;
    if (!is_fp8 || !tt_ends_with(e->stored->name, ".weight")) return TT_OK;
    int stem = (int)(strlen(e->stored->name) - strlen("weight"));
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(name, sizeof name, "%.*s%s", stem, e->stored->name, suffixes[i]);
        const tt_st_tensor *scale = tt_safetensors_find(e->file, name);
        if (!scale) continue;
        if (scale->size != tt_dtype_size(scale->info.dtype))
            return fail_view(e->file, scale,
                             "a scale per tensor is supported, this has several numbers", err);
        e->scale = scale;
    }
    return TT_OK;
}

static tt_status reserve_entry(tt_checkpoint *c, tt_err *err) {
    if (c->n_entries < c->entry_capacity) return TT_OK;
    size_t wanted = c->entry_capacity ? 2 * c->entry_capacity : FIRST_ENTRIES;
    tt__entry *larger = tt_realloc(c->entries, wanted * sizeof *larger);
    if (!larger) return tt_fail_nomem(err, "table of tensors", wanted * sizeof *larger);
    c->entries = larger;
    c->entry_capacity = wanted;
    return TT_OK;
}

tt_status tt__checkpoint_add(tt_checkpoint *c, const tt_safetensors *file,
                             const tt_st_tensor *stored, const char *name, const tt__view *view,
                             tt_err *err) {
    TT_TRY(reserve_entry(c, err));
    tt__entry *e = &c->entries[c->n_entries];
    *e = (tt__entry){.info = stored->info, .file = file, .stored = stored};
    TT_TRY(apply_view(e, view, err));
    TT_TRY(find_scale(e, err));
    e->name = tt_arena_strndup(&c->arena, name, strlen(name));
    if (!e->name) return tt_fail_nomem(err, "tensor name", strlen(name) + 1);
    int64_t existing;
    TT_TRY(tt__names_add(&c->names, e->name, (uint32_t)c->n_entries, &existing, err));
    if (existing != TT__NO_NAME)
        return tt_fail(err, TT_E_FORMAT, "%s: tensors %s and %s are both %s", c->path,
                       c->entries[existing].stored->name, stored->name, name);
    c->n_entries++;
    return TT_OK;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static tt_status open_parts(tt_checkpoint *c, tt_err *err) {
    tt__facts_defaults(&c->facts);
    c->is_folder = tt_file_is_directory(c->path);
    if (c->is_folder) {
        c->facts.layout = "diffusers folder";
        TT_TRY(tt__facts_from_folder(c, err)); /* first: it says best what the folder is */
        TT_TRY(tt__add_folder(c, err));
    } else {
        c->facts.layout = "ldm file";
        TT_TRY(tt__add_single_file(c, err));
        c->facts.zero_absent_negative = !c->as_refiner; /* the published refiner's own word */
        TT_TRY(tt__facts_from_file(&c->facts, c->files[0], err));
    }
    return tt__facts_finish(c, err);
}

tt_status tt_checkpoint_open_with(const char *path, const tt_checkpoint_options *options,
                                  tt_checkpoint **out, tt_err *err) {
    *out = NULL;
    tt_checkpoint *c = tt_alloc(sizeof *c);
    if (!c) return tt_fail_nomem(err, "checkpoint", sizeof *c);
    tt_arena_init(&c->arena, NAME_ARENA_BYTES);
    c->access = options->map ? TT_ST_MAP : TT_ST_PREAD;
    c->as_refiner = options->as_refiner;
    c->path = tt_strdup(path);
    tt_status status =
        c->path ? open_parts(c, err) : tt_fail_nomem(err, "checkpoint path", strlen(path) + 1);
    if (status != TT_OK) {
        tt_checkpoint_close(c);
        return status;
    }
    *out = c;
    return TT_OK;
}

tt_status tt_checkpoint_open(const char *path, tt_checkpoint **out, tt_err *err) {
    return tt_checkpoint_open_with(path, &(tt_checkpoint_options){0}, out, err);
}

void tt_checkpoint_close(tt_checkpoint *c) {
    if (!c) return;
    for (int i = 0; i < c->n_files; i++) tt_safetensors_close(c->files[i]);
    tt__names_release(&c->names);
    tt_arena_release(&c->arena);
    tt_free(c->entries);
    tt_free(c->path);
    tt_free(c);
}

/* ---- asking ----------------------------------------------------------------------------------------- */

static const struct {
    const char *component, *probe, *name, *advice;
} components[] = {
    {"unet", "unet.conv_in.weight", "UNet", "name a checkpoint that contains one"},
    {"vae", "vae.decoder.conv_in.weight", "VAE",
     "name a VAE file as well, or a checkpoint that contains one"},
    {"te1", "te1.text_model.embeddings.token_embedding.weight", "first text encoder (CLIP ViT-L)",
     "name a checkpoint that contains both text encoders"},
    {"te2", "te2.text_model.embeddings.token_embedding.weight",
     "second text encoder (OpenCLIP ViT-bigG)",
     "name a checkpoint that contains both text encoders"},
};

tt_status tt_checkpoint_require(const tt_checkpoint *c, const char *component, tt_err *err) {
    for (size_t i = 0; i < sizeof components / sizeof *components; i++) {
        if (strcmp(components[i].component, component) != 0) continue;
        if (tt_checkpoint_has(c, components[i].probe)) return TT_OK;
        return tt_fail(err, TT_E_NOT_FOUND, "model %s has no %s: %s", c->path, components[i].name,
                       components[i].advice);
    }
    return tt_fail(err, TT_E_INTERNAL, "there is no component \"%s\"", component);
}

const char *tt_checkpoint_path(const tt_checkpoint *c) {
    return c->path;
}

bool tt_checkpoint_has(const tt_checkpoint *c, const char *name) {
    return tt__names_find(&c->names, name) != TT__NO_NAME;
}

const char *tt_checkpoint_name(const tt_checkpoint *c, size_t i) {
    return i < c->n_entries ? c->entries[i].name : NULL;
}

tt_status tt__checkpoint_find(const tt_checkpoint *c, const char *name, const tt__entry **out,
                              tt_err *err) {
    int64_t id = tt__names_find(&c->names, name);
    if (id != TT__NO_NAME) {
        *out = &c->entries[id];
        return TT_OK;
    }
    const char *dot = strchr(name, '.');
    char component[8];
    if (dot && (size_t)(dot - name) < sizeof component) { /* is the whole component missing? */
        snprintf(component, sizeof component, "%.*s", (int)(dot - name), name);
        if (tt_checkpoint_require(c, component, err) == TT_E_NOT_FOUND) return TT_E_NOT_FOUND;
    }
    return tt_fail(err, TT_E_NOT_FOUND, "model %s has no tensor %s", c->path, name);
}

tt_status tt_checkpoint_info(const tt_checkpoint *c, const char *name, tt_tensor_info *out,
                             tt_err *err) {
    const tt__entry *e;
    TT_TRY(tt__checkpoint_find(c, name, &e, err));
    *out = e->info;
    return TT_OK;
}

int tt_checkpoint_count(const tt_checkpoint *c, const char *pattern) {
    const char *hole = strstr(pattern, "%d");
    char name[TT__NAME_BYTES];
    if (!hole) return 0;
    for (int n = 0;; n++) {
        int length =
            snprintf(name, sizeof name, "%.*s%d%s", (int)(hole - pattern), pattern, n, hole + 2);
        if (length >= (int)sizeof name || !tt_checkpoint_has(c, name)) return n;
    }
}

const tt_model_facts *tt_checkpoint_facts(const tt_checkpoint *c) {
    return &c->facts;
}

int64_t tt_checkpoint_parameters(const tt_checkpoint *c, const char *prefix) {
    int64_t total = 0;
    for (size_t i = 0; i < c->n_entries; i++) {
        const tt_tensor_info *info = &c->entries[i].info;
        if (!tt__after(c->entries[i].name, prefix)) continue;
        int64_t count = 1; /* no overflow: the bytes fit in the file */
        for (int k = 0; k < info->rank; k++) count *= info->shape[k];
        total += count;
    }
    return total;
}

bool tt_checkpoint_file(const tt_checkpoint *c, const char *relative, char *out, size_t size) {
    char path[PATH_BYTES];
    if (!c->is_folder || tt_path_join(path, sizeof path, c->path, relative, NULL) != TT_OK)
        return false;
    if (!tt_file_exists(path) || strlen(path) >= size) return false;
    memcpy(out, path, strlen(path) + 1);
    return true;
}
