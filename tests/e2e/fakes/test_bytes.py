"""Contents, ranges, signatures and made files, each against a truth from outside: the standard library's own hashes, RFC 9110,
AWS' documented examples, the rules of the safetensors format."""

import hashlib
import json
import struct
import zlib

from harness import ask, case, connect, curl, equal, main

from fake import signing, weights
from fake.content import Generated, GzipZeros, Joined, Memory, Slice, flipped, hashes

MIB = 1 << 20
TREE = {"s3": {"buckets": {"b": {"public": True, "files": [
    {"key": "small", "text": "0123456789abcdef"}, {"key": "empty", "text": ""},
    {"key": "big", "generate": 5 * MIB + 12345, "seed": 3}, {"key": "huge", "generate": 40 << 30}]}}}}

# ---- contents


@case
def made_up_bytes_follow_the_formula(_fake):
    pool = hashlib.shake_128(b"tintype fake content").digest(16 * MIB)
    expected = b"".join(pool[(at := ((3 * 7919 + k) * 1000003) % (15 * MIB)):at + MIB] for k in range(6))[:5 * MIB + 12345]
    content = Generated(5 * MIB + 12345, 3)
    equal(content.bytes(), expected)
    for start, stop in ((0, 1), (MIB - 1, MIB + 1), (2 * MIB, 2 * MIB), (3 * MIB + 7, 5 * MIB + 12345)):
        equal(content.bytes(start, stop), expected[start:stop], f"{start}-{stop}")


@case
def contents_combine(_fake):
    whole = Joined(Memory(b"abc"), Generated(2 * MIB, 1), Memory(b"xyz"))
    flat = whole.bytes()
    equal(flat, b"abc" + Generated(2 * MIB, 1).bytes() + b"xyz")
    equal(Slice(whole, 2, 10).bytes(1, 5), flat[3:7])
    turned = flipped(whole, 100).bytes()
    equal([at for at in range(len(flat)) if flat[at] != turned[at]], [100])
    equal(zlib.decompress(GzipZeros(3_000_000).bytes(), 31), bytes(3_000_000))


@case
def hashes_are_those_civitai_names(_fake):
    data = weights.lora(rank=2) + bytes(2 * MIB)
    found = hashes(Memory(data))
    header = 8 + struct.unpack("<Q", data[:8])[0]
    equal(
        found, {
            "SHA256": hashlib.sha256(data).hexdigest().upper(), "AutoV2": hashlib.sha256(data).hexdigest()[:10].upper(),
            "AutoV1": hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8].upper(), "CRC32": f"{zlib.crc32(data):08X}",
            "AutoV3": hashlib.sha256(data[header:]).hexdigest().upper()})


# ---- made files


def judge_safetensors(data):
    """The rules of the reference's reader, in its order. None, or the rule that is broken."""
    if len(data) < 8:
        return "header too small"
    n = struct.unpack("<Q", data[:8])[0]
    if n > 100_000_000:
        return "header too large"
    if 8 + n > len(data):
        return "header longer than the file"
    twice = []

    def pairs(found):
        if len({name for name, _ in found}) != len(found):
            twice.append(1)
        return dict(found)

    try:
        tree = json.loads(data[8:8 + n].decode(), object_pairs_hook=pairs)
        metadata = tree.pop("__metadata__", {})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "no JSON object"
    if twice or any(not isinstance(value, str) for value in metadata.values()):
        return "twice, or metadata that is no text"
    at = 0
    if any(not isinstance(entry, dict) or any(ord(c) < 32 for c in name) for name, entry in tree.items()):
        return "an entry that is none"
    for entry in sorted(tree.values(), key=lambda entry: entry["data_offsets"]):
        begin, end = entry["data_offsets"]
        if not all(isinstance(v, int) and 0 <= v < 1 << 64 for v in (begin, end)) or begin != at or end < begin:
            return "offsets"
        if entry["dtype"] not in weights.BYTES or weights.count(
                entry["shape"]) * weights.BYTES[entry["dtype"]] != end - begin:
            return "shape"
        at = end
    return None if 8 + n + at == len(data) else "length"


