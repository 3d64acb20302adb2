"""The numbers of SPEED.md. Called by bench/run, which builds the programs first.

    ./dev bench                   start-up time, and where the time goes, with the model that comes along: a minute
    ./dev bench --full            SDXL's full size at 512x512 with guidance, against diffusers: half an hour, 14 GB of disk
    ./dev bench --full --size 512,1024     at both sizes
    ./dev bench --full --model-size small --size 128     the same path in a minute, to try it; says nothing
    ./dev bench --scaling         one pass of the UNet at many sizes and batches
    ./dev bench --serve           serve mode while 10,000 requests wait: memory, latency of POST /run (serve.py; half a minute)

Contestants alternate, one at a time, each in a process of its own that starts with its model in the page cache. Every
result is appended to build/bench/results.jsonl; the tables on stdout are SPEED.md's.
"""

import argparse
import json
import os
import platform
import pty
import select
import statistics
import subprocess
import sys
import time

import tables

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join("build", "bench")
SHIPPED = os.path.join("models", "tintype-tiny.safetensors")
SHIPPED_SIDE = 256
SAMPLE_S = 0.05  # how often memory is looked at
START_TIMEOUT_S = 60
CONTESTANTS = ["tintype-f32", "diffusers-f32", "tintype-bf16", "diffusers-bf16", "tintype-int8"]
USAGE_STATUS = 2  # what bench_breakdown ends with when a word means nothing to it


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------- the machine
def first_line(path, key):
    with open(path) as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")


def commit():
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "?"


