/* A diffusers folder: one sub-folder per network, each with one safetensors file, or several named by an index.
 * When a network is there in several variants, the one without a suffix is taken, as diffusers does. */
#include <dirent.h>
#include <string.h>

#include "base/file.h"
#include "weights/parts.h"

enum { PATH_BYTES = 4096 };

typedef struct network {
    const char *folder, *component, *stem;
} network;

static const network networks[] = {
    {"unet", "unet", "diffusion_pytorch_model"},
    {"vae", "vae", "diffusion_pytorch_model"},
    {"text_encoder", "te1", "model"},
    {"text_encoder_2", "te2", "model"},
};

/* A folder with a VAE alone, as VAEs are published: config.json beside the weights. */
static const network vae_alone = {"", "vae", "diffusion_pytorch_model"};

static const char *const variants[] = {"", "fp16", "bf16", "fp32", "non_ema"};

static bool join(char *out, const char *folder, const char *name) {
    return tt_path_join(out, PATH_BYTES, folder, name, NULL) == TT_OK;
}

static tt_status add_file(tt_checkpoint *c, const network *n, const char *path,
                          tt_safetensors **file, tt_err *err) {
    TT_TRY(tt__checkpoint_open_file(c, path, file, err));
    for (size_t i = 0; i < tt_safetensors_count(*file); i++) {
        const tt_st_tensor *t = tt_safetensors_at(*file, i);
        TT_TRY(tt__add_diffusers(c, *file, t, n->component, t->name, err));
    }
    return TT_OK;
}

/* ---- shards ----------------------------------------------------------------------------------------- */

/* The file already open under this path, or a new one whose tensors are added. */
static tt_status shard(tt_checkpoint *c, const network *n, const char *path, tt_safetensors **out,
                       tt_err *err) {
    for (int i = 0; i < c->n_files; i++)
        if (strcmp(tt_safetensors_path(c->files[i]), path) == 0) {
            *out = c->files[i];
            return TT_OK;
        }
    return add_file(c, n, path, out, err);
}

static tt_status add_indexed(tt_checkpoint *c, const network *n, const char *folder,
                             const char *tensor, json_object *name, tt_err *err) {
    char path[PATH_BYTES];
    tt_safetensors *file;
    if (!json_object_is_type(name, json_type_string))
        return tt_fail(err, TT_E_FORMAT, "weight_map: tensor %s: expected a file name, found %s",
                       tensor, tt_json_type_name(name));
    const char *base = json_object_get_string(name);
    if (strchr(base, '/') || strcmp(base, "..") == 0 || !join(path, folder, base))
        return tt_fail(err, TT_E_FORMAT,
                       "weight_map: \"%s\" is not the name of a file in this folder", base);
    TT_TRY(shard(c, n, path, &file, err));
    if (tt_safetensors_find(file, tensor)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "weight_map: tensor %s is not in %s", tensor, base);
}