@case
def made_files_keep_the_rules_of_the_format(_fake):
    equal(judge_safetensors(weights.lora(rank=4)), None)
    equal(judge_safetensors(weights.safetensors({})), None)
    shell = weights.shell({"a": ("F16", [3, 5, 7]), "b": ("F32", []), "c": ("U8", [0, 4])}, {"format": "pt"}, 5)
    equal(judge_safetensors(shell.bytes()), None)
    assert weights.shell({"a": ("F16", [1 << 20, 1 << 12])}).size > 8 << 30


@case
def broken_files_break_a_rule_each(_fake):
    for name, data in weights.BROKEN.items():
        assert judge_safetensors(data) is not None, f"{name} is valid"
    equal(weights.pickle("zip")[:4], b"PK\x03\x04")
    equal(weights.pickle("pickle")[:2], b"\x80\x02")


# ---- ranges, as RFC 9110 has them


def part(fake, key, asked, **headers):
    return ask(fake, fake.url("s3", f"/b/{key}"), Range=asked, **headers)


@case
def ranges_are_answered_exactly(fake):
    for asked, expected, told in (("bytes=0-0", b"0", "bytes 0-0/16"), ("bytes=3-5", b"345", "bytes 3-5/16"),
                                  ("bytes=10-", b"abcdef", "bytes 10-15/16"), ("bytes=-4", b"cdef", "bytes 12-15/16"),
                                  ("bytes=12-99", b"cdef", "bytes 12-15/16"), ("bytes=-99", b"0123456789abcdef",
                                                                               "bytes 0-15/16")):
        answer = part(fake, "small", asked)
        equal((answer.status, answer.body, answer["Content-Range"], answer["Content-Length"]),
              (206, expected, told, str(len(expected))), asked)


@case
def ranges_that_cannot_be_met_are_416(fake):
    for key, asked, told in (("small", "bytes=16-", "bytes */16"), ("small", "bytes=9-8", "bytes */16"),
                             ("empty", "bytes=0-0", "bytes */0")):
        answer = part(fake, key, asked)
        equal((answer.status, answer["Content-Range"]), (416, told), asked)


@case
def ranges_that_are_none_are_ignored(fake):
    for asked in ("lines=1-2", "bytes=a-b", "bytes=0-1,4-5", "bytes=-", None):
        equal(part(fake, "small", asked).status, 200, asked)


@case
def conditions_are_judged(fake):
    whole = part(fake, "small", None)
    etag, date = whole["ETag"], whole["Last-Modified"]
    equal(part(fake, "small", "bytes=1-2", If_Range=etag).status, 206)
    equal(part(fake, "small", "bytes=1-2", If_Range=date).status, 206)
    equal(part(fake, "small", "bytes=1-2", If_Range='"other"').status, 200)
    equal(part(fake, "small", "bytes=1-2", If_Range="W/" + etag).status, 200)
    equal(part(fake, "small", "bytes=1-2", If_Range="Thu, 01 Jan 1970 00:00:00 GMT").status, 200)
    equal(part(fake, "small", None, If_Match='"other"').status, 412)
    equal(part(fake, "small", None, If_Match=etag).status, 200)
    equal(part(fake, "small", None, If_None_Match=etag).status, 304)


@case
def connections_are_kept(fake):
    for scheme in ("http", "https"):
        url = fake.url("s3", "/b/small", scheme)
        connection = connect(fake, url)
        equal([ask(fake, url, connection=connection, Range=f"bytes={at}-{at}").body for at in range(3)], [b"0", b"1", b"2"])
        socket = connection.sock
        assert socket is not None
        equal(ask(fake, url, "HEAD", connection=connection).status, 200)
        equal(ask(fake, url, connection=connection, Range="bytes=99-").status, 416)
        assert connection.sock is socket, "another connection"
        equal(ask(fake, url, connection=connection, Connection="close").status, 200)
        connection.close()


@case
def head_tells_what_get_would_send(fake):
    head, get = ask(fake, fake.url("s3", "/b/big"), "HEAD"), ask(fake, fake.url("s3", "/b/big"))
    equal(head.body, b"")
    for name in ("Content-Length", "ETag", "Last-Modified", "Accept-Ranges", "Content-Type"):
        assert get[name] is not None
        equal(head[name], get[name], name)


