"""Expected results for pictures as input: tests/golden/data/expected.

    encode.json, encode/MODEL-N.npy   the VAE's posterior [2, 4, h, w], f32: mean and standard deviation, both times the
                                      scaling factor; the picture comes from the counter generator
    other-vae.npy                     a picture [h, w, 3], u8, of model kernel decoded with the VAE of vpred (OTHER_VAE)

python images.py [encode other_vae ...]
"""

import sys

import numpy as np
import torch

import counter
from models import MODELS, Model
from pictures import BASE, save, save_json
from pipeline import Pipe, tokenizer

ENCODE_CASES = [{"height": 64, "width": 64}, {"height": 40, "width": 56}]
OTHER_VAE = BASE | {"steps": 4, "seed": 77}


def to_bytes(pixels):
    return (pixels * 255).round().astype(np.uint8)


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


def pipe_of(model):
    return Pipe(model, (tokenizer("<|endoftext|>"), tokenizer("!")))


def other_vae(models):
    pipe = pipe_of(models["kernel"])
    pipe.pipe.register_modules(vae=models["vpred"].vae)
    save("other-vae", to_bytes(pipe.picture(OTHER_VAE)[0]))
    save_json("other-vae", [OTHER_VAE | {"model": "kernel", "vae": "vpred"}])


def main():
    jobs = {"encode": encode, "other_vae": other_vae}
    models = {name: Model(name) for name in MODELS}
    for name in sys.argv[1:] or jobs:
        jobs[name](models)


if __name__ == "__main__":
    main()
