"""The random test models: SDXL in shapes that a hard-coded engine cannot run.

python models.py [--check] writes tests/golden/data/models/NAME.json.gz: for each model every tensor's shape, scale and
offset, and the names, operations and config files of both layouts, from which tests/support/golden_model.c writes the
same model with the same bits. --check converts the ldm names back with diffusers' own functions.

kernel  what fast kernels like: head width 64, 32 groups, three levels; the folder's UNet is sharded
quirks  diffusers' fast tests: head width 1, one group, two levels, MLP of 37, a VAE of factor 2, end token "2"
pruned  as distilled models: a depth for every attention, no middle attention, convolutions as projections, f16
vpred   v-prediction with zero terminal SNR, four levels, one block per level, attention at the top, trailing spacing
"""

import argparse
import gzip
import json
import math
import os
import re
import zlib

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import counter
import ldm_names

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "tests", "golden", "data")

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"
VOCABULARY, BOS, EOS, PADS = 49408, 49406, 49407, (49407, 0)
SIZE_IDS = 6

SDXL_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": diffusers.__version__,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}


def text(width, heads, layers, middle, activation, projection, eos=EOS):
    return dict(hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=middle,
                hidden_act=activation, projection_dim=projection, vocab_size=VOCABULARY, bos_token_id=BOS,
                eos_token_id=eos, pad_token_id=1, max_position_embeddings=77, layer_norm_eps=1e-5)  # fmt: skip


def unet(channels, down, heads, depth, context, pooled, **more):
    ups = [CROSS_UP if d == CROSS_DOWN else UP for d in reversed(down)]
    size = more.pop("addition_time_embed_dim", 8)
    base = dict(block_out_channels=list(channels), down_block_types=down, up_block_types=ups, sample_size=8,
                attention_head_dim=heads, transformer_layers_per_block=depth, cross_attention_dim=context,
                layers_per_block=2, use_linear_projection=True, addition_embed_type="text_time", norm_num_groups=32,
                addition_time_embed_dim=size, projection_class_embeddings_input_dim=SIZE_IDS * size + pooled)  # fmt: skip
    return base | more


def vae(channels, layers=2, **more):
    n = len(channels)
    base = dict(block_out_channels=list(channels), layers_per_block=layers, latent_channels=4, sample_size=64,
                down_block_types=["DownEncoderBlock2D"] * n, up_block_types=["UpDecoderBlock2D"] * n,
                norm_num_groups=32, scaling_factor=0.13025)  # fmt: skip
    return base | more


