/* One logical checkpoint over whatever is on disk: a single ldm/sgm safetensors file, or a
 * diffusers folder (sharded, with .fp16. variants). The networks ask for tensors by one canonical
 * name and for the few facts that shapes cannot tell; they never learn the layout.
 *
 * Canonical names are diffusers' and transformers', after the component and a dot:
 *     unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight
 *     vae.decoder.up_blocks.0.resnets.0.conv1.weight
 *     te1.text_model.encoder.layers.0.self_attn.q_proj.weight      (te2. likewise)
 *     te2.text_projection.weight
 * Names may be views of what the file holds: a third of a fused in_proj, a transposed projection,
 * a 1x1 convolution read as a matrix. */
#ifndef TT_WEIGHTS_CHECKPOINT_H
#define TT_WEIGHTS_CHECKPOINT_H

#include <stdbool.h>

#include "base/err.h"
#include "tensor/tensor.h"

enum { TT_MAX_RANK = 8 };

typedef struct tt_checkpoint tt_checkpoint;

/* Where a tensor is and what it looks like, in the canonical view. */
typedef struct tt_tensor_info {
    tt_dtype dtype; /* as stored */
    int rank;
    int64_t shape[TT_MAX_RANK];
} tt_tensor_info;

/* Opens the file or folder and maps its names; reads no weights. What is recognised but not SDXL,
 * or asks for something we cannot do, is a TT_E_UNSUPPORTED that says what it is. A file may hold
 * only some components: a UNet alone, a VAE alone. */
tt_status tt_checkpoint_open(const char *path, tt_checkpoint **out, tt_err *err);

/* The same with choices. map: how bytes are reached, true maps the files instead of reading them;
 * only for local files that nobody truncates (see safetensors.h). as_refiner: an SDXL refiner is
 * what is wanted, which is refused otherwise. It has a UNet and, as its only text encoder, te2;
 * a base model is opened all the same: who needs to know asks the UNet. */
typedef struct tt_checkpoint_options {
    bool map, as_refiner;
} tt_checkpoint_options;
tt_status tt_checkpoint_open_with(const char *path, const tt_checkpoint_options *options,
                                  tt_checkpoint **out, tt_err *err);
void tt_checkpoint_close(tt_checkpoint *c); /* NULL is fine */

const char *tt_checkpoint_path(const tt_checkpoint *c);

/* TT_OK when the component is there: "unet", "vae", "te1" or "te2". Else TT_E_NOT_FOUND with a
 * sentence for the user: "model x.safetensors has no VAE: ...". */
tt_status tt_checkpoint_require(const tt_checkpoint *c, const char *component, tt_err *err);

bool tt_checkpoint_has(const tt_checkpoint *c, const char *name);
/* TT_E_NOT_FOUND names the tensor and the file, or the whole component when that is missing. */
tt_status tt_checkpoint_info(const tt_checkpoint *c, const char *name, tt_tensor_info *out,
                             tt_err *err);

/* Reads and converts the whole tensor into dst (dtype TT_F32, TT_BF16 or TT_F16, room for all
 * elements). When rank >= 0, rank and shape are what the caller expects: a 1x1 convolution
 * [o, i, 1, 1] and a matrix [o, i] count as equal. A value that is not finite fails with
 * TT_E_FORMAT, naming the tensor and the element. Scaled fp8 is multiplied out. Needs at most some
 * MiB of temporary memory, whatever the tensor's size. Several threads may read at once. */
tt_status tt_checkpoint_read(const tt_checkpoint *c, const char *name, tt_dtype dtype, int rank,
                             const int64_t *shape, void *dst, tt_err *err);

/* The same for rows first to first + n of the first dimension only. A matrix that is stored transposed is read in whole
 * each time. */
tt_status tt_checkpoint_read_rows(const tt_checkpoint *c, const char *name, tt_dtype dtype,
                                  int64_t first, int64_t n, void *dst, tt_err *err);

/* The i-th canonical name, in no useful order; NULL beyond the last. Lives as long as the checkpoint. */
const char *tt_checkpoint_name(const tt_checkpoint *c, size_t i);

/* How many consecutive i, from 0, have a tensor named like printf(pattern, i), which has one %d. */
int tt_checkpoint_count(const tt_checkpoint *c, const char *pattern);

typedef enum tt_prediction { TT_PREDICT_EPSILON, TT_PREDICT_V } tt_prediction;

enum { TT_MAX_LEVELS = 8 };

/* What shapes cannot tell, from config.json files, from the file's metadata ("tintype.config"),
 * from marker tensors, or SDXL's own values, in that order. */
typedef struct tt_text_facts {
    int64_t heads;
    char activation[16]; /* "quick_gelu", "gelu"... */
    float norm_eps;
    int64_t pad_id;
    int64_t eos_id;       /* where the pooled row is... */
    bool pool_at_largest; /* ...or, true, at the first largest id (transformers' rule for
                             eos_token_id 2) */
} tt_text_facts;

typedef struct tt_model_facts {
    const char *layout; /* "ldm file" or "diffusers folder" */
    tt_text_facts text[2];
    struct {
        int64_t heads[TT_MAX_LEVELS]; /* per level; 0: width / head_dim */
        int64_t head_dim;             /* 64 in SDXL */
        int64_t middle_heads;         /* 0: as the last level */
        int64_t groups;               /* of GroupNorm: 32 */
        float norm_eps;               /* of resnets and the output: 1e-5 */
        float attention_norm_eps;     /* of the transformers' GroupNorm: 1e-6 */
        int64_t size_frequencies;     /* sinusoid width per size number: 256 */
        bool flip_sin_to_cos;         /* cos first: true */
        float frequency_shift;        /* 0 */
    } unet;
    struct {
        int64_t groups;
        float norm_eps;
        float scaling_factor; /* 0.13025 */
        float shift_factor;
        bool force_upcast; /* the file's own word that its VAE needs more than fp16 */
    } vae;
    struct {
        tt_prediction prediction;
        int64_t train_steps; /* 1000 */
        double beta_start, beta_end;
        char beta_schedule[24]; /* "scaled_linear" or "linear" */
        bool zero_terminal_snr;
        /* Trained over sigmas with v prediction, as CosXL; 0: over steps. */
        double edm_sigma_min, edm_sigma_max;
        char spacing[16]; /* "leading", "trailing", "linspace" or "": the sampler's own default */
        int64_t steps_offset; /* 1 in SDXL */
        char class_name[64];  /* diffusers scheduler class in the folder, "" for a single file */
        char algorithm[24];   /* its algorithm_type ("dpmsolver++"...), "" when it has none */
        bool use_karras;
        bool set_alpha_to_one; /* DDIM's: the last step ends at alpha 1; false in SDXL */
    } schedule;
    bool zero_absent_negative; /* force_zeros_for_empty_prompt: true */
    struct {
        int64_t width, height, steps;
        double guidance;
        char sampler[48]; /* "" when the file says nothing */
    } defaults;
} tt_model_facts;

const tt_model_facts *tt_checkpoint_facts(const tt_checkpoint *c);

/* Number of parameters of all tensors that the canonical names reach, by component prefix ("unet."
 * ...; "" for all). */
int64_t tt_checkpoint_parameters(const tt_checkpoint *c, const char *prefix);

/* For a folder, the path of a file inside a component ("tokenizer/vocab.json") into out; false when
 * absent. */
bool tt_checkpoint_file(const tt_checkpoint *c, const char *relative, char *out, size_t size);

#endif
