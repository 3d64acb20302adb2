"""Are the test models good tests? python measure.py [NAME...] prints, per model, for whole pictures of 24 steps:

std of the pixels and share at 0 or 1; PSNR between two prompts (lower is more sensitive: below 25);
f32 against f64 (rounding must not explode: above 80), bf16 against f32 (36-44)."""

import sys

import numpy as np
import torch

from models import MODELS, Model
from pipeline import Pipe, psnr, tokenizer

PROMPTS = ("a lighthouse on the sea at sunset", "a black cat on a pink background")


def main():
    tokenizers = tokenizer("<|endoftext|>"), tokenizer("!")
    for name in sys.argv[1:] or MODELS:
        runs = {}
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            pipe = Pipe(Model(name), tokenizers).to(dtype)
            for sampler in ("euler", "dpmpp_2m"):
                for prompt in PROMPTS[: 2 if dtype == torch.float32 else 1]:
                    case = dict(prompt=prompt, sampler=sampler, steps=24, guidance=4.5, width=64, height=64, seed=3)
                    noise = pipe.first_noise(case).to(dtype)
                    runs[sampler, prompt, dtype] = pipe.picture(case, noise)
        for sampler in ("euler", "dpmpp_2m"):
            one, latents = runs[sampler, PROMPTS[0], torch.float32]
            other, _ = runs[sampler, PROMPTS[1], torch.float32]
            exact, _ = runs[sampler, PROMPTS[0], torch.float64]
            short, _ = runs[sampler, PROMPTS[0], torch.bfloat16]
            clipped = np.mean((one <= 0) | (one >= 1))
            print("%s %-9s std %.3f clipped %.3f latents %.2f; prompts %.1f dB, f64 %.1f dB, bf16 %.1f dB"
                  % (name, sampler, one.std(), clipped, latents.std(), psnr(one, other), psnr(one, exact),
                     psnr(one, short)), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
