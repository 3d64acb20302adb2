"""A fake CivitAI, Hugging Face and S3 with their stores, for tests of model downloads (Python stdlib only).

    models.py --dir DIR --ready-file FILE [--catalogue FILE] [--until-stdin-ends]

    with Fake() as fake:                                  # the same program, from a test
        fake.url("civitai")                               # https://127.0.0.1:PORT; trust fake.ca
        fake.faults({"kind": "reset", "match": {"host": "civitai_cdn"}, "params": {"at": 1000}})
        fake.requests("civitai_cdn", at_least=1)          # waits for it
        assert fake.leaks() == []

Six hosts, each on a loopback address of its own: civitai, civitai_cdn, huggingface, huggingface_cdn, s3, elsewhere. Each
port speaks http and https. When all listen, FILE has a JSON object: {"pid", "ca" (a path), "control" (a URL), "hosts":
{name: {"http", "https", "address", "port"}}, "tokens"}. The certificate also covers the real names (certificates.py), so
a client can be pointed here by --connect-to. Redirects name addresses, unless POST /control/links gave other bases.

The control API, plain HTTP on its own port, answers JSON:

    GET    /control                         the ready file's object
    POST   /control/catalogue               replaces what is offered (catalogue.py says the form)
    GET    /control/items                   every file: number, source, name, size, sha256
    POST   /control/faults                  a fault, a list (faults.py), or {"mode": "random", "seed", "n"} with, where wished,
                                            "within", "hosts", "kinds"
    GET, DELETE /control/faults             with what is left of each
    GET    /control/requests?host=&since=&done=1&at_least=&seconds=    waits for at_least
    DELETE /control/requests
    GET    /control/leaks                   sentences: what came to a host that should not have seen it
    GET    /control/problems                errors of the fakes themselves
    POST   /control/expire                  every signed URL so far is expired
    POST   /control/links                   {host: base} to put into redirects; {} puts the addresses again
    GET    /control/presigned?bucket=&key=&access=&life_s=&ago_s=    a presigned S3 URL
    POST   /control/stop                    ends the program

Parts: wire.py (HTTP), content.py (bytes), catalogue.py (what there is), civitai.py, huggingface.py, s3.py, storage.py (who
answers), signing.py, faults.py and fault_kinds.py (what goes wrong), recorder.py (what came), weights.py (small files).
"""

import sys
from os.path import abspath, dirname

# Run as a program this file's folder comes first, and platform.py in it would stand in for Python's own.
HERE = dirname(abspath(__file__))
sys.path[:] = [dirname(HERE)] + [path for path in sys.path if abspath(path) != HERE]

# pylint: disable=wrong-import-position
import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
import urllib.request  # noqa: E402
from pathlib import Path  # noqa: E402
from urllib.parse import urlencode  # noqa: E402

from fake import catalogue, certificates, fault_kinds, faults  # noqa: E402
from fake.civitai import Civitai  # noqa: E402
from fake.huggingface import HuggingFace  # noqa: E402
from fake.recorder import Recorder  # noqa: E402
from fake.s3 import S3  # noqa: E402
from fake.storage import CivitaiStore, Elsewhere, HuggingFaceStore  # noqa: E402
from fake.wire import Listener, Reply, server_context  # noqa: E402

HOSTS = {"civitai": (Civitai, "127.0.0.1"), "civitai_cdn": (CivitaiStore, "127.0.0.2"),
         "huggingface": (HuggingFace, "127.0.0.3"), "huggingface_cdn": (HuggingFaceStore, "127.0.0.4"),
         "s3": (S3, "127.0.0.5"), "elsewhere": (Elsewhere, "127.0.0.6")}
START_S, STOP_S, CONTROL_S = 60, 10, 180  # the longest waits of Fake


