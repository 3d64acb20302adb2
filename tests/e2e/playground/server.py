"""`tintype serve` on a free port: starts it, waits until it is ready, ends it, judges how it ended."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

START_S, END_S = 60, 30


class Server:
    def __init__(self, program, folder):
        self.said = Path(folder) / "serve.log"
        with open(self.said, "wb") as log:
            self.process = subprocess.Popen([program, "serve", "--port", "0"], cwd=folder, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        self.url = None

    def is_ready(self):
        """It tells its address, then answers /ready with 200 once the model is loaded."""
        told = re.search(r"http://[\w.\[\]:-]+:\d+", self.said.read_text(errors="replace"))
        if not told:
            return False
        self.url = told.group(0) + "/"
        try:
            with urllib.request.urlopen(self.url + "ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            if self.is_ready():
                return self
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError("the server did not get ready: " + self.said.read_text(errors="replace"))

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "none: it had to be killed"
        said = self.said.read_text(errors="replace")
        if kind is None:
            assert "Sanitizer" not in said and "runtime error:" not in said, said
            assert status == 0, f"exit status {status}: {said[-2000:]}"
