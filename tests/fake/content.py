"""Bytes that a fake serves: from memory, from a file, or made up at any size without being held in memory.

A content has a size and gives runs of its bytes between two offsets: (fd, offset, n) where the kernel can send them from a
file by itself, else bytes. Contents are never changed, so any number of threads may read one.

Made-up bytes: the content is cut into pieces of PIECE bytes; piece k of seed s is the PIECE bytes of a 16 MiB pool that
begin at ((s * 7919 + k) * 1000003) mod (POOL - PIECE). The pool is SHAKE-128 of POOL_NAME. The factor is a prime that does
not divide the modulus, so no two pieces of a content below 15 TiB are alike, and a range from a wrong place never passes.
"""

import hashlib
import os
import threading
import zlib

PIECE = 1 << 20
POOL = 16 << 20
POOL_NAME = b"tintype fake content"
STEP, SEEDS_APART = 1000003, 7919

_pool_lock = threading.Lock()
_pool_fds = []


def pool_fd():
    """The pool as an anonymous file, made once."""
    with _pool_lock:
        if not _pool_fds:
            fd = os.memfd_create("pool")
            os.write(fd, hashlib.shake_128(POOL_NAME).digest(POOL))
            _pool_fds.append(fd)
        return _pool_fds[0]


class Content:
    size = 0

    def runs(self, start, stop):
        """(fd, offset, n) or bytes, together the bytes from start to stop."""
        raise NotImplementedError

    def pieces(self, start=0, stop=None, most=PIECE):
        """The same as bytes-like objects of at most `most` bytes."""
        for run in self.runs(start, self.size if stop is None else stop):
            if isinstance(run, tuple):
                yield from _read_run(*run, most)
            else:
                view = memoryview(run)
                for at in range(0, len(view), most):
                    yield view[at:at + most]

    def bytes(self, start=0, stop=None):
        return b"".join(self.pieces(start, stop))


def _read_run(fd, offset, n, most):
    while n > 0:
        data = os.pread(fd, min(n, most), offset)
        if not data:
            raise OSError("a served file became shorter")
        yield data
        offset, n = offset + len(data), n - len(data)


class Memory(Content):
    def __init__(self, data):
        self.data, self.size = bytes(data), len(data)

    def runs(self, start, stop):
        if stop > start:
            yield self.data[start:stop]


class File(Content):
    def __init__(self, path):
        self.file = open(path, "rb")  # pylint: disable=consider-using-with; closed with the object
        self.size = os.fstat(self.file.fileno()).st_size

    def runs(self, start, stop):
        if stop > start:
            yield self.file.fileno(), start, stop - start


class Generated(Content):
    def __init__(self, size, seed=0):
        self.size, self.seed = size, seed

    def runs(self, start, stop):
        fd = pool_fd()
        while start < stop:
            k, within = divmod(start, PIECE)
            n = min(PIECE - within, stop - start)
            yield fd, ((self.seed * SEEDS_APART + k) * STEP) % (POOL - PIECE) + within, n
            start += n


class Joined(Content):
    def __init__(self, *parts):
        self.parts, self.size = parts, sum(part.size for part in parts)

    def runs(self, start, stop):
        at = 0
        for part in self.parts:
            first, last = max(start - at, 0), min(stop - at, part.size)
            if first < last:
                yield from part.runs(first, last)
            at += part.size


class Slice(Content):
    def __init__(self, whole, start, stop):
        self.whole, self.start, self.size = whole, start, stop - start

    def runs(self, start, stop):
        return self.whole.runs(self.start + start, self.start + stop)


def flipped(whole, at):
    """The content with the lowest bit of one byte turned."""
    byte = Memory(bytes([whole.bytes(at, at + 1)[0] ^ 1]))
    return Joined(Slice(whole, 0, at), byte, Slice(whole, at + 1, whole.size))


class GzipZeros(Content):
    """A gzip member that unpacks to n zero bytes, a thousandth of its size on the wire."""

    def __init__(self, n):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        zeros, parts = bytes(PIECE), []
        for at in range(0, n, PIECE):
            parts.append(packer.compress(zeros[:min(PIECE, n - at)]))
        self.data = b"".join(parts) + packer.flush()
        self.size = len(self.data)

    def runs(self, start, stop):
        yield self.data[start:stop]


# ---- hashes as CivitAI names them

AUTOV1_AT, AUTOV1_BYTES = 0x100000, 0x10000
HASHED_WHOLLY = 64 << 20  # AutoV3 and CRC32 cost a second and third pass: only for files up to this size


def hashes(content):
    """SHA256, AutoV1, AutoV2 and, for files that are not huge, AutoV3 and CRC32; upper case."""
    sha = hashlib.sha256()
    for piece in content.pieces():
        sha.update(piece)
    found = {"SHA256": sha.hexdigest(), "AutoV2": sha.hexdigest()[:10]}
    first, last = min(AUTOV1_AT, content.size), min(AUTOV1_AT + AUTOV1_BYTES, content.size)
    found["AutoV1"] = hashlib.sha256(content.bytes(first, last)).hexdigest()[:8]
    if content.size <= HASHED_WHOLLY:
        data = content.bytes()
        found["CRC32"] = f"{zlib.crc32(data):08x}"
        header = int.from_bytes(data[:8], "little")
        if 8 + header <= len(data):
            found["AutoV3"] = hashlib.sha256(data[8 + header:]).hexdigest()
    return {name: value.upper() for name, value in found.items()}
