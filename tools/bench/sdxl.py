"""The tensors and config files of SDXL as a diffusers folder names them, in its real size and in a small one.

A tensor is (shape, offset, scale): its values are offset + scale * u, u uniform in -1..1. Scales keep activations near
one: sqrt(3 / fan_in) for products, norms near one, small biases.
"""

import math

VOCABULARY, POSITIONS, EOS = 49408, 77, 49407
SIZE_IDS, SIZE_FREQUENCIES = 6, 256
LATENT, HEAD_DIM, MLP = 4, 64, 4
RESNETS = 2  # per level on the way down, one more on the way up

SIZES = {
    "full": {
        "unet": {"widths": [320, 640, 1280], "depths": [0, 2, 10]},
        "vae": {"widths": [128, 256, 512, 512]},
        "te1": {"width": 768, "layers": 12, "activation": "quick_gelu"},
        "te2": {"width": 1280, "layers": 32, "activation": "gelu", "projection": 1280},
        "sample": 128,
    },
    "small": {  # the same structure in seconds: for trying the tools
        "unet": {"widths": [64, 128, 256], "depths": [0, 1, 2]},
        "vae": {"widths": [32, 64, 96, 96]},
        "te1": {"width": 128, "layers": 3, "activation": "quick_gelu"},
        "te2": {"width": 192, "layers": 4, "activation": "gelu", "projection": 192},
        "sample": 32,
    },
}
PARAMETERS = {"unet": 2567463684, "te1": 123060480, "te2": 694659840, "vae": 83653863}  # of the full size


class Table(dict):
    """Tensor name to (shape, offset, scale)."""

    def weight(self, name, shape, fan_in):
        self[name + ".weight"] = (shape, 0.0, math.sqrt(3 / fan_in))

    def bias(self, name, n):
        self[name + ".bias"] = ([n], 0.0, 0.05)

    def linear(self, name, n_out, n_in, bias=True):
        self.weight(name, [n_out, n_in], n_in)
        if bias:
            self.bias(name, n_out)

    def conv(self, name, c_out, c_in, kernel):
        self.weight(name, [c_out, c_in, kernel, kernel], c_in * kernel * kernel)
        self.bias(name, c_out)

    def norm(self, name, n):
        self[name + ".weight"] = ([n], 1.0, 0.1)
        self.bias(name, n)

    def embedding(self, name, rows, width, deviation):
        self[name + ".weight"] = ([rows, width], 0.0, deviation * math.sqrt(3))


def resnet(t, name, c_in, c_out, time=None):
    t.norm(name + ".norm1", c_in)
    t.conv(name + ".conv1", c_out, c_in, 3)
    if time:
        t.linear(name + ".time_emb_proj", c_out, time)
    t.norm(name + ".norm2", c_out)
    t.conv(name + ".conv2", c_out, c_out, 3)
    if c_in != c_out:
        t.conv(name + ".conv_shortcut", c_out, c_in, 1)


def attention(t, name, width, context, bias=False):
    t.linear(name + ".to_q", width, width, bias)
    t.linear(name + ".to_k", width, context, bias)
    t.linear(name + ".to_v", width, context, bias)
    t.linear(name + ".to_out.0", width, width)


def transformer(t, name, width, depth, context):
    t.norm(name + ".norm", width)
    t.linear(name + ".proj_in", width, width)
    for i in range(depth):
        block = "%s.transformer_blocks.%d" % (name, i)
        for n in (1, 2, 3):
            t.norm("%s.norm%d" % (block, n), width)
        attention(t, block + ".attn1", width, width)
        attention(t, block + ".attn2", width, context)
        t.linear(block + ".ff.net.0.proj", 2 * MLP * width, width)
        t.linear(block + ".ff.net.2", width, MLP * width)
    t.linear(name + ".proj_out", width, width)


def context_width(size):
    return size["te1"]["width"] + size["te2"]["width"]


def vector_width(size):
    return size["te2"]["projection"] + SIZE_IDS * SIZE_FREQUENCIES


def unet_tensors(size):
    t, widths, depths = Table(), size["unet"]["widths"], size["unet"]["depths"]
    time, context = 4 * widths[0], context_width(size)

    def level(name, i, c_in, index):
        resnet(t, "%s.resnets.%d" % (name, index), c_in, widths[i], time)
        if depths[i]:
            transformer(t, "%s.attentions.%d" % (name, index), widths[i], depths[i], context)
        return widths[i]

    t.conv("conv_in", widths[0], LATENT, 3)
    for name, n_in in (("time_embedding", widths[0]), ("add_embedding", vector_width(size))):
        t.linear(name + ".linear_1", time, n_in)
        t.linear(name + ".linear_2", time, time)
    c, skips, last = widths[0], [widths[0]], len(widths) - 1
    for i in range(len(widths)):
        for index in range(RESNETS):
            c = level("down_blocks.%d" % i, i, c, index)
            skips.append(c)
        if i < last:
            t.conv("down_blocks.%d.downsamplers.0.conv" % i, c, c, 3)
            skips.append(c)
    level("mid_block", last, c, 0)
    resnet(t, "mid_block.resnets.1", c, c, time)
    for i in range(len(widths)):
        for index in range(RESNETS + 1):
            c = level("up_blocks.%d" % i, last - i, c + skips.pop(), index)
        if i < last:
            t.conv("up_blocks.%d.upsamplers.0.conv" % i, c, c, 3)
    t.norm("conv_norm_out", c)
    t.conv("conv_out", LATENT, c, 3)
    return t


