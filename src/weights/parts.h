/* What the files of this room share about a checkpoint. Not for other rooms: they use checkpoint.h. */
#ifndef TT_WEIGHTS_PARTS_H
#define TT_WEIGHTS_PARTS_H

#include <stdio.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "base/json.h"
#include "weights/names.h"
#include "weights/safetensors.h"

enum {
    TT__MAX_FILES = 256,        /* shards of all components together */
    TT__NAME_BYTES = 1024,      /* a canonical name: a stored one (512) and what mapping adds */
    TT__TEXT_TOKENS_END = 49407 /* CLIP's <|endoftext|> */
};

/* One canonical tensor: elements `first`... of `stored`, in its order or transposed. */
typedef struct tt__entry {
    const char *name;    /* in the checkpoint's arena */
    tt_tensor_info info; /* in the canonical view */
    const tt_safetensors *file;
    const tt_st_tensor *stored;
    const tt_st_tensor *scale; /* one number that fp8 weights are multiplied with, or NULL */
    uint64_t first;
    bool transposed;
} tt__entry;

struct tt_checkpoint {
    char *path; /* owned */
    bool is_folder, as_refiner;
    tt_st_access access;
    tt_safetensors *files[TT__MAX_FILES]; /* owned */
    int n_files;
    tt_arena arena;     /* names */
    tt__entry *entries; /* owned */
    size_t n_entries, entry_capacity;
    tt__names names;
    tt_model_facts facts;
};

/* What part of a stored tensor a canonical name means. All zero: all of it, as it is. */
typedef struct tt__view {
    int third;       /* 0: all rows; 1, 2, 3: that third of the rows */
    bool transposed; /* of a matrix */
    bool squeezed;   /* [o, i, 1, 1] is [o, i] */
} tt__view;

/* checkpoint.c */
tt_status tt__checkpoint_open_file(tt_checkpoint *c, const char *path, tt_safetensors **out,
                                   tt_err *err);
tt_status tt__checkpoint_add(tt_checkpoint *c, const tt_safetensors *file,
                             const tt_st_tensor *stored, const char *name, const tt__view *view,
                             tt_err *err);

tt_status tt__checkpoint_find(const tt_checkpoint *c, const char *name, const tt__entry **out,
                              tt_err *err);

/* file_single.c and file_folder.c: find the components and add every tensor */
tt_status tt__add_single_file(tt_checkpoint *c, tt_err *err);
tt_status tt__add_folder(tt_checkpoint *c, tt_err *err);
bool tt__is_vae_folder(const tt_checkpoint *c); /* config.json, and no network's folder */

/* diffusers.c: a tensor by diffusers' and transformers' names, old and new. component: "unet", "vae", "te1", "te2". */
tt_status tt__add_diffusers(tt_checkpoint *c, const tt_safetensors *file, const tt_st_tensor *t,
                            const char *component, const char *name, tt_err *err);

/* ldm.c: a tensor by the original names, `name` without the component's prefix. */
typedef struct tt__ldm_place {
    int block, slot;
} tt__ldm_place;
enum { TT__LDM_MAX_BLOCKS = 64 };
typedef struct tt__ldm_plan {
    tt__ldm_place input[TT__LDM_MAX_BLOCKS], output[TT__LDM_MAX_BLOCKS]; /* of UNet blocks */
    int n_input, n_output;
    int vae_levels;
} tt__ldm_plan;
tt_status tt__ldm_plan_unet(tt__ldm_plan *plan, const tt_safetensors *file, const char *prefix,
                            tt_err *err);
void tt__ldm_plan_vae(tt__ldm_plan *plan, const tt_safetensors *file, const char *prefix);
tt_status tt__add_ldm_unet(tt_checkpoint *c, const tt__ldm_plan *plan, const tt_safetensors *file,
                           const tt_st_tensor *t, const char *name, tt_err *err);
tt_status tt__add_ldm_vae(tt_checkpoint *c, const tt__ldm_plan *plan, const tt_safetensors *file,
                          const tt_st_tensor *t, const char *name, tt_err *err);
tt_status tt__add_ldm_te2(tt_checkpoint *c, const tt_safetensors *file, const tt_st_tensor *t,
                          const char *name, tt_err *err);

/* family.c: refusals by name */
tt_status tt__refuse_unknown_file(const tt_safetensors *file, tt_err *err);
tt_status tt__refuse_other_unet(const tt_safetensors *file, const char *prefix, bool as_refiner,
                                tt_err *err);
bool tt__is_ignored(const char *name); /* tensors that no network needs */
bool tt__is_scale(const char *name);   /* scales of fp8 weights: found from the weight */
tt_status tt__fail_unknown_tensor(const tt_safetensors *file, const char *name, const char *network,
                                  tt_err *err);

/* facts.c: SDXL's values, then marker tensors, then the file's metadata; and the last check of everything */
void tt__facts_defaults(tt_model_facts *facts);
tt_status tt__facts_from_file(tt_model_facts *facts, const tt_safetensors *file, tt_err *err);
tt_status tt__facts_finish(tt_checkpoint *c, tt_err *err);

/* The same from "tintype.config", parsed. */
tt_status tt__facts_from_config(tt_model_facts *facts, json_object *config, tt_err *err);

/* Small readers that also check a range or a length; a wrong value in a model's file is TT_E_FORMAT. */
tt_status tt__get_i64(json_object *o, const char *key, int64_t low, int64_t high, int64_t *out,
                      tt_err *err);
tt_status tt__get_float(json_object *o, const char *key, double low, double high, float *out,
                        tt_err *err);
tt_status tt__get_double(json_object *o, const char *key, double low, double high, double *out,
                         tt_err *err);
tt_status tt__get_bool(json_object *o, const char *key, bool *out, tt_err *err);
tt_status tt__get_text(json_object *o, const char *key, char *out, size_t size, tt_err *err);
/* A number for all levels, or a list with one per level. */
tt_status tt__get_heads(json_object *o, const char *key, int64_t heads[TT_MAX_LEVELS], tt_err *err);
tt_status tt__set_prediction(tt_model_facts *facts, const char *name, tt_err *err);
tt_status tt__set_eos(tt_text_facts *text, json_object *o, const char *key, tt_err *err);

/* folder_config.c: the config.json files of a folder */
tt_status tt__facts_from_folder(tt_checkpoint *c, tt_err *err);

/* Text after `prefix`, or NULL when it does not begin so. */
static inline const char *tt__after(const char *text, const char *prefix) {
    size_t n = __builtin_strlen(prefix);
    return __builtin_strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

#endif
