/* A few tensors of an SDXL model, in every layout that a checkpoint may have: the same values under the original
 * and under the canonical names. The table is written by hand and shares no code with the mapping. Values follow
 * from the canonical name, so that a tensor in the wrong place cannot go unseen. */
#ifndef TT_TESTS_LAYOUT_MODEL_H
#define TT_TESTS_LAYOUT_MODEL_H

#include "support/safetensors_writer.h"
#include "weights/checkpoint.h"

enum { LAYOUT_PAIRS = 69, LAYOUT_MAX_ELEMENTS = 4096 };

/* A UNet with two levels of one resnet, a VAE with two levels, encoders with one layer. */
typedef struct layout_pair {
    const char *component; /* "unet", "vae", "te1", "te2" */
    /* original name without the component's prefix; NULL: part of a fused tensor */
    const char *ldm;
    const char *canonical; /* without the component */
    int rank;
    int64_t shape[4];
} layout_pair;
extern const layout_pair layout_pairs[LAYOUT_PAIRS];

/* Set up and tear down of a test program: a folder of its own, and two names in it. */
extern char layout_file[128], layout_folder[128];
int layout_begin(void **state);
int layout_end(void **state);

size_t layout_count(const layout_pair *p);
void layout_name(char *out, size_t size, const layout_pair *p); /* canonical, with the component */
void layout_fill(float *values, const char *name, size_t n);
void layout_values(const layout_pair *p, float *values);

/* Adds the tensors of one component (NULL: all) by their original names, with or without prefix. */
void layout_add_ldm(st_writer *w, const char *only, bool prefixed, tt_dtype dtype);
void layout_write_ldm(tt_dtype dtype); /* all, and leftovers of training, to layout_file */

typedef struct layout_style {
    const char *suffix; /* ".fp16" */
    bool old_vae;       /* query, key, value, proj_attn */
    bool bare_te1;      /* without "text_model." */
    bool sharded;       /* the UNet in three files and an index */
    const char *index;  /* name of the index */
} layout_style;
void layout_write_folder(const layout_style *style, tt_dtype dtype); /* replaces layout_folder */
void layout_write_text(const char *relative, const char *text); /* a file inside layout_folder */
void layout_remove(const char *path);

/* Assertions. */
tt_checkpoint *layout_opens(const char *path);
void layout_refuses(const char *path, tt_status code, const char *sentence);
void layout_holds(const tt_checkpoint *c, const char *only); /* all tensors have their values */
void layout_check(const char *path, const char *only);       /* opens, holds, closes */

#endif
