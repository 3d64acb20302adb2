"""The peer of bench_adapters: diffusers with PEFT, doing the same switches, with the same words in its JSON.

    peer_adapters.py --folder DIR --lora A --lora B [--dtype f32|bf16] [--threads N] [--strength 0.8]

"first" is load_lora_weights and fuse_lora, which "open" (the loading alone) is a part of here: PEFT makes its layers then.
"back" is unfuse_lora; "kept" fuses again what is still loaded. For "two" all is unloaded first; then both are loaded and
fused. The networks are those that bench_adapters opens, without the VAE. unfuse_lora subtracts what fuse_lora added: in bf16
the weights do not come back bit for bit. `changed_by_return` says how many of one layer's did not.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
COMPONENTS = ["unet", "text_encoder", "text_encoder_2"]


class Meter:
    """Wall and CPU milliseconds of each named piece of work."""

    def __init__(self):
        self.found = {}

    def run(self, name, work):
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        result = work()
        seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
        self.found[name] = {
            "ms": 1000 * seconds,
            "user_ms": 1000 * (after.ru_utime - before.ru_utime),
            "kernel_ms": 1000 * (after.ru_stime - before.ru_stime),
        }
        print("%s: %.1f s" % (name, seconds), file=sys.stderr, flush=True)
        return result

    def add(self, name, parts):
        self.found[name] = {key: sum(self.found[p][key] for p in parts) for key in self.found[parts[0]]}


def open_pipe(folder, dtype):
    def load(kind, part, **how):
        return kind.from_pretrained(
            folder, subfolder=part, low_cpu_mem_usage=True, use_safetensors=True, local_files_only=True, **how
        ).eval()

    return StableDiffusionXLPipeline(
        vae=None,
        text_encoder=load(CLIPTextModel, "text_encoder", dtype=dtype),
        text_encoder_2=load(CLIPTextModelWithProjection, "text_encoder_2", dtype=dtype),
        tokenizer=None,
        tokenizer_2=None,
        unet=load(UNet2DConditionModel, "unet", torch_dtype=dtype),
        scheduler=EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True),
    )


def one_layer(pipe):
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    return getattr(layer, "base_layer", layer).weight.detach().clone()


def measure(args):
    meter = Meter()
    pipe = meter.run("load", lambda: open_pipe(args.folder, DTYPES[args.dtype]))
    original = one_layer(pipe)

    def add(path, name):
        pipe.load_lora_weights(os.path.dirname(path) or ".", weight_name=os.path.basename(path), adapter_name=name)

    def fuse(names):
        pipe.set_adapters(names, [1.0] * len(names))
        pipe.fuse_lora(components=fused, lora_scale=args.strength, adapter_names=names)

    meter.run("open", lambda: add(args.lora[0], "a"))
    fused = [c for c in COMPONENTS if getattr(getattr(pipe, c), "peft_config", None)]
    meter.run("fuse", lambda: fuse(["a"]))
    meter.add("first", ["open", "fuse"])
    assert not torch.equal(one_layer(pipe), original), "the adapter has changed nothing"
    meter.run("back", lambda: pipe.unfuse_lora(components=fused))
    changed = int((one_layer(pipe) != original).sum())
    meter.run("kept", lambda: fuse(["a"]))
    meter.run("back_again", lambda: pipe.unfuse_lora(components=fused))
    pipe.unload_lora_weights()
    meter.run("open_two", lambda: (add(args.lora[0], "a"), add(args.lora[1], "b")))
    meter.run("fuse_two", lambda: fuse(["a", "b"]))
    meter.add("two", ["open_two", "fuse_two"])
    meter.run("back_from_two", lambda: pipe.unfuse_lora(components=fused))
    return {**meter.found, "changed_by_return": changed, "layer_numbers": original.numel(), "fused": fused}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="a diffusers folder")
    parser.add_argument("--lora", action="append", required=True, help="twice")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores this process may use")
    parser.add_argument("--strength", type=float, default=0.8)
    parser.add_argument("--launched-ns", type=int, help="accepted, not used")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    with torch.no_grad():
        found = measure(args)
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "peft": peft.__version__}
    print(json.dumps({"program": "diffusers", "dtype": args.dtype, "threads": torch.get_num_threads(), **found,
                      "versions": versions}))  # fmt: skip


if __name__ == "__main__":
    main()
