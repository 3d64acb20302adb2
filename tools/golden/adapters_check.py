"""The formulas of adapters_math.py against other people's code, and the names against diffusers' loader. Needs torch,
diffusers, and peft (requirements.txt).

peft      merges LoRA, LoCon, DoRA, LoHa, LoKr into a Linear and a Conv2d of its own.
diffusers reads each file that it supports into a pipeline around the test model and fuses it; whole weights are compared.
"""

import numpy as np
import peft
import torch
from safetensors.torch import load_file
from torch import nn

import adapters
import adapters_math as am
import models
import pipeline

LARGEST = 2e-6  # f32 against f64, of the largest weight

# Files that plain LoRA or DoRA make; diffusers says itself which of them it cannot read. (Not peft-metadata: its alphas travel
# with the path of a file that diffusers itself wrote.)
FILES = ["kohya-ldm", "kohya-ldm-upsampler", "kohya-diffusers", "kohya-te", "peft", "peft-default", "peft-raw",
         "diffusers-old", "ldm-dotted", "onetrainer", "lycoris-names", "no-prefix", "comfy-text", "open-clip", "locon",
         "dora-peft"]  # fmt: skip


def error(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def report(what, value):
    print("%-44s %.2g" % (what, value), flush=True)
    assert value < LARGEST, what


# ---------------------------------------------------------------------------------------------------------------- PEFT
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.conv = nn.Linear(24, 32), nn.Conv2d(8, 16, 3)


def merged(config, fill):
    """PEFT's merged weights and its parts, which fill() has made random."""
    torch.manual_seed(0)
    base = Two()
    before = {n: p.detach().numpy().astype(np.float64).copy() for n, p in base.named_parameters()}
    model = peft.get_peft_model(base, config)
    parts = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            fill(name, parameter.data)
            parts[name.replace("base_model.model.", "")] = parameter.detach().numpy().astype(np.float64).copy()
    after = model.merge_and_unload()
    return before, parts, {n: p.detach().numpy() for n, p in after.named_parameters()}


def noise(name, data):
    if "magnitude" in name:
        data.mul_(1 + 0.3 * torch.rand_like(data))
    else:
        data.copy_(0.3 * torch.randn_like(data))


def check_peft():
    for dora in (False, True):
        config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["linear", "conv"], use_dora=dora)
        before, parts, after = merged(config, noise)
        for m in ("linear", "conv"):
            w = before[m + ".weight"]
            delta = 2 * am.lora(parts[m + ".lora_B.default.weight"], parts[m + ".lora_A.default.weight"])
            expected = am.dora(w, delta, parts[m + ".lora_magnitude_vector.default.weight"], False) if dora else w + delta
            report("peft %s %s" % ("DoRA" if dora else "LoRA", m), error(after[m + ".weight"], expected))
    config = peft.LoHaConfig(r=3, alpha=6, target_modules=["linear", "conv"], use_effective_conv2d=True)
    before, parts, after = merged(config, noise)
    for m in ("linear", "conv"):
        p = {k.split("hada_")[1].split(".")[0]: v for k, v in parts.items() if k.startswith(m)}
        delta = am.loha_tucker(p) if "t1" in p else am.loha(p)
        report("peft LoHa %s" % m, error(after[m + ".weight"], before[m + ".weight"] + 2 * delta))
    for effective in (False, True):
        config = peft.LoKrConfig(r=2, alpha=4, target_modules=["linear", "conv"], use_effective_conv2d=effective,
                                 decompose_both=True, decompose_factor=4)  # fmt: skip
        before, parts, after = merged(config, noise)
        for m in ("linear", "conv"):
            p = {k.split("lokr_")[1].split(".")[0]: v for k, v in parts.items() if k.startswith(m)}
            w = before[m + ".weight"]
            if "t2" in p:
                delta = am.lokr_tucker(p)
            else:
                shape = None
                if w.ndim == 4:
                    o1, i1 = am.side(p, "w1").shape
                    shape = (w.shape[0] // o1, w.shape[1] // i1, 3, 3)
                delta = am.lokr(p, shape)
            report("peft LoKr %s%s" % (m, " tucker" if "t2" in p else ""), error(after[m + ".weight"], w + 2 * delta.reshape(w.shape)))


# ----------------------------------------------------------------------------------------------------------- diffusers
def parameters(pipe):
    found = {}
    for prefix, module in (("unet", pipe.unet), ("te1", pipe.text_encoder), ("te2", pipe.text_encoder_2)):
        for name, parameter in module.named_parameters():
            name = name.replace(".base_layer", "")
            if prefix == "te1" and not name.startswith("text_model."):
                name = "text_model." + name
            found[prefix + "." + name] = parameter.detach().numpy()
    return found


def check_file(book, name, only=None):
    """only: the keys' prefix, for files whose text encoder keys this diffusers cannot read with transformers 5"""
    pipe = pipeline.Pipe(models.Model("kernel"), (None, None)).pipe
    tensors = load_file("%s/%s.safetensors" % (adapters.OUT, name))
    pipe.load_lora_weights({k: v for k, v in tensors.items() if not only or k.startswith(only)})
    pipe.fuse_lora(lora_scale=1.0, components=["unet", "text_encoder", "text_encoder_2"])
    found = parameters(pipe)
    worst, ignored = 0, []
    for stem, (canonical, _, change) in book.files[name].items():
        if only and not stem.startswith(only):
            continue
        w = book.models["kernel"].weight(canonical + ".weight")
        merged = found[canonical + ".weight"].reshape(w.shape)
        if error(merged, w) == 0:  # loaded without a word, and not applied
            ignored.append(canonical)
        else:
            worst = max(worst, error(merged, change(w, None)[0]))
    report("diffusers %s%s" % (name, " (%s)" % only if only else ""), worst)
    for canonical in ignored:
        print("    ignored by diffusers: " + canonical)


def run(book):
    check_peft()
    for name in FILES:
        has_unet = any(stem.startswith("unet.") for stem in book.files[name])
        for only in (None, "unet.") if has_unet else (None,):
            try:
                check_file(book, name, only)
                break
            except AssertionError:
                raise
            except Exception as problem:
                print("%-44s cannot: %s" % ("diffusers " + name, repr(problem)[:150]), flush=True)
