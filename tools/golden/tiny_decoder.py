"""Expected results of tiny decoders (diffusers' AutoencoderTiny, f32, CPU): tests/golden/data/expected/tiny.

    tiny.json         one row per case: shape of the network, size of the latents, and its tensors by diffusers' names, each with
                      the scale of the counter generator's values
    tiny/NAME.npy     the picture [3, h, w], f32, not clipped; latents come from the counter generator

python tiny_decoder.py
"""

import json
import os

import numpy as np
import torch
from diffusers import AutoencoderTiny

import counter
from models import DATA

EXPECTED = os.path.join(DATA, "expected")

LATENT_SCALE = 4.0  # beyond 3, so that the tanh matters

CASES = [
    {"name": "taesdxl", "channels": 4, "width": 64, "blocks": [3, 3, 3, 1], "latent": [5, 7]},
    {"name": "short", "channels": 4, "width": 8, "blocks": [1, 2, 1], "latent": [9, 6]},
    {"name": "sixteen", "channels": 16, "width": 24, "blocks": [2, 1, 1], "latent": [5, 3]},
]


def network(case):
    n = len(case["blocks"])
    return AutoencoderTiny(latent_channels=case["channels"], decoder_block_out_channels=(case["width"],) * n,
                           num_decoder_blocks=tuple(case["blocks"]), encoder_block_out_channels=(8,) * n,
                           num_encoder_blocks=(1,) * n).eval()  # fmt: skip


def scale_of(name, shape, is_last):
    """Uniform values that leave activations about as large as they are (He et al. 2015), and pictures of about -1..1."""
    if name.endswith(".bias"):
        return 0.1
    gain = 0.3 if is_last else 0.35 if ".conv.4." in name else 1.0 if ".conv." in name else 0.7
    return float(np.float32(gain * np.sqrt(6 / np.prod(shape[1:]))))


@torch.no_grad()
def expected(case):
    model = network(case)
    tensors = []
    for name, value in model.decoder.state_dict(prefix="decoder.").items():
        shape = list(value.shape)
        scale = scale_of(name, shape, shape[0] == 3)
        value.copy_(torch.from_numpy(counter.tensor("tiny/%s/%s" % (case["name"], name), shape, scale)))
        tensors.append({"name": name, "shape": shape, "scale": scale})
    latent = counter.tensor("tiny/%s/latent" % case["name"], (1, case["channels"], *case["latent"]), LATENT_SCALE)
    picture = model.decode(torch.from_numpy(latent)).sample[0]
    print("%-8s std %.2f, %d tensors" % (case["name"], picture.std(), len(tensors)))
    np.save(os.path.join(EXPECTED, "tiny", case["name"] + ".npy"), picture.numpy())
    return case | {"scale": LATENT_SCALE, "tensors": tensors}


def main():
    os.makedirs(os.path.join(EXPECTED, "tiny"), exist_ok=True)
    rows = [expected(case) for case in CASES]
    with open(os.path.join(EXPECTED, "tiny.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
