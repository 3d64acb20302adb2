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
#include "tintype/request.h"

#ifdef __cplusplus
extern "C" {
#endif

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
    TT_TILING_AUTO, /* when the VAE's decoder would need more memory than there is: tiles of 1024 pixels, or of 512 */
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
    /* the distilled model that the file's name speaks of; defaults are its; or NULL */
    const char *recipe;
    const char *refiner_name; /* NULL: none was opened */
    bool paints_in;           /* an inpainting UNet */
    int64_t n_parameters;     /* without the refiner's */
    int64_t n_int8;           /* of the UNet's parameters, those kept in int8 */
    size_t weight_bytes;      /* resident, packed */
    double load_ms;
} tt_engine_info;
const tt_engine_info *tt_engine_get_info(const tt_engine *engine);

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

const char *tt_version(void);

#ifdef __cplusplus
}
#endif
#endif