def machine():
    return {
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "family_model": "%s/%s" % (first_line("/proc/cpuinfo", "cpu family"), first_line("/proc/cpuinfo", "model\t")),
        "cores": len(os.sched_getaffinity(0)),
        "memory": first_line("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "commit": commit(),
    }


def warm(path):
    """Reads a file, or all files of a folder, into the page cache."""
    files = [path] if os.path.isfile(path) else [os.path.join(d, f) for d, _, fs in os.walk(path) for f in fs]
    for name in files:
        with open(name, "rb", buffering=0) as data:
            while data.read(1 << 24):
                pass


# ------------------------------------------------------------------------------------------------- one process
def anonymous_bytes(pid):
    try:
        with open("/proc/%d/status" % pid) as status:
            return next((1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon")), 0)
    except OSError:
        return 0  # it has just ended


def run_json(command):
    """The one line of JSON that `command` prints, with the peak of its anonymous memory as the kernel counts it."""
    log = os.path.join(WORK, "last.log")
    with open(log, "w") as stderr:
        launched = time.monotonic_ns()
        process = subprocess.Popen(
            [*command, "--launched-ns", str(launched)], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(SAMPLE_S)
        output = process.stdout.read()  # one line: it cannot have filled the pipe
    if process.returncode != 0:
        with open(log) as text:
            sys.exit("%s\nbench: %s ended with status %d" % (text.read()[-2000:], command[0], process.returncode))
    return {**json.loads(output), "peak_anonymous_bytes": peak}


def knows(args, dtype):
    """Whether the program takes this --dtype at all. There is no model, so it ends at once in any case."""
    command = [os.path.join(args.tree, "bench_breakdown"), "--model", os.devnull, "--dtype", dtype]
    return subprocess.run(command, capture_output=True, check=False).returncode != USAGE_STATUS


def breakdown(args, model, dtype, width, height, steps):
    return run_json(
        [os.path.join(args.tree, "bench_breakdown"), "--model", model, "--dtype", dtype, "--width", str(width),
         "--height", str(height), "--steps", str(steps), "--threads", str(args.threads)]
    )  # fmt: skip


def peer(args, folder, dtype, side):
    return run_json(
        [args.peer_python, os.path.join("bench", "peer_diffusers.py"), "--folder", folder, "--dtype", dtype,
         "--width", str(side), "--height", str(side), "--steps", str(args.steps),
         "--threads", str(args.threads), *(["--channels-last"] if args.channels_last else [])]
    )  # fmt: skip


def keep(record):
    with open(os.path.join(WORK, "results.jsonl"), "a") as out:
        out.write(json.dumps(record) + "\n")


# ------------------------------------------------------------------------------------------------- the quick bench
def first_step_ms(args):
    """Of `tintype run`, as a user sees it: on a terminal, the bar appears when denoising starts."""
    ours, theirs = pty.openpty()
    command = [
        os.path.join(args.tree, "tintype"), "run", "--model", SHIPPED, "--prompt", "a red sailing boat at sunset",
        "--seed", "1", "--steps", "1", "--threads", str(args.threads), "--no-preview",
        "--out", os.path.join(WORK, "start.png"),
    ]  # fmt: skip
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen, found = b"", None
    while found is None and select.select([ours], [], [], START_TIMEOUT_S)[0]:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # the program has closed its end
            break
        if b"0/1 steps" in seen:
            found = 1000 * (time.monotonic() - start)
    process.wait(START_TIMEOUT_S)
    os.close(ours)
    if found is None or process.returncode != 0:
        sys.exit("bench: no first step seen from %s; it said:\n%s" % (" ".join(command), seen.decode(errors="replace")))
    return found


def quick(args):
    warm(SHIPPED)
    breakdown(args, SHIPPED, "auto", SHIPPED_SIDE, SHIPPED_SIDE, 1)
    whole, parts = [], []
    for _ in range(args.starts):
        whole.append(first_step_ms(args))
        parts.append(breakdown(args, SHIPPED, "auto", SHIPPED_SIDE, SHIPPED_SIDE, 1))
    here = machine()
    keep({"bench": "startup", "machine": here, "tintype_run_ms": whole, "records": parts})
    records = []
    for dtype in ("f32", "bf16", "int8"):
        if dtype == "int8" and not knows(args, dtype):
            continue
        record = breakdown(args, SHIPPED, dtype, SHIPPED_SIDE, SHIPPED_SIDE, args.quick_steps)
        records.append({**record, "asked": dtype})
        keep({"bench": "quick", "machine": here, **records[-1]})
    show_machine(here)
    print("\nStart-up, %d runs, %s\n" % (args.starts, parts[0]["dtype"]))
    print(tables.startup(whole, parts))
    print("\n%s, %dx%d\n" % (os.path.basename(SHIPPED), SHIPPED_SIDE, SHIPPED_SIDE))
    for r in records:
        print("%s: %.1f ms per step, VAE decode %.0f ms, peak resident %.0f MB of %.0f MB planned for the engine"
              % (r["asked"], 1000 * r["s_per_step"], 1000 * r["vae_s"], r["peak_bytes"] / 1e6,
                 r["planned_bytes"] / 1e6))  # fmt: skip
    show_operations(records)


# ------------------------------------------------------------------------------------------------- the full bench
def models(args):
    """(single file, folder), written when one is missing."""
    stem = os.path.join(WORK, "%s-%s" % (args.model_size, args.stored))
    single, folder = stem + ".safetensors", stem
    is_there = os.path.exists(os.path.join(folder, "vae", "diffusion_pytorch_model.safetensors"))
    if not is_there or not os.path.exists(single):
        say("writing %s and its folder" % single)
        tool = os.path.join("tools", "bench", "write_random_sdxl.py")
        subprocess.run(
            [args.peer_python, tool, "--size", args.model_size, "--dtype", args.stored, "--out", single, "--folder", folder],
            check=True,
        )
    return single, folder


def contest(args, contestant, single, folder, side):
    """One process of one contestant; its record."""
    program, dtype = contestant.split("-")
    path = single if program == "tintype" else folder
    warm(path)
    if program == "tintype":
        return {"asked": dtype, **breakdown(args, path, dtype, side, side, args.steps)}
    return {"asked": dtype, **peer(args, path, dtype, side)}


def full_at(args, here, side):
    single, folder = models(args)
    records = []
    for i in range(args.rounds):
        for contestant in args.only:
            say("%dx%d, round %d of %d: %s" % (side, side, i + 1, args.rounds, contestant))
            record = contest(args, contestant, single, folder, side)
            records.append(record)
            keep({"bench": args.model_size, "run": args.run, "round": i, "stored": args.stored, "machine": here, **record})
            say("%.2f s/step, VAE %.2f s, loaded in %.1f s, %.2f GB"
                % (record["s_per_step"], record["vae_s"], record["load_ms"] / 1000,
                   record["peak_anonymous_bytes"] / 1e9))  # fmt: skip
    counts = {r["parameters"] for r in records}
    assert len(counts) == 1, "the contestants loaded different models: %s parameters" % sorted(counts)
    print("\n%s SDXL (%d parameters, %s on disk), %dx%d, guidance on, %d steps, %d round(s)\n"
          % (args.model_size, counts.pop(), args.stored, side, side, args.steps, args.rounds))  # fmt: skip
    print(tables.comparison(records))
    show_operations(records)


def full(args):
    if not args.peer_python:
        sys.exit("bench: no Python with torch and diffusers: start it with ./dev bench")
    if "tintype-int8" in args.only and not knows(args, "int8"):
        say("this program has no int8: left out")
        args.only = [c for c in args.only if c != "tintype-int8"]
    here = machine()
    show_machine(here)
    for side in args.size:
        full_at(args, here, side)


# ------------------------------------------------------------------------------------------------- scaling
def scaling(args):
    """One process for all cases: the model is opened once."""
    here, records = machine(), []
    single = os.path.join(WORK, "%s-%s.safetensors" % (args.model_size, args.stored))
    if not os.path.exists(single):
        if not args.peer_python:
            sys.exit("bench: %s is missing: ./dev bench --full writes it" % single)
        single, _ = models(args)
    show_machine(here)
    warm(single)
    command = [
        os.path.join(args.tree, "bench_scaling"), "--model", single, "--dtype", args.dtype, "--threads", str(args.threads),
        "--sides", ",".join(map(str, args.sides)), "--batches", args.batches, "--passes", str(args.steps),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        record = json.loads(line)
        records.append(record)
        keep({"bench": "scaling", "run": args.run, "model": args.model_size, "machine": here, **record})
        say("%(side)dx%(side)d, batch %(batch)d: %(ms).0f ms" % record)
    if process.wait() != 0:
        sys.exit("bench: %s ended with status %d" % (command[0], process.returncode))
    print("\nOne pass of the UNet, %s SDXL, %s, %d threads; time and arithmetic relative to 512x512\n"
          % (args.model_size, records[0]["dtype"], records[0]["threads"]))  # fmt: skip
    print(tables.scaling(records))


def show_machine(here):
    print("%(cpu)s (family/model %(family_model)s), %(cores)d cores, %(memory)s, Linux %(kernel)s, commit %(commit)s, "
          "load %(load_before).1f before" % here)  # fmt: skip


def show_operations(records):
    for dtype in dict.fromkeys(r["asked"] for r in records if r["program"] == "tintype"):
        rounds = tables.chosen(records, "tintype", dtype)
        print("\n" + tables.peaks(rounds[-1]))
        print("\nOne step in %s, by operation\n\n%s" % (dtype, tables.operations(rounds, "step")))
        print("\nVAE decode in %s, by operation\n\n%s" % (rounds[-1]["vae_dtype"], tables.operations(rounds, "vae")))


def sizes(text):
    """512 or 512,1024"""
    try:
        return [int(side) for side in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("%s: expected pixels, 512 or 512,1024" % text) from None


def contestants(text):
    chosen = text.split(",")
    unknown = [c for c in chosen if c not in CONTESTANTS]
    if unknown:
        raise argparse.ArgumentTypeError("%s: expected some of %s" % (unknown[0], ",".join(CONTESTANTS)))
    return chosen


def main():
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="full size against diffusers")
    parser.add_argument("--scaling", action="store_true", help="one pass of the UNet at many sizes and batches")
    parser.add_argument("--model-size", choices=("full", "small"), default="full", help="of the random model")
    parser.add_argument("--stored", choices=("fp16", "bf16"), default="fp16", help="what the random model is stored in")
    parser.add_argument("--size", type=sizes, default=[512], metavar="N,N", help="sides of the pictures: 512 or 512,1024")
    parser.add_argument("--steps", type=int, default=3, help="the first is a warm-up; --scaling: passes after it")
    parser.add_argument("--rounds", type=int, default=3, help="medians of this many runs of each")
    parser.add_argument("--only", type=contestants, default=CONTESTANTS, metavar="A,B", help=",".join(CONTESTANTS))
    parser.add_argument("--channels-last", action="store_true", help="torch's other memory format for diffusers")
    parser.add_argument("--dtype", choices=("f32", "bf16", "int8", "auto"), default="auto", help="of --scaling")
    parser.add_argument("--sides", type=sizes, default=[256, 384, 512, 768, 1024], metavar="N,N", help="of --scaling")
    parser.add_argument("--batches", default="1,2,4", metavar="N,N", help="of --scaling: rows of the UNet's batch")
    parser.add_argument("--threads", type=int, default=0, help="of both; 0: all cores")
    parser.add_argument("--starts", type=int, default=10, help="starts to time in the quick bench")
    parser.add_argument("--quick-steps", type=int, default=24, help="steps of the quick bench's picture")
    parser.add_argument("--tree", default=os.path.join("build", "release"), help="build tree with the programs")
    parser.add_argument("--peer-python", help="a Python that has bench/requirements.txt")
    args = parser.parse_args()
    args.run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())  # what the records of one run have in common
    os.chdir(ROOT)
    os.makedirs(WORK, exist_ok=True)
    (full if args.full else scaling if args.scaling else quick)(args)


if __name__ == "__main__":
    main()
