"""A worker's cold start with its model in the store, by phase: from exec to READY (its first request for a job) and to the first
picture delivered. Called by bench/run.

    ./dev bench --start                       the shipped model
    ./dev bench --start --checkpoint FILE     another one, such as the full-size model that --full leaves in build/bench

The store is filled by `tintype pull` from the tests' fake CivitAI, which is stopped before the first start: no start may need it. Each
phase ends with a line of the worker's log, timed as it arrives. A Markdown table goes to stdout, a line of JSON per start to
build/bench/start.jsonl. The files are in the page cache, the processes are new.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHASES = [  # name, the words in the log that end it
    ("processes, presets", "--- Starting Serverless Worker"),
    ("model found in the store", "models | found"),
    ("model opened", "engine | model="),
    ("fitness checks, a test picture among them", "All fitness checks passed"),
]
READY, DELIVERED = "first job asked for: READY", "first picture delivered"


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench --start")
    parser.add_argument("--tree", required=True, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models" / "tintype-tiny.safetensors")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def filled_store(harness, checkpoint):
    """A place to start in, whose store has the checkpoint."""
    offered = {"civitai": {"tokens": {harness.KEY: {"name": "anna"}}, "models": [
        {"id": 1, "name": "Measured", "type": "Checkpoint",
         "versions": [harness.version(128078, "measured", {"file": str(checkpoint.resolve())})]}]}}
    with harness.Fake(offered) as fake:
        place = harness.Flow(fake)
        place.write("tintype.json", {"presets": {"measured": {"checkpoint": "civitai:128078"}}})
        subprocess.run([str(harness.PROGRAM), "pull", "civitai:128078"], env=place.environment, cwd=place.folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return place


async def start_once(harness, place):
    """Seconds from exec to the end of each phase."""
    ends = {}

    class Timed(harness.Worker):
        async def read(self):
            async for line in self.process.stdout:
                now, text = time.monotonic(), line.decode(errors="replace")
                self.output += line
                for name, words in PHASES:
                    if words in text:
                        ends[name] = now

    began = time.monotonic()
    worker = Timed(place)
    async with worker:
        await worker.platform.until(lambda: worker.platform.of("take"), 300, "a worker that is ready")
        ends[READY] = worker.platform.of("take")[0].at
        await worker.job("one", steps=1)
        ends[DELIVERED] = time.monotonic()
    missing = [name for name, _ in PHASES if name not in ends]
    if missing:
        sys.exit(f"bench: the worker's log says nothing of: {', '.join(missing)}\n{worker.text()}")
    return {name: at - began for name, at in ends.items()}


def show(rounds, checkpoint):
    size_mb = checkpoint.stat().st_size / 1e6
    print(f"| start with {checkpoint.name} ({size_mb:.0f} MB) in the store, ms | median | least | most |\n|---|---:|---:|---:|")
    before = dict.fromkeys(range(len(rounds)), 0)
    for name in [*(name for name, _ in PHASES), READY, DELIVERED]:
        spans = [1000 * (ends[name] - before[i]) for i, ends in enumerate(rounds)]
        before = {i: ends[name] for i, ends in enumerate(rounds)}
        print(f"| {name} | {statistics.median(spans):.1f} | {min(spans):.1f} | {max(spans):.1f} |")
    for title, name in (("in all, to READY", READY), ("in all, to the first picture", DELIVERED)):
        sums = [1000 * ends[name] for ends in rounds]
        print(f"| {title} | {statistics.median(sums):.1f} | {min(sums):.1f} | {max(sums):.1f} |")


def main():
    options = arguments()
    os.environ["TT_BUILD_DIR"] = str(options.tree)
    sys.path.insert(0, str(ROOT / "tests" / "e2e" / "flow"))
    import harness  # pylint: disable=import-outside-toplevel

    place = filled_store(harness, options.checkpoint)
    try:
        rounds = [asyncio.run(start_once(harness, place)) for _ in range(options.rounds)]
    finally:
        place.close()
    with open(ROOT / "build" / "bench" / "start.jsonl", "a", encoding="utf-8") as results:
        for ends in rounds:
            results.write(json.dumps({"checkpoint": options.checkpoint.name, "load": os.getloadavg()[0], "ends_s": ends}) + "\n")
    show(rounds, options.checkpoint)


main()
