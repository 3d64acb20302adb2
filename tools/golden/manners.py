#!/usr/bin/env python3
"""Expected results for tests/unit/sample/test_manners.c: samplers, schedules and habits beyond samplers.py.

    python3 tools/golden/manners.py             (torch 2.15, diffusers 0.42.1, torchsde 0.2.6, scipy 1.17, numpy 2)

Three truths: diffusers' own schedulers; the formulas of k-diffusion and ComfyUI, written here in numpy from the papers
and from how those programs behave (diffusers has no such thing); torchsde's tree itself.

Writes tests/golden/data/manners.bin and brownian.bin, little-endian:

manners.bin
    u32 n_runs      each: char sampler[16], schedule[20], u32 compat, steps, prediction, edm, f32 eta, strength, start, end,
                    u32 step_noise, i32 step_noise_kind, f32 init_scale, u32 n (the steps that run),
                    f32 timesteps[n], f32 sigmas[n + 1], f32 latents[64]: every 4th from 1
                    from_picture: strength below 1 starts from the picture sin(k / 7), noised; else from noise * init_scale
brownian.bin
    u32 n_trees     each: u64 seed, f32 sigma_min, sigma_max, u32 n_queries, each: f32 from, to, values[64]
"""
import math
import struct
import sys

import diffusers
import numpy as np
import scipy.stats
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

from samplers import DATA, SDXL, SEED, floats, make, model

SHAPE = (1, 4, 8, 8)
COMPAT = {"diffusers": 0, "a1111": 1, "comfyui": 2}
EPSILON, V, EDM = 0, 1, 2
DEFAULT, STREAM, FRESH, BROWNIAN = 0, 1, 2, 3
STEPS = (1, 2, 3, 10, 24)
PICTURE = np.sin(np.arange(256) / 7).reshape(SHAPE)


def name(text, size=16):
    return text.encode().ljust(size, b"\0")


def record(sampler, schedule, timesteps, sigmas, x, steps, *, compat="diffusers", prediction=EPSILON, edm=0, eta=-1.0,
           strength=1.0, start=0.0, end=1.0, step_noise=DEFAULT, noise_kind=-1, init_scale=1.0):
    x = np.asarray(x, dtype=np.float64).flatten()
    assert len(sigmas) == len(timesteps) + 1 and np.isfinite(x).all(), (sampler, schedule, steps, compat)
    out = name(sampler) + name(schedule, 20)
    out += struct.pack("<IIIIffffIifI", COMPAT[compat], steps, prediction, edm, eta, strength, start, end, step_noise,
                       noise_kind, init_scale, len(timesteps))
    return out + floats(timesteps) + floats(sigmas) + floats(x[1::4])


# ---- diffusers ----

