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
    TT_PRECISION_AUTO, /* bf16 where the CPU or GPU has it natively, else f32 */
    TT_PRECISION_F32,
    TT_PRECISION_BF16,
    TT_PRECISION_INT8, /* bf16, with most of the UNet's products in 8 bits; CPUs with AVX-512 VNNI or AMX */
} tt_precision;

typedef enum tt_device {
    TT_DEVICE_CPU,
    TT_DEVICE_REF,  /* the plain C reference: slow, f32 or bf16; the oracle of the tests */
    TT_DEVICE_CUDA, /* an NVIDIA GPU, Ampere or newer; in builds with CUDA only */
} tt_device;

typedef enum tt_tiling {
    TT_TILING_AUTO, /* when the VAE would need more memory than there is */
    TT_TILING_NEVER,
    TT_TILING_ALWAYS, /* for all pictures of more than one tile (1024 pixels) */
} tt_tiling;

typedef struct tt_engine_options {
    const char *model_path; /* a safetensors file in the ldm layout, or a diffusers folder */
    /* What results call it, and where a distilled model's name is looked for; NULL: the path's last part. */
    const char *model_name;
    tt_precision precision;
    const char *vae_path;       /* NULL: the model's VAE. Else a VAE file, a folder with one, or a
                                   model to take it from */
    tt_precision vae_precision; /* not INT8. AUTO: as precision, beside INT8 as AUTO would be; what
                                   bf16 cannot hold is done again in f32 */
    tt_tiling vae_tiling;
    size_t vae_max_bytes; /* for TT_TILING_AUTO; 0: what the machine and the cgroup have left */
    tt_device device;
    int n_threads;          /* 0: all cores this process may use */
    const char *prediction; /* "epsilon", "v_prediction", "edm" (v over sigmas, as CosXL), or NULL:
                                 what the model says */
    const char *refiner_path; /* NULL: none. An SDXL refiner, for request.refiner_start: a file or
                                         folder as the model. It stays in memory beside the model */
    const char *preview_decoder_path; /* NULL: previews are a colour map of the latents. Else a tiny
                                         decoder (TAESD XL's form): previews in full size */
} tt_engine_options;

void tt_engine_options_defaults(tt_engine_options *options);
tt_status tt_engine_open(const tt_engine_options *options, tt_engine **out, tt_err *err);
void tt_engine_close(tt_engine *engine); /* NULL is fine */