MODELS = {
    "kernel": dict(
        text_1=text(32, 2, 3, 96, "quick_gelu", 32),
        text_2=text(64, 4, 4, 160, "gelu", 64),
        unet=unet((64, 128, 256), [DOWN, CROSS_DOWN, CROSS_DOWN], [1, 2, 4], [1, 1, 2], 96, 64),
        vae=vae((32, 64, 64, 64)),
        scheduler={},
        shards=2,
    ),
    "quirks": dict(
        text_1=text(32, 4, 5, 37, "gelu", 32, eos=2),
        text_2=text(32, 4, 5, 37, "gelu", 32, eos=2),
        unet=unet((2, 4), [DOWN, CROSS_DOWN], [2, 4], [1, 2], 64, 32, norm_num_groups=1, sample_size=32),
        vae=vae((32, 64), 1, scaling_factor=0.18215),
        scheduler={},
        # A layer norm over 4 channels is nearly a step where they are nearly equal: the bias keeps them apart.
        gains=[(r"mlp\.", 0.7), (r"proj_in\.weight", 0.5), (r"attn2\.to_(q|k|v|out\.0)\.weight", 2.0), (r"proj_out\.", 1.5)],
        biases=[(r"proj_in\.bias", 1.5)],
    ),
    "pruned": dict(
        text_1=text(48, 3, 2, 100, "quick_gelu", 48),
        text_2=text(80, 5, 3, 144, "gelu", 56),
        unet=unet((32, 96, 160), [DOWN, CROSS_DOWN, CROSS_DOWN], [1, 3, 5], [1, 2, [3, 1]], 128, 56,
                  reverse_transformer_layers_per_block=[[1, 2, 3], [2, 1, 1], 1], mid_block_type="UNetMidBlock2D",
                  use_linear_projection=False, norm_num_groups=16, addition_time_embed_dim=16),  # fmt: skip
        vae=vae((16, 32, 48), norm_num_groups=16),
        scheduler={},
        half=["unet", "te1", "te2"],
    ),
    "vpred": dict(
        text_1=text(40, 5, 4, 80, "quick_gelu", 40),
        text_2=text(56, 2, 2, 112, "gelu", 56),
        unet=unet((32, 64, 64, 96), [CROSS_DOWN, DOWN, CROSS_DOWN, CROSS_DOWN], [2, 2, 4, 3], [1, 1, 2, 1], 96, 56,
                  layers_per_block=1, norm_num_groups=8),  # fmt: skip
        vae=vae((32, 32, 64, 64), 1),
        scheduler=dict(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
        markers=["v_pred", "ztsnr"],
        trunk={"unet": 0.02, "vae": 0.001},
    ),
}

# What makes two prompts differ and rounding not explode: (pattern, gain); the first match counts. A weight of fan-in n
# gets the standard deviation gain / sqrt(n).
GAINS = [
    (r"attn\d?\.to_[qk]\.weight", 1.5),
    (r"self_attn\.[qk]_proj\.weight", 1.5),
    (r"mlp\.fc[12]\.weight", 1.5),
    (r"(conv2|proj_out|to_out\.0|ff\.net\.2|out_proj)\.weight", 0.7),
    (r"decoder\.conv_out\.weight", 0.8),
    (r"", 1.0),
]
# Layers that write to the trunk (everything residual). A small trunk makes the epsilon of the norms that read it count.
TRUNK_WEIGHTS = r"(unet|decoder)\.conv_in\.|conv2\.|proj_out\.|vae\..*to_out\."
TRUNK_BIASES = r"(conv_shortcut|samplers\.0\.conv)\.bias"
FULL_TRUNK = {"unet": 1.0, "vae": 1.0}
BIAS, NORM = 0.3, 0.3  # half-widths of the uniform distributions
EMBEDDINGS = [("token_embedding", 1.0), ("position_embedding", 0.3)]


def rule(name, shape, spec):
    """(scale, offset) of a parameter."""
    scale, offset = plain_rule(name, shape, spec.get("gains", []) + GAINS, spec.get("biases", []))
    trunk = spec.get("trunk", FULL_TRUNK)
    if re.search(TRUNK_WEIGHTS, name) or re.search(TRUNK_BIASES, name):
        scale *= trunk[name.split(".")[0]]
    return float("%.6g" % scale), offset


def plain_rule(name, shape, gains, biases):
    for part, scale in EMBEDDINGS:
        if part in name:
            return scale, 0.0
    is_norm = re.search(r"norm\w*\.(weight|bias)$", name)
    if is_norm:
        return NORM, 1.0 if name.endswith("weight") else 0.0
    if name.endswith("bias"):
        return next((b for p, b in biases if re.search(p, name)), BIAS), 0.0
    fan_in = int(np.prod(shape[1:]))
    gain = next(g for p, g in gains if re.search(p, name))
    return gain * math.sqrt(3 / fan_in), 0.0


class Model:
    """The four networks of one test model, with counter weights: .unet, .vae, .te1, .te2."""

    def __init__(self, name):
        self.name, self.spec = name, MODELS[name]
        self.unet = UNet2DConditionModel(**self.spec["unet"]).eval()
        self.vae = AutoencoderKL(**self.spec["vae"]).eval()
        self.te1 = CLIPTextModel(CLIPTextConfig(**self.spec["text_1"])).eval()
        self.te2 = CLIPTextModelWithProjection(CLIPTextConfig(**self.spec["text_2"])).eval()
        self.parts = {"unet": self.unet, "vae": self.vae, "te1": self.te1, "te2": self.te2}
        self.tensors = {}  # canonical name: (shape, scale, offset)
        self.own_names = {}  # canonical name: (part, the module's own name)
        self.fill()

    def canonical(self, part, own):
        """transformers 5 drops text_model. from the names of CLIPTextModel; canonical names keep it."""
        if part == "te1" and not own.startswith("text_model."):
            own = "text_model." + own
        return part + "." + own

    def dtype(self, canonical):
        return "F16" if canonical.split(".")[0] in self.spec.get("half", []) else "F32"

    @torch.no_grad()
    def fill(self):
        for part, module in self.parts.items():
            for own, parameter in module.named_parameters():
                name = self.canonical(part, own)
                shape = list(parameter.shape)
                scale, offset = rule(name, shape, self.spec)
                values = counter.tensor(self.name + "/" + name, shape, scale, offset)
                if self.dtype(name) == "F16":
                    values = values.astype(np.float16).astype(np.float32)
                parameter.copy_(torch.from_numpy(values))
                self.tensors[name], self.own_names[name] = (shape, scale, offset), (part, own)

    def scheduler_config(self):
        return SDXL_SCHEDULER | self.spec["scheduler"]


# ------------------------------------------------------------------------------------------------ the ldm file
def ldm_shape(canonical, op, model):
    shape = list(model.tensors[canonical[0]][0])
    if op == "transpose":
        shape.reverse()
    elif op == "stack":
        shape[0] *= len(canonical)
    elif re.search(r"vae\..*attentions\.0\.to_\w+(\.0)?\.weight", canonical[0]):
        shape += [1, 1]
    return shape


def ldm_tensors(model):
    def names(part):
        prefix = part + "."
        return [n[len(prefix) :] for n in model.tensors if n.startswith(prefix)]

    spec = model.spec["unet"]
    found = list(ldm_names.unet(names("unet"), len(spec["block_out_channels"]), spec["layers_per_block"]))
    found += ldm_names.vae(names("vae"), len(model.spec["vae"]["block_out_channels"]))
    found += ldm_names.text_1(names("te1"))
    found += ldm_names.text_2(names("te2"))
    assert len({f[0] for f in found}) == len(found)
    used = [c for f in found for c in f[2]]
    assert sorted(used) == sorted(model.tensors), "every tensor once"
    tensors = [[n, model.dtype(c[0]), op, ldm_shape(c, op, model), c] for n, op, c in found]
    tensors += [[m, "F32", "marker", [0], []] for m in model.spec.get("markers", [])]
    return tensors


def tintype_config(model):
    """What tensor shapes do not tell."""
    spec, schedule = model.spec, model.scheduler_config()

    def encoder(config, pad):
        return {"heads": config["num_attention_heads"], "layers": config["num_hidden_layers"],
                "activation": config["hidden_act"], "pad_id": pad, "eos_id": config["eos_token_id"],
                "norm_eps": config["layer_norm_eps"]}  # fmt: skip

    return {
        "text_encoder_1": encoder(spec["text_1"], PADS[0]),
        "text_encoder_2": encoder(spec["text_2"], PADS[1]),
        "unet": {
            "heads": spec["unet"]["attention_head_dim"],
            "groups": spec["unet"]["norm_num_groups"],
            "norm_eps": 1e-5,
            "transformer_group_norm_eps": 1e-6,
            "layer_norm_eps": 1e-5,
            "size_frequencies": spec["unet"]["addition_time_embed_dim"],
        },
        "vae": {
            "groups": spec["vae"]["norm_num_groups"],
            "norm_eps": 1e-6,
            "scale": spec["vae"]["scaling_factor"],
        },
        "schedule": {
            # the marker tensors say it when there are any
            **({} if "markers" in spec else {"prediction": schedule["prediction_type"]}),
            "steps": 1000,
            "beta_start": schedule["beta_start"],
            "beta_end": schedule["beta_end"],
            "beta_schedule": schedule["beta_schedule"],
            "spacing": schedule["timestep_spacing"],
            "steps_offset": schedule["steps_offset"],
        },
        "defaults": {"width": 64, "height": 64, "negative": "zeros"},
    }


# ------------------------------------------------------------------------------------------ the diffusers folder
def text_config(config, kind):
    fixed = {"architectures": [kind], "attention_dropout": 0.0, "dropout": 0.0, "initializer_factor": 1.0,
             "initializer_range": 0.02, "model_type": "clip_text_model", "torch_dtype": "float32"}  # fmt: skip
    return config | fixed


def config_files(model):
    def dump(value):
        return json.dumps(value, indent=2, sort_keys=True) + "\n"

    pairs = {"text_encoder": ["transformers", "CLIPTextModel"],
             "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
             "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "tokenizer": ["transformers", "CLIPTokenizer"],
             "tokenizer_2": ["transformers", "CLIPTokenizer"]}  # fmt: skip
    index = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": diffusers.__version__,
             "force_zeros_for_empty_prompt": True}  # fmt: skip
    files = {
        "model_index.json": dump(index | pairs),
        "scheduler/scheduler_config.json": dump(model.scheduler_config()),
        "unet/config.json": model.unet.to_json_string(),
        "vae/config.json": model.vae.to_json_string(),
        "text_encoder/config.json": dump(text_config(model.spec["text_1"], "CLIPTextModel")),
        "text_encoder_2/config.json": dump(text_config(model.spec["text_2"], "CLIPTextModelWithProjection")),
    }
    for folder, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        files[folder + "/tokenizer_config.json"] = dump(
            {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": pad,
             "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "unk_token": "<|endoftext|>"}
        )  # fmt: skip
    return files


def folder_weights(model):
    """{file: [[stored name, dtype, canonical name]]} and the index files of sharded parts."""
    homes = {"unet": ("unet/", "diffusion_pytorch_model"), "vae": ("vae/", "diffusion_pytorch_model"),
             "te1": ("text_encoder/", "model"), "te2": ("text_encoder_2/", "model")}  # fmt: skip
    weights, indexes = {}, {}
    for part, (folder, stem) in homes.items():
        canonical = [n for n in model.tensors if n.startswith(part + ".")]
        half = part in model.spec.get("half", [])
        # half models carry the older names with text_model., the others what transformers 5 saves
        rows = [[n.split(".", 1)[1] if half else model.own_names[n][1], model.dtype(n), n] for n in canonical]
        n_shards = model.spec.get("shards", 1) if part == "unet" else 1
        variant = ".fp16" if half else ""
        where = {}
        for i in range(n_shards):
            name = "%s%s.safetensors" % (stem, variant)
            if n_shards > 1:
                name = "%s-%05d-of-%05d%s.safetensors" % (stem, i + 1, n_shards, variant)
            weights[folder + name] = rows[i * len(rows) // n_shards : (i + 1) * len(rows) // n_shards]
            where.update({row[0]: name for row in weights[folder + name]})
        if n_shards > 1:
            total = sum(4 * int(np.prod(model.tensors[n][0])) for n in canonical)
            index = {"metadata": {"total_size": total}, "weight_map": where}
            indexes["%s%s.safetensors.index%s.json" % (folder, stem, variant)] = json.dumps(index, indent=2)
    return weights, indexes


def stored(model, row):
    name, dtype, op, shape, canonical = row
    homes = [model.own_names[c] for c in canonical]
    values = [model.parts[part].get_parameter(own).detach() for part, own in homes]
    if op == "stack":
        return torch.cat(values)
    if op == "transpose":
        return values[0].T.contiguous()
    return values[0].reshape(shape)


def data_crc32(model, rows):
    """Of the ldm file's bytes after the header: what the C writer must arrive at."""
    crc = 0
    for row in rows:
        if row[2] != "marker":
            values = stored(model, row).numpy()
            crc = zlib.crc32((values.astype(np.float16) if row[1] == "F16" else values).tobytes(), crc)
    return crc


def manifest(model):
    rows = ldm_tensors(model)
    order = {name: i for i, name in enumerate(model.tensors)}
    weights, indexes = folder_weights(model)
    return {
        "model": model.name,
        "tensors": [[n, s, scale, offset] for n, (s, scale, offset) in model.tensors.items()],
        "ldm": {
            "metadata": {"format": "pt", "modelspec.architecture": "stable-diffusion-xl-v1-base",
                         "tintype.config": json.dumps(tintype_config(model))},
            "tensors": [[n, d, op, s, [order[c] for c in cs]] for n, d, op, s, cs in rows],
            "crc32": data_crc32(model, rows),
        },
        "folder": {
            "files": config_files(model) | indexes,
            "weights": {f: [[n, d, order[c]] for n, d, c in rows] for f, rows in weights.items()},
        },
    }  # fmt: skip


def write_manifest(model):
    text_form = json.dumps(manifest(model), separators=(",", ":"))
    path = os.path.join(DATA, "models", model.name + ".json.gz")
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(text_form.encode())
    return os.path.getsize(path)


# --------------------------------------------------------------------------------------------------- checking
def check(model):
    """diffusers' converters, given the ldm names, must give back the module's own state dict."""
    from diffusers.loaders import single_file_utils as su

    checkpoint = {row[0]: stored(model, row) for row in ldm_tensors(model) if row[2] != "marker"}
    results = {}

    def compare(part, converted):
        own = {k: v for k, v in model.parts[part].named_parameters()}
        converted = {k.removeprefix("text_model.") if k not in own else k: v for k, v in converted.items()}
        missing, extra = set(own) - set(converted), set(converted) - set(own)
        wrong = [k for k in own if k in converted and not torch.equal(own[k].squeeze(), converted[k].squeeze())]
        results[part] = "ok" if not (missing or extra or wrong) else (sorted(missing)[:4], sorted(extra)[:4], wrong[:4])

    jobs = {
        "unet": lambda: su.convert_ldm_unet_checkpoint(dict(checkpoint), dict(model.unet.config)),
        "vae": lambda: su.convert_ldm_vae_checkpoint(dict(checkpoint), dict(model.vae.config)),
        "te1": lambda: su.convert_ldm_clip_checkpoint(
            dict(checkpoint), remove_prefix="conditioner.embedders.0.transformer."
        ),
        "te2": lambda: su.convert_open_clip_checkpoint(
            model.te2, dict(checkpoint), prefix="conditioner.embedders.1.model."
        ),
    }
    for part, job in jobs.items():
        try:
            compare(part, job())
        except Exception as problem:  # the converters know fewer shapes than the modules
            results[part] = "converter failed: %r" % problem
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", default=list(MODELS))
    args = parser.parse_args()
    for name in args.names:
        model = Model(name)
        count = sum(int(np.prod(s)) for s, _, _ in model.tensors.values())
        print("%s: %d tensors, %.1f M parameters, manifest %d bytes"
              % (name, len(model.tensors), count / 1e6, write_manifest(model)), flush=True)  # fmt: skip
        if args.check:
            print("   ", check(model), flush=True)


if __name__ == "__main__":
    main()
