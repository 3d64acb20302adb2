"""Writes a random LoRA for the models of write_random_sdxl.py, as kohya's trainer names and stores one.

    write_random_lora.py --out FILE [--size full|small] [--rank N] [--layers all|attention] [--seed TEXT]

"all" is what the trainer changes when nothing is said: every linear layer of the UNet's transformers (attention, feed-forward,
projections) and of both text encoders. "attention" is the UNet's attention alone. Numbers are f16, alpha is half of the
rank, and no factor is zero. The same arguments give the same bytes.
"""

import argparse
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import write_random_sdxl as model  # noqa: E402

ATTENTIONS = (".attn1.to_", ".attn2.to_")
TRANSFORMERS = (".transformer_blocks.", ".proj_in.", ".proj_out.")
SCALE = 0.02  # of both factors: differences of a percent of the weights


def unet_modules(size, tables, layers):
    """(the module's name in the original layout, n_out, n_in)"""
    wanted = ATTENTIONS if layers == "attention" else TRANSFORMERS
    widths = size["unet"]["widths"]
    for name, _, canonical in model.ldm_names.unet(list(tables["unet"]), len(widths), model.sdxl.RESNETS):
        module = name.removesuffix(".weight").removeprefix("model.diffusion_model.")
        shape = model.entry_of(tables, canonical[0])[0]
        if module != name and ".attentions." in canonical[0] and len(shape) == 2:
            if any(part in canonical[0] for part in wanted):
                yield "lora_unet_" + module.replace(".", "_"), *shape


def text_modules(tables):
    for part in ("te1", "te2"):
        for name, (shape, _, _) in tables[part].items():
            if name.endswith(".weight") and ".encoder.layers." in "." + name and len(shape) == 2:
                stem = name.removesuffix(".weight")
                stem = stem if stem.startswith("text_model.") else "text_model." + stem
                yield "lora_%s_%s" % (part, stem.replace(".", "_")), *shape


def shapes_of(modules, rank):
    for name, n_out, n_in in modules:
        yield name + ".alpha", []
        yield name + ".lora_down.weight", [rank, n_in]
        yield name + ".lora_up.weight", [n_out, rank]


def write(args):
    size = model.sdxl.SIZES[args.size]
    tables = model.sdxl.components(size)
    modules = list(unet_modules(size, tables, args.layers))
    if args.layers == "all":
        modules += text_modules(tables)
    shapes = dict(shapes_of(modules, args.rank))
    out = model.Writer(args.out, "fp16", shapes)
    for name, shape in shapes.items():
        if shape:
            out.put(name, [model.tensor_bits("fp16", args.seed + name, (shape, 0.0, SCALE))])
        else:
            out.put(name, [np.full((), args.rank / 2, np.float16)])
    out.close()
    return len(modules)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", required=True)
    parser.add_argument("--size", choices=sorted(model.sdxl.SIZES), default="full")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--layers", choices=("all", "attention"), default="all")
    parser.add_argument("--seed", default="a", help="another text, other numbers")
    args = parser.parse_args()
    count = write(args)
    print("%s: %d modules, %d bytes" % (args.out, count, os.path.getsize(args.out)))


if __name__ == "__main__":
    main()
