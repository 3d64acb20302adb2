"""What the fakes offer: models, repositories and buckets, read from one JSON tree.

    {"civitai": {"tokens": {"KEY": {"name": "anna", "preferences": {}, "grants": [101], "blocked": false}},
                 "require_token": true, "life_s": 86400, "region_blocked": false, "limit": null,
                 "models": [{"id": 1, "name": "Boats", "type": "LORA", "mode": null, "red_only": false, "versions": [
                     {"id": 101, "name": "v1", "baseModel": "SDXL 1.0", "status": "Published", "availability": "Public",
                      "usageControl": "Download", "earlyAccessEndsAt": null, "private": false, "linked": [], "files": [
                          {"id": 1001, "name": "boats.safetensors", "type": "Model", "metadata": {"format": "SafeTensor"},
                           "visibility": "Public", "storage": "r2", "hashes": null, "pickleScanResult": "Success",
                           "virusScanResult": "Success", BYTES}]}]}]},
     "huggingface": {"tokens": {"KEY": {"name": "anna", "accepted": ["org/gated"], "sees": ["org/private"]}}, "life_s": 2400,
                     "repos": [{"id": "org/name", "gated": false, "private": false, "disabled": false, "moved_to": null,
                                "commit": null, "branches": [], "resolve_cache": false, "files": [
                                    {"path": "a.safetensors", "lfs": true, BYTES}]}]},
     "s3": {"region": "us-east-1", "presigned": true, "credentials": {"AKIA...": {"secret": "...", "session": null}},
            "buckets": {"name": {"public": false, "files": [{"key": "a/b.safetensors", BYTES}]}}}}

BYTES is one of: "file" (a path, relative to the repository), "generate" (that many made-up bytes, with "seed"), "text",
"base64", "lora" {"rank", "seed"}, "tensors" {name: [dtype, shape]} with "inside" (the file's metadata) and "seed": a valid
safetensors file of any size. Tokens and secrets have 8 characters or more. "hashes" are told in place of the true ones ({}
tells none). "linked" are ids of files of other versions. "red_only" models are there for clients that call us civitai.red.
Keys may be left out where a default is shown; ids, names and BYTES may not.
"""

import base64
import copy
import hashlib
import threading
from pathlib import Path

from fake import weights
from fake.content import File, Generated, Memory, hashes

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET_BYTES = 8  # the search for leaked secrets must not meet them by chance
MODIFIED = 1754600000  # seconds; every file's age, so that answers are the same in each run

MAKERS = {
    "file": lambda spec: File(REPOSITORY / spec["file"]),
    "generate": lambda spec: Generated(int(spec["generate"]), int(spec.get("seed", 0))),
    "text": lambda spec: Memory(spec["text"].encode()),
    "base64": lambda spec: Memory(base64.b64decode(spec["base64"])),
    "lora": lambda spec: Memory(weights.lora(**spec["lora"])),
    "tensors": lambda spec: weights.shell(spec["tensors"], spec.get("inside"), int(spec.get("seed", 0))),
}


def content_of(spec):
    makers = [name for name in MAKERS if name in spec]
    if len(makers) != 1:
        raise ValueError(f"a file needs one of {', '.join(MAKERS)}; this has {makers or 'none'}: {str(spec)[:200]}")
    return MAKERS[makers[0]](spec)


class Item:
    """One file of any source. Hashes are computed when first asked for, once."""

    def __init__(self, number, source, name, spec):
        self.number, self.source, self.name, self.spec = number, source, name, spec
        self.content = content_of(spec)
        # As S3 has it for files that came in parts: a change detector, no hash of the bytes.
        self.etag = f'"{hashlib.md5(f"{number} {name} {self.content.size}".encode()).hexdigest()}-2"'
        self.modified = MODIFIED
        self._lock = threading.Lock()
        self._hashes = None

    def hashes(self):
        with self._lock:
            if self._hashes is None:
                self._hashes = hashes(self.content)
            return self._hashes

    def sha256(self):
        return self.hashes()["SHA256"].lower()

    def git_sha1(self):
        return hashlib.sha1(b"blob %d\0" % self.content.size + self.content.bytes()).hexdigest()

    def describe(self):
        return {"number": self.number, "source": self.source, "name": self.name, "size": self.content.size,
                "sha256": self.sha256()}


FILE = {"type": "Model", "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"}, "visibility": "Public",
        "storage": "r2", "hashes": None, "pickleScanResult": "Success", "virusScanResult": "Success"}
VERSION = {"name": "v1.0", "baseModel": "SDXL 1.0", "status": "Published", "availability": "Public",
           "usageControl": "Download", "earlyAccessEndsAt": None, "private": False, "linked": [], "files": [],
           "trainedWords": [], "air": None}
MODEL = {"name": "a model", "type": "LORA", "mode": None, "red_only": False, "nsfw": False, "poi": False, "versions": []}
CIVITAI = {"tokens": {}, "require_token": True, "life_s": 86400, "region_blocked": False, "limit": None, "models": []}
REPO = {"gated": False, "private": False, "disabled": False, "moved_to": None, "commit": None, "branches": [],
        "resolve_cache": False, "files": []}
HUGGINGFACE = {"tokens": {}, "life_s": 2400, "repos": []}
S3 = {"region": "us-east-1", "presigned": True, "credentials": {}, "buckets": {}}
BUCKET = {"public": False, "files": []}


def filled(given, defaults):
    return {**copy.deepcopy(defaults), **(given or {})}