static tt_status add_index(tt_checkpoint *c, const network *n, const char *folder, const char *path,
                           tt_err *err) {
    json_object *root, *map;
    TT_TRY(tt_json_read_file(path, &root, err));
    tt_status status = TT_OK;
    if (!json_object_is_type(root, json_type_object) ||
        !json_object_object_get_ex(root, "weight_map", &map) ||
        !json_object_is_type(map, json_type_object))
        status = tt_fail(err, TT_E_FORMAT, "weight_map: expected an object");
    if (status == TT_OK) {
        struct json_object_iterator it = json_object_iter_begin(map),
                                    end = json_object_iter_end(map);
        for (; status == TT_OK && !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
            status = add_indexed(c, n, folder, json_object_iter_peek_name(&it),
                                 json_object_iter_peek_value(&it), err);
    }
    json_object_put(root);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", path);
}

/* ---- choosing --------------------------------------------------------------------------------------- */

/* The names that an index had in the versions of both libraries. */
static bool find_index(char *path, const char *folder, const char *stem, const char *variant) {
    char name[256];
    snprintf(name, sizeof name, "%s.safetensors.index%s%s.json", stem, variant[0] ? "." : "",
             variant);
    if (join(path, folder, name) && tt_file_exists(path)) return true;
    if (!variant[0]) return false;
    snprintf(name, sizeof name, "%s.%s.safetensors.index.json", stem, variant);
    return join(path, folder, name) && tt_file_exists(path);
}

static bool find_whole(char *path, const char *folder, const char *stem, const char *variant) {
    char name[256];
    snprintf(name, sizeof name, "%s%s%s.safetensors", stem, variant[0] ? "." : "", variant);
    return join(path, folder, name) && tt_file_exists(path);
}

/* Nothing readable: is it because the weights are pickled? */
static tt_status fail_no_weights(const network *n, const char *folder, tt_err *err) {
    static const char *const pickles[] = {"diffusion_pytorch_model.bin",
                                          "diffusion_pytorch_model.fp16.bin",
                                          "pytorch_model.bin",
                                          "pytorch_model.fp16.bin",
                                          "diffusion_pytorch_model.bin.index.json",
                                          "pytorch_model.bin.index.json"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        if (join(path, folder, pickles[i]) && tt_file_exists(path))
            return tt_fail(
                err, TT_E_UNSUPPORTED,
                "%s holds only pickled weights (.bin), which can run code when loaded: convert "
                "them "
                "to safetensors (diffusers: save_pretrained with safe_serialization=True)",
                folder);
    return tt_fail(err, TT_E_NOT_FOUND, "%s holds no %s.safetensors", folder, n->stem);
}

/* Adds the network's tensors from the files in `folder`; *found: there are such files. */
static tt_status add_from(tt_checkpoint *c, const network *n, const char *folder, bool *found,
                          tt_err *err) {
    char path[PATH_BYTES];
    tt_safetensors *file;
    *found = true;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (find_whole(path, folder, n->stem, variants[i])) return add_file(c, n, path, &file, err);
        if (find_index(path, folder, n->stem, variants[i]))
            return add_index(c, n, folder, path, err);
    }
    *found = false;
    return TT_OK;
}

static tt_status add_network(tt_checkpoint *c, const network *n, tt_err *err) {
    char folder[PATH_BYTES];
    bool found;
    TT_TRY(tt_path_join(folder, sizeof folder, c->path, n->folder, err));
    if (!tt_file_is_directory(folder))
        return TT_OK; /* tt_checkpoint_require says so when it is needed */
    TT_TRY(add_from(c, n, folder, &found, err));
    return found ? TT_OK : fail_no_weights(n, folder, err);
}

bool tt__is_vae_folder(const tt_checkpoint *c) {
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (join(path, c->path, networks[i].folder) && tt_file_is_directory(path)) return false;
    return join(path, c->path, "config.json") && tt_file_exists(path);
}

/* A folder that is no model: the likeliest mistakes have their own sentence. */
static tt_status fail_no_model(const tt_checkpoint *c, tt_err *err) {
    DIR *folder = opendir(c->path);
    const struct dirent *entry;
    char found[256] = "";
    while (folder && (entry = readdir(folder)) && !found[0])
        if (tt_ends_with(entry->d_name, ".safetensors"))
            snprintf(found, sizeof found, "%s", entry->d_name);
    if (folder) closedir(folder);
    if (found[0])
        return tt_fail(
            err, TT_E_NOT_FOUND,
            "%s is a directory without a diffusers model (no unet/, vae/, text_encoder/): to use a "
            "single file, name the file itself, such as %s/%s",
            c->path, c->path, found);
    return tt_fail(
        err, TT_E_NOT_FOUND,
        "%s is a directory without a model: expected a safetensors file, or a diffusers folder "
        "with unet/, vae/, text_encoder/ and text_encoder_2/",
        c->path);
}

tt_status tt__add_folder(tt_checkpoint *c, tt_err *err) {
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        TT_TRY(add_network(c, &networks[i], err));
    bool found;
    if (tt__is_vae_folder(c)) TT_TRY(add_from(c, &vae_alone, c->path, &found, err));
    return c->n_files == 0 ? fail_no_model(c, err) : TT_OK;
}
