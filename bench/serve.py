"""Serve mode while many wait: what parked requests cost, and how fast POST /run is beside them. Called by bench/run.

    ./dev bench --serve                 half a minute: nothing parked, then 10,000
    ./dev bench --serve --rounds 3      medians

Each measurement has a server of its own: the mock worker in serve mode on 127.0.0.1, with slots for the jobs that are waited
for and a few for the no-ops of the load, which are really executed. bench/serve_load.c says what is sent and how latency is
counted. "I/O process" is the one that is started: HTTP server (a thread that serves, one that watches for clients who leave),
API (one) and queue with its worker's end (the main one); handlers run in a child, which is not counted.
Every result is appended to build/bench/results.jsonl; the table on stdout is SPEED.md's.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import bench
import tables

HOLDING_SLOTS = 100  # HELD of serve_load.c
RUNNING_SLOTS = 2
QUEUE_LIMIT = 1_000_000  # more than any load here: the queue's default of 10,000 is not what is measured
START_TIMEOUT_S = 30
LOAD_TIMEOUT_S = 280  # below the 300 s for which a request may be parked
END_TIMEOUT_S = 10  # after a failure jobs still sleep, and a worker waits for its jobs


class Server:
    """The mock worker in serve mode; its log goes to a file, as it would to a container's."""

    def __init__(self, tree):
        self.folder = tempfile.TemporaryDirectory(prefix="tt-bench-")
        self.log = os.path.join(self.folder.name, "server.log")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [os.path.abspath(os.path.join(tree, "examples", "mock_worker")), "--rp_serve_api", "--rp_api_host",
                   "127.0.0.1", "--rp_api_port", "0", "--rp_api_concurrency", str(HOLDING_SLOTS + RUNNING_SLOTS)]
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**kept, "TINTYPE_QUEUE_LIMIT": str(QUEUE_LIMIT), "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true"},
            )  # fmt: skip
        self.port = self.find_port()

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def find_port(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"Serving the API at http://127\.0\.0\.1:(\d+)", self.text())
            if found and "The worker is ready" in self.text():
                return int(found.group(1))
            time.sleep(0.02)
        self.close()
        sys.exit("bench: the server does not start")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            bench.say("the server did not end within %d s of SIGTERM" % END_TIMEOUT_S)
        self.folder.cleanup()


def measure(args, parked):
    server = Server(args.tree)
    command = [os.path.join(args.tree, "bench_serve_load"), str(server.port), str(server.process.pid), str(parked),
               str(args.rate), str(args.seconds)]  # fmt: skip
    load = os.getloadavg()[0]
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LOAD_TIMEOUT_S, check=False)
        if run.returncode != 0:
            sys.exit("%s\nbench: %s ended with status %d" % (server.text()[-2000:], command[0], run.returncode))
    finally:
        server.close()
    return {**json.loads(run.stdout), "load_before": load}


ROWS = [  # name, goal, cell
    ("resident before the waits, MB", "", lambda r: "%.1f" % (r["before_rss_bytes"] / 1e6)),
    ("resident with them, MB", "< 100", lambda r: "%.1f" % (r["parked_rss_bytes"] / 1e6)),
    ("bytes a parked request", "",
     lambda r: "%.0f" % ((r["parked_rss_bytes"] - r["before_rss_bytes"]) / r["parked"]) if r["parked"] else "-"),
    ("threads of the I/O process, before / with them", "equal",
     lambda r: "%d / %d" % (r["before_threads"], r["threads"])),
    ("all parked after, ms", "", lambda r: "%.0f" % r["park_ms"] if r["parked"] else "-"),
    ("`POST /run` answered, a second", "2000", lambda r: "%.0f" % r["achieved_per_s"]),
    ("its errors", "0", lambda r: "%d" % r["errors"]),
    ("p50, ms", "", lambda r: "%.2f" % r["p50_ms"]),
    ("p90, ms", "", lambda r: "%.2f" % r["p90_ms"]),
    ("p99, ms", "< 5", lambda r: "%.2f" % r["p99_ms"]),
    ("most, ms", "", lambda r: "%.2f" % r["max_ms"]),
    ("of it before sending, p99, ms", "", lambda r: "%.2f" % r["sent_late_p99_ms"]),
    ("CPU of the I/O process, us a job", "", lambda r: "%.0f" % r["cpu_us_per_request"]),
    ("jobs left in the queue at the end", "", lambda r: "%d" % r["left_in_queue"]),
    ("resident then, ended jobs kept, MB", "", lambda r: "%.1f" % (r["loaded_rss_bytes"] / 1e6)),
    ("still parked then", "all", lambda r: "%d" % r["still_parked_after_load"] if r["parked"] else "-"),
    ("all answered after, ms", "", lambda r: "%.0f" % r["answer_ms"] if r["parked"] else "-"),
    ("load of the machine before", "", lambda r: "%.1f" % r["load_before"]),
]


def show(records):
    """A column for each number of parked requests."""
    merged = [tables.merged([r for r in records if r["parked"] == n]) for n in sorted({r["parked"] for r in records})]
    rows = [["", "goal", *("{:,} parked".format(int(r["parked"])) for r in merged)]]
    rows += [[name, goal, *(cell(r) for r in merged)] for name, goal, cell in ROWS]
    return tables.table(rows)


def main():
    parser = argparse.ArgumentParser(
        prog="./dev bench --serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--serve", action="store_true", help="what bench/run was called with")
    parser.add_argument("--parked", type=int, default=10000)
    parser.add_argument("--rate", type=int, default=2000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1, help="medians of this many runs of each")
    parser.add_argument("--tree", default=os.path.join("build", "release"), help="build tree with the programs")
    args = parser.parse_args()
    os.chdir(bench.ROOT)
    os.makedirs(bench.WORK, exist_ok=True)
    here, records = bench.machine(), []
    for i in range(args.rounds):
        for parked in (0, args.parked):
            records.append(measure(args, parked))
            bench.keep({"bench": "serve", "round": i, "machine": here, **records[-1]})
            bench.say("%d parked: p50 %.2f ms, p99 %.2f ms, %d errors, %.1f MB"
                      % (parked, records[-1]["p50_ms"], records[-1]["p99_ms"], records[-1]["errors"],
                         records[-1]["parked_rss_bytes"] / 1e6))  # fmt: skip
    bench.show_machine(here)
    print("\n`POST /run` at %d a second for %d s on %d connections, %d round(s)\n"
          % (args.rate, args.seconds, records[0]["connections"], args.rounds))  # fmt: skip
    print(show(records))


if __name__ == "__main__":
    main()
