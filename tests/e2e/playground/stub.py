"""A stand-in for the server with faults on order: what a healthy server does not show on demand.

Same routes and shapes as docs/api.md, one job at a time, in memory. What a job does is said by words in its prompt:

    drop      the event stream is cut after each progress; only a resume with Last-Event-ID goes on
    fail      FAILED, with a sentence that names a field
    text      an output without a picture (also for inputs without a prompt)
    slow      steps take ten times longer

    Stub(page, schema=None, key=None).start() -> its URL
"""

import base64
import hashlib
import json
import re
import struct
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEP_S = 0.05
FINAL = ("COMPLETED", "FAILED", "CANCELLED")


def png(width, height, level):
    """A picture of one colour that the step decides."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    row = b"\0" + bytes((40 + 9 * level % 200, 90, 140)) * width
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b""))


def policy(page):
    script = re.search(r"<script>(.*)</script>", page, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data: blob: 'self'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


class Stub:
    def __init__(self, page, schema=None, key=None):
        self.page, self.schema, self.key = page, schema, key
        self.jobs = {}
        self.changed = threading.Condition()
        self.resumes = []  # Last-Event-ID of each request that had one
        self.server = None

    def start(self):
        stub = self

        class Handler(Requests):
            pass

        Handler.stub = stub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # pages leave in the middle of an answer
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=self.work, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def add(self, job_input):
        with self.changed:
            name = f"job-{len(self.jobs) + 1}"
            self.jobs[name] = {"id": name, "status": "IN_QUEUE", "input": job_input, "progress": None, "number": 0}
            self.changed.notify_all()
        return name

    def work(self):
        while True:
            with self.changed:
                job = next((j for j in self.jobs.values() if j["status"] == "IN_QUEUE"), None)
                if job is None:
                    self.changed.wait(1)
                    continue
                job.update(status="IN_PROGRESS", started=time.monotonic())
                self.changed.notify_all()
            self.make(job)

    def make(self, job):
        asked = job["input"] if isinstance(job["input"], dict) else {}
        prompt = str(asked.get("prompt", "text"))
        steps = asked.get("steps", 10)
        for step in range(steps + 1):
            time.sleep(STEP_S * (10 if "slow" in prompt else 1))
            if job["status"] != "IN_PROGRESS":
                return
            self.report(job, step, steps)
        with self.changed:
            if "fail" in prompt:
                job.update(status="FAILED", error="steps: expected a whole number from 1 to 5; the lamp burnt out")
            elif "text" in prompt:
                job.update(status="COMPLETED", output={"greeting": "<b>Hello</b>, <img src=x onerror=alert(1)> World"})
            else:
                job.update(status="COMPLETED", output=self.output(asked, steps))
            self.changed.notify_all()

    def report(self, job, step, steps):
        elapsed = int(1000 * (time.monotonic() - job["started"]))
        with self.changed:
            job["progress"] = {"stage": "denoise", "step": step, "steps": steps, "picture": 0, "pictures": 1,
                               "elapsed_ms": elapsed, "eta_ms": elapsed * (steps - step) // max(step, 1),
                               "preview": "data:image/png;base64," + self.preview(job, step, steps)}
            job["number"] += 1
            self.changed.notify_all()

    def preview(self, job, step, steps):
        return base64.b64encode(png(32, 32, step)).decode()

    def output(self, asked, steps):
        width, height = asked.get("width", 256), asked.get("height", 256)
        metadata = {**asked, "seed": asked.get("seed", 1234), "steps": steps, "width": width, "height": height,
                    "sampler_label": "DPM++ 2M Karras", "model": "stub"}
        return {"image": base64.b64encode(png(width, height, steps)).decode(), "metadata": metadata}


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub = None

    def log_message(self, *_):
        pass

    def answer(self, status, value, content_type="application/json", **more):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, text in more.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            return self.answer(200, self.stub.page.encode(), "text/html; charset=utf-8",
                               Content_Security_Policy=policy(self.stub.page))
        if path == "/health":
            states = [j["status"] for j in self.stub.jobs.values()]
            return self.answer(200, {"jobs": {"inQueue": states.count("IN_QUEUE"), "inProgress": states.count("IN_PROGRESS")},
                                     "workers": {"idle": 1}})
        if self.stub.key and self.headers.get("Authorization") != "Bearer " + self.stub.key:
            return self.answer(401, {"error": "the API key is missing or wrong"})
        if path == "/openapi.json":
            schemas = {"Job": self.stub.schema} if self.stub.schema else {}
            return self.answer(200, {"openapi": "3.1.0", "info": {"title": "stub"}, "components": {"schemas": schemas}})
        return self.about_job(path)

    def about_job(self, path):
        _, what, name = (path.split("/") + ["", ""])[:3]
        job = self.stub.jobs.get(name)
        if job is None:
            return self.answer(404, {"error": "no such job"})
        if what == "events":
            return self.events(job)
        view = {k: job[k] for k in ("id", "status", "output", "error") if k in job}
        return self.answer(200, {**view, "delayTime": 1, "executionTime": 500})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.stub.key and self.headers.get("Authorization") != "Bearer " + self.stub.key:
            return self.answer(401, {"error": "the API key is missing or wrong"})
        if self.path == "/run":
            return self.answer(200, {"id": self.stub.add(json.loads(body)["input"]), "status": "IN_QUEUE"})
        job = self.stub.jobs[self.path.split("/")[-1]]
        with self.stub.changed:
            if job["status"] not in FINAL:
                job["status"] = "CANCELLED"
            self.stub.changed.notify_all()
        return self.answer(200, {"id": job["id"], "status": job["status"]})

    def events(self, job):
        resumed = self.headers.get("Last-Event-ID")
        if resumed:
            self.stub.resumes.append(resumed)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        sent, state = int(resumed or 0), None
        while True:
            with self.stub.changed:
                self.stub.changed.wait_for(lambda: job["status"] != state or job["number"] > sent, 1)
                number, progress, now = job["number"], job["progress"], job["status"]
            if now != state:
                state = now
                self.say("end" if now in FINAL else "status", {"id": job["id"], "status": now})
                if now in FINAL:
                    return
            if number > sent:
                sent = number
                self.say("progress", progress, number)
                if "drop" in str(job["input"]):
                    return

    def say(self, event, data, number=None):
        self.close_connection = True
        mark = f"id: {number}\n" if number else ""
        self.wfile.write(f"{mark}event: {event}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()
