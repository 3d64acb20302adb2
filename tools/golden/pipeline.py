"""diffusers' StableDiffusionXLPipeline around a test model: the outside truth of tests/golden."""

import gzip
import os
import warnings

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    StableDiffusionXLPipeline,
    UniPCMultistepScheduler,
)
from diffusers.utils import logging
from transformers import CLIPTokenizer

from models import HERE

logging.set_verbosity_error()
warnings.filterwarnings("ignore")

MERGES = os.path.join(HERE, "..", "..", "src", "text", "data", "clip_merges.txt.gz")
N_MERGES = 48894

SAMPLERS = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "ddim": (DDIMScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
SCHEDULES = {
    None: {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "leading": {"timestep_spacing": "leading"},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
}


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes, in the order of the vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def tokenizer(pad):
    lines = gzip.open(MERGES).read().decode().splitlines()
    merges = [tuple(line.split()) for line in lines if len(line.split()) == 2 and not line.startswith("#version")]
    assert len(merges) == N_MERGES
    letters = byte_alphabet()
    vocabulary = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    made = CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=merges, pad_token=pad)
    made.model_max_length = 77
    assert made("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    return made


class Pipe:
    def __init__(self, model, tokenizers):
        self.model = model
        self.pipe = StableDiffusionXLPipeline(
            model.vae, model.te1, model.te2, *tokenizers, model.unet, self.scheduler("euler", None, None),
            force_zeros_for_empty_prompt=True, add_watermarker=False)  # fmt: skip
        self.pipe.set_progress_bar_config(disable=True)

    def scheduler(self, sampler, schedule, prediction):
        kind, options = SAMPLERS[sampler]
        changes = options | SCHEDULES[schedule]
        if prediction:
            changes["prediction_type"] = prediction
        return kind.from_config(self.model.scheduler_config(), **changes)

    def to(self, dtype):
        self.pipe.to(dtype)
        return self

    @torch.no_grad()
    def picture(self, case, latents=None):
        """float32 [h, w, 3] in 0..1 and the final latents."""
        self.pipe.scheduler = self.scheduler(case["sampler"], case.get("schedule"), case.get("prediction"))
        kept = {}

        def keep(pipe, step, timestep, values):
            kept["latents"] = values["latents"]
            return values

        out = self.pipe(
            case["prompt"], negative_prompt=case.get("negative"), num_inference_steps=case["steps"],
            guidance_scale=case["guidance"], guidance_rescale=case.get("rescale", 0.0), width=case["width"],
            height=case["height"], generator=torch.Generator("cpu").manual_seed(case["seed"]), latents=latents,
            output_type="np", callback_on_step_end=keep)  # fmt: skip
        return out.images[0].astype(np.float32), kept["latents"].float().numpy()

    def first_noise(self, case):
        shape = (1, 4, case["height"] // self.pipe.vae_scale_factor, case["width"] // self.pipe.vae_scale_factor)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(case["seed"]))


def psnr(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else -10 * np.log10(error)
