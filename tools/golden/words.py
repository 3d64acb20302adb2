#!/usr/bin/env python3
"""Whole pictures with adapters, and with prompts as A1111 reads them, for tests/golden/test_engine_words.c.

Writes tests/golden/data/expected/words.json and words/*.npy. Adapters are read and applied by diffusers and PEFT in the UNet, and merged
here in the text encoders. Prompts go
through prompts.py (a second implementation of the rules), torch's encoders and diffusers' pipeline, which is given states in place
of texts; for a prompt that changes on the way they are exchanged between two steps.
"""

import os

import numpy as np
import torch
from safetensors.torch import load_file

import adapters
import pictures
import prompts
from models import Model
from pipeline import Pipe, tokenizer

START, END, POSITIONS, BACKTRACK = 49406, 49407, 77, 20
PADS = END, 0
LONG = " ".join("%s %s hill number %d," % (["red", "green", "blue"][i % 3], ["old", "new"][i % 2], i) for i in range(60))

CASES = [
    {"id": "adapter", "adapters": [["kohya-diffusers", 0.8]], "prompt": pictures.HOUSE},
    {"id": "adapters-two", "adapters": [["kohya-diffusers", -0.5], ["locon", 0.7]], "prompt": pictures.CAT, "negative": "dog"},
    {"id": "weights", "syntax": "a1111", "prompt": "a (red:1.4) house in ((green)) hills, [blue sky]", "negative": "(rain:1.3), fog"},
    {"id": "long", "syntax": "a1111", "prompt": LONG, "negative": "blurry, (low quality:1.2)"},
    {"id": "break", "syntax": "a1111", "prompt": "a red house BREAK (a lake:0.7) BREAK the moon"},
    {"id": "editing", "syntax": "a1111", "prompt": ["a black cat on a hill", "a red boat on a hill"], "change_after": 13,
     "written": "a [black cat:red boat:0.5] on a hill"},
]  # fmt: skip


class Words:
    """A1111's way from a text to states."""

    def __init__(self, model):
        self.encoders = model.te1, model.te2
        self.bpe = prompts.Encoder()

    def chunk(self, tokens):
        weights = torch.ones(POSITIONS)
        weights[1 : len(tokens) + 1] = torch.tensor([w for _, w in tokens])
        parts = []
        for encoder, pad in zip(self.encoders, PADS):
            ids = [START] + [i for i, _ in tokens] + [END]
            out = encoder(torch.tensor([ids + [pad] * (POSITIONS - len(ids))]), output_hidden_states=True)
            states = out.hidden_states[-2][0]
            weighted = states * weights[:, None]
            parts.append(weighted * (states.mean() / weighted.mean()))
        return torch.cat(parts, -1), out.text_embeds[0]

    def encode(self, text):
        chunks = [self.chunk(c) for c in prompts.chunks(self.bpe, text, BACKTRACK)]
        return [states for states, _ in chunks], chunks[0][1]

    def padded(self, text, n, like):
        """[n * 77, width] and the pooled row; None is zeros."""
        if text is None:
            return torch.zeros(n * POSITIONS, like[0].shape[-1]), torch.zeros_like(like[1])
        states, pooled = self.encode(text)
        return torch.cat(states + self.encode("")[0] * (n - len(states))), pooled


def from_states(pipe, case, words):
    texts = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    encoded = [words.encode(t) for t in texts]
    n = max(len(s) for s, _ in encoded + ([words.encode(case["negative"])] if case["negative"] else []))
    like = encoded[0][0][0], encoded[0][1]
    positive = [words.padded(t, n, like) for t in texts]
    negative = words.padded(case["negative"], n, like)

    def change(pipe_, step, timestep, values):
        if step + 1 == case.get("change_after"):
            values["prompt_embeds"] = torch.stack([negative[0], positive[1][0]])
            values["add_text_embeds"] = torch.stack([negative[1], positive[1][1]])
        return values

    out = pipe.pipe(
        prompt_embeds=positive[0][0][None], pooled_prompt_embeds=positive[0][1][None],
        negative_prompt_embeds=negative[0][None], negative_pooled_prompt_embeds=negative[1][None],
        num_inference_steps=case["steps"], guidance_scale=case["guidance"], width=case["width"], height=case["height"],
        generator=torch.Generator("cpu").manual_seed(case["seed"]), output_type="np", callback_on_step_end=change,
        callback_on_step_end_tensor_inputs=["prompt_embeds", "add_text_embeds"])  # fmt: skip
    return out.images[0], n


def merge_into_encoders(pipe, tensors, scale):
    """W += scale alpha / rank up down: this diffusers does not find transformers 5's names for all of them."""
    for n, encoder in (("1", pipe.model.te1), ("2", pipe.model.te2)):
        prefix = "lora_te%s_text_model_" % n
        modules = {name.removeprefix("text_model.").replace(".", "_"): m for name, m in encoder.named_modules()}
        for key in [k for k in tensors if k.startswith(prefix) and k.endswith(".lora_up.weight")]:
            stem = key.removesuffix(".lora_up.weight")
            up, down = tensors[key], tensors[stem + ".lora_down.weight"]
            weight = modules[stem.removeprefix(prefix)].weight
            weight += scale * tensors[stem + ".alpha"].item() / down.shape[0] * (up @ down)


def with_adapters(pipe, case):
    names = []
    for name, scale in case["adapters"]:
        tensors = load_file("%s/%s.safetensors" % (adapters.OUT, name))
        merge_into_encoders(pipe, tensors, scale)
        unet = {k: v for k, v in tensors.items() if not k.startswith("lora_te")}
        pipe.pipe.load_lora_weights(unet, adapter_name="a%d" % len(names))
        names.append("a%d" % len(names))
    pipe.pipe.set_adapters(names, [scale for _, scale in case["adapters"]])
    return pipe.picture(case)[0]


@torch.no_grad()
def main():
    tokenizers = tokenizer("<|endoftext|>"), tokenizer("!")
    cases = []
    for i, changes in enumerate(CASES):
        case = pictures.BASE | {"model": "kernel", "syntax": "plain", "seed": 3000 + i} | changes
        pipe = Pipe(Model(case["model"]), tokenizers)
        pipe.pipe.scheduler = pipe.scheduler(case["sampler"], None, None)
        if case["syntax"] == "a1111":
            pixels, case["chunks"] = from_states(pipe, case, Words(pipe.model))
        else:
            pixels = with_adapters(pipe, case)
        pictures.save("words/" + case["id"], (pixels * 255).round().astype(np.uint8))
        case["prompt"] = case.pop("written", case["prompt"])
        cases.append(case)
        print("%-16s std %.3f" % (case["id"], pixels.std()), flush=True)
    pictures.save_json("words", cases)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
