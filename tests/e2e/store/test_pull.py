"""tintype pull: what comes, what is said of it, and what happens when it is interrupted."""

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from harness import case, equal, has, lacks, main

CDN = {"host": "civitai_cdn"}
WAIT_S = 120


@case
def pull_prints_what_sha256sum_reads(store):
    done = store.run("pull", "civitai:202")
    digest = store.items["civitai:old-photo.safetensors"]["sha256"]
    path = store.root / "v1" / "blobs" / "sha256" / digest[:2] / digest
    equal(done.out, f"{digest}  {path}\n")
    has(done.err, "Old Photo v2: lora, ")
    has(done.err, " fetched in ")
    subprocess.run(["sha256sum", "--check", "--quiet"], input=done.out, text=True, check=True)
    equal(oct(path.stat().st_mode & 0o777), "0o444")


@case
def pull_again_asks_nobody(store):
    first = store.run("pull", "civitai:202")
    store.fake.clear()
    again = store.run("pull", "civitai:202")
    equal(again.out, first.out)
    has(again.err, "Old Photo v2: already here, lora, ")
    equal(store.fake.requests(), [])


@case
def pull_takes_every_source(store):
    photo = store.items["civitai:old-photo.safetensors"]["sha256"]
    tiny = store.items["civitai:tintype-tiny.safetensors"]["sha256"]
    equal(store.pull("https://civitai.com/models/2/old-photo?modelVersionId=202")[0], photo)
    equal(store.pull("urn:air:sdxl:checkpoint:civitai:1@101")[0], tiny)
    equal(store.pull("hf://tintype/tiny/loras/old-photo.safetensors")[0], photo)
    equal(store.pull("s3://models/tintype-tiny.safetensors")[0], tiny)
    url = store.fake.presigned("models", "loras/old photo (1).safetensors")
    equal(store.pull(url, "--sha256", photo.upper())[0], photo)
    equal(len(list((store.root / "v1" / "blobs" / "sha256").glob("*/*[0-9a-f]"))), 2)


@case
def a_repository_with_one_model_needs_no_path(store):
    equal(store.pull("hf://tintype/tiny")[0], store.items["civitai:tintype-tiny.safetensors"]["sha256"])


@case
def pull_names_and_finds_by_name_and_digest(store):
    digest, _ = store.pull("civitai:202", "--name", "photo")
    equal(store.run("show", "photo", "--json").json()["sha256"], digest)
    equal(store.run("show", digest[:8], "--json").json()["alias"], "photo")
    equal(store.pull("photo")[0], digest)
    store.run("pull", "civitai:201", "--name", "photo")
    assert store.run("show", "photo", "--json").json()["sha256"] != digest, "the name still means the old one"


@case
def pull_tells_every_failure_and_fetches_the_rest(store):
    done = store.run("pull", "civitai:401", "civitai:202", "civitai:301", status=1)
    equal(len(done.out.splitlines()), 1)
    has(done.err, "civitai:401: archived by its creator")
    has(done.err, "civitai:301: in early access")


@case
def pull_as_json_has_results_and_failures_in_order(store):
    done = store.run("pull", "civitai:202", "civitai:401", "--json", status=1)
    good, bad = done.json()["models"]
    equal((good["asked_for"], good["name"], good["kind"], good["was_here"]), ("civitai:202", "Old Photo v2", "lora", False))
    equal(good["fetched_bytes"], Path(good["path"]).stat().st_size)
    equal((bad["asked_for"], bad["error"]["class"]), ("civitai:401", "gone"))
    again = store.run("pull", "civitai:202", "--json").json()["models"][0]
    equal((again["was_here"], again["fetched_bytes"]), (True, 0))


