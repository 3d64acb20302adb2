"""Expected pictures of a second pass in a larger size: tests/golden/data/expected.

    hires.json, hires/ID.npy    text to image, then torch's interpolate of the latents or Pillow's Lanczos of the picture, then image to
                                image with a fresh generator of the same seed: pictures [h, w, 3], u8

python hires.py
"""

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image

from images import pipe_of, to_bytes
from models import Model
from pictures import BASE, CAT, HOUSE, save, save_json

NETWORKS = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")


def hires_cases():
    cases = []

    def add(name, model="kernel", **changes):
        case = BASE | {"steps": 8, "prompt": CAT, "scale": 1.5, "strength": 0.7, "second_steps": 0,
                       "upscaler": "latent"} | changes  # fmt: skip
        cases.append(case | {"id": name, "model": model, "seed": 3000 + len(cases)})

    add("latent-euler")
    add("latent-euler_a-odd", sampler="euler_a", width=72, height=88, scale=1.3, prompt=HOUSE, negative="")
    add("latent-dpmpp_2m-karras", sampler="dpmpp_2m", schedule="karras", second_steps=12, strength=0.45)
    add("latent-whole", sampler="ddim", strength=1.0, guidance=1.0, scale=1.25)
    add("picture-euler", upscaler="picture", scale=1.25, strength=0.5)
    add("picture-v", model="vpred", upscaler="picture", sampler="dpmpp_2m", scale=1.4, negative="rain")
    return cases


def enlarged(side, scale):
    """A1111's: of the scaled size, what whole latents fill."""
    return int(side * scale) // 8 * 8


@torch.no_grad()
def start(pipe, case, height, width):
    pixels, latents = pipe.picture(case)
    if case["upscaler"] == "picture":
        return Image.fromarray(to_bytes(pixels)).resize((width, height), Image.LANCZOS)
    factor = pipe.pipe.vae_scale_factor
    return torch.nn.functional.interpolate(torch.from_numpy(latents), (height // factor, width // factor), mode="bilinear")


@torch.no_grad()
def picture(pipe, case):
    height, width = (enlarged(case[side], case["scale"]) for side in ("height", "width"))
    image = start(pipe, case, height, width)
    pipe.pipe.scheduler = pipe.scheduler(case["sampler"], case["schedule"], case["prediction"])
    second = StableDiffusionXLImg2ImgPipeline(**{name: getattr(pipe.pipe, name) for name in NETWORKS},
                                              force_zeros_for_empty_prompt=True, add_watermarker=False)  # fmt: skip
    second.set_progress_bar_config(disable=True)
    pixels = second(
        case["prompt"], negative_prompt=case["negative"], image=image, strength=case["strength"],
        num_inference_steps=case["second_steps"] or case["steps"], guidance_scale=case["guidance"],
        generator=torch.Generator("cpu").manual_seed(case["seed"]), output_type="np").images[0]  # fmt: skip
    assert pixels.shape[:2] == (height, width)
    return to_bytes(pixels)


def main():
    cases = hires_cases()
    pipes = {name: pipe_of(Model(name)) for name in {case["model"] for case in cases}}
    for case in cases:
        pixels = picture(pipes[case["model"]], case)
        save("hires/" + case["id"], pixels)
        print("%-24s std %.3f" % (case["id"], pixels.std() / 255), flush=True)
    save_json("hires", cases)


if __name__ == "__main__":
    main()
