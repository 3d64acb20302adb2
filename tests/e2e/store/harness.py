"""What the tests of the commands about models share: the fakes, a store of its own for each case, and the program.

    @case
    def pull_prints_digest_and_path(store):
        done = store.run("pull", "civitai:202")
        equal(done.out, ...)

store.run fails the case when the exit status is another than expected (0 unless said), when a sanitizer complained, or when a
key or a signature came out. Output: one line per case in cmocka's form, which tools/dev/summary.py counts.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests"))
from fake import catalogue  # noqa: E402
from fake.models import Fake  # noqa: E402

PROGRAM = Path(os.environ["TT_BUILD_DIR"]).resolve() / "tintype"
SECONDS = 300  # the longest a command may take
FASTER = 10  # what the program's waits are divided by
BIG_ROWS = 96  # of 1 MiB each: six chunks of a download
SECRETS = ["X-Amz-Signature=", "X-Amz-Credential=", "Authorization:", "?token=", "&token="]
cases = []


def case(function):
    cases.append(function)
    return function


def equal(found, expected, what=""):
    assert found == expected, f"{what} {found!r}, expected {expected!r}"


def has(text, part):
    assert part in text, f"no {part!r} in {text!r}"


def lacks(text, part):
    assert part not in text, f"{part!r} in {text!r}"


class Done:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"status {self.status}\n  out: {self.out!r}\n  err: {self.err!r}"


def tree():
    """The fakes' own catalogue and what these tests need besides."""
    full = catalogue.default()
    lora = lambda number, name, seed: {"id": number, "name": name, "lora": {"rank": 2, "seed": seed}}  # noqa: E731
    full["civitai"]["models"] += [
        {"id": 5, "name": "\x1b[31mred\x1b[0m \u202egnp.exe\u0007\u009b2J " + "long " * 60, "versions": [
            {"id": 501, "name": "../../etc", "baseModel": "SD\x1b]0;owned\x07XL", "files": [
                lora(5001, "x\u202e.safetensors", 5)]}]},
        {"id": 6, "name": "Big", "type": "Checkpoint", "versions": [
            {"id": 601, "name": "v1", "files": [{"id": 6001, "name": "big.safetensors", "seed": 6, "tensors": {
                "weight": ["F32", [BIG_ROWS, 512, 512]]}}]}]},
        {"id": 7, "name": "Pickled", "versions": [
            {"id": 701, "files": [{"id": 7001, "name": "old.ckpt", "metadata": {"format": "PickleTensor"}, "text": "x"}]}]},
        {"id": 8, "name": "First", "versions": [{"id": 801, "files": [lora(8001, "first.safetensors", 8)]}]},
        {"id": 9, "name": "\u5199\u771f\u98a8", "versions": [{"id": 901, "files": [lora(9001, "photo.safetensors", 9)]}]},
    ]
    return full


class Store:
    """One case's own: folder, environment, and the program in them."""

    def __init__(self, fake):
        self.fake = fake
        self.folder = Path(tempfile.mkdtemp(prefix="tt-store-"))
        self.root = self.folder / "store"
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "OMP_WAIT_POLICY": "passive",
            "TINTYPE_MODELS": str(self.root), "TINTYPE_CIVITAI_URL": fake.url("civitai"),
            "TINTYPE_HF_URL": fake.url("huggingface"), "TINTYPE_CA_FILE": fake.ca, "TINTYPE_ALLOW_PRIVATE": "1",
            "TINTYPE_LOG_LEVEL": "error", "TINTYPE_TEST_TIME_DIVISOR": str(FASTER),
            "CIVITAI_API_KEY": fake.tokens["civitai"], "HF_TOKEN": fake.tokens["huggingface"],
            "AWS_ACCESS_KEY_ID": fake.tokens["access"], "AWS_SECRET_ACCESS_KEY": fake.tokens["secret"],
            "AWS_ENDPOINT_URL_S3": fake.url("s3")}
        self.items = fake.items()

    def close(self):
        for folder, _, _ in os.walk(self.folder):
            os.chmod(folder, 0o755)
        shutil.rmtree(self.folder)

    def env(self, **more):
        """The environment with changes; None takes away."""
        return {name: value for name, value in {**self.environment, **more}.items() if value is not None}

    def start(self, *words, env=None, **more):
        return subprocess.Popen([PROGRAM, *map(str, words)], cwd=self.folder, env=self.env(**(env or {})), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def judge(self, status, out, err, expected):
        done = Done(status, out, err)
        for secret in [*SECRETS, *self.fake.tokens.values()]:
            if secret != self.fake.tokens["access"]:
                assert secret not in out and secret not in err, f"{secret} came out: {done}"
        assert "Sanitizer" not in err and "runtime error:" not in err, f"a sanitizer complained: {done}"
        assert expected is None or status == expected, f"expected status {expected}: {done}"
        return done

    def end(self, process, expected=0):
        out, err = process.communicate(timeout=SECONDS)
        return self.judge(process.returncode, out, err, expected)

    def run(self, *words, status=0, env=None, text=None):
        done = subprocess.run([PROGRAM, *map(str, words)], cwd=self.folder, env=self.env(**(env or {})), text=True,
                              input=text or "", capture_output=True, timeout=SECONDS, check=False)
        return self.judge(done.returncode, done.stdout, done.stderr, status)

    def pull(self, reference, *more, **options):
        """Digest and path of what was fetched, the file's digest checked by Python's own code."""
        digest, path = self.run("pull", reference, "-q", *more, **options).out.rstrip("\n").split("  ", 1)
        equal(hashlib.sha256(Path(path).read_bytes()).hexdigest(), digest, "digest of the file")
        return digest, Path(path)

    def models(self, *more):
        return self.run("models", "--json", *more).json()["models"]

    def parts(self):
        return sorted((self.root / "v1" / "tmp").glob("*"))


def run_one(function, fake):
    problem = None
    store = None
    try:
        fake.clear()
        fake.links()
        store = Store(fake)
        function(store)
        equal(fake.leaks(), [], "leaks")
    except Exception:  # pylint: disable=broad-except; a case that fails is told
        problem = traceback.format_exc()
    finally:
        if store:
            store.close()
    print(f"[  {'FAILED ' if problem else '     OK'} ] {function.__name__}", flush=True)
    if problem:
        print("    " + problem.replace("\n", "\n    "), flush=True)
    return not problem


def main():
    chosen = [each for each in cases if not sys.argv[1:] or any(name in each.__name__ for name in sys.argv[1:])]
    if not chosen:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Fake(tree()) as fake:
        results = [run_one(each, fake) for each in chosen]
    sys.exit(0 if all(results) else 1)