def vae_middle(t, name, width):
    resnet(t, name + ".resnets.0", width, width)
    t.norm(name + ".attentions.0.group_norm", width)
    attention(t, name + ".attentions.0", width, width, bias=True)
    resnet(t, name + ".resnets.1", width, width)


def vae_half(t, name, widths, n_resnets, ends, sampler):
    """widths in the order of the data; the middle is at the narrow end."""
    is_encoder = name == "encoder"
    t.conv(name + ".conv_in", widths[0], ends[0], 3)
    vae_middle(t, name + ".mid_block", widths[-1] if is_encoder else widths[0])
    c = widths[0]
    for i, width in enumerate(widths):
        block = "%s.%s.%d" % (name, "down_blocks" if is_encoder else "up_blocks", i)
        for index in range(n_resnets):
            resnet(t, "%s.resnets.%d" % (block, index), c, width)
            c = width
        if i < len(widths) - 1:
            t.conv("%s.%s.0.conv" % (block, sampler), c, c, 3)
    t.norm(name + ".conv_norm_out", c)
    t.conv(name + ".conv_out", ends[1], c, 3)


def vae_tensors(size):
    t, widths = Table(), size["vae"]["widths"]
    vae_half(t, "encoder", widths, RESNETS, (3, 2 * LATENT), "downsamplers")
    t.conv("quant_conv", 2 * LATENT, 2 * LATENT, 1)
    t.conv("post_quant_conv", LATENT, LATENT, 1)
    vae_half(t, "decoder", widths[::-1], RESNETS + 1, (LATENT, 3), "upsamplers")
    return t


def text_tensors(spec):
    t, width = Table(), spec["width"]
    t.embedding("text_model.embeddings.token_embedding", VOCABULARY, width, 0.02)
    t.embedding("text_model.embeddings.position_embedding", POSITIONS, width, 0.01)
    for i in range(spec["layers"]):
        layer = "text_model.encoder.layers.%d." % i
        t.norm(layer + "layer_norm1", width)
        for part in ("q", "k", "v", "out"):
            t.linear("%sself_attn.%s_proj" % (layer, part), width, width)
        t.norm(layer + "layer_norm2", width)
        t.linear(layer + "mlp.fc1", MLP * width, width)
        t.linear(layer + "mlp.fc2", width, MLP * width)
    t.norm("text_model.final_layer_norm", width)
    if "projection" in spec:
        t.linear("text_projection", spec["projection"], width, bias=False)
    return t


def components(size):
    """{"unet" | "vae" | "te1" | "te2": Table}; checked against SDXL's known counts in the full size."""
    found = {
        "unet": unet_tensors(size),
        "vae": vae_tensors(size),
        "te1": text_tensors(size["te1"]),
        "te2": text_tensors(size["te2"]),
    }
    if size is SIZES["full"]:
        counts = {part: sum(math.prod(shape) for shape, _, _ in t.values()) for part, t in found.items()}
        assert counts == PARAMETERS, "parameters %s, expected %s" % (counts, PARAMETERS)
    return found


# ------------------------------------------------------------------------------------------------ config files
def text_config(spec):
    """With the real SDXL's end token 2: pooling then looks for the largest id."""
    is_second = "projection" in spec
    return {
        "architectures": ["CLIPTextModelWithProjection" if is_second else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_size": spec["width"],
        "intermediate_size": MLP * spec["width"],
        "num_attention_heads": spec["width"] // HEAD_DIM,
        "num_hidden_layers": spec["layers"],
        "hidden_act": spec["activation"],
        "projection_dim": spec.get("projection", spec["width"]),
        "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS,
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def unet_config(size):
    widths, depths = size["unet"]["widths"], size["unet"]["depths"]
    down = ["CrossAttnDownBlock2D" if d else "DownBlock2D" for d in depths]
    up = ["CrossAttnUpBlock2D" if d else "UpBlock2D" for d in depths[::-1]]
    return {
        "_class_name": "UNet2DConditionModel",
        "in_channels": LATENT,
        "out_channels": LATENT,
        "sample_size": size["sample"],
        "block_out_channels": widths,
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": RESNETS,
        "transformer_layers_per_block": [max(1, d) for d in depths],
        "attention_head_dim": [w // HEAD_DIM for w in widths],  # the number of heads, whatever the name says
        "cross_attention_dim": context_width(size),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_FREQUENCIES,
        "projection_class_embeddings_input_dim": vector_width(size),
    }


def vae_config(size):
    widths = size["vae"]["widths"]
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": LATENT,
        "sample_size": 8 * size["sample"],
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": RESNETS,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    }


SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
MODEL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
FOLDERS = {  # component: folder, name of its weights
    "unet": ("unet", "diffusion_pytorch_model.safetensors"),
    "vae": ("vae", "diffusion_pytorch_model.safetensors"),
    "te1": ("text_encoder", "model.safetensors"),
    "te2": ("text_encoder_2", "model.safetensors"),
}


def config_files(size):
    """{path in the folder: content}"""
    return {
        "model_index.json": MODEL_INDEX,
        "scheduler/scheduler_config.json": SCHEDULER,
        "unet/config.json": unet_config(size),
        "vae/config.json": vae_config(size),
        "text_encoder/config.json": text_config(size["te1"]),
        "text_encoder_2/config.json": text_config(size["te2"]),
    }
