"""Expected results for pictures as input: tests/golden/data/expected.

    encode.json, encode/MODEL-N.npy   the VAE's posterior [2, 4, h, w], f32: mean and standard deviation, both times the
                                      scaling factor; the picture comes from the counter generator
    other-vae.json, other-vae.npy     a picture [h, w, 3], u8, of model kernel decoded with the VAE of vpred
    images.json, images/ID.npy        image to image, inpainting, size conditioning: pictures [h, w, 3], u8, from the picture
                                      and the mask below; kept pixels are pasted back
    ../models/inpaint.json.gz         the test model of the inpainting pictures, whose UNet takes 9 channels

python images.py [encode other_vae images ...]
"""

import sys

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

import counter
import models as all_models
from models import MODELS, Model
from pictures import BASE, BOAT, CAT, HOUSE, save, save_json
from pipeline import Pipe, tokenizer

ENCODE_CASES = [{"height": 64, "width": 64}, {"height": 40, "width": 56}]
OTHER_VAE = BASE | {"steps": 4, "seed": 77}

# quirks with the mask and what it keeps beside the latents
INPAINT = "inpaint"
INPAINT_SPEC = MODELS["quirks"] | {"unet": MODELS["quirks"]["unet"] | {"in_channels": 9}}


def image_cases():
    cases = []

    def add(name, model, **changes):
        case = BASE | {"steps": 10, "prompt": CAT, "kind": "image", "strength": 0.6, "sizes": None} | changes
        cases.append(case | {"id": name, "model": model, "seed": 2000 + len(cases)})

    for strength in (0.3, 0.6, 1.0):
        add("image-euler-%g" % strength, "kernel", strength=strength)
        add("mask-euler-%g" % strength, "kernel", strength=strength, kind="mask")
        add("paint-euler-%g" % strength, INPAINT, strength=strength, kind="mask")
    add("image-euler_a", "kernel", sampler="euler_a", prompt=HOUSE, negative="")
    add("image-dpmpp_2m-karras", "kernel", sampler="dpmpp_2m", schedule="karras", width=72, height=104)
    add("image-ddim-v", "vpred", sampler="ddim")
    add("image-no-guidance", "pruned", guidance=1.0, sampler="unipc")
    add("mask-euler_a", "kernel", sampler="euler_a", kind="mask", prompt=BOAT)
    add("mask-dpmpp_2m", "vpred", sampler="dpmpp_2m", kind="mask", width=104, height=72)
    add("paint-dpmpp_2m_sde", INPAINT, sampler="dpmpp_2m_sde", kind="mask", guidance=2.0)
    sizes = {"original": [96, 128], "crop": [8, 16], "target": [80, 72]}  # heights and tops first
    add("sizes", "kernel", kind="text", sizes=sizes)
    return cases


def start_picture(height, width):
    """u8 [h, w, 3]: slanted waves of another slope per colour."""
    y, x, c = np.ogrid[:height, :width, :3]
    return ((x * 4 + y * 2 * (c + 1) + c * 50) % 256).astype(np.uint8)


def start_mask(height, width):
    """u8 [h, w]: a box to paint, beside it a strip that counts as painted and one that does not."""
    mask = np.zeros((height, width), np.uint8)
    mask[10 : height - 19, 20 : width - 14] = 255
    mask[10 : height - 19, 17:20] = 200
    mask[5:10, 20 : width - 14] = 100
    return mask


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


def pipeline_for(pipe, kind):
    """diffusers' own pipeline around the same networks."""
    if kind == "text":
        return pipe.pipe
    made = (StableDiffusionXLInpaintPipeline if kind == "mask" else StableDiffusionXLImg2ImgPipeline)(
        **{name: getattr(pipe.pipe, name) for name in ("vae", "text_encoder", "text_encoder_2", "tokenizer",
           "tokenizer_2", "unet", "scheduler")}, force_zeros_for_empty_prompt=True, add_watermarker=False)  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@torch.no_grad()
def image(pipe, case):
    height, width = case["height"], case["width"]
    pipe.pipe.scheduler = pipe.scheduler(case["sampler"], case["schedule"], case["prediction"])
    start, mask = start_picture(height, width), start_mask(height, width)
    given = {}
    if case["kind"] != "text":
        given |= {"image": Image.fromarray(start), "strength": case["strength"]}
    if case["kind"] == "mask":
        given |= {"mask_image": Image.fromarray(mask)}
    if case["kind"] != "image":
        given |= {"height": height, "width": width}
    if case["sizes"]:
        given |= {"original_size": tuple(case["sizes"]["original"]), "target_size": tuple(case["sizes"]["target"]),
                  "crops_coords_top_left": tuple(case["sizes"]["crop"])}  # fmt: skip
    pixels = pipeline_for(pipe, case["kind"])(
        case["prompt"], negative_prompt=case["negative"], num_inference_steps=case["steps"],
        guidance_scale=case["guidance"], generator=torch.Generator("cpu").manual_seed(case["seed"]),
        output_type="np", **given).images[0]  # fmt: skip
    made = to_bytes(pixels)
    if case["kind"] != "mask":
        return made
    part = mask[..., None].astype(np.int64)
    return ((made * part + start * (255 - part) + 127) // 255).astype(np.uint8)


def images(models):
    MODELS[INPAINT] = INPAINT_SPEC
    all_models.write_manifest(models.setdefault(INPAINT, Model(INPAINT)))
    pipes = {name: pipe_of(model) for name, model in models.items()}
    cases = image_cases()
    for case in cases:
        pixels = image(pipes[case["model"]], case)
        save("images/" + case["id"], pixels)
        print("%-24s std %.3f" % (case["id"], pixels.std() / 255), flush=True)
    save_json("images", cases)


def main():
    jobs = {"encode": encode, "other_vae": other_vae, "images": images}
    models = {name: Model(name) for name in MODELS}
    for name in sys.argv[1:] or jobs:
        jobs[name](models)


if __name__ == "__main__":
    main()