@case
def pull_accepts_only_the_bytes_that_were_named(store):
    wrong = "0" * 64
    done = store.run("pull", "civitai:202", "--sha256", wrong, "--name", "photo", status=1)
    has(done.err, f"civitai:202: expected the SHA-256 {wrong}, found ")
    store.run("show", "photo", status=1)
    url = store.fake.presigned("models", "tintype-tiny.safetensors")
    done = store.run("pull", url, "--sha256", wrong, status=1)
    has(done.err, wrong)
    equal(store.parts(), [])


@case
def a_url_is_bound_to_its_first_bytes(store):
    url = store.fake.url("elsewhere", f"/held/{store.items['civitai:old-photo.safetensors']['number']}")
    digest, path = store.pull(url)
    path.unlink()
    store.fake.faults({"kind": "other_content", "params": {"text": "x" * 5000}, "times": None})
    store.run("pull", url, status=1)
    store.fake.clear()
    equal(store.run("show", url, "--json").json()["sha256"], digest)


@case
def a_local_file_is_shown_as_it_is(store):
    (store.folder / "own.safetensors").write_bytes(b"anything")
    done = store.run("pull", "./own.safetensors")
    equal(done.out, "./own.safetensors\n")
    has(done.err, "own.safetensors: already here")
    done = store.run("pull", "./missing.safetensors", status=1)
    has(done.err, "./missing.safetensors: no such file")


@case
def progress_without_a_terminal_is_a_few_plain_lines(store):
    store.fake.faults({"kind": "slow", "params": {"rate": 24 << 20}, "times": None, "match": CDN})
    done = store.run("pull", "civitai:601")
    lines = [line for line in done.err.splitlines() if " %, " in line]
    assert 2 <= len(lines) <= 12, done
    has(lines[0], "Big v1: ")
    has(lines[-1], " of 101 MB")
    lacks(done.err, "\r")
    lacks(done.err, "\x1b")


def journal_has_chunks(store):
    """A bit for each chunk on the disk, in two slots that are written in turn (src/store/download_journal.c)."""
    slot_bytes, bits_from, bits_to = 4096, 64, 3136
    for path in store.parts():
        if path.suffix == ".j":
            data = path.read_bytes()
            if any(any(data[slot + bits_from:slot + bits_to]) for slot in (0, slot_bytes)):
                return True
    return False


def fetch_slowly_until_journal(store):
    store.fake.faults({"kind": "slow", "params": {"rate": 16 << 20}, "times": None, "match": CDN})
    process = store.start("pull", "civitai:601", env={"TINTYPE_DOWNLOAD_CONNECTIONS": "2"})  # three rounds of chunks
    end = time.monotonic() + WAIT_S
    while not journal_has_chunks(store):
        assert time.monotonic() < end and process.poll() is None, f"no journal: {store.parts()} {process.poll()}"
        time.sleep(0.02)
    return process


@case
def after_kill_9_only_the_rest_is_fetched(store):
    process = fetch_slowly_until_journal(store)
    process.kill()
    process.communicate()
    store.fake.clear()
    model = store.run("pull", "civitai:601", "--json").json()["models"][0]
    assert 0 < model["fetched_bytes"] < model["size_bytes"], model
    equal(model["sha256"], store.items["civitai:big.safetensors"]["sha256"])
    store.run("verify", "civitai:601")
    equal(store.parts(), [])


@case
def ctrl_c_keeps_what_was_fetched_and_says_so(store):
    process = fetch_slowly_until_journal(store)
    process.send_signal(signal.SIGINT)
    done = store.end(process, 130)
    has(done.err, "civitai:601: cancelled")
    has(done.err, "What was fetched so far is kept; the same command goes on from there.")
    equal(done.out, "")
    store.fake.clear()
    model = store.run("pull", "civitai:601", "--json").json()["models"][0]
    assert 0 < model["fetched_bytes"] < model["size_bytes"], model


