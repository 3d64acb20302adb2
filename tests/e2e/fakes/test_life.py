"""The fakes as a program: they start as asked, several at once, and end with whoever started them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ask, case, equal, main

import fake.models as models

PROGRAM = [sys.executable, models.__file__]
SECONDS = 60
ORPHANS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from fake.models import Fake
fake = Fake().start()
print(fake.about["pid"], fake.folder, flush=True)
os.kill(os.getpid(), 9)
"""


def await_that(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.01)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@case
def the_program_writes_the_ready_file_and_ends_on_a_signal(_fake):
    with tempfile.TemporaryDirectory() as folder:
        ready, offer = Path(folder, "ready.json"), Path(folder, "catalogue.json")
        offer.write_text(json.dumps({"s3": {"buckets": {"b": {"public": True, "files": [{"key": "k", "text": "mine"}]}}}}))
        with subprocess.Popen([*PROGRAM, "--dir", f"{folder}/run", "--ready-file",
                               str(ready), "--catalogue",
                               str(offer)], stdout=subprocess.DEVNULL) as process:
            await_that(ready.exists, "the ready file")
            about = json.loads(ready.read_text())
            equal((about["pid"], sorted(about["hosts"])),
                  (process.pid, ["civitai", "civitai_cdn", "elsewhere", "huggingface", "huggingface_cdn", "s3"]))
            equal(len({host["address"] for host in about["hosts"].values()}), 6, "addresses")
            assert "BEGIN CERTIFICATE" in Path(about["ca"]).read_text()
            equal(ask(None, about["hosts"]["s3"]["http"] + "/b/k").body, b"mine")
            process.send_signal(signal.SIGTERM)
            equal(process.wait(SECONDS), 0)


@case
def a_wrong_catalogue_is_refused_with_a_reason(fake):
    for tree in ({"civitia": {}}, {"s3": {"buckets": {"b": {"files": [{"key":
                                                                       "k"}]}}}}, {"civitai": {"tokens": {"short": {}}}}):
        try:
            fake.catalogue(tree)
        except ValueError as problem:
            assert len(str(problem)) > 20, problem
        else:
            raise AssertionError(f"{tree} was taken")


@case
def the_default_offer_has_the_shipped_models(fake):
    items = fake.items()
    here = Path(models.__file__).resolve().parents[2] / "models" / "tintype-old-photo.safetensors"
    equal(items["huggingface:tintype/tiny/loras/old-photo.safetensors"]["size"], here.stat().st_size)
    answer = ask(fake, fake.url("civitai", "/api/download/models/202"), Authorization=f"Bearer {fake.tokens['civitai']}")
    equal(ask(fake, answer["Location"]).body, here.read_bytes())


@case
def several_run_side_by_side(fake):
    with models.Fake({"s3": {"buckets": {"b": {"public": True, "files": [{"key": "k", "text": "other"}]}}}}) as other:
        equal(ask(other, other.url("s3", "/b/k")).body, b"other")
        equal(fake.requests(), [])


@case
def the_fakes_end_with_whoever_started_them(_fake):
    done = subprocess.run([sys.executable, "-c", ORPHANS,
                           str(Path(models.__file__).parents[1])], capture_output=True, text=True, timeout=SECONDS,
                          check=False)
    equal(done.returncode, -signal.SIGKILL, done.stderr)
    pid, folder = done.stdout.split()
    await_that(lambda: not is_running(pid), "the end of the fakes")
    subprocess.run(["rm", "-rf", folder], check=True)


@case
def a_broken_fake_fails_its_test(_fake):
    broken = models.Fake().start()
    broken.control("POST", "links", {"civitai_cdn": 5})
    ask(broken, broken.url("civitai", "/api/download/models/202"), Authorization=f"Bearer {broken.tokens['civitai']}")
    try:
        broken.stop()
    except AssertionError as problem:
        assert "Traceback" in str(problem), problem
    else:
        raise AssertionError("the problem was not told")
    assert not os.path.exists(broken.folder)


if __name__ == "__main__":
    main()
