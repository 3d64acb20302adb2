"""What the tests of the whole way share, from a reference to a picture: the fake services, the program with an environment of
its own, and a runner.

    @case
    def a_preset_draws(flow):
        flow.run("--prompt", "a boat", "--out", "boat.png")

Each case has a folder and an empty store; the fakes are started once. Output: one line per case in cmocka's form, which
tools/dev/summary.py counts.
"""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from fake import weights  # noqa: E402
from fake.models import Fake  # noqa: E402
from fake.platform import Platform  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ["TT_BUILD_DIR"]).resolve() / "tintype"
EXAMPLE = REPOSITORY / "examples" / "civitai" / "tintype.json"
KEY, SECONDS = "civitai-key-of-anna", 120
TINY, PHOTO = {"file": "models/tintype-tiny.safetensors"}, {"file": "models/tintype-old-photo.safetensors"}
COMPLAINTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")
QUICK = ("--steps", "2", "--width", "64", "--height", "64", "--seed", "1")
cases = []


def case(function):
    cases.append(function)
    return function


def version(number, name, spec, **more):
    return {"id": number, "files": [{"id": 10 * number, "name": f"{name}.safetensors", **spec}], **more}


def embedding():
    """A textual inversion of two vectors for the small model."""
    tensor = ("F16", [2, 64], weights.small_floats(2 * 64, 1))
    return {"base64": base64.b64encode(weights.safetensors({"clip_l": tensor, "clip_g": tensor})).decode()}


def catalogue():
    """What examples/civitai asks for, and one of each kind of trouble, in the shipped small files."""
    example = json.loads(EXAMPLE.read_text())["presets"]["portrait"]
    loras = [{"id": 1000 + i, "name": lora["name"], "versions": [
        version(int(lora["source"].removeprefix("civitai:")), lora["name"], PHOTO)]} for i, lora in enumerate(example["loras"])]
    return {"civitai": {"tokens": {KEY: {"name": "anna"}}, "models": [
        {"id": 101055, "name": "SD XL", "type": "Checkpoint", "versions": [version(128078, "sd_xl", TINY)]},
        {"id": 5, "name": "Other", "type": "Checkpoint", "versions": [version(501, "other-model", TINY)]},
        {"id": 6, "name": "Broken", "type": "Checkpoint", "versions": [
            version(601, "broken", {"tensors": {"a": ["F16", [4, 4]]}})]},
        {"id": 7, "name": "Big", "versions": [version(701, "big", {"tensors": {"a": ["F16", [4096, 4096]]}})]},
        {"id": 8, "name": "Moonlit", "type": "TextualInversion", "versions": [version(801, "moonlit", embedding())]},
        {"id": 3, "name": "Early", "versions": [
            version(301, "early", PHOTO, availability="EarlyAccess", earlyAccessEndsAt="2099-01-01T00:00:00.000Z")]},
        *loras]}}


def sha256(name):
    return hashlib.sha256((REPOSITORY / "models" / f"{name}.safetensors").read_bytes()).hexdigest()

def check(found, expected):
    assert found == expected, f"\nfound    {found}\nexpected {expected}"

def presets(**more):
    return {"presets": {"boats": {"checkpoint": "civitai:128078", "loras": [{"name": "film", "source": "civitai:179152"}],
                                  **more}}}


class Flow:
    """One case's folder, store and environment."""

    def __init__(self, fake):
        self.fake, self.folder = fake, Path(tempfile.mkdtemp(prefix="tt-flow-"))
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "TINTYPE_MODELS": str(self.folder / "store"),
            "TINTYPE_CIVITAI_URL": fake.url("civitai"), "TINTYPE_HF_URL": fake.url("huggingface"),
            "TINTYPE_ALLOW_PRIVATE": "1", "TINTYPE_CA_FILE": fake.ca, "CIVITAI_API_KEY": KEY,
            "TINTYPE_SPOOL_FOLDER": str(self.folder / "spool"), "OMP_NUM_THREADS": "2"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        self.stderr = self.stdout = ""

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def set(self, **variables):
        for name, value in variables.items():
            self.environment.pop(name, None)
            if value is not None:
                self.environment[name] = str(value)

    def write(self, name, tree):
        (self.folder / name).write_text(json.dumps(tree))

    def run(self, *words, status=0):
        return self.program("run", *words, status=status)

    def program(self, *words, status=0):
        """Its standard output."""
        done = subprocess.run([str(PROGRAM), *words], cwd=self.folder, env=self.environment, timeout=SECONDS,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.stdout, self.stderr = done.stdout, done.stderr
        assert not any(words in done.stderr for words in COMPLAINTS), done.stderr
        assert done.returncode == status, f"exit status {done.returncode}, expected {status}:\n{done.stderr}{done.stdout}"
        return done.stdout

    def draw(self, *words):
        """The metadata of a picture."""
        return json.loads(self.run(*QUICK, "--prompt", "a boat", "--json", *words))["output"]["metadata"]

    def fails(self, *words, status=1):
        """The sentence."""
        self.run(*QUICK, "--prompt", "a boat", "--out", "x.png", *words, status=status)
        return self.stderr.strip().splitlines()[-1].removeprefix("tintype: ")


class Worker:
    """`tintype worker` under the fake platform."""

    def __init__(self, flow, *words, **variables):
        self.flow, self.words, self.variables = flow, words, variables
        self.platform, self.process, self.output = Platform(), None, b""

    async def __aenter__(self):
        await self.platform.start()
        environment = {**self.flow.environment, **self.platform.environment(), "RUNPOD_DEBUG_LEVEL": "DEBUG",
                       "TINTYPE_RETRY_BASE_MS": "20", **self.variables}
        self.process = await asyncio.create_subprocess_exec(
            str(PROGRAM), "worker", *self.words, cwd=self.flow.folder, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        self.reading = asyncio.ensure_future(self.read())
        return self

    async def read(self):
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), SECONDS)
        except asyncio.TimeoutError:
            self.process.kill()
            raise
        await self.reading
        await self.platform.close()
        self.flow.stderr = self.text()
        assert not any(words in self.text() for words in COMPLAINTS), "a sanitizer complained"

    def text(self):
        return self.output.decode(errors="replace")

    async def says(self, words, seconds=SECONDS):
        for _ in range(int(seconds / 0.02)):
            if words in self.text():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"the worker does not say {words!r}")

    async def job(self, name, **fields):
        """Gives one job and waits for its answer: what the platform got."""
        body = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 1, **fields}
        self.platform.give({"id": name, "input": body})
        return (await self.platform.wait_for_finals(1, name))[0].json()


def run_one(function, fake):
    flow, problem = Flow(fake), None
    try:
        fake.catalogue(catalogue())
        fake.clear()
        result = function(flow)
        if asyncio.iscoroutine(result):
            asyncio.run(asyncio.wait_for(result, 3 * SECONDS))
        assert not fake.leaks(), fake.leaks()
    except BaseException:  # pylint: disable=broad-except
        problem = traceback.format_exc()
    flow.close()
    print(f"[  {'FAILED ' if problem else '     OK'} ] {function.__name__}", flush=True)
    if problem:
        print("    " + (problem + "\nthe program said:\n" + flow.stderr[-6000:]).replace("\n", "\n    "), flush=True)
    return not problem


def main():
    names = sys.argv[1:]
    chosen = [each for each in cases if not names or any(name in each.__name__ for name in names)]
    with Fake(catalogue()) as fake:
        results = [run_one(each, fake) for each in chosen]
    sys.exit(0 if all(results) else 1)
