"""Expected results from diffusers (f32, CPU) for the test models: tests/golden/data/expected.

    text.json      ids of each prompt for both encoders
    unet.json, vae.json, pictures.json    the inputs of each case
    text/MODEL-N-{1,2,pooled}.npy   penultimate hidden states [77, width] and the pooled row [width], f32
    unet/MODEL-N.npy                raw output [2, 4, h, w], f32; inputs come from the counter generator
    vae/MODEL-N.npy                 decoded picture [3, h, w], f32, not clipped; the latent comes from the counter
    pictures/ID.npy                 whole pictures [h, w, 3], u8: what PIL would be given

python pictures.py [text|unet|vae|pictures ...]
"""

import json
import os
import sys

import numpy as np
import torch

import counter
from models import DATA, MODELS, Model
from pipeline import Pipe, tokenizer

EXPECTED = os.path.join(DATA, "expected")

PROMPTS = [
    "a lighthouse on the sea at sunset",
    "",
    "Café Zürich, 3 cats & a 猫 \N{HOT BEVERAGE} — 100% don't!",
    "one two three four five six seven eight nine ten " * 9,  # cut at 75 tokens
]

# Inputs of the networks: name, half-width of the uniform distribution (1.7: about unit variance).
WIDE = 1.7
UNET_CASES = [  # latent size, timestep; original height and width, crop top and left, target height and width
    {"height": 8, "width": 8, "timestep": 801.0, "sizes": [1024, 768, 8, 16, 512, 640]},
    {"height": 9, "width": 13, "timestep": 37.25, "sizes": [72, 104, 0, 0, 72, 104]},
]
VAE_CASES = [{"height": 8, "width": 8}, {"height": 5, "width": 7}]

BOAT = "red sailing boat on a calm sea at night, full moon"
CAT = "a black cat on a pink background"
HOUSE = "a small red house in green hills, rainbow, blue sky"
BASE = {"prompt": BOAT, "negative": None, "sampler": "euler", "schedule": None, "prediction": None, "steps": 24,
        "guidance": 4.5, "rescale": 0.0, "seed": 1, "width": 64, "height": 64}  # fmt: skip


