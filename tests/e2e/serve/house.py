"""What the tests of served workers share: a server to talk to, plain HTTP, and one line per case in cmocka's form.

Nothing but Python's standard library. A case is a function decorated with @case; its name is the behaviour.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

BUILD = Path(os.environ["TT_BUILD_DIR"])
ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "models" / "tintype-tiny.safetensors"
PATIENCE_S = 120  # for whatever takes milliseconds on a free machine: sanitizers and shared cores are slow

CASES = []


def case(function):
    CASES.append(function)
    return function


def skip_all(reason):
    for function in CASES:
        print(f"[  SKIPPED ] {function.__name__}", flush=True)
    print(f"    {reason}")


def run_cases():
    """Runs all cases; the exit status says whether one failed."""
    n_failed = 0
    for function in CASES:
        try:
            function()
            print(f"[       OK ] {function.__name__}", flush=True)
        except Exception:  # an assertion or anything else: the case failed
            n_failed += 1
            print(f"[  FAILED  ] {function.__name__}")
            print("    " + traceback.format_exc().replace("\n", "\n    "), flush=True)
    return 1 if n_failed else 0


class Server:
    """A worker that serves the endpoint API on a free port. `with Server(...) as s` ends it and judges its end."""

    def __init__(self, *command, env=None):
        self.command = [str(word) for word in command]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "TINTYPE_"))}
        self.env["TINTYPE_MODEL"] = str(MODEL)
        self.env["RUNPOD_SKIP_AUTO_SYSTEM_CHECKS"] = "true"
        self.env.update(env or {})
        self.lines = []
        self.headers = {}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        self.listens = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.listens.wait(PATIENCE_S) or not self.port:
            self.kill()
            raise AssertionError(f"{self.command} did not say where it listens:\n{self.output()}")
        self.wait_ready()
        return self

    def read(self):
        self.port = None
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"https?://[^\s/]+:(\d+)", line)
            if found and not self.port:
                self.port = int(found.group(1))
                self.listens.set()
        self.listens.set()  # it ended

    def wait_ready(self):
        until(lambda: self.request("GET", "/ready")[0] == 200, "the worker is ready")

    def output(self):
        return "".join(self.lines)

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            status = "none: it did not end"
        self.reader.join(PATIENCE_S)
        if kind:  # what the case complains of comes first
            sys.stdout.write("    the server said:\n      " + self.output()[-4000:].replace("\n", "\n      ") + "\n")
            return
        assert not re.search(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:", self.output()), self.output()[-4000:]
        assert status == 0, f"exit status {status}:\n{self.output()[-4000:]}"

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}/v2"

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE_S):
        """(status, text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, data, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        finally:
            connection.close()

    def call(self, method, path, body=None, **more):
        """The JSON of an answer that must be a 200."""
        status, text = self.request(method, path, body, **more)
        assert status == 200, f"{method} {path}: {status} {text[:300]}"
        return json.loads(text)

    def run(self, **fields):
        return self.call("POST", "/run", {"input": fields})["id"]

    def runsync(self, **fields):
        return self.call("POST", "/runsync?wait=300000", {"input": fields}, timeout=300)

    def status(self, job):
        return self.call("GET", f"/status/{job}")

    def wait_for(self, job, *states):
        return until(lambda: (s := self.status(job))["status"] in states and s, f"{job} is {states}")


def until(condition, what, patience_s=PATIENCE_S):
    """The first true value of condition(); it is asked again and again, but not for ever."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.02)


def example(name, *flags, **more):
    return Server(BUILD / "examples" / name, "--rp_serve_api", "--rp_api_port", "0", *flags, **more)


def tintype(*flags, **more):
    return Server(BUILD / "tintype", "serve", "--port", "0", *flags, **more)
