"""Makes small safetensors files (stdlib only): valid ones, adapters in kohya's names, and each way to be invalid.

    safetensors({"a": ("F16", [2, 3], data)}, {"format": "pt"})    # bytes
    lora(modules={"lora_unet_...": (out, in)}, rank=4)
    broken("overlap")

Layout: u64 little-endian N, N bytes of JSON padded with spaces to a multiple of 8, then the tensors without holes.
"""

import json
import random
import struct

from fake.content import Generated, Joined, Memory

BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4,
         "I64": 8, "F64": 8}


def count(shape):
    n = 1
    for length in shape:
        n *= length
    return n


def header(tensors, metadata=None):
    """tensors: {name: (dtype, shape)} in the order of their bytes. (length and JSON, bytes of data that must follow)"""
    at, tree = 0, {"__metadata__": metadata} if metadata else {}
    for name, (dtype, shape) in tensors.items():
        end = at + count(shape) * BYTES[dtype]
        tree[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    return framed(json.dumps(tree, separators=(",", ":"))), at


def framed(text):
    data = text if isinstance(text, bytes) else text.encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data


def safetensors(tensors, metadata=None):
    """tensors: {name: (dtype, shape, bytes)}"""
    head, n = header({name: tensor[:2] for name, tensor in tensors.items()}, metadata)
    data = b"".join(tensor[2] for tensor in tensors.values())
    assert len(data) == n, f"{len(data)} bytes of data, the shapes ask for {n}"
    return head + data


def shell(tensors, metadata=None, seed=0):
    """A valid file of any size that is never in memory: tensors {name: (dtype, shape)}, their bytes made up."""
    head, n = header(tensors, metadata)
    return Joined(Memory(head), Generated(n, seed))


LORA_MODULES = {  # SDXL's names and [out, in]; two modules are a whole adapter
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": (640, 640),
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (640, 2048),
}


def small_floats(n, seed):
    """n small numbers as F16."""
    draw = random.Random(seed)
    return b"".join(struct.pack("<e", draw.uniform(-0.02, 0.02)) for _ in range(n))


def lora(modules=None, rank=4, seed=0):
    """An adapter as kohya's trainer writes it."""
    tensors = {}
    for name, (n_out, n_in) in (modules or LORA_MODULES).items():
        seed += 1
        tensors[f"{name}.alpha"] = ("F16", [], struct.pack("<e", float(rank)))
        tensors[f"{name}.lora_down.weight"] = ("F16", [rank, n_in], small_floats(rank * n_in, seed))
        tensors[f"{name}.lora_up.weight"] = ("F16", [n_out, rank], small_floats(n_out * rank, seed + 1000))
    return safetensors(tensors, {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_module": "networks.lora",
                                 "ss_network_dim": str(rank), "ss_network_alpha": str(rank)})


# ---- invalid ones

TENSOR = '{"dtype":"U8","shape":[%s],"data_offsets":[%s]}'


def _entry(shape, offsets):
    return TENSOR % (shape, offsets)


BROKEN = {  # name: (bytes, the rule of the format that it breaks)
    "empty": b"",
    "header_too_small": b"\x08\0\0\0",
    "header_too_large": struct.pack("<Q", 100_000_001) + b"{}",
    "header_longer_than_file": struct.pack("<Q", 4096) + b"{}      ",
    "header_overflows": struct.pack("<Q", (1 << 64) - 4) + b"{}      ",
    "html": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "not_utf8": framed(b'{"\xff\xfe":1}'),
    "not_json": framed('{"a":'),
    "not_an_object": framed("[1,2]"),
    "overlap": framed('{"a":%s,"b":%s}' % (_entry("4", "0,4"), _entry("4", "2,6"))) + bytes(6),
    "hole": framed('{"a":%s,"b":%s}' % (_entry("4", "0,4"), _entry("4", "6,10"))) + bytes(10),
    "offsets_reversed": framed('{"a":%s}' % _entry("4", "4,0")) + bytes(4),
    "offset_negative": framed('{"a":%s}' % _entry("4", "-4,0")) + bytes(4),
    "offset_float": framed('{"a":%s}' % _entry("4", "0,4.0")) + bytes(4),
    "offset_beyond_64_bits": framed('{"a":%s}' % _entry("4", "0,18446744073709551620")) + bytes(4),
    "shape_overflows": framed('{"a":%s}' % _entry("2,18446744073709551614", "0,4")) + bytes(4),
    "shape_disagrees": framed('{"a":%s}' % _entry("5", "0,4")) + bytes(4),
    "unknown_dtype": framed('{"a":{"dtype":"F12","shape":[4],"data_offsets":[0,4]}}') + bytes(4),
    "duplicate_key": framed('{"a":%s,"a":%s}' % (_entry("4", "0,4"), _entry("4", "4,8"))) + bytes(8),
    "metadata_not_text": framed('{"__metadata__":{"a":1},"a":%s}' % _entry("4", "0,4")) + bytes(4),
    "tail": framed('{"a":%s}' % _entry("4", "0,4")) + bytes(9),
    "data_cut": framed('{"a":%s}' % _entry("4", "0,4")) + bytes(3),
    "deep": framed('{"a":' + "[" * 4000 + "]" * 4000 + "}"),
    "nul_in_name": framed('{"a\\u0000b":%s}' % _entry("4", "0,4")) + bytes(4),
}


def broken(how):
    return BROKEN[how]


def pickle(how):
    """What stands in .ckpt files: a zip archive as torch writes it, or a bare pickle. Neither holds code."""
    if how == "pickle":
        return b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dictq\x01}q\x02s."
    name = b"archive/data.pkl"
    body = b"\x80\x02}q\x00."
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0x4DDC3226, len(body), len(body), len(name), 0)
    return local + name + body
