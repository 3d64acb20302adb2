"""HTTP/1.1 over raw sockets with threads: exact about what came, able to misbehave in what it sends.

A Listener owns an address and a port that speaks both http and https (the first byte tells), one thread per connection.
It hands each Request to a function and sends the Reply that comes back. A Reply has a body that is a part of a Content, and
manners: how it is sent, how far, and how the connection ends. Plain bodies go by sendfile.

Every wait ends: reading and sending by the socket's own timeouts, pauses by the event that stops all.
"""

import http
import os
import re
import select
import socket
import ssl
import struct
import threading
import time
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import unquote

from fake import signing
from fake.content import Memory

HEAD_MAX = 64 << 10  # bytes of a request's head
BODY_MAX = 64 << 20  # bytes of a request's body: a catalogue with files inside
IDLE_S = 60  # a connection that says nothing, or takes nothing, is closed
GOODBYE_S = 2  # for the peer to answer the end of TLS
TICKS = 20  # pieces in a second of a slowed body
SEND_MOST = 64 << 20  # bytes in one sendfile


class Request:
    """One request as it came: bytes and the order of headers untouched."""

    def __init__(self, head, body, scheme, listener):
        line, *headers = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ", 2)
        self.headers = [tuple(part.strip() for part in header.partition(":")[::2]) for header in headers]
        self.body, self.scheme, self.listener = body, scheme, listener
        self.path, _, self.query = self.target.partition("?")
        self.at = time.monotonic()

    def header(self, name):
        """The value of a header, None when absent; the first one when it comes twice."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def param(self, name):
        return next((value for key, value in self.params() if key == name), None)

    def params(self):
        """[(name, value)] decoded as forms are: a plus is a space."""
        return signing.split_query(self.query.replace("+", "%20"))

    def decoded_path(self):
        return unquote(self.path)

    def host(self):
        return self.header("host") or f"{self.listener.address}:{self.listener.port}"

    def agent(self):
        return self.header("user-agent") or ""

    def range(self, size):
        """(start, stop) of the one range that is asked for; "none" that can be met; None where the whole is asked for."""
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", (self.header("range") or "").strip())
        if not found or found.groups() == ("", ""):
            return None
        first, last = found.groups()
        if not first:
            start, stop = max(0, size - int(last)), size
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
        return (start, stop) if start < stop else "none"


class Reply:
    """An answer, and the manners in which it is sent."""

    def __init__(self, status=200, body=b"", headers=(), content_type=None):
        self.status, self.headers = status, list(headers)
        self.show(body if hasattr(body, "runs") else Memory(body if isinstance(body, bytes) else body.encode()))
        if content_type:
            self.headers.append(("Content-Type", content_type))
        self.item = None  # the file that is sent, or that a redirect leads to
        self.before = 0.0  # seconds without a byte
        self.first = b""  # before the head: interim answers
        self.raw = None  # these bytes instead of all else
        self.length = None  # Content-Length, where it is not the truth
        self.has_length = True
        self.is_chunked = False
        self.rate = None  # bytes per second
        self.cut = None  # bytes of the body after which it ends
        self.end = "keep"  # or close, reset, stall
        self.hold = 0.0  # seconds of a stall

    def show(self, content, start=0, stop=None):
        self.content, self.start, self.stop = content, start, content.size if stop is None else stop

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def set(self, name, value):
        """Replaces a header, or takes it away with None."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))

    def head(self):
        try:
            reason = http.HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {reason}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.has_length and self.status not in (204, 304):
            lines.append(f"Content-Length: {self.stop - self.start if self.length is None else self.length}")
        if self.closes():
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def closes(self):
        return self.end == "close" or not (self.has_length or self.is_chunked)


def file_reply(request, content, etag, modified, headers=()):
    """The content as a good store sends it: Range, If-Range, If-Match, If-None-Match, 206, 304, 412, 416."""
    own = [("ETag", etag), ("Last-Modified", formatdate(modified, usegmt=True)), ("Accept-Ranges", "bytes"), *headers]
    if request.header("if-match") not in (None, "*", etag):
        return Reply(412, headers=own)
    if request.header("if-none-match") in ("*", etag):
        return Reply(304, headers=own)
    asked = request.range(content.size)
    if asked is None or not _may_range(request, etag, modified):
        return Reply(200, content, own)
    if asked == "none":
        return Reply(416, headers=[("Content-Range", f"bytes */{content.size}"), *own])
    reply = Reply(206, content, own)
    reply.show(content, *asked)
    reply.set("Content-Range", f"bytes {asked[0]}-{asked[1] - 1}/{content.size}")
    return reply


def _may_range(request, etag, modified):
    """If-Range: only a strong tag that is ours, or our very date."""
    given = request.header("if-range")
    if given is None or given == etag:
        return not (given or "").startswith("W/")
    try:
        return parsedate_to_datetime(given).timestamp() == int(modified)
    except (TypeError, ValueError):
        return False


