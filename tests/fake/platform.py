"""A scriptable RunPod platform that records every request, byte for byte, for tests of workers (Python stdlib only).

    platform = Platform()
    await platform.start()                        # 127.0.0.1, a free port
    platform.on("done", sequence(Answer(500), Answer(200)))
    env = platform.environment("pod123")          # what the platform puts into a worker's environment
    platform.give({"id": "job-1-u1", "input": {}})
    post = await platform.wait_for("done", 1)     # the recorded requests of a kind

It speaks HTTP over raw sockets, so it can misbehave: hang, reset, dribble, lie about lengths, answer garbage. Unscripted
kinds behave well: take is a long poll over the given jobs, stop a long poll over ids given to stop(), the rest says 200.
"""

import asyncio
import json
import re
import socket
import struct
import time
import urllib.parse

KINDS = re.compile(r"/(job-take-batch|job-take|job-stop|job-done|job-stream|ping)/")
NAMES = {"job-take": "take", "job-take-batch": "batch", "job-stop": "stop", "job-done": "done", "job-stream": "stream",
         "ping": "ping"}


class Request:
    """One request as it came: bytes and the order of headers untouched."""

    def __init__(self, head, body, at):
        line, *headers = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ", 2)
        self.headers = [tuple(part.strip() for part in header.split(":", 1)) for header in headers if header]
        self.body = body
        self.at = at  # seconds, monotonic
        found = KINDS.search(self.target)
        self.kind = NAMES[found.group(1)] if found else "other"
        path = self.target.split("?")[0]
        self.job_id = path.rsplit("/", 1)[1] if self.kind in ("done", "stream") else None

    def header(self, name):
        """The value of a header; None when absent. Twice is an error."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None

    def query(self, name):
        return dict(urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True)).get(name)

    def json(self):
        return json.loads(self.body)

    def is_final(self):
        return self.kind == "done" and not self.body.startswith(b'{"status": "IN_PROGRESS"')

    def __repr__(self):
        return f"{self.method} {self.target} {self.body[:200]!r}"


class Answer:
    """An ordinary response, or one that breaks the rules."""

    def __init__(self, status=200, body=b"", headers=(), content_type="application/json", after=0.0):
        self.status, self.headers, self.content_type, self.after = status, headers, content_type, after
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def send(self, writer):
        await asyncio.sleep(self.after)
        lines = [f"HTTP/1.1 {self.status} x", f"Content-Length: {len(self.body)}"]
        if self.body:
            lines.append(f"Content-Type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + self.body)
        await writer.drain()
        return True  # the connection is kept


class Hang:
    """No answer for `seconds`, then the connection is closed."""

    def __init__(self, seconds=3600):
        self.seconds = seconds

    async def send(self, writer):
        await asyncio.sleep(self.seconds)
        return False


class Reset:
    """The connection is reset (RST), after `raw` was sent."""

    def __init__(self, raw=b""):
        self.raw = raw

    async def send(self, writer):
        writer.write(self.raw)
        await writer.drain()
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Raw:
    """These bytes, then the end of the connection; with `pause` seconds between single bytes."""

    def __init__(self, raw, pause=None):
        self.raw, self.pause = raw, pause

    async def send(self, writer):
        if self.pause is None:
            writer.write(self.raw)
        else:
            for i in range(len(self.raw)):
                writer.write(self.raw[i:i + 1])
                await writer.drain()
                await asyncio.sleep(self.pause)
        await writer.drain()
        return False


def sequence(*answers):
    """The answers one after the other; the last for all that follow."""
    left = list(answers)

    async def next_answer(_request):
        return left.pop(0) if len(left) > 1 else left[0]

    return next_answer


class Platform:
    def __init__(self, endpoint="ep1", gpu="?gpu=NVIDIA+H200", hold=30.0):
        self.endpoint, self.gpu, self.hold = endpoint, gpu, hold
        self.requests = []
        self.jobs = []  # waiting to be taken
        self.stops = []
        self.scripts = {}
        self.n_connections = 0
        self._changed = asyncio.Event()
        self._tasks = set()

    # ---- life

    async def start(self, port=0):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 26)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def close(self):
        self.server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def environment(self, worker="pod123", key="secretkey", ping_ms=1000):
        base = f"http://127.0.0.1:{self.port}/v2/{self.endpoint}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID{self.gpu}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID{self.gpu}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID{self.gpu}",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID{self.gpu}",
            "RUNPOD_AI_API_KEY": key,
            "RUNPOD_POD_ID": worker,
            "RUNPOD_POD_HOSTNAME": f"{worker}-64410a0b",
            "RUNPOD_PING_INTERVAL": str(ping_ms),
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        }

    # ---- what tests do

    def on(self, kind, script):
        """script: an async function of the request that gives an answer; an answer; None for the well-behaved default."""
        if script is not None and not callable(script):
            script = sequence(script)
        self.scripts[kind] = script

    def give(self, *jobs):
        """Jobs, or raw bytes that stand for an item."""
        self.jobs.extend(jobs)
        self._notify()

    def stop(self, *ids):
        self.stops.extend(ids)
        self._notify()

    def of(self, kind):
        return [request for request in self.requests if request.kind == kind]

    def finals(self, job_id=None):
        return [r for r in self.requests if r.is_final() and (job_id is None or r.job_id == job_id)]

    async def until(self, condition, seconds=30.0, what="a condition"):
        """Waits until condition() is true; looks again whenever a request came."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"{what} did not come within {seconds} s; requests: {self.requests[-12:]}"
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), min(left, 0.25))
            except asyncio.TimeoutError:
                pass

    async def wait_for(self, kind, n=1, seconds=30.0):
        await self.until(lambda: len(self.of(kind)) >= n, seconds, f"{n} {kind}")
        return self.of(kind)

    async def wait_for_finals(self, n=1, job_id=None, seconds=30.0):
        await self.until(lambda: len(self.finals(job_id)) >= n, seconds, f"{n} results")
        return self.finals(job_id)

    # ---- serving

    def _notify(self):
        self._changed.set()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.n_connections += 1
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        length = re.search(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)", head)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        request = Request(head, body, time.monotonic())
        self.requests.append(request)
        self._notify()
        # A worker that leaves while it is answered is noticed: jobs must not be given to nobody.
        answering = asyncio.ensure_future(self._answer(request))
        leaving = asyncio.ensure_future(self._left(reader))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                return False
            answer = answering.result()
            return await self._send(answer, writer, leaving)
        finally:
            answering.cancel()
            leaving.cancel()

    async def _left(self, reader):
        while not reader.at_eof():
            await asyncio.sleep(0.02)

    async def _send(self, answer, writer, leaving):
        sending = asyncio.ensure_future(self._send_or_leave(answer, writer))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            sending.cancel()
            return False
        return sending.result()

    async def _send_or_leave(self, answer, writer):
        try:
            return await answer.send(writer)
        except ConnectionError:  # the worker was killed, or gave up waiting
            return False

    async def _answer(self, request):
        script = self.scripts.get(request.kind)
        answer = await script(request) if script else None
        if answer is not None:
            return answer
        if request.kind in ("take", "batch"):
            return await self._take(request)
        if request.kind == "stop":
            return await self._stop()
        return Answer(200, {})

    async def _hold(self, condition):
        end = time.monotonic() + self.hold
        while not condition() and time.monotonic() < end:
            await asyncio.sleep(0.005)
        return condition()

    async def _take(self, request):
        if not await self._hold(lambda: self.jobs):
            return Answer(204)
        n = int(request.query("batch_size") or 1)
        taken, self.jobs = self.jobs[:n], self.jobs[n:]
        items = [job if isinstance(job, bytes) else json.dumps(job, ensure_ascii=False).encode() for job in taken]
        return Answer(200, items[0] if request.kind == "take" else b"[" + b", ".join(items) + b"]")

    async def _stop(self):
        if not await self._hold(lambda: self.stops):
            return Answer(204)
        ids, self.stops = self.stops, []
        return Answer(200, {"jobsToStop": ids})