CLASSES = {
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "ddim": (diffusers.DDIMScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "pndm": (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "dpm2": (diffusers.KDPM2DiscreteScheduler, {}),
    "dpm2_a": (diffusers.KDPM2AncestralDiscreteScheduler, {}),
    "dpmpp_sde": (diffusers.DPMSolverSDEScheduler, {"noise_sampler_seed": SEED}),
    "dpmpp_2s": (diffusers.DPMSolverSinglestepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "tcd": (diffusers.TCDScheduler, {}),
}
TWICE = ("heun", "dpm2", "dpm2_a", "dpmpp_sde")
WITH_GENERATOR = ("dpm2_a", "tcd")


def alpha_sigma(scheduler, t):
    a = scheduler.alphas_cumprod[int(t)].double()
    return float(((1 - a) / a).sqrt())


def points(sampler, scheduler, n):
    """What the C side calls timesteps and sigmas: one per step."""
    timesteps = scheduler.timesteps.double().numpy()
    sigmas = scheduler.sigmas.double().numpy() if hasattr(scheduler, "sigmas") else None
    if sampler in TWICE:
        timesteps = timesteps[::2]
        if sampler == "dpmpp_sde":
            sigmas = np.append(sigmas[:-1][::2], 0)
        else:
            sigmas = np.append(sigmas[::2][:n], 0)
    if sampler == "pndm" and n > 1:
        timesteps = np.delete(timesteps, 1)
    if sigmas is None:
        stride = 1000 // n
        last = max(int(timesteps[-1]) - stride, 0)
        sigmas = [alpha_sigma(scheduler, t) for t in timesteps]
        sigmas.append(0 if sampler == "tcd" else alpha_sigma(scheduler, last))
    return timesteps, np.asarray(sigmas)


def diffusers_run(sampler, schedule, steps, v=False, spacing="leading", eta=-1.0, strength=1.0, start=0.0, end=1.0):
    facts = dict(prediction_type="v_prediction" if v else "epsilon", timestep_spacing=spacing)
    scheduler = make(sampler, schedule, facts, CLASSES)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(SHAPE, generator=generator)
    shown, sigmas = points(sampler, scheduler, steps)
    order = 2 if sampler in TWICE else 1
    first, last = 0, steps
    if start > 0:
        first = int((shown >= round(1000 - start * 1000)).sum())
    elif strength < 1:
        first = steps - min(int(steps * strength), steps)
    if end < 1:
        last = int((shown >= round(1000 - end * 1000)).sum())
    timesteps = scheduler.timesteps[first * order:]
    if last < steps:
        timesteps = timesteps[: (last - first) * order]
    if first:
        scheduler.set_begin_index(first * order) if hasattr(scheduler, "set_begin_index") else None
    scale = float(scheduler.init_noise_sigma)
    x = noise * scale
    if strength < 1:
        x = scheduler.add_noise(torch.from_numpy(PICTURE).float(), noise, timesteps[:1])
        scale = 0
    if start > 0:  # goes on from what a first run left; here simply from noise of that size
        scale = 0
        x = torch.from_numpy(PICTURE).float()
    kwargs = {"generator": generator} if sampler in WITH_GENERATOR else {}
    if sampler == "tcd" and eta >= 0:
        kwargs["eta"] = eta
    for t in timesteps:
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, **kwargs).prev_sample
    return record(sampler, schedule, shown[first:last], sigmas[first:last + 1], x, steps, prediction=int(v), eta=eta,
                  strength=strength, start=start, end=end, init_scale=scale)


def diffusers_runs():
    for sampler in ("lms", "pndm", "dpm2", "dpm2_a", "dpmpp_sde", "dpmpp_2s", "tcd"):
        schedules = ["default"]
        if sampler not in ("pndm", "tcd", "dpmpp_2s"):
            schedules += ["trailing", "linspace"]
        if sampler not in ("pndm", "tcd"):
            schedules += ["karras", "exponential", "beta"]
        for schedule in schedules:
            for v in (False, True):
                for steps in STEPS:
                    yield diffusers_run(sampler, schedule, steps, v)
    for eta in (0.0, 0.6, 1.0):
        yield diffusers_run("tcd", "default", 8, eta=eta)
    for sampler in ("euler", "heun", "dpmpp_2m", "unipc"):
        for steps in (1, 7, 24):
            yield diffusers_run(sampler, "beta", steps)
    for sampler in ("euler", "heun", "dpmpp_2m", "ddim", "unipc", "dpm2", "dpmpp_2s"):
        for strength in (0.35, 0.8):
            yield diffusers_run(sampler, "default", 20, strength=strength)
    # LMSDiscrete is not here: begun in the middle, it weighs slopes that it does not have.
    for sampler in ("euler", "dpmpp_2m", "ddim", "unipc"):
        yield diffusers_run(sampler, "default", 25, end=0.8)
        yield diffusers_run(sampler, "default", 25, start=0.8)


def edm_runs():
    classes = {"euler": diffusers.EDMEulerScheduler, "dpmpp_2m": diffusers.EDMDPMSolverMultistepScheduler}
    for sampler, cls in classes.items():
        for schedule in ("karras", "exponential"):
            for prediction, low, high, data in ((V, 0.002, 120.0, 1.0), (EDM, 0.002, 80.0, 0.5)):
                for steps in (2, 10, 24):  # a single exponential step begins at the least sigma there
                    scheduler = cls(sigma_min=low, sigma_max=high, sigma_data=data, sigma_schedule=schedule,
                                    prediction_type="v_prediction" if prediction == V else "epsilon")
                    scheduler.set_timesteps(steps)
                    generator = torch.Generator().manual_seed(SEED)
                    scale = float((high ** 2 + 1) ** 0.5)
                    x = torch.randn(SHAPE, generator=generator) * scale
                    for t in scheduler.timesteps:
                        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x).prev_sample
                    sigmas = scheduler.sigmas.numpy()
                    if sampler == "dpmpp_2m":  # the C side carries x / sqrt(sigma^2 + 1)
                        scale = 1.0
                    yield record(sampler, schedule, 0.25 * np.log(sigmas[:-1]), sigmas, x, steps,
                                 prediction=prediction, edm=1 if prediction == V else 2, init_scale=scale)


# ---- k-diffusion's and ComfyUI's, in numpy ----

# Its table in single precision, as diffusers and A1111 keep it. (ComfyUI computes in double: its first sigma differs
# in the fifth digit.)
TABLE = diffusers.EulerDiscreteScheduler.from_config(SDXL).sigmas[:-1].flip(0).double().numpy()
MIN, MAX = float(TABLE[0]), float(TABLE[-1])
AYS = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]