class World:
    """What all hosts share."""

    def __init__(self, tree, certificate, key):
        self.catalogue = catalogue.Catalogue(tree)
        self.recorder, self.faults = Recorder(), faults.Faults()
        self.epoch, self.links, self.problems = 0, {}, []
        self.sites = {name: kind(self) for name, (kind, _) in HOSTS.items()}
        tls = server_context(certificate, key)
        self.listeners = {name: Listener(name, address, tls, self.answer, self.recorder.over)
                          for name, (_, address) in HOSTS.items()}

    def base(self, name, scheme):
        return self.links.get(name) or self.listeners[name].base(scheme)

    def answer(self, request):
        record = self.recorder.begin(request)
        try:
            site = self.sites[request.listener.name]
            fault = self.faults.take(request, record["index"])
            record["fault"] = fault.kind if fault else None
            reply = fault_kinds.apply(fault, self, site, request) if fault else site.handle(request)
        except Exception:  # pylint: disable=broad-except; a fault of ours must be told, not look like one of theirs
            self.problems.append(f"{request.method} {request.target}\n{traceback.format_exc()}")
            reply = Reply(500, "the fake itself is broken; see /control/problems\n", content_type="text/plain")
        record["status"] = reply.status if reply.raw is None else None
        return reply, record


class Control:
    """The control API."""

    def __init__(self, world, ended):
        self.world, self.ended, self.about = world, ended, {}
        self.listener = Listener("control", "127.0.0.1", None, self.answer, lambda record: None)
        self.routes = {
            ("GET", ""): lambda request, tree: self.about,
            ("POST", "catalogue"): self.replace,
            ("GET", "items"): lambda request, tree: [item.describe() for item in world.catalogue.items],
            ("POST", "faults"): self.add_faults,
            ("GET", "faults"): lambda request, tree: world.faults.describe(),
            ("DELETE", "faults"): lambda request, tree: world.faults.clear(),
            ("GET", "requests"): self.requests,
            ("DELETE", "requests"): lambda request, tree: world.recorder.clear(),
            ("GET", "leaks"): lambda request, tree: world.recorder.leaks(world.catalogue.secrets()),
            ("GET", "problems"): lambda request, tree: world.problems,
            ("POST", "expire"): self.expire,
            ("POST", "links"): self.set_links,
            ("GET", "presigned"): self.presigned,
            ("POST", "stop"): lambda request, tree: self.ended.set(),
        }

    def answer(self, request):
        name = request.path.removeprefix("/control").strip("/")
        route = self.routes.get((request.method, name))
        if route is None:
            known = ", ".join(f"{method} /control/{route}" for method, route in self.routes)
            return self._json(404, {"error": f"no {request.method} {request.path}; there are {known}"}), {"sent": 0}
        try:
            result = route(request, json.loads(request.body) if request.body else None)
            return self._json(200, result), {"sent": 0}
        except Exception as problem:  # pylint: disable=broad-except; the test that asked is told
            return self._json(400, {"error": f"{type(problem).__name__}: {problem}"}), {"sent": 0}

    @staticmethod
    def _json(status, tree):
        return Reply(status, json.dumps(tree), content_type="application/json")

    def replace(self, _request, tree):
        self.world.catalogue = catalogue.Catalogue(tree)
        return [item.describe()["name"] for item in self.world.catalogue.items]

    def add_faults(self, _request, tree):
        if isinstance(tree, dict) and tree.get("mode") == "random":
            tree = faults.drawn(**{key: value for key, value in tree.items() if key != "mode"})
        return self.world.faults.add(tree if isinstance(tree, list) else [tree], self.world.recorder.counts_now())

    def requests(self, request, _tree):
        asked = dict(request.params())
        return self.world.recorder.find(asked.get("host"), int(asked.get("since", 0)), asked.get("done") == "1",
                                        int(asked.get("at_least", 0)), float(asked.get("seconds", 30)))

    def expire(self, _request, _tree):
        self.world.epoch += 1
        return {"epoch": self.world.epoch}

    def set_links(self, _request, tree):
        self.world.links = tree

    def presigned(self, request, _tree):
        asked = dict(request.params())
        life_s, at = int(asked.get("life_s", 3600)), time.time() - float(asked.get("ago_s", 0))
        url = self.world.sites["s3"].presigned(asked["bucket"], asked["key"], asked["access"], life_s, at,
                                               asked.get("scheme", "https"))
        return {"url": url}


def write_whole(path, text):
    """The file appears complete, or not."""
    part = Path(f"{path}.part")
    part.write_text(text)
    part.replace(path)


def watch_stdin(ended):
    while os.read(0, 4096):
        pass
    ended.set()


