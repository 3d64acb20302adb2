"""Independent judgements for the end-to-end scripts, with nothing but Python's standard library.

    judge.py EXPRESSION      true, or the script's case fails

The expression sees: result(path="stdout"), a job result as strict JSON; png(path or base64 text), a decoded picture
with .width, .height, .rgb, .text; error_of(path), the sentence of {"error": ...}; bytes_of(path).
"""

import base64
import json
import struct
import sys
import zlib
from pathlib import Path


def refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a name twice: {names}"
    return dict(pairs)


def refuse_constant(word):
    raise AssertionError(f"{word} is not JSON")


def result(path="stdout"):
    text = Path(path).read_bytes().decode("utf-8")
    return json.loads(text, object_pairs_hook=refuse_duplicates, parse_constant=refuse_constant)


def error_of(path="stdout"):
    answer = result(path)
    assert list(answer) == ["error"], f"keys {list(answer)}"
    return answer["error"]


def bytes_of(path):
    return Path(path).read_bytes()


class Picture:
    """A PNG of 8-bit RGB, every checksum verified."""

    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
        self.text, idat, at, last = {}, b"", 8, b""
        while at < len(data):
            (size,) = struct.unpack(">I", data[at : at + 4])
            kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
            (crc,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
            assert crc == zlib.crc32(kind + body), f"{kind}: wrong checksum"
            if kind == b"IHDR":
                self.width, self.height, depth, colour = struct.unpack(">IIBB", body[:10])
                assert (depth, colour) == (8, 2), f"depth {depth}, colour type {colour}"
            elif kind == b"IDAT":
                idat += body
            elif kind == b"tEXt":
                name, _, value = body.partition(b"\0")
                self.text[name.decode()] = value.decode("latin-1")
            elif kind == b"iTXt":
                name, _, rest = body.partition(b"\0")
                compressed, rest = rest[0], rest[2:]
                value = rest.split(b"\0", 2)[2]
                self.text[name.decode()] = (zlib.decompress(value) if compressed else value).decode("utf-8")
            at, last = at + 12 + size, kind
        assert last == b"IEND" and at == len(data), "bytes missing or left over"
        self.rgb = self.unfilter(zlib.decompress(idat))

    def unfilter(self, raw):
        row_bytes = 3 * self.width
        assert len(raw) == self.height * (row_bytes + 1), "wrong number of pixels"
        above, out = bytearray(row_bytes), bytearray()
        for y in range(self.height):
            start = y * (row_bytes + 1)
            kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + row_bytes])
            for i in range(row_bytes):
                a = row[i - 3] if i >= 3 else 0
                b = above[i]
                c = above[i - 3] if i >= 3 else 0
                row[i] = (row[i] + self.predict(kind, a, b, c)) & 0xFF
            out += row
            above = row
        return bytes(out)

    @staticmethod
    def predict(kind, a, b, c):
        if kind == 4:
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))
            return near[2]
        return {0: 0, 1: a, 2: b, 3: (a + b) // 2}[kind]

    def mean(self, x0, y0, x1, y1):
        """Mean colour of a part, edges as shares of the size."""
        box = [(x, y) for y in range(int(y0 * self.height), int(y1 * self.height))
               for x in range(int(x0 * self.width), int(x1 * self.width))]
        return [sum(self.rgb[3 * (y * self.width + x) + i] for x, y in box) / len(box) for i in range(3)]

    def spread(self):
        """Standard deviation over all samples: near 0 is a blank picture."""
        n = len(self.rgb)
        mean = sum(self.rgb) / n
        return (sum((v - mean) ** 2 for v in self.rgb) / n) ** 0.5


def png(source):
    path = Path(source) if len(source) < 4096 else None
    if path and path.is_file():
        return Picture(path.read_bytes())
    return Picture(base64.b64decode(source, validate=True))


if __name__ == "__main__":
    expression = sys.argv[1]
    assert eval(expression), f"not true: {expression}"  # our own scripts' text, never input's