def sigma_at(t):
    return np.exp(np.interp(t, np.arange(1000), np.log(TABLE)))


def log_interp(levels, n):
    ys = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(levels)), np.log(levels[::-1]))
    return np.exp(ys)[::-1]


def k_sigmas(schedule, n, compat):
    """The sigmas before the final 0."""
    if schedule == "normal":
        return sigma_at(np.linspace(999, 0, n))
    if schedule == "sgm_uniform":
        return sigma_at(np.linspace(999, 0, n + 1)[:-1])
    if schedule == "simple":
        return np.array([TABLE[-(1 + int(i * (1000 / n)))] for i in range(n)])
    if schedule == "karras":
        return (MAX ** (1 / 7) + np.linspace(0, 1, n) * (MIN ** (1 / 7) - MAX ** (1 / 7))) ** 7
    if schedule == "exponential":
        return np.exp(np.linspace(math.log(MAX), math.log(MIN), n))
    if schedule == "beta" and compat == "comfyui":
        entries = np.rint(scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * 999).astype(int)
        return np.array([TABLE[t] for i, t in enumerate(entries) if i == 0 or t != entries[i - 1]])
    if schedule == "beta":
        return MIN + scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6) * (MAX - MIN)
    if schedule == "ays":
        return np.asarray(AYS if n == len(AYS) else log_interp(AYS, n)) if compat == "a1111" else log_interp(AYS, n + 1)[:-1]
    if schedule == "kl_optimal":
        share = np.arange(n) / max(n - 1, 1)
        return np.tan(share * math.atan(MIN) + (1 - share) * math.atan(MAX))
    if schedule == "ddim_uniform":
        return TABLE[1::max(1000 // n, 1)][::-1]
    if schedule == "linear_quadratic":
        if n == 1:
            return np.array([MAX])
        linear = n // 2
        rest, excess = n - linear, linear - 0.025 * n
        square, slope = excess / (linear * rest ** 2), 0.025 / linear - 2 * excess / rest ** 2
        way = [i * 0.025 / linear for i in range(linear)]
        way += [square * i * i + slope * i + square * linear ** 2 for i in range(linear, n)]
        return (1 - np.array(way)) * MAX
    raise KeyError(schedule)


DROPS = {"a1111": ("dpm2", "dpm2_a", "dpmpp_3m_sde"), "comfyui": ("dpm2", "dpm2_a", "unipc"), "diffusers": ()}


def whole_sigmas(sampler, schedule, n, compat):
    drop = sampler in DROPS[compat]
    sigmas = k_sigmas(schedule, n + drop, compat)
    return np.append(sigmas[:-1] if drop and len(sigmas) > 1 else sigmas, 0)


def timestep(sigma, compat):
    if compat == "comfyui":  # the nearest entry; in single precision, which decides between two equally near
        log = torch.tensor(TABLE).float().log()
        return float((torch.tensor(sigma).float().log() - log).abs().argmin())
    return float(np.interp(np.log(sigma), np.log(TABLE), np.arange(1000)))


class Denoiser:
    def __init__(self, v, compat):
        self.v, self.compat, self.uncond = v, compat, None

    def read(self, out, x, sigma):
        return x / (sigma ** 2 + 1) - out * sigma / (sigma ** 2 + 1) ** 0.5 if self.v else x - sigma * out

    def __call__(self, x, sigma):
        t = torch.tensor(timestep(sigma, self.compat))
        scaled = torch.from_numpy(x / (sigma ** 2 + 1) ** 0.5).float()
        out = model(scaled, t).double().numpy()
        self.uncond = self.read(0.8 * out, x, sigma)  # the test's unconditional answer
        return self.read(out, x, sigma)


def ancestral(s, t):
    """In single precision as in those programs: for a long step the difference is all rounding."""
    s, t = np.float32(s), np.float32(t)
    up = min(t, np.sqrt(t * t * (s * s - t * t) / (s * s)))
    return float(np.sqrt(t * t - up * up)), float(up)


def euler(d, x, s, noise):
    for i in range(len(s) - 1):
        x = x + (x - d(x, s[i])) / s[i] * (s[i + 1] - s[i])
    return x


def euler_a(d, x, s, noise):
    for i in range(len(s) - 1):
        down, up = ancestral(s[i], s[i + 1])
        x = x + (x - d(x, s[i])) / s[i] * (down - s[i])
        x = x + noise(s[i], s[i + 1]) * up
    return x


def euler_cfgpp(d, x, s, noise):
    for i in range(len(s) - 1):
        guided = d(x, s[i])
        x = guided + (x - d.uncond) / s[i] * s[i + 1]
    return x


def heun(d, x, s, noise):
    for i in range(len(s) - 1):
        slope = (x - d(x, s[i])) / s[i]
        trial = x + slope * (s[i + 1] - s[i])
        if s[i + 1] > 0:
            slope = (slope + (trial - d(trial, s[i + 1])) / s[i + 1]) / 2
        x = x + slope * (s[i + 1] - s[i])
    return x


def dpm2(d, x, s, noise, stochastic=False):
    for i in range(len(s) - 1):
        down, up = ancestral(s[i], s[i + 1]) if stochastic else (s[i + 1], 0)
        slope = (x - d(x, s[i])) / s[i]
        if down == 0:
            x = x + slope * -s[i]
        else:
            mid = (s[i] * down) ** 0.5
            trial = x + slope * (mid - s[i])
            x = x + (trial - d(trial, mid)) / mid * (down - s[i])
        if stochastic and s[i + 1] > 0:
            x = x + noise(s[i], s[i + 1]) * up
    return x


def dpm2_a(d, x, s, noise):
    return dpm2(d, x, s, noise, True)


def dpmpp_2s_a(d, x, s, noise):
    for i in range(len(s) - 1):
        x0 = d(x, s[i])
        down, up = ancestral(s[i], s[i + 1])
        if down == 0:
            x = x0
        else:
            mid = (s[i] * down) ** 0.5
            trial = mid / s[i] * x + (1 - mid / s[i]) * x0
            x = down / s[i] * x + (1 - down / s[i]) * d(trial, mid)
        if s[i + 1] > 0:
            x = x + noise(s[i], s[i + 1]) * up
    return x


def dpmpp_sde(d, x, s, noise):
    for i in range(len(s) - 1):
        x0 = d(x, s[i])
        if s[i + 1] == 0:
            return x0
        t, t_next = -torch.tensor(s[i]).float().log(), -torch.tensor(s[i + 1]).float().log()
        mid = (t + (t_next - t) * 0.5).neg().exp()
        start, end = float(t.neg().exp()), float(t_next.neg().exp())
        mid = float(mid)
        down, up = ancestral(s[i], mid)
        trial = down / s[i] * x + (1 - down / s[i]) * x0 + noise(start, mid) * up
        x0 = d(trial, mid)
        down, up = ancestral(s[i], s[i + 1])
        x = down / s[i] * x + (1 - down / s[i]) * x0 + noise(start, end) * up
    return x


def dpmpp_2m(d, x, s, noise):
    old = None
    for i in range(len(s) - 1):
        x0 = d(x, s[i])
        if s[i + 1] == 0:
            return x0
        h = math.log(s[i] / s[i + 1])
        mixed = x0
        if old is not None:
            r = math.log(s[i - 1] / s[i]) / h
            mixed = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * old
        x = s[i + 1] / s[i] * x - math.expm1(-h) * mixed
        old = x0
    return x


def dpmpp_2m_sde(d, x, s, noise):
    old = None
    for i in range(len(s) - 1):
        x0 = d(x, s[i])
        if s[i + 1] == 0:
            return x0
        h = math.log(s[i] / s[i + 1])
        x = s[i + 1] / s[i] * math.exp(-h) * x - math.expm1(-2 * h) * x0
        if old is not None:
            x = x - 0.5 * math.expm1(-2 * h) * (x0 - old) * h / math.log(s[i - 1] / s[i])
        x = x + noise(s[i], s[i + 1]) * s[i + 1] * (-math.expm1(-2 * h)) ** 0.5
        old = x0
    return x


def dpmpp_3m_sde(d, x, s, noise):
    m1 = m2 = None
    for i in range(len(s) - 1):
        m0 = d(x, s[i])
        if s[i + 1] == 0:
            return m0
        h = math.log(s[i] / s[i + 1])
        x = math.exp(-2 * h) * x - math.expm1(-2 * h) * m0
        phi2 = math.expm1(-2 * h) / (2 * h) + 1
        if m1 is not None:
            r0 = math.log(s[i - 1] / s[i]) / h
            d1 = near = (m0 - m1) / r0
            if m2 is not None:
                r1 = math.log(s[i - 2] / s[i - 1]) / h
                far = (m1 - m2) / r1
                d1 = near + (near - far) * r0 / (r0 + r1)
                x = x - (phi2 / (2 * h) - 0.5) * (near - far) / (r0 + r1)
            x = x + phi2 * d1
        x = x + noise(s[i], s[i + 1]) * s[i + 1] * (-math.expm1(-2 * h)) ** 0.5
        m1, m2 = m0, m1
    return x


def lms(d, x, s, noise):
    slopes = []
    for i in range(len(s) - 1):
        slopes = [(x - d(x, s[i])) / s[i]] + slopes[:3]
        x = x + 0
        for j in range(len(slopes)):
            poly = np.poly1d([1.0])
            for k in range(len(slopes)):
                if k != j:
                    poly *= np.poly1d([1, -s[i - k]]) / (s[i - j] - s[i - k])
            whole = poly.integ()
            x = x + (whole(s[i + 1]) - whole(s[i])) * slopes[j]
    return x


def res_multistep(d, x, s, noise):
    old = None
    for i in range(len(s) - 1):
        x0 = d(x, s[i])
        if s[i + 1] == 0 or old is None:
            x = x + (x - x0) / s[i] * (s[i + 1] - s[i])
        else:
            h = math.log(s[i] / s[i + 1])
            c2 = math.log(s[i] / s[i - 1]) / h
            phi1 = math.expm1(-h) / -h
            phi2 = (phi1 - 1) / -h
            x = math.exp(-h) * x + h * ((phi1 - phi2 / c2) * x0 + phi2 / c2 * old)
        old = x0
    return x


def lcm(d, x, s, noise):
    for i in range(len(s) - 1):
        x = d(x, s[i])
        if s[i + 1] > 0:
            x = x + s[i + 1] * noise(s[i], s[i + 1])
    return x


# Those that carry x / sqrt(sigma^2 + 1) on the C side.
KEEPS_VARIANCE = ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "lcm", "ddim")
TREE = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")
STOCHASTIC = TREE + ("euler_a", "dpm2_a", "dpmpp_2s_a", "lcm")


class Philox:
    """Philox4x32-10 (Salmon et al. 2011) as a CUDA generator uses it: one counter per call."""

    def __init__(self, seed):
        self.key, self.calls = (seed & 0xFFFFFFFF, seed >> 32), 0

    def __call__(self, *_):
        n = 256
        c = [np.full(n, self.calls, np.uint64), np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64)]
        k0, k1 = self.key
        for _ in range(10):
            a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
            low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
            c = [(b >> high) ^ c[1] ^ np.uint64(k0), b & low, (a >> high) ^ c[3] ^ np.uint64(k1), a & low]
            k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
        self.calls += 1
        u = (c[0].astype(np.float64) + 0.5) / 2 ** 32
        angle = (c[1].astype(np.float64) + 0.5) / 2 ** 32 * 2 * np.pi
        return (np.sqrt(-2 * np.log(u)) * np.sin(angle)).reshape(SHAPE)