def main():
    parser = argparse.ArgumentParser(description="A fake CivitAI, Hugging Face and S3 for tests.")
    parser.add_argument("--dir", required=True, help="a folder for certificates")
    parser.add_argument("--ready-file", required=True, help="written when all hosts listen")
    parser.add_argument("--catalogue", help="a JSON file; without it a small one of shipped files")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end with whoever holds standard input's other end")
    flags = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    Path(flags.dir).mkdir(parents=True, exist_ok=True)
    tree = json.loads(Path(flags.catalogue).read_text()) if flags.catalogue else catalogue.default()
    ca, certificate, key = certificates.make(flags.dir)
    world = World(tree, certificate, key)
    control = Control(world, ended)
    hosts = {name: {"http": each.base("http"), "https": each.base("https"), "address": each.address, "port": each.port}
             for name, each in world.listeners.items()}
    control.about = {"pid": os.getpid(), "ca": str(Path(ca).resolve()), "control": control.listener.base("http") + "/control",
                     "hosts": hosts, "tokens": catalogue.TOKEN}
    for listener in (*world.listeners.values(), control.listener):
        listener.start()
    if flags.until_stdin_ends:
        threading.Thread(target=watch_stdin, args=[ended], daemon=True).start()
    write_whole(flags.ready_file, json.dumps(control.about, indent=1))
    print(flags.ready_file, flush=True)
    ended.wait()
    for listener in (*world.listeners.values(), control.listener):
        listener.stop()


class Fake:
    """The program above as a child process, and its control API as methods. It ends with its parent, however that ends."""

    def __init__(self, tree=None):
        self.tree = tree

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tt-fake-"))
        ready = self.folder / "ready.json"
        command = [sys.executable, abspath(__file__), "--dir", str(self.folder), "--ready-file", str(ready)]
        command.append("--until-stdin-ends")
        if self.tree is not None:
            (self.folder / "catalogue.json").write_text(json.dumps(self.tree))
            command += ["--catalogue", str(self.folder / "catalogue.json")]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        # pylint: disable-next=consider-using-with; stop() ends it
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        is_there = select.select([self.process.stdout], [], [], START_S)[0] and self.process.stdout.readline()
        if not is_there:
            self.stop_process()
            raise RuntimeError(f"the fakes did not start; exit status {self.process.returncode}")
        self.about = json.loads(ready.read_text())
        self.ca, self.tokens = self.about["ca"], self.about["tokens"]
        return self

    def stop_process(self):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """Ends it; fails when the fakes themselves had a problem."""
        try:
            problems = self.control("GET", "problems")
        finally:
            self.stop_process()
        assert not problems, "the fakes broke:\n" + "\n".join(problems)

    def url(self, host, path="", scheme="https"):
        return self.about["hosts"][host][scheme] + path

    def control(self, method, name, tree=None, **query):
        body = None if tree is None else json.dumps(tree).encode()
        url = f"{self.about['control']}/{name}" + (f"?{urlencode(query)}" if query else "")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, body, method=method), timeout=CONTROL_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as problem:
            raise ValueError(json.load(problem)["error"]) from None

    def catalogue(self, tree):
        return self.control("POST", "catalogue", tree)

    def items(self):
        return {f"{item['source']}:{item['name']}": item for item in self.control("GET", "items")}

    def faults(self, *trees):
        return self.control("POST", "faults", list(trees))

    def draw_faults(self, seed, n, **more):
        return self.control("POST", "faults", {"mode": "random", "seed": seed, "n": n, **more})

    def requests(self, host=None, at_least=0, seconds=30.0, **more):
        query = {"at_least": at_least, "seconds": seconds, **more, **({"host": host} if host else {})}
        found = self.control("GET", "requests", **query)
        assert len(found) >= at_least, f"{len(found)} requests, expected {at_least}: {found}"
        return found

    def leaks(self):
        return self.control("GET", "leaks")

    def expire(self):
        self.control("POST", "expire", {})

    def links(self, **bases):
        """Redirects name these bases: links(civitai_cdn="https://x.r2.cloudflarestorage.com")."""
        self.control("POST", "links", bases)

    def clear(self):
        """Forgets requests and faults."""
        self.control("DELETE", "faults")
        self.control("DELETE", "requests")

    def presigned(self, bucket, key, **more):
        return self.control("GET", "presigned", bucket=bucket, key=key, access=self.tokens["access"], **more)["url"]


if __name__ == "__main__":
    main()
