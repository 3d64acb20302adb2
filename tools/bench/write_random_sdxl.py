"""Writes a random model in SDXL's exact shapes: what speed is measured with, since speed does not depend on the values.

    write_random_sdxl.py --out FILE [--folder DIR] [--dtype fp16|bf16] [--size full|small]

FILE is a single ldm file as trainers save it (full size: 6.94 GB); DIR is a diffusers folder with the same values. The
same arguments give the same bytes. Values are cut from one block of random numbers, scaled once per layer width: at full
size this writes as fast as the disk does, in some hundred MB of memory. Nothing is visible under the final names before it
is complete.
"""

import argparse
import functools
import json
import math
import os
import sys
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools", "golden"))

import counter  # noqa: E402
import ldm_names  # noqa: E402
import sdxl  # noqa: E402

BLOCK = 4194301  # values in the random block: a prime, so that no layer's rows repeat in step with it
ALIGNMENT = 8  # of the data's start, as the safetensors library writes it
STORED = {"fp16": "F16", "bf16": "BF16"}
METADATA = {"format": "pt", "modelspec.architecture": "stable-diffusion-xl-v1-base"}


@functools.lru_cache(maxsize=1)
def random_block():
    return counter.uniform("tintype bench", BLOCK)


def to_bf16(values):
    """Rounded to nearest, halves to even; finite values only."""
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


@functools.lru_cache(maxsize=None)
def stored_block(dtype, offset, scale):
    values = np.float32(offset) + np.float32(scale) * random_block()
    return to_bf16(values) if dtype == "bf16" else values.astype(np.float16).view(np.uint16)


def tensor_bits(dtype, name, entry):
    """The 16-bit patterns of a tensor: the block, entered at a place of the name's own, round and round."""
    shape, offset, scale = entry
    block = stored_block(dtype, offset, scale)
    bits = np.empty(math.prod(shape), np.uint16)
    done, at = 0, zlib.crc32(name.encode()) % BLOCK
    while done < bits.size:
        n = min(bits.size - done, BLOCK - at)
        bits[done : done + n] = block[at : at + n]
        done, at = done + n, 0
    return bits.reshape(shape)


class Writer:
    """One safetensors file of 16-bit tensors, whose shapes are known before any value."""

    def __init__(self, path, dtype, shapes):
        self.path, self.places = path, {}
        header, at = {"__metadata__": METADATA}, 0
        for name in sorted(shapes):
            size = 2 * math.prod(shapes[name])
            header[name] = {"dtype": STORED[dtype], "shape": shapes[name], "data_offsets": [at, at + size]}
            self.places[name] = (at, size)
            at += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        self.start = 8 + len(text)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.file = open(path + ".part", "wb")
        self.file.write(len(text).to_bytes(8, "little") + text)
        self.file.truncate(self.start + at)

    def put(self, name, pieces):
        """`pieces` lie one after the other; each tensor once."""
        at, size = self.places.pop(name)
        assert size == sum(p.nbytes for p in pieces), name
        self.file.seek(self.start + at)
        for piece in pieces:
            self.file.write(np.ascontiguousarray(piece).data)

    def close(self):
        assert not self.places, "never written: %s" % sorted(self.places)[:3]
        self.file.close()
        os.replace(self.path + ".part", self.path)


def ldm_rows(size, tables):
    """[(ldm name, operation, canonical names)], as ldm_names gives them."""
    unet, vae = size["unet"]["widths"], size["vae"]["widths"]
    return [
        *ldm_names.unet(list(tables["unet"]), len(unet), sdxl.RESNETS),
        *ldm_names.vae(list(tables["vae"]), len(vae)),
        *ldm_names.text_1(list(tables["te1"])),
        *ldm_names.text_2(list(tables["te2"])),
    ]


def ldm_shape(operation, canonical, shape):
    if operation == "transpose":
        return shape[::-1]
    if operation == "stack":
        return [len(canonical) * shape[0], *shape[1:]]
    if canonical[0].startswith("vae.") and ".attentions." in canonical[0] and len(shape) == 2:
        return [*shape, 1, 1]  # ldm's VAE attends with 1x1 convolutions
    return shape


def entry_of(tables, canonical):
    part, name = canonical.split(".", 1)
    return tables[part][name]


def open_writers(args, tables, rows):
    """(of the file or None, {component: of the folder})"""
    single, parts = None, {}
    if args.out:
        shapes = {name: ldm_shape(op, cs, entry_of(tables, cs[0])[0]) for name, op, cs in rows}
        single = Writer(args.out, args.dtype, shapes)
    for part, table in tables.items() if args.folder else ():
        path = os.path.join(args.folder, *sdxl.FOLDERS[part])
        parts[part] = Writer(path, args.dtype, {name: entry[0] for name, entry in table.items()})
    return single, parts


def write_configs(folder, size):
    for path, content in sdxl.config_files(size).items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            json.dump(content, out, indent=2, sort_keys=True)
            out.write("\n")


def write(args):
    size = sdxl.SIZES[args.size]
    tables = sdxl.components(size)
    rows = sorted(ldm_rows(size, tables))
    single, parts = open_writers(args, tables, rows)
    for name, operation, canonical in rows:
        values = [tensor_bits(args.dtype, c, entry_of(tables, c)) for c in canonical]
        for c, bits in zip(canonical, values):
            part, own = c.split(".", 1)
            if parts:
                parts[part].put(own, [bits])
        if single:
            single.put(name, [values[0].T] if operation == "transpose" else values)
    if parts:
        write_configs(args.folder, size)
    for writer in [single, *parts.values()]:
        if writer:
            writer.close()
    return sum(math.prod(shape) for t in tables.values() for shape, _, _ in t.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", help="the single file; default: build/bench/SIZE-DTYPE.safetensors")
    parser.add_argument("--folder", metavar="DIR", help="also a diffusers folder")
    parser.add_argument("--dtype", choices=sorted(STORED), default="fp16")
    parser.add_argument("--size", choices=sorted(sdxl.SIZES), default="full")
    args = parser.parse_args()
    if not args.out:
        args.out = os.path.join(ROOT, "build", "bench", "%s-%s.safetensors" % (args.size, args.dtype))
    count = write(args)
    print("%s: %d parameters, %d bytes" % (args.out, count, os.path.getsize(args.out)))


if __name__ == "__main__":
    main()
