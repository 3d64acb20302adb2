/* Models distilled to a few steps, and what each was made to be run with. Their weights look like any
 * other's (no key says so), so a recipe is found by name: a person's, or the file's. */
#ifndef TT_SAMPLE_RECIPES_H
#define TT_SAMPLE_RECIPES_H

typedef struct tt_sample_recipe {
    const char *name;               /* "lightning-4" */
    const char *family;             /* "lightning" */
    const char *sampler, *schedule; /* canonical */
    int steps;                      /* what it was distilled for */
    float guidance;                 /* 1: none, the negative prompt is not asked */
    float eta;                      /* negative: the sampler's own */
    const char *source;             /* where its makers say so */
} tt_sample_recipe;

/* All of them, ended by a row whose name is NULL. Static. */
const tt_sample_recipe *tt_sample_recipes(void);

/* The recipe that a name or file name speaks of: "lightning-4", "Hyper-SDXL-8steps-lora.safetensors",
 * "sd_xl_turbo_1.0". A family without a number means the row listed first; a number that the family
 * lacks means none. NULL: none; "hyperrealistic" is not Hyper. */
const tt_sample_recipe *tt_sample_recipe_find(const char *text);

/* The recipe to take unasked for a model of this file name: of names that say how many steps ("...4step...") and the makers' own
 * Turbo. Merges that only have "turbo" or "lightning" in their names want settings of their own: NULL. */
const tt_sample_recipe *tt_sample_recipe_of_file(const char *name);

#endif
