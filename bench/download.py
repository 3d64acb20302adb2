#!/usr/bin/env python3
"""Measures a download against curl alone: the same file from the same TLS server on this machine, in turn.

    ./dev bench --download [--gb 2] [--rounds 3] [--folder DIR] [--limit MB_PER_S] [--connections 4,8]

curl writes the file and checks nothing; Tintype also computes the SHA-256, keeps a journal and syncs the file. For curl,
"and synced" is the time until its file is on the disk too. --limit slows every connection of the server down, as a service
on the Internet does. The server is Python's: OpenSSL encrypts outside its lock, so several connections use several cores,
and it shares the machine with what is measured.
"""

import argparse
import hashlib
import json
import mmap
import os
import re
import resource
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PIECE = 1 << 20


def write_file(path, size):
    """The beginning of a safetensors file, then noise; returns the SHA-256."""
    digest = hashlib.sha256()
    header = json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    block = os.urandom(64 << 20)
    with open(path, "wb") as f:
        left = size
        first = len(header).to_bytes(8, "little") + header
        while left:
            piece = (first + block)[:left] if left == size else block[:left]
            f.write(piece)
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True)


class Server:
    """One file over TLS with ranges; a thread per connection."""

    def __init__(self, folder, path, bytes_per_s):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.file = open(path, "rb")
        self.bytes = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes_per_s = bytes_per_s
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.context.wrap_socket(connection, server_side=True) as tls:
                while self.answer(tls):
                    pass
        except OSError:
            pass  # the other end has what it wanted

    def answer(self, tls):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = tls.recv(65536)
            if not piece:
                return False
            head += piece
        size = len(self.bytes)
        wanted = re.search(rb"\r\nRange: bytes=(\d+)-(\d*)", head)
        first, last = (int(wanted[1]), min(int(wanted[2] or size), size - 1)) if wanted else (0, size - 1)
        status = f"206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}" if wanted else "200 OK"
        tls.sendall(f'HTTP/1.1 {status}\r\nETag: "bench"\r\nContent-Length: {last - first + 1}\r\n\r\n'.encode())
        self.send(tls, first, last + 1)
        return True

    def send(self, tls, at, end):
        view = memoryview(self.bytes)
        piece = PIECE if not self.bytes_per_s else min(PIECE, max(16384, self.bytes_per_s // 50))
        due = time.monotonic()
        while at < end:
            n = min(piece, end - at)
            tls.sendall(view[at:at + n])
            at += n
            if self.bytes_per_s:
                due += n / self.bytes_per_s
                time.sleep(max(0, due - time.monotonic()))


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_curl(url, out, certificate):
    start, cpu = time.monotonic(), children_cpu()
    subprocess.run(["curl", "-sS", "--fail", "--noproxy", "*", "--cacert", certificate, "-o", out, url], check=True)
    seconds = time.monotonic() - start
    with open(out, "rb") as f:
        os.fdatasync(f.fileno())
    return {"seconds": seconds, "synced_seconds": time.monotonic() - start, "cpu_seconds": children_cpu() - cpu}


def run_tintype(tree, url, out, certificate, digest, connections):
    done = subprocess.run([tree / "bench_download", url, out, certificate, digest, str(connections)], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(args, folder, place):
    size = int(args.gb * 1e9)
    source, out = folder / "source", place / "tintype-bench-download"
    digest = write_file(source, size)
    make_certificate(folder)
    certificate = str(folder / "cert.pem")
    server = Server(folder, source, int(args.limit * 1e6))
    url = f"https://127.0.0.1:{server.port}/file"
    results = {}
    for _ in range(args.rounds):
        for name in ["curl"] + [f"tintype, {n} connections" for n in args.connections.split(",")]:
            n = re.sub(r"\D", "", name)
            result = run_curl(url, out, certificate) if name == "curl" else \
                run_tintype(args.tree, url, out, certificate, digest, n)
            results.setdefault(name, []).append(result)
            out.unlink()
    return size, results


def middle(results, key):
    return statistics.median(r[key] for r in results) if key in results[0] else None


def show(size, results):
    curl = middle(results["curl"], "seconds")
    curl_synced = middle(results["curl"], "synced_seconds")
    print("| | s | MB/s | curl / it | curl synced / it | hash, s | CPU, s | peak memory, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, runs in results.items():
        seconds = middle(runs, "seconds")
        more = [middle(runs, key) for key in ("hash_seconds", "cpu_seconds", "peak_mb")]
        cells = ["-" if value is None else f"{value:.2f}" for value in more]
        print(f"| {name} | {seconds:.2f} | {size / 1e6 / seconds:.0f} | {curl / seconds:.2f} | "
              f"{curl_synced / seconds:.2f} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --download", description=__doc__.split("\n\n")[0])
    parser.add_argument("--download", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--gb", type=float, default=2, help="size of the file (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of each; medians are shown (3)")
    parser.add_argument("--folder", type=Path, default=None, help="where the downloads go (a folder in /dev/shm)")
    parser.add_argument("--limit", type=float, default=0, help="MB/s of one connection (0: none)")
    parser.add_argument("--connections", default="1,8", help="of Tintype's runs (1,8)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        load_before = os.getloadavg()[0]
        size, results = measure(args, Path(folder), args.folder or Path(folder))
        print(f"{args.gb:g} GB, {os.cpu_count()} cores, load before {load_before:.1f}, after {os.getloadavg()[0]:.1f}")
        show(size, results)


if __name__ == "__main__":
    main()
