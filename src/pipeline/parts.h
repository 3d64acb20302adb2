/* Inside the pipeline: the engine's parts, and what one request carries through them. */
#ifndef TT_PIPELINE_PARTS_H
#define TT_PIPELINE_PARTS_H

#include "nn/loader_adapters.h"
#include "pipeline/opened.h"
#include "pipeline/texts.h"
#include "pipeline/words.h"
#include "sample/recipes.h"
#include "sample/sampler.h"
#include "text/tokenizer.h"
#include "tintype/engine.h"
#include "unet/unet.h"
#include "vae/tiny.h"
#include "vae/vae.h"

enum {
    TT_TEXT_ENCODERS = 2,
    TT_PREVIEW_MAX_CHANNELS = 16, /* of the latents: SDXL has 4 */
};

/* How a model was trained, as its checkpoint says; strings are the checkpoint's. */
typedef struct tt__trained {
    tt_sample_prediction prediction;
    const char *name; /* of the prediction, static */
    tt_training training;
} tt__trained;

/* What a pass asks: the base model, or the refiner, which has no first text encoder (NULL). The engine's. */
typedef struct tt__model {
    tt_checkpoint *checkpoint;
    tt_clip *clips[TT_TEXT_ENCODERS];
    tt_tokenizer *tokenizers[TT_TEXT_ENCODERS];
    tt_unet *unet;
    tt__texts *texts;
    tt__trained trained;
    bool paints_in;
} tt__model;

/* Process lifetime: everything that was loaded. */
struct tt_engine {
    tt_checkpoint *checkpoint;
    tt_checkpoint *vae_checkpoint; /* the same unless another VAE was named */
    tt_backend_kind backend;
    tt_ops *ops;     /* text encoders and UNet */
    tt_ops *vae_ops; /* the VAE's: the same object when the precision is the same */
    tt_tokenizer *tokenizers[TT_TEXT_ENCODERS]; /* the second may be the first */
    tt_clip *clips[TT_TEXT_ENCODERS];
    tt_unet *unet;
    tt_tiling tiling;
    size_t vae_max_bytes; /* 0: what there is */
    bool paints_in; /* an inpainting UNet: it takes latents, mask and the latents of what is kept */
    tt_loader *loader;     /* of text encoders and UNet: how their weights are made */
    tt_adapters *adapters; /* on what the loader made */
    tt__opened adapter_files, embedding_files;
    tt__texts texts;
    tt_vae *vae;
    tt_vae_encoder *encoder; /* NULL until the first picture comes in */
    struct {                 /* the VAE in f32, NULL until bf16 made something that is no number */
        tt_ops *ops;
        tt_vae *vae;
        tt_vae_encoder *encoder;
    } exact;
    tt__trained trained;
    const tt_sample_recipe *recipe; /* what the file's name speaks of; NULL: nothing */
    tt_engine_info info;
    char model_name[128];
    char default_sampler[64];
    struct { /* refiner.c; all zero: none was named */
        tt__model model;
        tt__texts texts;
        char name[128];
    } refiner;
    struct {                   /* preview.c */
        tt_tiny_decoder *tiny; /* NULL: none was named */
        bool is_fitted;        /* latents to colours: at the first preview */
        float map[3][TT_PREVIEW_MAX_CHANNELS + 1];
    } preview;
};

