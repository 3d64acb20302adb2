#!/usr/bin/env python3
"""Expected results for tests/unit/sample, from diffusers' own schedulers in float32 on the CPU.

    python3 tools/golden/samplers.py            (torch 2.15, diffusers 0.42.1, numpy 2)

Writes tests/golden/data/samplers.bin and noise.bin, little-endian:

samplers.bin
    u32 n_tables    each: f32 zero_snr, char beta_schedule[16], f32 sigmas[1000]
    u32 n_grids     each: char class[16], char spacing[16], f64 sums[200]: for n = 1..200 steps the sum of
                    (i + 1) * timestep i
    u32 n_runs      each: char sampler[16], schedule[16], spacing[16], beta_schedule[16], u32 steps,
                    u32 v_prediction, u32 zero_snr, f32 eta, f32 init_scale,
                    f32 timesteps[steps], f32 sigmas[steps + 1] (ddim, lcm: none), f32 latents[64]: every 4th from 1
    u32 n_sigmas    each: char schedule[16], u32 steps, f32 timesteps[steps], f32 sigmas[steps]: k-diffusion's and
                    ComfyUI's schedules, by their formulas in numpy
noise.bin
    u32 n_streams   each: char kind[16], u64 seed, u32 n_calls, each call: u32 n, f32 first[min(n, 32)],
                    f32 last[min(n, 32)]
"""
import pathlib
import struct
import sys

import diffusers
import numpy as np
import torch

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/data"
STEPS = (1, 2, 4, 10, 24)
SEED = 20240229

# The published scheduler_config of SDXL-base-1.0.
SDXL = dict(
    beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False,
    interpolation_type="linear", num_train_timesteps=1000, prediction_type="epsilon", sample_max_value=1.0,
    set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, timestep_spacing="leading",
    trained_betas=None, use_karras_sigmas=False,
)

CLASSES = {
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_a": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "ddim": (diffusers.DDIMScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
}
RAMPS = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc")  # classes that know use_karras_sigmas


def make(sampler, schedule, facts, classes=None):
    cls, extra = (classes or CLASSES)[sampler]
    config = dict(SDXL, **facts, **extra)
    if schedule in ("leading", "trailing", "linspace"):
        config["timestep_spacing"] = schedule
    elif schedule != "default":
        config[f"use_{schedule}_sigmas"] = True
    return cls.from_config(config)


def model(x, t):
    """The denoiser that the C test has too: nonlinear, mixes channels and neighbours, knows the time."""
    t = t.to(torch.float32)
    right, below = torch.roll(x.roll(-1, 1), -1, 3), torch.roll(x, -1, 2)
    mixed = 0.8 * x + 0.3 * right - 0.2 * below + 0.1 * torch.sin(t * 0.01)
    return torch.tanh(mixed) * (0.6 + 0.0004 * t)


def run(sampler, schedule, steps, facts, eta):
    scheduler = make(sampler, schedule, facts)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    kwargs = {"generator": generator} if sampler in ("euler_a", "dpmpp_2m_sde", "lcm") else {}
    if sampler == "ddim":
        kwargs = {"generator": generator, "eta": eta}
    for t in scheduler.timesteps:
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, **kwargs).prev_sample
    return scheduler, x


def name(text):
    return text.encode().ljust(16, b"\0")


def floats(values):
    return np.asarray(values, dtype="<f4").tobytes()


def run_record(sampler, schedule, steps, v=False, zero_snr=False, spacing="leading", betas="scaled_linear", eta=0.0):
    facts = dict(prediction_type="v_prediction" if v else "epsilon", timestep_spacing=spacing, beta_schedule=betas)
    if zero_snr:
        facts["rescale_betas_zero_snr"] = True
    scheduler, x = run(sampler, schedule, steps, facts, eta)
    timesteps, sigmas = scheduler.timesteps.numpy(), getattr(scheduler, "sigmas", None)
    if sampler == "heun":  # its tables name every inner point twice
        timesteps, sigmas = timesteps[::2], torch.cat([sigmas[::2], sigmas[-1:]])
    assert len(timesteps) == steps and torch.isfinite(x).all(), (sampler, schedule, steps)
    out = name(sampler) + name(schedule) + name(spacing) + name(betas)
    out += struct.pack("<IIIff", steps, v, zero_snr, eta, float(scheduler.init_noise_sigma))
    out += floats(timesteps)
    if sampler not in ("ddim", "lcm"):
        assert len(sigmas) == steps + 1
        out += floats(sigmas)
    return out + floats(x.flatten()[1::4])


