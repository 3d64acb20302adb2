"""The worker's own speed: jobs a second, heartbeats under load, what a large result costs. Called by bench/run.

    ./dev bench --worker                about a minute
    ./dev bench --worker --reference    also the reference SDK, runpod 1.12.0 from PyPI: installed into build/bench/runpod,
                                        unless $TINTYPE_RUNPOD_PYTHON names a Python that has it

bench_platform (bench/platform.c) hands out jobs as fast as they are taken; the handler of both contestants answers "Hello
World!" at once. Contestants alternate; the machine's other load is printed beside the numbers. A Markdown table goes to
stdout, a line of JSON per run to build/bench/worker.jsonl.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMIT_S = 180
REFERENCE = """
import os, runpod
n = int(os.environ.get("CONCURRENCY_MODIFIER", "1"))
async def handler(job):
    return job["input"].get("mock_return", "Hello World!")
runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda current: n})
"""


def environment(port, concurrency, folder):
    base = f"http://127.0.0.1:{port}/v2/ep1"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
        "RUNPOD_AI_API_KEY": "key",
        "RUNPOD_POD_ID": "bench",
        "RUNPOD_PING_INTERVAL": "1000",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_DEBUG_LEVEL": "ERROR",
        "CONCURRENCY_MODIFIER": str(concurrency),
        "TINTYPE_SPOOL_FOLDER": folder,
    }


class Run:
    """One platform with one worker."""

    def __init__(self, tree, command, jobs, concurrency, job_input=None):
        self.folder = tempfile.TemporaryDirectory(prefix="tt-bench-")
        input_file = os.path.join(self.folder.name, "input.json")
        with open(input_file, "w", encoding="utf-8") as file:
            json.dump(job_input or {}, file)
        self.platform = subprocess.Popen([os.path.join(tree, "bench_platform"), str(jobs), input_file],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = json.loads(self.platform.stdout.readline())["port"]
        self.worker = subprocess.Popen(command, env=environment(port, concurrency, self.folder.name),
                                       cwd=self.folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)

    def result(self):
        return json.loads(self.platform.stdout.readline())

    def cpu_seconds(self):
        """User and system time of the worker's processes so far."""
        ticks, waiting = 0, [self.worker.pid]
        while waiting:
            pid = waiting.pop()
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
                waiting += [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self):
        # The reference pings from a process of its own, which would go on for ever.
        os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()
        pings, _ = self.platform.communicate(timeout=30)
        self.folder.cleanup()
        return json.loads(pings.strip().splitlines()[-1])["pings_ms"]


def measure_rate(tree, command, jobs, concurrency):
    run = Run(tree, command, jobs, concurrency)
    result = run.result()
    cpu = run.cpu_seconds()
    run.close()
    return {"jobs_per_s": result["jobs"] / result["seconds"], "cpu_us_per_job": cpu / jobs * 1e6}


def measure_pings(tree, command, seconds):
    """Lateness of heartbeats (ms) against a 1 s grid while every core is burnt twice over."""
    run = Run(tree, command, 1, 1)
    run.result()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    time.sleep(seconds)
    for burner in burners:
        burner.kill()
        burner.wait()
    pings = run.close()
    late = sorted(at - 1000 * i for i, at in enumerate(pings))[1:]
    return {"pings": len(late), "late_p50_ms": statistics.median(late) if late else None,
            "late_p99_ms": late[min(len(late) - 1, int(0.99 * len(late)))] if late else None}


def measure_large(tree, command, jobs, size):
    """A result of `size` bytes: milliseconds a job, and the worker's CPU time for it."""
    run = Run(tree, command, jobs, 1, {"mock_return": "x" * size})
    result = run.result()
    cpu = run.cpu_seconds()
    run.close()
    return {"ms_per_job": result["seconds"] / jobs * 1000, "cpu_ms_per_job": cpu / jobs * 1000}


def find_reference():
    python = os.environ.get("TINTYPE_RUNPOD_PYTHON", os.path.join(ROOT, "build", "bench", "runpod", "bin", "python"))
    probe = subprocess.run([python, "-c", "import runpod"], capture_output=True, check=False) \
        if os.path.exists(python) else None
    return python if probe and probe.returncode == 0 else None


def keep(kind, contestant, numbers):
    path = os.path.join(ROOT, "build", "bench", "worker.jsonl")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as lines:
        lines.write(json.dumps({"kind": kind, "contestant": contestant, "load": os.getloadavg()[0], **numbers}) + "\n")


def repeat(kind, contestant, n, function, *arguments):
    """The median run, by its first number."""
    runs = [function(*arguments) for _ in range(n)]
    for numbers in runs:
        keep(kind, contestant, numbers)
    return sorted(runs, key=lambda numbers: list(numbers.values())[0] or 0)[len(runs) // 2]


def contestants(tree, wants_reference):
    yield "tintype", [os.path.join(tree, "examples", "mock_worker")], {1: 5000, 8: 5000}
    reference = find_reference() if wants_reference else None
    if reference:
        yield "runpod-python", [reference, "-u", "-c", REFERENCE], {1: 10, 8: 80}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", required=True)
    parser.add_argument("--worker", action="store_true", help="what bench/run was called with")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    options.tree = os.path.abspath(options.tree)
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| worker | jobs/s, 1 at once | CPU us/job | jobs/s, 8 at once | heartbeat late p50 / p99 ms, all cores burning |"
          " 2 MB result: ms/job | its CPU ms |")
    print("|---|---|---|---|---|---|---|")
    for name, command, jobs in contestants(options.tree, options.reference):
        one = repeat("rate-1", name, options.runs, measure_rate, options.tree, command, jobs[1], 1)
        eight = repeat("rate-8", name, options.runs, measure_rate, options.tree, command, jobs[8], 8)
        pings = repeat("pings", name, 1, measure_pings, options.tree, command, 12)
        large = repeat("large", name, options.runs, measure_large, options.tree, command, max(10, jobs[1] // 50),
                       2_000_000)
        print(f"| {name} | {one['jobs_per_s']:.0f} | {one['cpu_us_per_job']:.0f} | {eight['jobs_per_s']:.0f} |"
              f" {pings['late_p50_ms']:.1f} / {pings['late_p99_ms']:.1f} | {large['ms_per_job']:.2f} |"
              f" {large['cpu_ms_per_job']:.2f} |", flush=True)


main()
