/* The engine: open an SDXL model, make pictures from requests. Opaque: nothing here names a tensor.
 *
 *     tt_engine_options options;
 *     tt_engine_options_defaults(&options);
 *     options.model_path = "model.safetensors";
 *     tt_engine *engine;
 *     tt_err err;
 *     if (tt_engine_open(&options, &engine, &err)) { puts(err.message); return 1; }
 *     tt_request request;
 *     tt_request_defaults(engine, &request);
 *     request.prompt = "a lighthouse on the sea at sunset";
 *     tt_result result;
 *     if (!tt_engine_generate(engine, &request, &result, &err)) use(result.pictures[0].rgb);
 *     tt_result_release(&result);
 *     tt_engine_close(engine);
 *
 * Threads: one call at a time per engine; any thread may make it. Strings in options and requests
 * are borrowed for the call. Failures are a status and one sentence; nothing is printed, nothing
 * exits. */
#ifndef TINTYPE_ENGINE_H
#define TINTYPE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tintype/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tt_engine tt_engine;

typedef enum tt_precision {
    TT_PRECISION_AUTO, /* bf16 where the CPU has it natively, else f32 */
    TT_PRECISION_F32,
    TT_PRECISION_BF16,
} tt_precision;

typedef enum tt_device {
    TT_DEVICE_CPU,
    TT_DEVICE_REF, /* the plain C reference: slow, f32 or bf16; the oracle of the tests */
} tt_device;

typedef enum tt_tiling {
    TT_TILING_AUTO, /* when the VAE would need more memory than there is */
    TT_TILING_NEVER,
    TT_TILING_ALWAYS, /* for all pictures of more than one tile (1024 pixels) */
} tt_tiling;

typedef struct tt_engine_options {
    const char *model_path; /* a safetensors file in the ldm layout, or a diffusers folder */
    tt_precision precision;
    const char *vae_path;       /* NULL: the model's VAE. Else a VAE file, a folder with one, or a
                                   model to take it from */
    tt_precision vae_precision; /* AUTO: as precision. What bf16 cannot hold is done again in f32 */
    tt_tiling vae_tiling;
    size_t vae_max_bytes; /* for TT_TILING_AUTO; 0: what the machine and the cgroup have left */
    tt_device device;
    int n_threads;          /* 0: all cores this process may use */
    const char *prediction; /* "epsilon", "v_prediction" or NULL: what the model says */
} tt_engine_options;

void tt_engine_options_defaults(tt_engine_options *options);
tt_status tt_engine_open(const tt_engine_options *options, tt_engine **out, tt_err *err);
void tt_engine_close(tt_engine *engine); /* NULL is fine */

/* What was opened. Strings are owned by the engine. */
typedef struct tt_engine_info {
    const char *model_name; /* the path's last part */
    const char *layout;     /* "ldm file" or "diffusers folder" */
    const char *precision;  /* "f32" or "bf16": what AUTO became */
    const char *vae_precision;
    const char *prediction;
    int n_threads;
    int default_width, default_height; /* the size the model was trained for */
    int default_steps;                 /* 24 unless the file says otherwise */
    float default_guidance;            /* 4.5 unless the file says otherwise */
    const char *default_sampler;       /* a name that tt_request.sampler understands */
    int64_t n_parameters;
    size_t weight_bytes; /* resident, packed */
    double load_ms;
} tt_engine_info;
const tt_engine_info *tt_engine_get_info(const tt_engine *engine);

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

typedef struct tt_request {
    const char *prompt;          /* UTF-8; "" is allowed, NULL is not */
    const char *negative_prompt; /* NULL: absent (zero conditioning where the model says so); "" is
                                    encoded */
    int width, height;           /* pixels, multiples of 8 */
    int steps;
    float guidance;         /* CFG scale; <= 1 switches guidance off */
    float guidance_rescale; /* 0: off (Lin et al. 2023, section 3.4) */
    uint64_t seed;          /* picture i takes seed + i */
    int count;              /* pictures, each from a seed of its own */
    const char *
        sampler; /* NULL: the model's default. Any name of tt_sampler_names, or what people paste */
    const char *schedule; /* NULL: the sampler's default */
    const char *noise;    /* "cpu" (torch CPU f32), "cpu-f16", "cuda" (Philox); NULL: "cpu" */
    const char *compat;   /* whose picture a seed gives: "diffusers" (NULL), "a1111", "comfyui" */
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
    bool want_preview;
    tt_progress_fn progress; /* may be NULL */
    void *progress_context;
} tt_request;
/* Fills in what the model was made for; engine may be NULL for generic SDXL defaults. */
void tt_request_defaults(const tt_engine *engine, tt_request *request);

/* Checks names and ranges without making anything; the same checks generate makes first. One
 * sentence. */
tt_status tt_request_check(const tt_request *request, tt_err *err);

typedef struct tt_picture {
    uint8_t *rgb; /* [height, width, 3], owned by the result */
    int width, height;
    uint64_t seed;
} tt_picture;

typedef struct tt_timings {
    double text_ms, denoise_ms, vae_ms,
        total_ms;   /* wall clock; denoise and vae (with what is encoded) over all pictures */
    double plan_ms; /* preparing primitives and memory */
} tt_timings;

typedef struct tt_result {
    tt_picture *pictures; /* owned */
    int n_pictures;
    /* Effective settings: canonical names, static strings. */
    const char *sampler, *schedule, *noise, *prediction;
    char sampler_label[64];      /* what people call sampler and schedule: "DPM++ 2M Karras" */
    const char *negative_policy; /* "encoded" or "zeros" */
    const char *vae_precision;   /* what the last picture was decoded in: "f32" or "bf16" */
    bool vae_tiled;
    int steps;              /* that ran, per picture */
    int prompt_tokens;      /* of the prompt, without markers, before any cut */
    int prompt_tokens_used; /* what the 75 places held */
    tt_timings timings;
    size_t planned_bytes; /* weights + scratch + request memory, as planned */
    size_t peak_bytes;    /* the process's peak resident size */
} tt_result;

tt_status tt_engine_generate(tt_engine *engine, const tt_request *request, tt_result *result,
                             tt_err *err);
void tt_result_release(tt_result *result);

/* Canonical names, NULL-terminated; static. */
const char *const *tt_sampler_names(void);
const char *const *tt_schedule_names(void);

/* What a pasted name means: "DPM++ 2M Karras" -> "dpmpp_2m" and "karras"; *schedule is NULL when
 * the name does not say. TT_E_INVALID with the list of known names otherwise. */
tt_status tt_sampler_lookup(const char *name, const char **sampler, const char **schedule,
                            tt_err *err);

const char *tt_version(void);

#ifdef __cplusplus
}
#endif
#endif