/* Request lifetime: text, conditioning, buffers of one pass of one call of tt_engine_generate. */
typedef struct tt_generation {
    tt_engine *engine;
    tt__model model;
    const tt_request *request;
    tt_result *result;
    /* the pass that goes on from this one's latents; NULL: none. Owned */
    struct tt_generation *next;
    bool is_after; /* goes on from another pass's */
    /* refiner.c: the pass that this one takes the steps over from; NULL: none */
    struct tt_generation *before;
    int steps_before; /* of earlier passes */
    int walk_first,
        walk_steps; /* of the walk that a refiner has the end of: this pass's first step, and all */
    int64_t start_us;
    tt__manner manner;
    tt__words words;
    tt_adapter_use uses[TT_MAX_ADAPTER_USES]; /* adapters that change something */
    int n_uses;
    bool tiled; /* the VAE's decoder, by: */
    tt_vae_tiles tiles;
    size_t request_bytes; /* of the buffers below */
    tt_sampler *sampler;
    int64_t latent_h, latent_w, channels; /* of one picture */
    int64_t n_values;                     /* channels * latent_h * latent_w */
    int64_t n_rows;                       /* 2 with guidance: [negative, positive]; else 1 */
    bool always_both;                     /* steps without guidance need the negative row too */
    tt_unet_condition condition;          /* context and pooled owned here */
    float *context, *pooled;
    float *latents;              /* [channels, h, w], as noise is drawn */
    float *unet_in;              /* [n_rows, h, w, channels of the UNet] */
    float *unet_out;             /* [n_rows, h, w, channels] */
    float *decoded;              /* [height, width, 3] */
    struct {                     /* start.c; arrays are NULL where the request does not need them */
        float *mean, *deviation; /* [h, w, channels]: of the request's picture... */
        float *masked_mean, *masked_deviation; /* ...and of what the mask keeps of it */
        /* [channels, h, w]: this picture's sample of the former, or what hires.c left... */
        float *clean;
        float *masked; /* [h, w, channels]: ...and of the latter, for the UNet */
        float *noise;  /* [channels, h, w] */
        float *mask;   /* [h, w]: 1: anew, 0: keep */
    } start;
    struct {                /* hires.c: of the pass that enlarges */
        tt_request request; /* the pass's own */
        bool takes_picture; /* enlarges the picture; else its latents */
    } hires;
    uint8_t *preview; /* [preview_height, preview_width, 3]; NULL: nobody looks */
    int preview_width, preview_height;
    int picture; /* the one being made */
    int step;    /* steps finished of it */
    int call;    /* and times that the denoiser was asked */
} tt_generation;

/* prompts.c: the request's texts. Names, tags and brackets, without keeping anything... */
tt_status tt__check_texts(const tt_request *r, const tt__manner *manner, tt_err *err);
/* ...kept in g->words: first opened, then, with the sampler and g->n_rows known, cut into what each call uses. */
tt_status tt__open_texts(tt_generation *g, tt_err *err);
tt_status tt__schedule_texts(tt_generation *g, tt_err *err);
int tt__variant_of_call(const tt__words *w, int side, int call);
void tt__words_release(tt__words *w);

/* adapters.c: what the request and its prompts name, onto the model. */
const tt__opened_kind *tt__adapter_files(void);
tt_status tt__check_adapters(const tt_request *r, tt_err *err);
tt_status tt__apply_adapters(tt_generation *g, tt_err *err);

/* embeddings.c: opens those that the prompts may mean. */
const tt__opened_kind *tt__embedding_files(void);
tt_status tt__check_embeddings(const tt_request *r, tt_err *err);
tt_status tt__open_embeddings(tt_generation *g, tt_err *err);

/* The negative prompt for g's model; NULL: zeros. */
const char *tt__negative_text(const tt_generation *g);

/* conditioning.c: encodes all texts, with the adapters that are on the model now; counts into the result. */
tt_status tt__encode_texts(tt_generation *g, tt_err *err);
/* One text, which stays the engine's... */
tt_status tt__encode_text(tt_generation *g, int side, const tt_buf texts[TT_PROMPT_ENCODERS],
                          const tt_conditioning **out, tt_err *err);
/* ...and all of a pass brought to one number of chunks. */
tt_status tt__fit_chunks(tt_generation *g, tt_err *err);
int64_t tt__context_tokens(const tt_generation *g); /* per row */
/* Gives the UNet what call `call` of the denoiser is conditioned on: `rows` 2, [negative, positive], or 1, the positive. Nothing
 * happens when it has that. */
tt_status tt__condition(tt_generation *g, int call, int64_t rows, tt_err *err);