class Catalogue:
    """The tree with its defaults filled in, and each file found by what its source calls it."""

    def __init__(self, tree):
        unknown = set(tree) - {"civitai", "huggingface", "s3"}
        if unknown:
            raise ValueError(f"a catalogue has civitai, huggingface and s3, not {', '.join(sorted(unknown))}")
        self.items = []
        self.n_resolved = {"civitai": 0, "huggingface": 0}
        self._read_civitai(filled(tree.get("civitai"), CIVITAI))
        self._read_huggingface(filled(tree.get("huggingface"), HUGGINGFACE))
        self._read_s3(filled(tree.get("s3"), S3))
        short = [secret for secrets in self.secrets().values() for secret in secrets if len(secret) < SECRET_BYTES]
        if short:
            raise ValueError(f"a secret needs {SECRET_BYTES} characters to be told from other text: {', '.join(short)}")

    def _add(self, source, name, spec):
        item = Item(len(self.items), source, name, spec)
        self.items.append(item)
        return item

    def _read_civitai(self, tree):
        self.civitai, self.models, self.versions, self.files = tree, {}, {}, {}
        for model in (filled(each, MODEL) for each in tree["models"]):
            self.models[model["id"]] = model
            model["versions"] = [filled(each, VERSION) for each in model["versions"]]
            for version in model["versions"]:
                version["model"] = model
                self.versions[version["id"]] = version
                version["files"] = [filled(each, FILE) for each in version["files"]]
                for file in version["files"]:
                    file["version"], file["item"] = version, self._add("civitai", file["name"], file)
                    self.files[file["id"]] = file

    def _read_huggingface(self, tree):
        self.huggingface, self.repos = tree, {}
        for repo in (filled(each, REPO) for each in tree["repos"]):
            repo["commit"] = repo["commit"] or hashlib.sha1(repo["id"].encode()).hexdigest()
            repo["files"] = {file["path"]: filled(file, {"lfs": True}) for file in repo["files"]}
            for path, file in repo["files"].items():
                file["item"] = self._add("huggingface", f"{repo['id']}/{path}", file)
            self.repos[repo["id"]] = repo

    def _read_s3(self, tree):
        self.s3 = tree
        for name, bucket in tree["buckets"].items():
            bucket = tree["buckets"][name] = filled(bucket, BUCKET)
            bucket["files"] = {file["key"]: self._add("s3", f"{name}/{file['key']}", file) for file in bucket["files"]}

    def secrets(self):
        """{source: its tokens and keys}"""
        return {"civitai": list(self.civitai["tokens"]), "huggingface": list(self.huggingface["tokens"]),
                "s3": [known["secret"] for known in self.s3["credentials"].values()]}

    def item(self, text):
        return self.items[int(text)] if text.isdigit() and int(text) < len(self.items) else None


# The tokens and keys of the catalogue that is there when none is given. They open nothing but this program.
TOKEN = {"civitai": "civitai-key-of-anna", "huggingface": "hf_KeyOfAnna", "access": "AKIATINTYPEFAKE00001",
         "secret": "secret+of/the+fake/bucket"}


TINY, PHOTO = {"file": "models/tintype-tiny.safetensors"}, {"file": "models/tintype-old-photo.safetensors"}
VAE = {"id": 1002, "name": "tiny.vae.safetensors", "type": "VAE", "tensors": {"decoder.conv_in.weight": ["F16", [8, 4, 3, 3]]}}


def default():
    """A checkpoint and an adapter that tintype can draw with, under every source, and one of each kind of trouble."""
    return {"civitai": default_civitai(), "huggingface": default_huggingface(), "s3": default_s3()}


def default_civitai():
    file = lambda number, name, spec, **more: {"id": number, "name": name, **spec, **more}  # noqa: E731
    return {"tokens": {TOKEN["civitai"]: {"name": "anna"}}, "models": [
        {"id": 1, "name": "Tintype Tiny", "type": "Checkpoint", "versions": [
            {"id": 101, "files": [file(1001, "tintype-tiny.safetensors", TINY), VAE]}]},
        {"id": 2, "name": "Old Photo", "versions": [
            {"id": 202, "name": "v2", "trainedWords": ["old photo"], "files": [file(2002, "old-photo.safetensors", PHOTO)]},
            {"id": 201, "name": "v1", "files": [file(2001, "old-photo-1.safetensors", {"lora": {"rank": 4}}, storage="b2")]}]},
        {"id": 3, "name": "Early", "versions": [
            {"id": 301, "availability": "EarlyAccess", "earlyAccessEndsAt": "2099-01-01T00:00:00.000Z",
             "files": [file(3001, "early.safetensors", {"lora": {"rank": 2}})]}]},
        {"id": 4, "name": "Gone", "mode": "Archived", "versions": [
            {"id": 401, "files": [file(4001, "gone.safetensors", {"text": ""})]}]},
    ]}


def default_huggingface():
    return {"tokens": {TOKEN["huggingface"]: {"name": "anna", "accepted": ["tintype/gated"], "sees": []}}, "repos": [
        {"id": "tintype/tiny", "files": [
            {"path": "tintype-tiny.safetensors", **TINY}, {"path": "loras/old-photo.safetensors", **PHOTO},
            {"path": "README.md", "lfs": False, "text": "# tiny\n"}]},
        {"id": "tintype/gated", "gated": "manual", "files": [{"path": "a.safetensors", "lora": {"rank": 2}}]}]}


def default_s3():
    return {"credentials": {TOKEN["access"]: {"secret": TOKEN["secret"]}}, "buckets": {"models": {"files": [
        {"key": "tintype-tiny.safetensors", **TINY}, {"key": "loras/old photo (1).safetensors", **PHOTO}]}}}
