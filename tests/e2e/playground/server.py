"""`tintype serve` on a free port: starts it, waits until it is ready, ends it, judges how it ended."""

import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

START_S, END_S = 60, 30


class Server:
    def __init__(self, program, folder):
        self.errors = Path(folder) / "serve.stderr"
        with open(self.errors, "wb") as stderr:
            self.process = subprocess.Popen([program, "serve", "--port", "0"], cwd=folder, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.url = self.read_url()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def read_url(self):
        """The address is told on standard output; a time-out of the whole test bounds the wait."""
        for line in self.process.stdout:
            found = re.search(r"http://[\w.\[\]:-]+:\d+", line)
            if found:
                return found.group(0) + "/"
        raise AssertionError("the server told no address: " + self.errors.read_text())

    def __enter__(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self.url + "ready", timeout=5):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.process.kill()
        raise AssertionError("the server did not get ready: " + self.errors.read_text())

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "none: it had to be killed"
        said = self.errors.read_text()
        if kind is None:
            assert "Sanitizer" not in said and "runtime error:" not in said, said
            assert status == 0, f"exit status {status}: {said[-2000:]}"
