"""What a person at a terminal sees: the bar, its width, Ctrl-C, and the question before a removal. A pseudo-terminal stands in
for it, and a small screen of our own for its glass."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata

from harness import PROGRAM, case, equal, has, lacks, main

CDN = {"host": "civitai_cdn"}
SECONDS = 120


class Terminal:
    """The program with its standard error, and input, on a terminal of so many columns."""

    def __init__(self, store, *words, columns=80, env=None):
        self.master, slave = pty.openpty()
        self.resize(columns)
        # pylint: disable-next=consider-using-with; end() waits for it
        self.process = subprocess.Popen([PROGRAM, *words], cwd=store.folder, env=store.env(**(env or {})),
                                        stdin=slave, stderr=slave, stdout=subprocess.PIPE, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.seen = b""

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_more(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            data = b""
        self.seen += data
        return bool(data)

    def until(self, pattern):
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.text()):
            assert time.monotonic() < end and self.read_more(0.2), f"no {pattern!r} in {self.text()!r}"

    def text(self):
        return self.seen.decode(errors="replace")

    def type(self, text):
        os.write(self.master, text)

    def end(self, status=0):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.read_more(0.2):
            pass
        out = self.process.communicate(timeout=SECONDS)[0].decode()
        os.close(self.master)
        equal(self.process.returncode, status, self.text())
        lacks(self.text(), "Sanitizer")
        return out


def columns_of(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def drawings(text):
    """The lines that were drawn one over the other."""
    return [part.split("\n")[0] for part in re.split(r"\r\x1b\[J", text) if part.strip()]


def screen(text):
    """What stays on the glass: each wipe takes what was drawn since the last end of a line."""
    shown = ""
    for part in re.split(r"(\r\x1b\[J)", text.replace("\r\n", "\n")):
        shown = shown[:shown.rfind("\n") + 1] if part == "\r\x1b[J" else shown + part
    return re.sub(r"\x1b\[\d+A", "", shown)


def slowly(store, rate=24 << 20):
    store.fake.faults({"kind": "slow", "params": {"rate": rate}, "times": None, "match": CDN})


@case
def the_bar_has_all_there_is_to_know(store):
    slowly(store)
    terminal = Terminal(store, "pull", "civitai:601", columns=110)
    out = terminal.end()
    assert re.match(r"[0-9a-f]{64}  /", out), out
    bar = [line for line in drawings(terminal.text()) if "left" in line][-1]
    assert re.match(r"Big v1  \[#*\.*\]  +\d+ %  [\d.]+ MB of 101 MB  [\d.]+ [kM]B/s, \d+ s left$", bar.rstrip()), bar
    glass = screen(terminal.text()).strip()
    assert re.match(r"Big v1: checkpoint, 101 MB, fetched in [\d.]+ s$", glass), glass


@case
def no_drawing_is_wider_than_the_terminal(store):
    for columns in (10, 20, 33, 47, 60, 80, 200):
        slowly(store, 60 << 20)
        terminal = Terminal(store, "pull", "civitai:601", columns=columns)
        terminal.end()
        lines = drawings(terminal.text().replace("\r\n", "\n"))[:-1]
        widest = max(columns_of(line) for line in lines)
        assert widest < columns, f"{widest} of {columns}"
        assert columns < 20 or any("%" in line for line in lines), f"no percentage in {columns} columns: {lines}"
        assert columns < 60 or any("% " in line and "left" in line for line in lines), f"{columns} columns: {lines}"
        assert columns < 80 or any("[" in line for line in lines), f"no bar in {columns} columns: {lines}"
        store.run("rm", "civitai:601")
        store.fake.clear()


@case
def a_window_that_changes_is_followed(store):
    slowly(store, 8 << 20)
    terminal = Terminal(store, "pull", "civitai:601", columns=120, env={"TINTYPE_DOWNLOAD_CONNECTIONS": "1"})
    terminal.until("% .*left")
    terminal.resize(40)
    terminal.seen = b""
    terminal.until(r"\x1b\[\dA\r\x1b\[J")  # the long line lay on several
    terminal.seen = b""
    terminal.until("%")
    terminal.end()
    assert max(columns_of(line) for line in drawings(terminal.text().replace("\r\n", "\n"))[1:-1]) < 40


@case
def names_of_strangers_do_not_reach_the_terminal(store):
    terminal = Terminal(store, "pull", "civitai:501")
    terminal.end()
    left = re.sub(r"\r\x1b\[J|\x1b\[\d+A|\r\n", "", terminal.text())
    for unfit in ("\x1b", "\x07", "\u202e", "\u009b", "\r"):
        lacks(left, unfit)


@case
def ctrl_c_on_the_keyboard_wipes_the_bar_and_keeps_the_part(store):
    slowly(store, 8 << 20)
    terminal = Terminal(store, "pull", "civitai:601", env={"TINTYPE_DOWNLOAD_CONNECTIONS": "1"})
    terminal.until("% ")
    terminal.type(b"\x03")
    equal(terminal.end(130), "")
    glass = screen(terminal.text().replace("^C", ""))
    has(glass, "tintype: civitai:601: cancelled\nWhat was fetched so far is kept; the same command goes on from there.\n")
    lacks(glass, "%")


@case
def quiet_draws_nothing(store):
    terminal = Terminal(store, "pull", "civitai:202", "--quiet")
    assert terminal.end().endswith("\n")
    equal(terminal.text(), "")


@case
def rm_asks_a_person(store):
    store.run("pull", "civitai:202", "-q")
    for answer, n_left in ((b"\n", 1), (b"no\n", 1), (b"\x04", 1), (b"y\n", 0)):
        terminal = Terminal(store, "rm", "civitai:202")
        terminal.until(r"Remove Old Photo v2, .*B\? \[y/N\] ")
        terminal.type(answer)
        terminal.end()
        equal(len(store.models()), n_left, answer)
    store.run("pull", "civitai:202", "-q")
    terminal = Terminal(store, "rm", "--yes", "civitai:202")
    has(terminal.end(), "removed Old Photo v2")


if __name__ == "__main__":
    main()
