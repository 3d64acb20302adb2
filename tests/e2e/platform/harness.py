"""What the platform scenarios share: a worker process under the recorder of tests/fake/platform.py, and a runner.

    @scenario
    async def a_job_is_taken_and_answered(stage):
        stage.worker("mock_worker")
        stage.platform.give({"id": "job-1-u1", "input": {}})
        ...

Each scenario has a platform, a spool folder and workers of its own, so all of them run side by side (a few at a time). A
scenario fails by an assertion, by a worker that a sanitizer complained about, or by taking longer than LIMIT seconds. Output:
one line per scenario in cmocka's form, which tools/dev/summary.py counts.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from fake.platform import Platform  # noqa: E402

LIMIT = 120  # seconds for one scenario; they take a few
AT_ONCE = 6  # scenarios side by side
EXAMPLES = Path(os.environ["TT_BUILD_DIR"]) / "examples"
COMPLAINTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")

scenarios = []


def scenario(function):
    scenarios.append(function)
    return function


class Worker:
    """One worker process and what it printed."""

    def __init__(self, process):
        self.process = process
        self.output = b""
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self):
        while True:
            chunk = await self.process.stdout.read(65536)
            if not chunk:
                return
            self.output += chunk

    def signal(self, number):
        self.process.send_signal(number)

    async def end(self, seconds=60.0):
        """Waits for the end; the exit status (negative: a signal)."""
        status = await asyncio.wait_for(self.process.wait(), seconds)
        await asyncio.wait_for(self._reading, seconds)
        return status

    async def kill(self):
        self.signal(signal.SIGKILL)
        return await self.end()

    def text(self):
        return self.output.decode(errors="replace")

    async def says(self, words, seconds=30.0):
        for _ in range(int(seconds / 0.02)):
            if words in self.text():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"the worker does not say {words!r}; it said:\n{self.text()[-3000:]}")


class Stage:
    def __init__(self, platform, folder):
        self.platform, self.folder = platform, folder
        self.workers = []

    async def worker(self, program, *arguments, ready=True, **variables):
        """Starts examples/<program>; waits for its first heartbeat when `ready`. Variables: None removes one."""
        environment = {"PATH": os.environ["PATH"], "TINTYPE_SPOOL_FOLDER": str(self.folder / "spool"),
                       "RUNPOD_DEBUG_LEVEL": "DEBUG", "TINTYPE_RETRY_BASE_MS": "20"}
        environment.update(self.platform.environment())
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH"):
            if name in os.environ:
                environment[name] = os.environ[name]
        for name, value in variables.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = str(value)
        n_pings = len(self.platform.of("ping"))
        process = await asyncio.create_subprocess_exec(
            str(EXAMPLES / program), *arguments, cwd=self.folder, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        worker = Worker(process)
        self.workers.append(worker)
        if ready:
            await self.platform.until(lambda: len(self.platform.of("ping")) > n_pings, 60, "the first heartbeat")
        return worker

    async def answer(self, job):
        """Gives one job and waits for its result."""
        self.platform.give(job)
        return (await self.platform.wait_for_finals(1, job["id"]))[0]

    async def close(self):
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.wait()
        await self.platform.close()


def bodies(requests):
    return [request.body.decode() for request in requests]


async def run_one(function, gate):
    async with gate:
        folder = Path(tempfile.mkdtemp(prefix="tt-platform-"))
        stage = Stage(await Platform().start(), folder)
        problem = None
        try:
            await asyncio.wait_for(function(stage), LIMIT)
        except BaseException:  # pylint: disable=broad-except
            problem = traceback.format_exc()
        await stage.close()
        logs = "".join(worker.text() for worker in stage.workers)
        if not problem and any(words in logs for words in COMPLAINTS):
            problem = "a sanitizer complained"
        shutil.rmtree(folder, ignore_errors=True)
        print(f"[  {'FAILED ' if problem else '     OK'} ] {function.__name__}", flush=True)
        if problem:
            print("    " + (problem + "\nworker said:\n" + logs[-6000:]).replace("\n", "\n    "), flush=True)
        return not problem


async def run_all(names):
    gate = asyncio.Semaphore(AT_ONCE)
    chosen = [s for s in scenarios if not names or any(name in s.__name__ for name in names)]
    return all(await asyncio.gather(*(run_one(s, gate) for s in chosen)))


def main():
    sys.exit(0 if asyncio.run(run_all(sys.argv[1:])) else 1)