def cpu_stream(generator):
    return lambda *_: torch.randn(SHAPE, generator=generator).double().numpy()


def tree(s, seed):
    s32 = torch.tensor(s).float()
    sampler = BrownianTreeNoiseSampler(torch.zeros(SHAPE), s32[s32 > 0].min(), s32.max(), seed)
    return lambda a, b: sampler(torch.tensor(a).float(), torch.tensor(b).float()).double().numpy()


def way_noise(sampler, compat, step_noise, s, generator):
    manner = step_noise
    if manner == DEFAULT:
        in_tree = sampler == "dpmpp_sde" or (sampler in TREE and compat != "diffusers")
        manner = BROWNIAN if in_tree else FRESH if compat == "comfyui" else STREAM
    if manner == BROWNIAN:
        return tree(s, SEED)
    return Philox(SEED) if manner == FRESH else cpu_stream(generator)


def k_run(sampler, schedule, steps, compat, v=False, step_noise=DEFAULT, strength=1.0):
    asked = int(steps / strength) if compat == "comfyui" and strength < 1 else steps
    s = whole_sigmas(sampler, schedule, asked, compat)
    if strength < 1:
        keep = steps if compat == "comfyui" else int(min(strength, 0.999) * steps) + 1
        s = s[-(keep + 1):]
    from_max = s[0] > MAX * (1 - 1e-5)
    scale = {"a1111": s[0], "comfyui": (s[0] ** 2 + 1) ** 0.5 if from_max else s[0],
             "diffusers": (s[0] ** 2 + 1) ** 0.5}[compat]
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(SHAPE, generator=generator).double().numpy() * scale
    if strength < 1:
        x = x + PICTURE
    x = globals()[sampler if sampler != "ddim" else "euler"](
        Denoiser(v, compat), x, s, way_noise(sampler, compat, step_noise, s, generator))
    shown = [timestep(sigma, compat) for sigma in s[:-1]]
    if sampler in KEEPS_VARIANCE:
        scale = 1 if compat == "diffusers" else scale / (s[0] ** 2 + 1) ** 0.5
    return record(sampler, schedule, shown, s, x, steps, compat=compat, prediction=int(v), strength=strength,
                  step_noise=step_noise, init_scale=scale if strength == 1 else 0)


