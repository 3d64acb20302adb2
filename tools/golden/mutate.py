"""Would the golden pictures notice a mistake? python mutate.py plants known mistakes of SDXL engines in diffusers and
prints the PSNR of the picture against the right one: all must be below the tests' 60 dB."""

import copy

import torch

from models import Model
from pictures import BASE, CAT
from pipeline import Pipe, psnr, tokenizer


def set_norm_eps(module, kind, old, new):
    for part in module.modules():
        if isinstance(part, kind) and abs(part.eps - old) < old / 100:
            part.eps = new


def first_encoder_gelu(pipe):
    for layer in pipe.te1().encoder.layers:
        layer.mlp.activation_fn = torch.nn.GELU()


def resnet_eps(pipe):
    set_norm_eps(pipe.pipe.unet, torch.nn.GroupNorm, 1e-5, 1e-6)


def transformer_eps(pipe):
    set_norm_eps(pipe.pipe.unet, torch.nn.GroupNorm, 1e-6, 1e-5)


def vae_eps(pipe):
    set_norm_eps(pipe.pipe.vae, torch.nn.GroupNorm, 1e-6, 1e-5)


def second_padding(pipe):
    pipe.pipe.tokenizer_2.pad_token = "<|endoftext|>"


def final_norm(pipe):
    """The context with the final layer norm."""
    encode = pipe.pipe.encode_prompt

    def normed(*args, **more):
        parts = list(encode(*args, **more))
        width = pipe.te1().config.hidden_size
        norm = pipe.te1().final_layer_norm
        parts[0] = torch.cat([norm(parts[0][..., :width]), parts[0][..., width:]], -1)
        return parts

    pipe.pipe.encode_prompt = normed


def swapped_sizes(pipe):
    make = pipe.pipe._get_add_time_ids

    def swapped(original, crop, target, **more):
        return make(original[::-1], crop, target[::-1], **more)

    pipe.pipe._get_add_time_ids = swapped


def geglu_halves(pipe):
    for name, part in pipe.pipe.unet.named_modules():
        if name.endswith("ff.net.0.proj"):
            for p in part.parameters():
                p.data = torch.cat(p.data.chunk(2)[::-1])


def sine_first(pipe):
    pipe.pipe.unet.time_proj.flip_sin_to_cos = False


MISTAKES = [
    (first_encoder_gelu, "kernel", {}),
    (final_norm, "kernel", {}),
    (second_padding, "kernel", {}),
    (geglu_halves, "kernel", {}),
    (sine_first, "kernel", {}),
    (swapped_sizes, "kernel", {"width": 104, "height": 72}),
    (resnet_eps, "vpred", {}),
    (transformer_eps, "vpred", {}),
    (vae_eps, "vpred", {}),
]


def main():
    def pipe_of(model):
        pipe = Pipe(copy.deepcopy(models[model]), (tokenizer("<|endoftext|>"), tokenizer("!")))
        pipe.te1 = lambda: pipe.pipe.text_encoder
        return pipe

    models = {name: Model(name) for name in ("kernel", "vpred")}
    for mistake, model, changes in MISTAKES:
        case = BASE | changes | {"prompt": CAT}
        right, _ = pipe_of(model).picture(case)
        pipe = pipe_of(model)
        mistake(pipe)
        print("%-20s %-7s %.1f dB" % (mistake.__name__, model, psnr(right, pipe.picture(case)[0])), flush=True)
    right, _ = pipe_of("kernel").picture(BASE)
    for changes in ({"schedule": "trailing"}, {"schedule": "karras"}, {"negative": ""}, {"steps": 25}):
        print("%-20s %-7s %.1f dB" % (changes, "kernel", psnr(right, pipe_of("kernel").picture(BASE | changes)[0])))


if __name__ == "__main__":
    main()