@case
def two_processes_fetch_once(store):
    store.fake.faults({"kind": "slow", "params": {"rate": 24 << 20}, "times": None, "match": CDN})
    both = [store.start("pull", "civitai:601", "--json") for _ in range(2)]
    done = [store.end(process).json()["models"][0] for process in both]
    equal(sorted(model["fetched_bytes"] > 0 for model in done), [False, True])
    equal(done[0]["path"], done[1]["path"])


@case
def trouble_on_the_way_is_overcome(store):
    for kind in ("reset", "truncated", "429", "503", "cloudflare_522", "expired_signature"):
        store.fake.clear()
        params = {"at": 1000} if kind in ("reset", "truncated") else {}
        store.fake.faults({"kind": kind, "times": 2, "match": CDN, "params": params})
        digest, path = store.pull("civitai:202")
        store.run("rm", "civitai:202")
        equal((digest, path.exists()), (store.items["civitai:old-photo.safetensors"]["sha256"], False), kind)


@case
def offline_gives_what_is_here_and_asks_nobody(store):
    store.pull("civitai:202")
    store.fake.clear()
    for name in ("TINTYPE_OFFLINE", "HF_HUB_OFFLINE"):
        store.pull("civitai:202", env={name: "1"})
        done = store.run("pull", "civitai:201", status=1, env={name: "1"})
        has(done.err, "civitai:201: not here, and nothing may be fetched")
    equal(store.fake.requests(), [])


@case
def caches_of_hugging_face_are_read_in_place(store):
    hub = store.folder / ".cache" / "huggingface" / "hub" / "models--tintype--tiny"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("a" * 40)
    (hub / "snapshots" / ("a" * 40)).mkdir(parents=True)
    file = hub / "snapshots" / ("a" * 40) / "tintype-tiny.safetensors"
    file.write_bytes(b"cached")
    equal(store.run("pull", "hf://tintype/tiny/tintype-tiny.safetensors", env={"TINTYPE_OFFLINE": "1"}).out.strip(), str(file))
    done = store.run("pull", "hf://tintype/tiny/tintype-tiny.safetensors", status=1,
                     env={"TINTYPE_OFFLINE": "1", "HF_HOME": str(store.folder / "elsewhere")})
    has(done.err, "not here, and nothing may be fetched")


@case
def the_token_that_hugging_faces_tools_left_is_used(store):
    folder = store.folder / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text(store.fake.tokens["huggingface"] + "\n")
    store.pull("hf://tintype/gated/a.safetensors", env={"HF_TOKEN": None})
    (folder / "token").rename(store.folder / "mine")
    store.run("rm", "hf://tintype/gated/a.safetensors")
    store.run("pull", "hf://tintype/gated/a.safetensors", status=1, env={"HF_TOKEN": None})
    store.pull("hf://tintype/gated/a.safetensors", env={"HF_TOKEN": None, "HF_TOKEN_PATH": str(store.folder / "mine")})


@case
def the_names_of_runpod_for_a_bucket_are_understood(store):
    names = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_ENDPOINT_URL_S3": None,
             "BUCKET_ACCESS_KEY_ID": store.fake.tokens["access"], "BUCKET_SECRET_ACCESS_KEY": store.fake.tokens["secret"],
             "BUCKET_ENDPOINT_URL": store.fake.url("s3")}
    store.pull("s3://models/tintype-tiny.safetensors", env=names)


@case
def a_store_that_cannot_be_written_is_said(store):
    done = store.run("pull", "civitai:202", status=1, env={"TINTYPE_MODELS": "/dev/null/models"})
    has(done.err, "not here, and cannot be kept: ")
    equal(store.run("models", env={"TINTYPE_MODELS": "/dev/null/models"}).status, 0)


@case
def a_limit_on_files_is_said_and_leaves_nothing(store):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))  # noqa: E731
    done = store.end(store.start("pull", "civitai:601", "-q", preexec_fn=limit), expected=1)
    has(done.err, "File too large")
    equal(store.parts(), [])


if __name__ == "__main__":
    os.umask(0o022)
    main()
