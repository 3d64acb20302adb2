"""Expected results for pictures as input: tests/golden/data/expected.

    encode.json, encode/MODEL-N.npy   the VAE's posterior [2, 4, h, w], f32: mean and standard deviation, both times the
                                      scaling factor; the picture comes from the counter generator

python images.py [encode ...]
"""

import sys

import numpy as np
import torch

import counter
from models import MODELS, Model
from pictures import save, save_json

ENCODE_CASES = [{"height": 64, "width": 64}, {"height": 40, "width": 56}]


@torch.no_grad()
def encode(models):
    cases = []
    for name, model in models.items():
        for i, case in enumerate(ENCODE_CASES):
            picture = torch.from_numpy(counter.tensor("encode/%d" % i, (1, 3, case["height"], case["width"])))
            posterior = model.vae.encode(picture).latent_dist
            both = torch.cat([posterior.mean, posterior.std]) * model.vae.config.scaling_factor
            save("encode/%s-%d" % (name, i), both.numpy().astype(np.float32))
            cases.append({"model": name, "number": i} | case)
    save_json("encode", cases)


def main():
    jobs = {"encode": encode}
    models = {name: Model(name) for name in MODELS}
    for name in sys.argv[1:] or jobs:
        jobs[name](models)


if __name__ == "__main__":
    main()
