"""Expected pictures of a refiner that takes over from a base model: tests/golden/data/expected.

    refiner.json, refiner/ID.npy      the base pipeline with denoising_end, then StableDiffusionXLImg2ImgPipeline around the refiner with
                                      denoising_start and the same generator: pictures [h, w, 3], u8
    ../models/refiner.json.gz         the refiner: a UNet that takes an aesthetic score, and the second text encoder

python refiner.py
"""

import json

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline

import models as all_models
from images import pipe_of, to_bytes
from models import CROSS_DOWN, DOWN, MODELS, Model, text, unet
from pictures import BASE, CAT, HOUSE, save, save_json
from pipeline import SAMPLERS, SCHEDULES

NAME, POOLED, SIZE, SCORE_IDS = "refiner", 40, 8, 5
MODELS[NAME] = MODELS["kernel"] | {
    "text_2": text(48, 3, 3, 96, "gelu", POOLED),
    "unet": unet((32, 64, 96), [DOWN, CROSS_DOWN, DOWN], [1, 2, 3], [1, 2, 1], 48, POOLED, norm_num_groups=16,
                 projection_class_embeddings_input_dim=SCORE_IDS * SIZE + POOLED),
    "shards": 1,
    "gains": [(r"add_embedding\.linear_.\.weight", 3.0)],  # else scores hardly show
}  # fmt: skip
LDM_FROM, LDM_TO = "conditioner.embedders.1.", "conditioner.embedders.0."


class Refiner(Model):
    def fill(self):
        self.parts = {part: self.parts[part] for part in ("unet", "te2")}
        super().fill()


def manifest(model):
    """That of a base model without the parts that a refiner lacks."""
    made = all_models.manifest(model)
    for row in made["ldm"]["tensors"]:
        row[0] = row[0].replace(LDM_FROM, LDM_TO)
    metadata = made["ldm"]["metadata"]
    metadata["modelspec.architecture"] = "stable-diffusion-xl-v1-refiner"
    config = json.loads(metadata["tintype.config"])
    del config["text_encoder_1"], config["vae"], config["defaults"]
    metadata["tintype.config"] = json.dumps(config)
    folder = made["folder"]
    kept = ("model_index.json", "scheduler/", "unet/", "text_encoder_2/", "tokenizer_2/")
    for key in ("files", "weights"):
        folder[key] = {name: value for name, value in folder[key].items() if name.startswith(kept)}
    index = json.loads(folder["files"]["model_index.json"])
    index |= {"_class_name": "StableDiffusionXLImg2ImgPipeline", "force_zeros_for_empty_prompt": False,
              "requires_aesthetics_score": True, "text_encoder": [None, None], "tokenizer": [None, None]}  # fmt: skip
    folder["files"]["model_index.json"] = json.dumps(index, indent=2, sort_keys=True) + "\n"
    return made


def write_manifest(model):
    plain = all_models.manifest
    all_models.manifest, kept = (lambda _: kept), manifest(model)
    print("manifest %d bytes" % all_models.write_manifest(model))
    all_models.manifest = plain


def refiner_cases():
    cases = []

    def add(name, model="kernel", **changes):
        case = BASE | {"steps": 10, "prompt": CAT, "start": 0.7, "score": 6.0, "negative_score": 2.5} | changes
        cases.append(case | {"id": name, "model": model, "seed": 4000 + len(cases)})

    add("euler")
    add("euler_a", sampler="euler_a", prompt=HOUSE, negative="rain, fog", start=0.5)
    add("dpmpp_2m-karras", sampler="dpmpp_2m", schedule="karras", width=72, height=88, steps=12)
    add("ddim-scores", sampler="ddim", score=9.0, negative_score=1.0, negative="", start=0.4)
    add("no-guidance", guidance=1.0, score=1.5)
    return cases


def refining(base, refiner, case):
    kind, options = SAMPLERS[case["sampler"]]
    pipe = StableDiffusionXLImg2ImgPipeline(
        vae=base.vae, text_encoder=None, text_encoder_2=refiner.te2, tokenizer=None, tokenizer_2=base.tokenizer_2,
        unet=refiner.unet, scheduler=kind.from_config(refiner.scheduler_config(), **options, **SCHEDULES[case["schedule"]]),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False)  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def picture(pipe, refiner, case):
    pipe.pipe.scheduler = pipe.scheduler(case["sampler"], case["schedule"], case["prediction"])
    both = {"prompt": case["prompt"], "negative_prompt": case["negative"], "num_inference_steps": case["steps"],
            "guidance_scale": case["guidance"], "generator": torch.Generator("cpu").manual_seed(case["seed"])}  # fmt: skip
    latents = pipe.pipe(**both, width=case["width"], height=case["height"], denoising_end=case["start"],
                        output_type="latent").images  # fmt: skip
    pixels = refining(pipe.pipe, refiner, case)(
        **both, image=latents, denoising_start=case["start"], aesthetic_score=case["score"],
        negative_aesthetic_score=case["negative_score"], output_type="np").images[0]  # fmt: skip
    assert pixels.shape[:2] == (case["height"], case["width"])
    return to_bytes(pixels)


def main():
    cases, refiner = refiner_cases(), Refiner(NAME)
    write_manifest(refiner)
    pipes = {name: pipe_of(Model(name)) for name in {case["model"] for case in cases}}
    for case in cases:
        pixels = picture(pipes[case["model"]], refiner, case)
        save("refiner/" + case["id"], pixels)
        print("%-24s std %.3f" % (case["id"], pixels.std() / 255), flush=True)
    save_json("refiner", cases)


if __name__ == "__main__":
    main()
