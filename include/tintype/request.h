/* What a caller of the engine (engine.h, which includes this) asks for: tt_request and what it refers to. */
#ifndef TINTYPE_REQUEST_H
#define TINTYPE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tintype/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tt_engine tt_engine;

/* Once per finished step, on the calling thread. `preview` is NULL unless want_preview was set; it
 * is an RGB picture [preview_height, preview_width, 3] borrowed until the callback returns. */
typedef struct tt_progress {
    int picture, n_pictures; /* 0-based picture in the batch */
    int step, n_steps; /* steps finished so far, 1..n_steps; 0: text is encoded, denoising starts.
                          With an image or another compat, n_steps is not always the request's */
    double elapsed_ms; /* since generate was called */
    const uint8_t *preview;
    int preview_width, preview_height;
} tt_progress;
/* Return false to cancel: generate then ends with TT_E_CANCELLED before the next step. */
typedef bool (*tt_progress_fn)(void *context, const tt_progress *progress);

/* One adapter (LoRA and its kin) of a request. They are applied in the request's order, then those that the prompt names. */
typedef struct tt_request_adapter {
    const char *path; /* a safetensors file */
    const char *name; /* what results call it; NULL: the file's name without its ending */
    float scale;      /* W + scale (W' - W); 0 switches it off */
    /* NULL, or other scales for parts: "unet=0.8,te=0,in=0.5,out03=1.2"; unet, te, te1, te2 replace scale; blocks (in, mid,
     * out, in00..out11) are factors of unet's */
    const char *parts;
} tt_request_adapter;

/* Finds the file that a prompt means by <lora:name:0.8> and writes its path; TT_E_NOT_FOUND with a sentence when there is
 * none. On the calling thread; may take long (a download). */
typedef tt_status (*tt_find_adapter_fn)(void *context, const char *name, char *path,
                                        size_t path_size, tt_err *err);

typedef struct tt_request {
    const char *prompt; /* UTF-8; "" is allowed, NULL is not */
    /* NULL: absent; "" is encoded, but with compat "a1111" and no negative_policy: that program takes it for absent. */
    const char *negative_prompt;
    const char *prompt_2, *negative_prompt_2; /* for the second text encoder; NULL: the same */
    /* How prompts are read: "a1111", "comfyui", "compel", "plain"; NULL: as compat does, and a1111 when that is NULL too.
     * Prompts of any length are used whole, but in plain and compel, as diffusers has it, what is beyond the first chunk
     * is cut (and counted). */
    const char *prompt_syntax;
    /* What an absent negative prompt is: "zeros", "encoded" (like an empty text); NULL: as compat does; without compat, or
     * with diffusers', what the model says. */
    const char *negative_policy;
    /* As people count: 1 and 2 are SDXL's own states, 3 is one layer earlier; 0: not given. In plain and compel syntax as
     * diffusers counts: 1 is one layer earlier, and for the prompt only. With compat "a1111" it is ignored, as there. */
    int clip_skip;
    const tt_request_adapter *adapters; /* [n_adapters], borrowed */
    int n_adapters;
    tt_find_adapter_fn find_adapter; /* NULL: a prompt that names adapters is refused */
    void *find_adapter_context;
    /* paths of textual inversions that prompts may name; only those are opened */
    const char *const *embeddings;
    const char *const *embedding_names; /* what prompts call each; NULL: the files' names */
    int n_embeddings;
    int width, height; /* pixels, multiples of 8 */
    int steps;
    float guidance;         /* CFG scale; <= 1 switches guidance off */
    float guidance_rescale; /* 0: off (Lin et al. 2023, section 3.4) */
    /* The share of the steps in which guidance acts, 0 <= start <= end <= 1: 0 and 1 is always. Steps without it take half the
     * time. */
    float guidance_start, guidance_end;
    float eta;     /* fresh noise of samplers that add some; negative: the sampler's own */
    uint64_t seed; /* picture i takes seed + i */
    int count;     /* pictures, each from a seed of its own */
    /* NULL: the model's default. Any name of tt_sampler_names, or what people paste */
    const char *sampler;
    const char *schedule; /* NULL: the sampler's default */
    /* "cpu" (torch CPU f32), "cpu-f16", "cuda" (Philox); NULL: compat's: "cuda" for a1111, else "cpu" */
    const char *noise;
    /* Whose picture a seed gives: "diffusers", "a1111", "comfyui". It sets schedule, noise, strength, prompt syntax and
     * negative policy to what that program does, where the request says nothing. NULL: diffusers' numbers, a1111's prompts. */
    const char *compat;
    /* A picture to start from, RGB [height, width, 3], borrowed; NULL: noise alone. */
    const uint8_t *image;
    float strength; /* with an image: more than 0, at most 1: how much of it is made anew */
    /* Where to paint, [height, width], 255: anew, 0: keep as it is; needs an image. NULL: everywhere.
     * In between, the result is mixed; latents change from 128. */
    const uint8_t *mask;
    /* The noise of another seed mixed in, 0..1 of it, as A1111 does; above 0, all pictures take `seed`
     * and picture i takes variation_seed + i. */
    float variation_strength;
    uint64_t variation_seed;
    /* What the model is told of the picture, in pixels; 0: width and height. */
    int original_width, original_height, target_width, target_height;
    int crop_left, crop_top;
    /* A second pass in a larger size ("hires fix"): above 1, width and height grow by this, cut to multiples of 8. Not with
     * an image. */
    float hires_scale;
    float hires_strength; /* of the second pass: 0.7 */
    int hires_steps;      /* 0: as steps */
    /* "latent" (bilinear, NULL) or "picture" (Lanczos, through the VAE) */
    const char *hires_upscaler;
    /* The refiner takes over after this share of the steps, as diffusers' denoising_end; 0 or 1: never. Needs
     * options.refiner_path. It reads prompt and negative_prompt; adapters do not change it. With hires_scale it refines the
     * second pass. */
    float refiner_start;
    float aesthetic_score, negative_aesthetic_score; /* what the refiner is told: 6 and 2.5 */
    bool want_preview;
    tt_progress_fn progress; /* may be NULL */
    void *progress_context;
} tt_request;
/* Fills in what the model was made for; engine may be NULL for generic SDXL defaults. */
void tt_request_defaults(const tt_engine *engine, tt_request *request);

/* How a distilled model wants to be run: sets sampler, schedule, steps, guidance and eta. The name is one of
 * tt_recipe_names ("lightning-4") or a file's that speaks of one. TT_E_INVALID with the list otherwise. */
tt_status tt_recipe_apply(const char *name, tt_request *request, tt_err *err);
const char *const *tt_recipe_names(void); /* NULL-terminated; static */

/* Checks names and ranges without making anything; the same checks generate makes first. One
 * sentence. */
tt_status tt_request_check(const tt_request *request, tt_err *err);

/* Canonical names, NULL-terminated; static. */
const char *const *tt_sampler_names(void);
const char *const *tt_schedule_names(void);

/* What a pasted name means: "DPM++ 2M Karras" -> "dpmpp_2m" and "karras"; *schedule is NULL when
 * the name does not say. TT_E_INVALID with the list of known names otherwise. */
tt_status tt_sampler_lookup(const char *name, const char **sampler, const char **schedule,
                            tt_err *err);

#ifdef __cplusplus
}
#endif
#endif