@case
def bytes_are_the_same_on_both_schemes(fake):
    expected = Generated(5 * MIB + 12345, 3).bytes()
    for scheme in ("http", "https"):
        equal(ask(fake, fake.url("s3", "/b/big", scheme)).body, expected, scheme)
        equal(
            ask(fake, fake.url("s3", "/b/big", scheme), Range=f"bytes={MIB - 5}-{3 * MIB}").body,
            expected[MIB - 5:3 * MIB + 1], scheme)


@case
def a_file_larger_than_memory_has_a_far_end(fake):
    start = (40 << 30) - 100
    answer = part(fake, "huge", f"bytes={start}-")
    equal(answer.body, Generated(40 << 30).bytes(start, 40 << 30))


@case
def curl_resumes_where_it_stopped(fake):
    status, out, problem = curl(fake, "--continue-at", "10", fake.url("s3", "/b/small"))
    equal((status, out), (0, b"abcdef"), problem)


# ---- SigV4: AWS' examples, "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference


class Example:
    method, path, query, body = "GET", "/test.txt", "", b""

    def __init__(self, headers, path="/test.txt", query=""):
        self.headers, self.path, self.query = headers, path, query

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), None)


ACCESS, NOW = "AKIAIOSFODNN7EXAMPLE", 1369353600
KNOWN = {ACCESS: {"secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}}
HOST = ("Host", "examplebucket.s3.amazonaws.com")


def documented(signed, signature, more=(), **place):
    authorization = (f"AWS4-HMAC-SHA256 Credential={ACCESS}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},"
                     f"Signature={signature}")
    return Example([
        HOST, ("Authorization", authorization), *more, ("x-amz-content-sha256", signing.EMPTY_SHA256),
        ("x-amz-date", "20130524T000000Z")], **place)


EXAMPLES = [
    documented("host;range;x-amz-content-sha256;x-amz-date",
               "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", [("Range", "bytes=0-9")]),
    documented("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
               path="/", query="lifecycle"),
    documented("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
               path="/", query="max-keys=2&prefix=J"),
    Example(
        [HOST], query=
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), ]


def code(example, now=NOW, known=None, region="us-east-1"):
    try:
        signing.judge(example, known or KNOWN, region, now)
        return None
    except signing.Refusal as refusal:
        return refusal.code, refusal.message


@case
def documented_signatures_are_accepted(_fake):
    for number, example in enumerate(EXAMPLES):
        equal(code(example), None, f"example {number}")


@case
def documented_signatures_are_refused_when_anything_differs(_fake):
    for number, example in enumerate(EXAMPLES):
        equal(code(Example(example.headers, "/test2.txt", example.query))[0], "SignatureDoesNotMatch", f"path of {number}")
        equal(
            code(Example(example.headers, example.path, example.query + "&a=b"))[0], "SignatureDoesNotMatch",
            f"query of {number}")
        equal(
            code(Example([("Host", "x.s3.amazonaws.com")] + example.headers[1:], example.path, example.query))[0],
            "SignatureDoesNotMatch", f"host of {number}")
        equal(code(example, known={ACCESS: {"secret": "other"}})[0], "SignatureDoesNotMatch", f"secret of {number}")
        equal(code(example, known={"x": {"secret": "y"}})[0], "InvalidAccessKeyId", f"key of {number}")
        assert "expecting 'eu-west-1'" in code(example, region="eu-west-1")[1]
    equal(code(EXAMPLES[0], NOW + 3600)[0], "RequestTimeTooSkewed")
    equal(code(EXAMPLES[3], NOW + 86399), None)
    equal(code(EXAMPLES[3], NOW + 86400), ("AccessDenied", "Request has expired"))
    equal(code(EXAMPLES[3], NOW - 3600), ("AccessDenied", "Request is not valid yet"))
    equal(code(documented("host", "0" * 64))[1], "There were headers present in the request which were not signed")


@case
def our_presigned_url_is_the_documented_one(_fake):
    query = signing.presign("GET", HOST[1], "/test.txt", [], ACCESS, KNOWN[ACCESS]["secret"], "us-east-1", 86400, NOW)
    equal(query, EXAMPLES[3].query)


if __name__ == "__main__":
    main(TREE)