def runs():
    for sampler in CLASSES:
        schedules = ["default"]
        if sampler != "lcm":
            schedules += ["trailing", "linspace"]
        if sampler in RAMPS:
            schedules += ["karras", "exponential"]
        for schedule in schedules:
            for v in (False, True):
                for steps in STEPS:
                    yield run_record(sampler, schedule, steps, v)
    for sampler in ("euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "unipc", "lcm"):
        yield run_record(sampler, "default", 10, True, zero_snr=True, spacing="trailing")
    for sampler in ("euler", "heun"):
        yield run_record(sampler, "karras", 10, spacing="trailing")
    for sampler in ("euler", "ddim", "dpmpp_2m"):
        yield run_record(sampler, "default", 10, betas="linear")
    for v in (False, True):
        yield run_record("ddim", "default", 10, v, eta=0.7)


def tables():
    for zero_snr, betas in ((0, "scaled_linear"), (1, "scaled_linear"), (0, "linear")):
        scheduler = diffusers.EulerDiscreteScheduler.from_config(
            dict(SDXL, beta_schedule=betas, rescale_betas_zero_snr=bool(zero_snr)))
        yield struct.pack("<f", zero_snr) + name(betas) + floats(scheduler.sigmas[:-1].flip(0))


def grids():
    for sampler in ("euler", "dpmpp_2m", "ddim", "lcm"):
        for spacing in ("leading", "trailing", "linspace"):
            if sampler == "lcm" and spacing != "leading":
                continue
            sums = []
            for n in range(1, 201):
                if sampler == "lcm" and n > 50:
                    sums.append(0.0)
                    continue
                scheduler = make(sampler, spacing, {})
                scheduler.set_timesteps(n)
                t = scheduler.timesteps.numpy().astype(np.float64)[:n]  # numpy's arange may give one too many
                sums.append(float((t * np.arange(1, n + 1)).sum()))
            yield name(sampler) + name("default" if sampler == "lcm" else spacing) + struct.pack("<200d", *sums)


def k_sigmas():
    table = diffusers.EulerDiscreteScheduler.from_config(SDXL).sigmas[:-1].flip(0).double().numpy()
    for schedule in ("normal", "sgm_uniform", "simple"):
        for n in (1, 2, 7, 20, 33):
            if schedule == "simple":
                t = np.array([999 - int(i * (1000 / n)) for i in range(n)], dtype=np.float64)
            elif schedule == "normal":
                t = np.linspace(999, 0, n)
            else:
                t = np.linspace(999, 0, n + 1)[:-1]
            sigmas = np.exp(np.interp(t, np.arange(1000), np.log(table)))
            yield name(schedule) + struct.pack("<I", n) + floats(t) + floats(sigmas)


def half_stream(seed, n):
    """torch's float16 stream before it became the rounded float32 one, in numpy: half values, float
    arithmetic between them (agrees with values that torch 1.13 prints)."""
    words = np.random.RandomState(seed & 0xFFFFFFFF)
    h = np.float16

    def uniforms(count):
        raw = words.randint(0, 2**32, size=count, dtype=np.uint32)
        return ((raw & 0x7FF).astype(np.float32) / 2048).astype(h)

    def transform(d):
        f = np.float32
        radius = np.sqrt(f(-2) * np.log((h(1) - d[:8]).astype(f))).astype(h).astype(f)
        angle = (2 * np.pi * d[8:].astype(np.float64)).astype(h).astype(f)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(h)

    d = uniforms(n)
    for i in range(0, n - 15, 16):
        d[i:i + 16] = transform(d[i:i + 16])
    if n % 16:
        d[-16:] = transform(uniforms(16))
    return d.astype(np.float32)


def streams():
    sizes = (16, 10, 37, 3, 1, 65536, 5, 256, 1000)
    for seed in (0, 42, 2**32 + 42, 2**63 + 123456789, 4294967295):
        generator = torch.Generator().manual_seed(seed)
        calls = [torch.randn(n, generator=generator).numpy() for n in sizes]
        yield "cpu", seed, calls
    for seed in (0, 42, 7):
        yield "cpu-f16", seed, [half_stream(seed, 65536 + 5)]


def stream_record(kind, seed, calls):
    out = name(kind) + struct.pack("<QI", seed, len(calls))
    for values in calls:
        out += struct.pack("<I", len(values)) + floats(values[:32]) + floats(values[-32:])
    return out


def write(path, *sections):
    blob = b""
    for section in sections:
        records = list(section)
        blob += struct.pack("<I", len(records)) + b"".join(records)
    path.write_bytes(blob)
    print(f"{path.name}: {len(blob)} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}, numpy {np.__version__}", file=sys.stderr)
    DATA.mkdir(parents=True, exist_ok=True)
    write(DATA / "samplers.bin", tables(), grids(), runs(), k_sigmas())
    write(DATA / "noise.bin", (stream_record(*s) for s in streams()))
