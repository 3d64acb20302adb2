"""What switching adapters costs, beside diffusers. Called by bench/run, which builds the program first.

    ./dev bench --adapters                    SDXL's full size, two random LoRAs of all of the UNet's attentions (rank 32 and 8)
    ./dev bench --adapters --layers all       also feed-forward layers, projections and both text encoders
    ./dev bench --adapters --small            the same path in a minute, to try it; says nothing
    ./dev bench --adapters --no-peer          without diffusers

Model and LoRAs are random and written once, into build/bench: 14 GB, or 7 GB without the peer. The programs run one after the
other, each in a process of its own, with its model in the page cache.
"""

import argparse
import os
import subprocess
import sys

import bench

RANKS = (32, 8)
ROWS = [
    ("first switch", "first"),
    ("back to none", "back"),
    ("to the same again", "kept"),
    ("to a third set, in the memory of one that goes", "next"),
    ("two adapters, first switch", "two"),
    ("back from two", "back_from_two"),
]


def write_model(args):
    stem = os.path.join(bench.WORK, "%s-fp16" % args.size)
    single, folder = stem + ".safetensors", stem
    last = os.path.join(folder, "vae", "diffusion_pytorch_model.safetensors")
    if not os.path.exists(single) or not (args.no_peer or os.path.exists(last)):
        command = [args.peer_python, os.path.join("tools", "bench", "write_random_sdxl.py"), "--size", args.size,
                   "--out", single]  # fmt: skip
        subprocess.run(command + ([] if args.no_peer else ["--folder", folder]), check=True, stdout=sys.stderr)
    return single, folder


def write_loras(args):
    paths = []
    for rank in RANKS:
        path = os.path.join(bench.WORK, "lora-%s-%s-%d.safetensors" % (args.size, args.layers, rank))
        paths.append(path)
        if not os.path.exists(path):
            tool = os.path.join("tools", "bench", "write_random_lora.py")
            subprocess.run([args.peer_python, tool, "--size", args.size, "--layers", args.layers, "--rank", str(rank),
                            "--seed", str(rank), "--out", path], check=True, stdout=sys.stderr)  # fmt: skip
    return [flag for path in paths for flag in ("--lora", path)]


def measure(args):
    single, folder = write_model(args)
    common = [*write_loras(args), "--dtype", args.dtype, "--threads", str(args.threads)]
    bench.warm(single)
    ours = bench.run_json([os.path.join(args.tree, "bench_adapters"), "--model", single, *common])
    if args.no_peer:
        return ours, None
    bench.warm(folder)
    bench.say("diffusers; this takes minutes")
    peer = os.path.join("bench", "peer_adapters.py")
    return ours, bench.run_json([args.peer_python, peer, "--folder", folder, *common])


def cells(ours, theirs, key):
    def cpu(record):
        return (record[key]["user_ms"] + record[key]["kernel_ms"]) / 1000

    records = [r if r and key in r else None for r in (ours, theirs)]
    seconds = ["%.4g" % (r[key]["ms"] / 1000) if r else "-" for r in records]
    ratio = "%.0f" % (theirs[key]["ms"] / max(ours[key]["ms"], 1e-3)) if all(records) else "-"
    return [*seconds, ratio, *("%.3g" % cpu(r) if r else "-" for r in records)]


def show(ours, theirs):
    print("| | Tintype, s | diffusers, s | ratio | Tintype, CPU s | diffusers, CPU s |\n|---|---:|---:|---:|---:|---:|")
    for title, key in ROWS:
        print("| %s | %s |" % (title, " | ".join(cells(ours, theirs, key))))
    print("| peak memory, GB | %s | | | |"
          % " | ".join("%.2f" % (r["peak_anonymous_bytes"] / 1e9) if r else "-" for r in (ours, theirs)))  # fmt: skip
    print("\n%d packed weights exchanged, %.2f GB; in user mode the first switch took %.2f s, in the kernel %.2f s"
          % (ours["n_weights"], ours["set_bytes"] / 1e9, ours["first"]["user_ms"] / 1000,
             ours["first"]["kernel_ms"] / 1000))  # fmt: skip
    if theirs:
        print("diffusers: %d of %d numbers of one layer were others after fuse_lora and unfuse_lora"
              % (theirs["changed_by_return"], theirs["layer_numbers"]))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        prog="./dev bench --adapters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--small", dest="size", action="store_const", const="small", default="full", help="in a minute")
    parser.add_argument("--layers", choices=("attention", "all"), default="attention")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("--threads", type=int, default=0, help="of both; 0: all cores")
    parser.add_argument("--no-peer", action="store_true", help="without diffusers")
    parser.add_argument("--tree", default=os.path.join("build", "release"), help=argparse.SUPPRESS)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has bench/requirements.txt")
    args = parser.parse_args()
    os.chdir(bench.ROOT)
    os.makedirs(bench.WORK, exist_ok=True)
    here = bench.machine()
    ours, theirs = measure(args)
    bench.keep({"bench": "adapters", "size": args.size, "layers": args.layers, "machine": here,
                "records": [ours] + ([theirs] if theirs else [])})  # fmt: skip
    bench.show_machine(here)
    print("\n%s SDXL, %s, LoRAs of rank %d and %d, layers: %s\n" % (args.size, args.dtype, *RANKS, args.layers))
    show(ours, theirs)


if __name__ == "__main__":
    main()