/* start.c: what denoising starts from. Reads the request's picture and mask, and encodes them; nothing to do for text alone. */
tt_status tt__read_image(tt_generation *g, tt_err *err);
/* Memory for a picture that comes later: latents, and what the VAE makes of a picture if it is one. */
tt_status tt__take_start(tt_generation *g, bool is_encoded, tt_err *err);
/* g->request's picture through the VAE; pixels [height, width, 3] is work memory. */
tt_status tt__encode_start(tt_generation *g, float *pixels, tt_err *err);
/* Fills g->latents (and what inpainting keeps) for one picture from its noise. */
void tt__start(tt_generation *g, tt_noise *noise);
/* After `step` steps: what the mask keeps, as noisy as the rest. */
void tt__keep_unmasked(tt_generation *g, int step, float *x);
/* The request's own pixels where the mask keeps them. */
void tt__paste_unmasked(const tt_generation *g, uint8_t *rgb);
void tt__release_start(tt_generation *g);

/* engine.c */
void tt__last_part(const char *path, char *out, size_t size); /* of a path, without slashes */
/* wanted: "epsilon", "v_prediction", "edm"; NULL: what the model says. */
tt_status tt__training_of(const tt_model_facts *facts, const char *wanted, tt__trained *out,
                          tt_err *err);

/* denoise.c: from noise to final latents of picture g->picture. */
tt_status tt__denoise(tt_generation *g, tt_noise *noise, tt_err *err);
bool tt__step_is_guided(const tt_generation *g, int step); /* step from 0; the sampler is there */
/* Calls the request's progress callback; TT_E_CANCELLED when it says so. x0 may be NULL. */
tt_status tt__report_progress(tt_generation *g, int step, const float *x0, tt_err *err);

/* autoencoder.c: the VAE's halves in both precisions, each opened when it is first needed. */
tt_status tt__vae_open(tt_engine *e, tt_err *err); /* the decoder */
void tt__vae_close(tt_engine *e);
void tt__count_weights(tt_engine *e); /* into info */
tt_status tt__encoder_need(tt_engine *e, tt_err *err);
/* Decides g->tiled and g->tiles. Before the plan: it rehearses large pictures, whole and in tiles. */
tt_status tt__choose_tiles(tt_generation *g, tt_err *err);
/* The decoder's pass, whole or in tiles. */
tt_status tt__vae_pass(const tt_generation *g, tt_vae *vae, const float *latent, float *picture,
                       tt_err *err);
/* Like tt_vae_decode and tt_vae_encode, planning included. Values that are not numbers are asked
 * for again in f32, then and ever after. */
tt_status tt__vae_decode(tt_generation *g, const float *latent, float *picture, tt_err *err);
tt_status tt__vae_encode(tt_generation *g, const float *picture, float *mean, float *deviation,
                         tt_err *err);

/* decode.c: g->latents to RGB bytes. */
tt_status tt__decode(tt_generation *g, uint8_t *rgb, tt_err *err);
/* -1 .. 1, and what lies beyond, to 0 .. 255; a NaN becomes 0. */
void tt__to_bytes(const float *values, int64_t n, int n_threads, uint8_t *out);
/* [c, h, w] to [h, w, c], and back. */
void tt__to_channels_last(const float *planes, int64_t c, int64_t positions, float *out);
void tt__to_planes(const float *channels_last, int64_t c, int64_t positions, float *out);
bool tt__all_finite(const float *values, int64_t n);

/* preview.c: an approximate picture of x0 [channels, h, w], into g->preview. */
tt_status tt__tiny_open(tt_engine *e, const char *path, tt_err *err);
/* Where somebody looks: memory, and the colour map once per engine. Plans by itself. */
tt_status tt__preview_allocate(tt_generation *g, tt_err *err);
tt_status tt__preview_rehearse(tt_generation *g, tt_err *err);
tt_status tt__preview(tt_generation *g, const float *x0, tt_err *err);

/* request.c */
tt_status tt__resolve_sampler(const tt_engine *e, const tt_request *r, tt_sampler_options *out,
                              tt_err *err);

/* memory.c: the process's largest resident size so far. */
size_t tt__peak_resident_bytes(void);
/* What may still be used: what the kernel calls available, or what the cgroup (v2) leaves, whichever is
 * less; SIZE_MAX when neither says. */
size_t tt__available_bytes(void);

#endif
