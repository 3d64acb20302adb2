"""What torch does with the GPU's time: anchors for the CUDA back-end, in bf16, on the same machine in the same run.

    gpu_torch.py [--sizes 512,1024] [--no-unet]

One line of JSON per measurement. Products, attention and convolutions have SDXL's shapes at 1024x1024 with guidance (a batch of
two); each is the median of GPU times of a loop over several sets of operands, so that a cache does not flatter. With diffusers
installed, its UNet (random weights, channels last) makes whole steps: eagerly, and replayed as a CUDA graph, which leaves
out Python and launches; and its VAE decodes.
"""

import argparse
import json
import os
import statistics
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sdxl  # noqa: E402

SETS, LOOPS, WARM = 4, 12, 3
LATENT, FACTOR, TOKENS, CONTEXT, POOLED = 4, 8, 77, 2048, 1280

# rows, in, out: what a step is made of; calls per step
PRODUCTS = [
    ("qkv 1280", 2048, 1280, 3840, 60),
    ("out 1280", 2048, 1280, 1280, 180),
    ("ff in 1280", 2048, 1280, 10240, 60),
    ("ff out 1280", 2048, 5120, 1280, 60),
    ("qkv 640", 8192, 640, 1920, 10),
    ("out 640", 8192, 640, 640, 30),
    ("ff in 640", 8192, 640, 5120, 10),
    ("ff out 640", 8192, 2560, 640, 10),
]
ATTENTIONS = [  # heads, queries, keys, calls per step
    ("self 1024", 20, 1024, 1024, 60),
    ("cross 1024", 20, 1024, TOKENS, 60),
    ("self 4096", 10, 4096, 4096, 10),
    ("cross 4096", 10, 4096, TOKENS, 10),
]
CONVS = [("320 at 128", 320, 320, 128), ("640 at 64", 640, 640, 64), ("1280 at 32", 1280, 1280, 32), ("2560 at 32", 2560, 1280, 32)]


def say(**values):
    print(json.dumps(values), flush=True)


def median_ms(run):
    """run(i): work on operand set i % SETS."""
    for i in range(WARM):
        run(i)
    times = []
    for i in range(LOOPS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run(i)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def report(name, ms, flop, calls=None):
    say(what=name, ms=round(ms, 4), tflops=round(flop / ms / 1e9, 1), **({"calls": calls, "ms_per_step": round(ms * calls, 2)} if calls else {}))


def products():
    for name, rows, c_in, c_out, calls in PRODUCTS:
        xs, ws = [random(rows, c_in) for _ in range(SETS)], [random(c_out, c_in) for _ in range(SETS)]
        report("linear " + name, median_ms(lambda i: F.linear(xs[i % SETS], ws[i % SETS])), 2 * rows * c_in * c_out, calls)


def attentions():
    for name, heads, queries, keys, calls in ATTENTIONS:
        qs = [random(2, heads, queries, 64) for _ in range(SETS)]
        kvs = [random(2, 2, heads, keys, 64) for _ in range(SETS)]
        ms = median_ms(lambda i: F.scaled_dot_product_attention(qs[i % SETS], kvs[i % SETS][0], kvs[i % SETS][1]))
        report("attention " + name, ms, 4 * 2 * heads * queries * keys * 64, calls)


def convolutions():
    for name, c_in, c_out, side in CONVS:
        layout = {"memory_format": torch.channels_last}
        xs = [random(2, c_in, side, side).to(**layout) for _ in range(SETS)]
        ws = [random(c_out, c_in, 3, 3).to(**layout) for _ in range(SETS)]
        ms = median_ms(lambda i: F.conv2d(xs[i % SETS], ws[i % SETS], padding=1))
        report("conv " + name, ms, 2 * 2 * side * side * 9 * c_in * c_out)


def replayed(run):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def networks(sizes):
    try:
        from diffusers import AutoencoderKL, UNet2DConditionModel
    except ImportError as error:
        say(what="unet", skipped=str(error))
        return
    configs = sdxl.config_files(sdxl.SIZES["full"])
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        unet = UNet2DConditionModel.from_config(configs["unet/config.json"]).eval().to(memory_format=torch.channels_last)
        vae = AutoencoderKL.from_config(configs["vae/config.json"]).eval().to(memory_format=torch.channels_last)
    added = {"text_embeds": random(2, POOLED), "time_ids": random(2, 6)}
    text, time = random(2, TOKENS, CONTEXT), torch.tensor(500.0, device="cuda")
    for size in sizes:
        x = random(2, LATENT, size // FACTOR, size // FACTOR).to(memory_format=torch.channels_last)
        step = lambda: unet(x, time, text, added_cond_kwargs=added, return_dict=False)  # noqa: E731
        say(what="unet step", size=size, how="eager", ms=round(median_ms(lambda i: step()), 3))
        graph = replayed(step)
        say(what="unet step", size=size, how="cuda graph", ms=round(median_ms(lambda i: graph.replay()), 3))
        say(what="vae decode", size=size, how="eager", ms=round(median_ms(lambda i: vae.decode(x[:1], return_dict=False)), 3))


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="512,1024", help="of whole steps")
    parser.add_argument("--no-unet", action="store_true")
    args = parser.parse_args()
    say(what="machine", gpu=torch.cuda.get_device_name(), torch=torch.__version__, cudnn=torch.backends.cudnn.version())
    products()
    attentions()
    convolutions()
    if not args.no_unet:
        networks([int(size) for size in args.sizes.split(",")])


if __name__ == "__main__":
    main()