def k_runs():
    for sampler in ("dpmpp_2s_a", "dpmpp_3m_sde", "res_multistep", "euler_cfgpp"):
        for v in (False, True):
            for steps in STEPS:
                yield k_run(sampler, "normal", steps, "diffusers", v)
    for compat in ("a1111", "comfyui"):
        for sampler in ("euler", "euler_a", "heun", "dpm2", "dpm2_a", "lms", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m",
                        "dpmpp_2m_sde", "dpmpp_3m_sde", "res_multistep", "euler_cfgpp"):
            for schedule, steps, v in (("normal", 10, False), ("karras", 7, True)):
                yield k_run(sampler, schedule, steps, compat, v)
        for schedule in ("exponential", "sgm_uniform", "simple", "beta", "ays", "kl_optimal", "ddim_uniform",
                         "linear_quadratic"):
            for steps in (1, 2, 10, 11, 20, 30):
                if (schedule, steps, compat) != ("ays", 1, "a1111"):  # there a single step is the least noisy level
                    yield k_run("euler", schedule, steps, compat)
        for sampler in ("euler", "dpmpp_2m", "heun", "dpm2"):
            for strength in (0.35, 0.8):
                yield k_run(sampler, "normal", 12, compat, strength=strength)
    yield k_run("lcm", "sgm_uniform", 4, "comfyui")
    yield k_run("ddim", "normal", 10, "comfyui")
    for sampler in ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"):
        for manner in (STREAM, BROWNIAN):
            yield k_run(sampler, "karras", 10, "a1111", step_noise=manner)


def trees():
    for seed, low, high in ((0, 0.0291675, 14.614645), (42, 0.03, 1.5), (2 ** 63 + 12345, 0.5, 120.0)):
        sampler = BrownianTreeNoiseSampler(torch.zeros(1, 4, 4, 4), torch.tensor(low), torch.tensor(high), seed)
        ends = [high, high * 0.7, high * 0.5, low * 3, low * 2.5, low]
        queries = list(zip(ends, ends[1:])) + [(high, low), (ends[1], ends[3]), (low, ends[2]), (ends[2], ends[2] - 1e-3)]
        out = struct.pack("<QffI", seed, low, high, len(queries))
        for a, b in queries:
            a, b = torch.tensor(a), torch.tensor(b)
            out += struct.pack("<ff", a, b) + floats(sampler(a, b).flatten())
        yield out


def write(path, records):
    records = list(records)
    blob = struct.pack("<I", len(records)) + b"".join(records)
    path.write_bytes(blob)
    print(f"{path.name}: {len(records)} records, {len(blob)} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}, numpy {np.__version__}", file=sys.stderr)
    write(DATA / "manners.bin", [*diffusers_runs(), *edm_runs(), *k_runs()])
    write(DATA / "brownian.bin", trees())