def picture_cases():
    cases = []

    def add(name, model, **changes):
        case = BASE | changes | {"id": name, "model": model}
        case["seed"] = 1000 + len(cases)
        cases.append(case)

    for sampler in ("euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "unipc", "lcm"):
        # 24 rounds of LCM's new noise at full guidance make a chaotic map of a random model
        changes = {"sampler": sampler, "guidance": 1.5 if sampler == "lcm" else 4.5}
        add("kernel-%s-eps" % sampler, "kernel", **changes)
        add("kernel-%s-v" % sampler, "kernel", **changes, prediction="v_prediction", prompt=CAT)
    for schedule, samplers in (
        ("karras", ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc")),
        ("exponential", ("euler", "dpmpp_2m")),
        ("trailing", ("euler", "ddim", "dpmpp_2m", "unipc")),
        ("linspace", ("euler_a", "dpmpp_2m", "ddim")),
    ):
        for sampler in samplers:
            add("kernel-%s-%s" % (sampler, schedule), "kernel", sampler=sampler, schedule=schedule, prompt=HOUSE)
    add("kernel-dpmpp_2m-karras-v", "kernel", sampler="dpmpp_2m", schedule="karras", prediction="v_prediction")
    add("kernel-negative-empty", "kernel", negative="")
    add("kernel-negative-text", "kernel", negative="blurry, low quality")
    add("kernel-prompt-empty", "kernel", prompt="", sampler="dpmpp_2m", schedule="karras")
    add("kernel-prompt-long", "kernel", prompt=PROMPTS[3], sampler="dpmpp_2m", schedule="karras")
    add("kernel-rescale", "kernel", rescale=0.7, negative="rain")
    add("kernel-no-guidance", "kernel", guidance=1.0)
    add("kernel-wide-odd", "kernel", width=104, height=72, sampler="dpmpp_2m", schedule="karras")
    add("kernel-tall", "kernel", width=96, height=128, sampler="euler_a")
    add("kernel-one-step", "kernel", steps=1, guidance=1.0)
    add("kernel-lcm-4", "kernel", sampler="lcm", steps=4, guidance=1.5)

    add("quirks-euler", "quirks")
    add("quirks-dpmpp_2m-karras", "quirks", sampler="dpmpp_2m", schedule="karras", prompt=CAT, negative="")
    add("quirks-euler_a-tall", "quirks", sampler="euler_a", width=72, height=104)
    add("quirks-ddim-v", "quirks", sampler="ddim", prediction="v_prediction", prompt=HOUSE)

    add("pruned-euler", "pruned")
    add("pruned-dpmpp_2m-karras", "pruned", sampler="dpmpp_2m", schedule="karras", prompt=CAT, negative="dog")
    add("pruned-unipc-wide", "pruned", sampler="unipc", width=104, height=72)
    add("pruned-dpmpp_2m_sde-v", "pruned", sampler="dpmpp_2m_sde", prediction="v_prediction", prompt=HOUSE)

    add("vpred-euler", "vpred")
    add("vpred-ddim-rescale-odd", "vpred", sampler="ddim", rescale=0.7, width=104, height=72, negative="")
    add("vpred-dpmpp_2m", "vpred", sampler="dpmpp_2m", prompt=CAT, rescale=0.7)
    add("vpred-euler_a", "vpred", sampler="euler_a", prompt=HOUSE)
    add("vpred-euler-eps", "vpred", prediction="epsilon", schedule="leading", width=72, height=88)
    return cases


def save(path, values):
    path = os.path.join(EXPECTED, path + ".npy")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert np.isfinite(values).all(), path
    np.save(path, np.ascontiguousarray(values))


def save_json(name, value):
    os.makedirs(EXPECTED, exist_ok=True)
    with open(os.path.join(EXPECTED, name + ".json"), "w") as out:
        json.dump(value, out, indent=1, ensure_ascii=False)
        out.write("\n")


def padded_ids(tokenizer_, prompt):
    return tokenizer_(prompt, padding="max_length", max_length=77, truncation=True).input_ids


@torch.no_grad()
def text(pipes):
    cases = []
    for name, pipe in pipes.items():
        for i, prompt in enumerate(PROMPTS):
            ids = [padded_ids(t, prompt) for t in (pipe.pipe.tokenizer, pipe.pipe.tokenizer_2)]
            cases.append({"model": name, "number": i, "prompt": prompt, "ids": ids})
            encoders = pipe.model.te1, pipe.model.te2
            outs = [e(torch.tensor([x]), output_hidden_states=True) for e, x in zip(encoders, ids)]
            # the pipeline's own answer, so that this script cannot be wrong about which state it takes
            states, _, pooled, _ = pipe.pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
            parts = [out.hidden_states[-2][0] for out in outs]
            assert torch.equal(torch.cat(parts, -1), states[0]) and torch.equal(outs[1].text_embeds, pooled)
            base = "text/%s-%d-" % (name, i)
            save(base + "1", parts[0].numpy())
            save(base + "2", parts[1].numpy())
            save(base + "pooled", pooled[0].numpy())
    save_json("text", cases)


@torch.no_grad()
def unet(pipes):
    cases = []
    for name, pipe in pipes.items():
        spec = MODELS[name]["unet"]
        pooled_width = spec["projection_class_embeddings_input_dim"] - 6 * spec["addition_time_embed_dim"]
        for i, case in enumerate(UNET_CASES):
            def given(what, *shape):
                return torch.from_numpy(counter.tensor("unet/%d/%s" % (i, what), shape, WIDE))

            added = {"text_embeds": given("pooled", 2, pooled_width), "time_ids": torch.tensor([case["sizes"]] * 2)}
            out = pipe.model.unet(
                given("sample", 2, 4, case["height"], case["width"]), case["timestep"],
                given("context", 2, 77, spec["cross_attention_dim"]), added_cond_kwargs=added).sample  # fmt: skip
            save("unet/%s-%d" % (name, i), out.numpy())
            cases.append({"model": name, "number": i, "context_width": spec["cross_attention_dim"],
                          "pooled_width": pooled_width, "scale": WIDE} | case)  # fmt: skip
    save_json("unet", cases)


@torch.no_grad()
def vae(pipes):
    cases = []
    for name, pipe in pipes.items():
        for i, case in enumerate(VAE_CASES):
            latent = torch.from_numpy(counter.tensor("vae/%d" % i, (1, 4, case["height"], case["width"]), WIDE))
            out = pipe.model.vae.decode(latent / pipe.model.vae.config.scaling_factor).sample
            save("vae/%s-%d" % (name, i), out[0].numpy())
            cases.append({"model": name, "number": i, "scale": WIDE} | case)
    save_json("vae", cases)


def pictures(pipes):
    cases = picture_cases()
    for case in cases:
        pixels, _ = pipes[case["model"]].picture(case)
        save("pictures/" + case["id"], (pixels * 255).round().astype(np.uint8))
        print("%-28s std %.3f" % (case["id"], pixels.std()), flush=True)
    save_json("pictures", cases)


def main():
    jobs = {"text": text, "unet": unet, "vae": vae, "pictures": pictures}
    tokenizers = tokenizer("<|endoftext|>"), tokenizer("!")
    pipes = {name: Pipe(Model(name), tokenizers) for name in MODELS}
    for name in sys.argv[1:] or jobs:
        jobs[name](pipes)


if __name__ == "__main__":
    main()