class Connection:
    """One connection: its requests one after the other, on a thread of its own."""

    def __init__(self, raw, listener):
        self.socket, self.listener, self.buffer = raw, listener, b""
        self.scheme, self.is_resetting = "http", False

    def run(self):
        try:
            self._begin()
            while self._serve_one():
                pass
        except (OSError, ValueError):
            pass  # the client left, or says what is no HTTP
        finally:
            self._close()

    def _begin(self):
        raw = self.socket
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_timeouts(raw, IDLE_S)
        if raw.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS handshake
            if self.listener.tls is None:
                raise ValueError("no TLS here")
            self.scheme = "https"
            self.socket = self.listener.tls.wrap_socket(raw, server_side=True)

    def _serve_one(self):
        request = self._read()
        if request is None:
            return False
        reply, record = self.listener.answer(request)
        try:
            self._send(request, reply, record)
        finally:
            self.listener.over(record)
        return not reply.closes() and reply.end == "keep" and request.header("connection") != "close"

    # ---- reading

    def _read(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX or not self._more():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        n = int(found.group(1)) if found else 0
        if n > BODY_MAX:
            return None
        while len(self.buffer) < n:
            if not self._more():
                return None
        body, self.buffer = self.buffer[:n], self.buffer[n:]
        return Request(head, body, self.scheme, self.listener)

    def _more(self):
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return bool(data)

    # ---- sending

    def _send(self, request, reply, record):
        if reply.before and self.listener.stopping.wait(reply.before):
            return
        if reply.raw is not None:
            self.socket.sendall(reply.raw)
        else:
            self._send_head(request, reply)
            if request.method != "HEAD" and reply.status not in (204, 304):
                self._send_body(reply, record)
        if reply.end == "stall":
            self._wait_for_leaving(reply.hold)
        self.is_resetting = reply.end == "reset"

    def _send_head(self, request, reply):
        head = reply.first + reply.head()
        if self.scheme == "http" and request.method != "HEAD" and reply.stop > reply.start and not reply.cut == 0:
            self.socket.sendall(head, socket.MSG_MORE)
        else:
            self.socket.sendall(head)

    def _send_body(self, reply, record):
        stop = reply.stop if reply.cut is None else min(reply.stop, reply.start + reply.cut)
        if self.scheme == "http" and reply.rate is None and not reply.is_chunked:
            self._send_files(reply.content, reply.start, stop, record)
            return
        most = max(1, reply.rate // TICKS) if reply.rate else 1 << 18
        for piece in reply.content.pieces(reply.start, stop, most):
            self.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.is_chunked else piece)
            record["sent"] += len(piece)
            if reply.rate and self._pause(len(piece) / reply.rate):
                raise ConnectionAbortedError("the end")
        if reply.is_chunked and reply.cut is None:
            self.socket.sendall(b"0\r\n\r\n")

    def _send_files(self, content, start, stop, record):
        for run in content.runs(start, stop):
            if not isinstance(run, tuple):
                self.socket.sendall(run)
                record["sent"] += len(run)
                continue
            fd, offset, n = run
            while n > 0:
                done = os.sendfile(self.socket.fileno(), fd, offset, min(n, SEND_MOST))
                if done == 0:
                    raise ConnectionAbortedError("a served file became shorter")
                record["sent"] += done
                offset, n = offset + done, n - done

    def _pause(self, seconds):
        """True when all is to stop; a client that left ends the body."""
        if self._has_left(0):
            raise ConnectionAbortedError("the client left")
        return self.listener.stopping.wait(seconds)

    def _wait_for_leaving(self, seconds):
        self._has_left(seconds)

    def _has_left(self, seconds):
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(seconds * 1000))

    # ---- the end

    def _close(self):
        try:
            if self.is_resetting:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._say_goodbye()
        except (OSError, ValueError):
            pass
        self.listener.forget(self)
        self.socket.close()

    def _say_goodbye(self):
        set_timeouts(self.socket, GOODBYE_S)
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.unwrap()
        else:
            self.socket.shutdown(socket.SHUT_WR)

    def stop(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            pass


def set_timeouts(connection, seconds):
    """The kernel's own timeouts: the descriptor stays blocking, as sendfile needs it."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), 0))


class Listener:
    """A port that speaks http and https. answer(request) gives (reply, record); over(record) is called when it was sent."""

    def __init__(self, name, address, tls, answer, over):
        self.name, self.address, self.tls, self.answer, self.over = name, address, tls, answer, over
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.connections = set()  # under the lock
        self.socket = socket.create_server((address, 0), backlog=256)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, name=name, daemon=True)

    def start(self):
        self.thread.start()

    def base(self, scheme):
        return f"{scheme}://{self.address}:{self.port}"

    def _accept(self):
        while not self.stopping.is_set():
            try:
                raw, _ = self.socket.accept()
            except OSError:
                return
            connection = Connection(raw, self)
            with self.lock:
                self.connections.add(connection)
            threading.Thread(target=connection.run, name=self.name, daemon=True).start()

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def stop(self):
        self.stopping.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        with self.lock:
            left = list(self.connections)
        for connection in left:
            connection.stop()


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context
