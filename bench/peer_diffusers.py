"""The peer: diffusers with torch on the CPU, doing what bench_breakdown does, with the same words in its JSON.

    peer_diffusers.py --folder DIR --dtype f32|bf16 [--width 512 --height 512 --steps 3 --threads N --channels-last]

Loads all that Tintype loads (both text encoders, UNet, VAE), encodes a prompt, denoises with guidance (a batch of two) and
Euler, decodes once. Tokens are given as ids, so neither a tokenizer nor a network is needed. s_per_step is the median of
the steps after the first, which is a warm-up; load_ms is without importing torch and diffusers, which import_ms says.
peak_bytes is the largest resident size and counts file pages that safetensors maps; bench/run also samples anonymous memory
of both programs, and that is the number to compare.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
STARTED = time.monotonic()

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

IMPORT_MS = 1000 * (time.monotonic() - STARTED)
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
IDS = [49406, 320, 1125, 539, 320, 2368, 49407]  # "a photo of a cat"
POSITIONS, PADS = 77, (49407, 0)
LATENT_CHANNELS, FACTOR = 4, 8
GUIDANCE = 5.0


class Model:
    def __init__(self, folder, dtype, channels_last):
        def load(kind, part, **how):
            net = kind.from_pretrained(
                folder, subfolder=part, low_cpu_mem_usage=True, use_safetensors=True, local_files_only=True, **how
            )
            return net.eval()

        self.text = [
            load(CLIPTextModel, "text_encoder", dtype=dtype),
            load(CLIPTextModelWithProjection, "text_encoder_2", dtype=dtype),
        ]
        self.unet = load(UNet2DConditionModel, "unet", torch_dtype=dtype)
        self.vae = load(AutoencoderKL, "vae", torch_dtype=dtype)
        self.scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
        if channels_last:
            self.unet.to(memory_format=torch.channels_last)
            self.vae.to(memory_format=torch.channels_last)

    def parameters(self):
        return sum(p.numel() for net in (*self.text, self.unet, self.vae) for p in net.parameters())


def encode(model):
    """Two rows of context and pooled vector: the negative is zeros, as SDXL wants an absent one."""
    states = []
    for net, pad in zip(model.text, PADS):
        ids = torch.tensor([IDS + [pad] * (POSITIONS - len(IDS))])
        out = net(ids, output_hidden_states=True)
        states.append(out.hidden_states[-2])
    context, pooled = torch.cat(states, dim=-1), out.text_embeds
    return torch.cat([torch.zeros_like(context), context]), torch.cat([torch.zeros_like(pooled), pooled])


def denoise(model, context, pooled, args):
    """(latents, seconds of each step)"""
    dtype = context.dtype
    size = (1, LATENT_CHANNELS, args.height // FACTOR, args.width // FACTOR)
    box = [args.height, args.width, 0, 0, args.height, args.width]
    conditions = {"text_embeds": pooled, "time_ids": torch.tensor([box, box], dtype=dtype)}
    scheduler = model.scheduler
    scheduler.set_timesteps(args.steps)
    latents = torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype) * scheduler.init_noise_sigma
    seconds = []
    for t in scheduler.timesteps:
        start = time.monotonic()
        pair = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        out = model.unet(pair, t, encoder_hidden_states=context, added_cond_kwargs=conditions, return_dict=False)[0]
        negative, positive = out.chunk(2)
        latents = scheduler.step(negative + GUIDANCE * (positive - negative), t, latents, return_dict=False)[0]
        seconds.append(time.monotonic() - start)
    return latents, seconds


def measure(args):
    marks = [time.monotonic()]

    def lap():
        marks.append(time.monotonic())
        return marks[-1] - marks[-2]

    model = Model(args.folder, DTYPES[args.dtype], args.channels_last)
    load = lap()
    ready = marks[-1] - args.launched_ns / 1e9 if args.launched_ns else 0
    context, pooled = encode(model)
    text = lap()
    latents, steps = denoise(model, context, pooled, args)
    lap()
    picture = model.vae.decode(latents / model.vae.config.scaling_factor, return_dict=False)[0]
    vae = lap()
    assert torch.isfinite(picture).all(), "the picture has values that are not numbers"
    return {
        "parameters": model.parameters(),
        "load_ms": 1000 * load,
        "ready_ms": 1000 * ready,
        "text_ms": 1000 * text,
        "s_per_step": statistics.median(steps[1:] or steps),
        "vae_s": vae,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="a diffusers folder")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores this process may use")
    parser.add_argument("--launched-ns", type=int, help="the monotonic clock when this process was started")
    parser.add_argument("--channels-last", action="store_true", help="torch's other memory format")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    with torch.inference_mode():
        found = measure(args)
    print(
        json.dumps(
            {
                "program": "diffusers",
                "dtype": args.dtype,
                "threads": torch.get_num_threads(),
                "width": args.width,
                "height": args.height,
                "steps": args.steps,
                "import_ms": IMPORT_MS,
                **found,
                "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "versions": {
                    "python": sys.version.split()[0],
                    "torch": torch.__version__,
                    "diffusers": diffusers.__version__,
                    "transformers": transformers.__version__,
                },
            }
        )
    )


if __name__ == "__main__":
    main()