/* What was opened. Strings are owned by the engine. */
typedef struct tt_engine_info {
    const char *model_name; /* the path's last part */
    const char *layout;     /* "ldm file" or "diffusers folder" */
    const char *precision;  /* "f32", "bf16" or "int8": what AUTO became */
    const char *vae_precision;
    const char *prediction;
    int n_threads;
    int default_width, default_height; /* the size the model was trained for */
    int default_steps;                 /* 24 unless the file says otherwise */
    float default_guidance;            /* 4.5 unless the file says otherwise */
    const char *default_sampler;       /* a name that tt_request.sampler understands */
    const char
        *recipe; /* the distilled model that the file's name speaks of; defaults are its; or NULL */
    const char *refiner_name; /* NULL: none was opened */
    bool paints_in;           /* an inpainting UNet */
    int64_t n_parameters;     /* without the refiner's */
    int64_t n_int8;           /* of the UNet's parameters, those kept in int8 */
    size_t weight_bytes;      /* resident, packed */
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

/* One adapter (LoRA and its kin) of a request. They are applied in the request's order, then those that the prompt names. */
typedef struct tt_request_adapter {
    const char *path; /* a safetensors file */
    const char *name; /* what results call it; NULL: the file's name without its ending */
    float scale;      /* W + scale (W' - W); 0 switches it off */
    const char *
        parts; /* NULL, or other scales for parts: "unet=0.8,te=0,in=0.5,out03=1.2"; unet, te, te1, te2 replace
                          scale; blocks (in, mid, out, in00..out11) are factors of unet's */
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
    const char *const
        *embeddings; /* paths of textual inversions that prompts may name; only those are opened */
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
    const char *
        sampler; /* NULL: the model's default. Any name of tt_sampler_names, or what people paste */
    const char *schedule; /* NULL: the sampler's default */
    const char *
        noise; /* "cpu" (torch CPU f32), "cpu-f16", "cuda" (Philox); NULL: compat's: "cuda" for a1111, else "cpu" */
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
    const char
        *hires_upscaler; /* "latent" (bilinear, NULL) or "picture" (Lanczos, through the VAE) */
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

typedef struct tt_picture {
    uint8_t *rgb; /* [height, width, 3], owned by the result */
    int width, height;
    uint64_t seed;
} tt_picture;

/* What became of one adapter: of the request's, then of those the prompt named. Texts are cut to fit. */
enum { TT_UNMATCHED_NAMED = 4 };
typedef struct tt_result_adapter {
    char name[128];
    bool from_prompt;
    float unet, te1, te2;               /* scales */
    char parts[128];                    /* factors of blocks, as the request gave them; "" */
    char kinds[128];                    /* "LoRA", "DoRA, LoHa"... */
    int64_t rank_min, rank_max;         /* 0: of no kind that has a rank */
    int n_unet, n_te1, n_te2;           /* modules changed */
    int n_keys, n_matched, n_unmatched; /* of the file; unmatched ones had no effect */
    char unmatched[TT_UNMATCHED_NAMED][128];
    char base_model[64]; /* what the file says it is for; "" */
    char path[1024];     /* where it was read from; "" when longer */
} tt_result_adapter;

typedef struct tt_timings {
    double adapters_ms; /* finding, opening and applying adapters */
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
    const char *negative_policy; /* "encoded", "zeros"; "unused" without guidance */
    const char *compat, *prompt_syntax;
    int clip_skip;               /* as people count */
    tt_result_adapter *adapters; /* owned, [n_adapters] */
    int n_adapters;
    bool adapters_were_kept;   /* the set was applied before and only switched to */
    int n_embeddings;          /* how often prompts named one */
    int n_unknown_tags;        /* <name:...> in prompts that mean nothing here and were taken out */
    int prompt_chunks;         /* of 75 tokens: the longer of prompt and negative prompt */
    int prompt_variants;       /* texts that prompt editing made */
    int unguided_steps;        /* per picture */
    int base_steps;            /* before the refiner took over; = steps without one */
    int hires_steps;           /* of steps, those of the second pass; 0: there was none */
    const char *vae_precision; /* what the last picture was decoded in: "f32" or "bf16" */
    bool vae_tiled;
    int steps;              /* that ran, per picture, in both passes */
    int prompt_tokens;      /* of the first prompt variant, without markers, before any cut */
    int prompt_tokens_used; /* what was not cut */
    tt_timings timings;
    size_t planned_bytes; /* weights + scratch + request memory, as planned */
    size_t peak_bytes;    /* the process's peak resident size */
} tt_result;

tt_status tt_engine_generate(tt_engine *engine, const tt_request *request, tt_result *result,
                             tt_err *err);
void tt_result_release(tt_result *result);

/* ---- where the time goes ------------------------------------------------------------------------------------------ */

/* One kind of operation of the networks since the last reset. */
enum { TT_OPERATION_KINDS = 11 };
typedef struct tt_operation {
    const char *name; /* "linear", "conv", "attention"...; static */
    int64_t calls;
    double ms;    /* wall clock on the CPU; on a GPU its own, from the first reset on */
    double gflop; /* of products, by their shapes: a multiplication and an addition are two */
    double gbyte; /* that must move: operands and weights read once, results written once */
} tt_operation;
/* Both may also be called from a request's progress callback: what the steps took is what there is at the last step, when
 * the first reset it. On a GPU the first reset switches marks on, which take up to a tenth of the time. */
void tt_engine_get_operations(const tt_engine *engine, tt_operation out[TT_OPERATION_KINDS]);
void tt_engine_reset_operations(tt_engine *engine);

/* What the device's arithmetic does at best, with all of the engine's threads and nothing but registers, in GFLOP/s; 0: not
 * native, or not known (GPUs). Measuring takes a tenth of a second; other work on the machine shows. */
typedef struct tt_peak {
    double f32, bf16, int8;
    const char *f32_by, *bf16_by, *int8_by; /* the instructions: "amx_bf16"; "" for 0. Static */
    char features[128]; /* of the CPU: "avx2 avx512 amx_bf16"; "" when not known */
} tt_peak;
void tt_engine_measure_peak(tt_engine *engine, tt_peak *out);

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
