"""Each way to go wrong does on the wire what its name says, on the requests it is meant for, and no more often."""

import hashlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

from harness import SECONDS, ask, case, connect, curl, equal, main

from fake.fault_kinds import KINDS

SIZE = (2 << 20) + 77
FILE = {"generate": SIZE, "seed": 1}
TREE = {
    "civitai": {"tokens": {"key-of-anna": {"name": "anna"}}, "models": [
        {"id": 1, "versions": [{"id": 10, "files": [{"id": 1, "name": "a.safetensors", **FILE}]}]}]},
    "huggingface": {"repos": [{"id": "o/open", "files": [{"path": "a", **FILE}]}]},
    "s3": {"buckets": {"b": {"public": True, "files": [
        {"key": "a", **FILE}, {"key": "b", "text": "0123456789"}, {"key": "plenty", "generate": 1 << 30, "seed": 9}]}}},
}
KEY = {"Authorization": "Bearer key-of-anna"}


def good(fake):
    return ask(fake, fake.url("s3", "/b/a")).body


def spoilt(fake, kind, key="a", scheme="https", headers=None, method="GET", most=None, **params):
    """The answer to one request on which the fault falls; the next must be good again."""
    fake.faults({"kind": kind, "params": params})
    answer = ask(fake, fake.url("s3", f"/b/{key}", scheme), method, most, **(headers or {}))
    equal(ask(fake, fake.url("s3", "/b/b")).body, b"0123456789", f"after {kind}")
    return answer


def api(fake):
    return ask(fake, fake.url("civitai", "/api/download/models/10"), **KEY)


# ---- which requests


@case
def faults_come_in_order_and_end(fake):
    fake.faults({"kind": "500"}, {"kind": "503", "times": 2}, {"kind": "404", "skip": 1})
    equal([ask(fake, fake.url("s3", "/b/b")).status for _ in range(6)], [500, 503, 503, 200, 404, 200])
    equal([fault["left"] for fault in fake.control("GET", "faults")], [0, 0, 0])
    equal([record["fault"] for record in fake.requests()], ["500", "503", "503", None, "404", None])


MATCHES = [  # match, which of three requests it hits
    ({"host": "huggingface"}, [0, 0, 0]), ({"path": "^/b/b$"}, [0, 1, 0]), ({"query": "x=1"}, [0, 0, 1]),
    ({"method": "HEAD"}, [0, 0, 0]), ({"index": [1, 2]}, [0, 1, 1]), ({"ranged": True}, [1, 0, 0]), ({"from": 5}, [1, 0, 0]),
    ({"from": 6}, [0, 0, 0]),
]


@case
def faults_are_chosen_by_what_is_asked(fake):
    for match, hits in MATCHES:
        fake.clear()
        fake.faults({"kind": "500", "times": None, "match": match})
        answers = [
            ask(fake, fake.url("s3", "/b/a"), Range="bytes=5-9"),
            ask(fake, fake.url("s3", "/b/b")),
            ask(fake, fake.url("s3", "/b/a?x=1"))]
        equal([int(answer.status == 500) for answer in answers], hits, match)


@case
def faults_that_are_none_are_refused(fake):
    for tree in ({"kind": "nonsense"}, {"kind": "500", "tiems": 1}, {"kind": "500", "match": {"hots": "s3"}}):
        try:
            fake.faults(tree)
        except ValueError as problem:
            assert "fault" in str(problem), problem
        else:
            raise AssertionError(f"{tree} was taken")


@case
def faults_drawn_from_a_seed_are_the_same_again(fake):
    first = fake.draw_faults(7, 30)
    fake.clear()
    equal(fake.draw_faults(7, 30), first)
    fake.clear()
    assert fake.draw_faults(8, 30) != first
    places = {(fault["match"]["host"], fault["match"]["index"][0]) for fault in first}
    equal((len(places), len(first)), (30, 30))
    fake.clear()
    few = fake.draw_faults(1, 5, hosts=["s3"], kinds=["500", "truncated"], within=5)
    equal({fault["kind"] for fault in few}, {"500", "truncated"})
    spoiled = [ask(fake, fake.url("s3", "/b/a")) for _ in range(6)]
    equal([answer.status == 500 or answer.problem is not None for answer in spoiled], [True] * 5 + [False])


# ---- refusals

STATUSES = ("401_missing", "401_bad_token", "403_early_access", "403_gated", "404", "410", "429", "451", "500", "502", "503")


@case
def refusals_have_the_form_of_their_site(fake):
    for kind in STATUSES:
        fake.faults({"kind": kind, "times": 3})
        civitai, s3 = api(fake), ask(fake, fake.url("s3", "/b/b"))
        hub = ask(fake, fake.url("huggingface", "/o/open/resolve/main/a"), "HEAD")
        equal((civitai.status, hub.status, s3.status), (int(kind[:3]), ) * 3, kind)
        assert "error" in json.loads(civitai.body) and hub["X-Error-Message"] and s3.body.startswith(b"<?xml"), kind
        fake.clear()


@case
def too_many_requests_tells_when_or_not(fake):
    equal(spoilt(fake, "429")["Retry-After"], None)
    for when in ("3", "Fri, 31 Dec 1999 23:59:59 GMT"):
        answer = spoilt(fake, "429", retry_after=when)
        equal((answer.status, answer["Retry-After"]), (429, when))
    fake.faults({"kind": "429"})
    assert ask(fake, fake.url("huggingface", "/o/open/resolve/main/a"))["RateLimit"].startswith('"resolvers";r=0;t=')


@case
def passing_404_passes(fake):
    fake.faults({"kind": "404_transient"})
    equal([api(fake).status for _ in range(3)], [404, 404, 307])


@case
def pages_stand_in_for_answers(fake):
    for code in (403, 503, 520):
        answer = spoilt(fake, f"cloudflare_{code}")
        equal((answer.status, answer["cf-mitigated"]), (code, "challenge"))
        assert b"/cdn-cgi/challenge-platform/" in answer.body, repr(answer)
    for kind, form, start in (("login_html_200", "text/html", b"<!DOCTYPE"), ("html_200", "text/html", b"<!DOCTYPE"),
                              ("json_200", "application/json", b"{"),
                              ("lfs_pointer", "text/plain", b"version https://git-lfs")):
        answer = spoilt(fake, kind)
        equal((answer.status, answer["Content-Type"].partition(";")[0], answer.body[:len(start)]), (200, form, start), kind)
    fake.faults({"kind": "status", "params": {"status": 599, "body": "x", "headers": [["X-A", "b"]]}})
    answer = ask(fake, fake.url("s3", "/b/b"))
    equal((answer.status, answer.body, answer["X-A"]), (599, b"x", "b"))


@case
def signatures_expire_in_every_form(fake):
    for form, words in (("aws", b"<Code>AccessDenied"), ("r2", b"<Code>ExpiredRequest"), ("civitai", b"Forbidden"),
                        ("b2", b"expired_auth_token")):
        assert words in spoilt(fake, "expired_signature", form=form).body, form
    equal(spoilt(fake, "expired_signature").status, 403)


# ---- redirects


@case
def redirects_lead_elsewhere_with_the_good_bytes(fake):
    expected = hashlib.sha256(good(fake)).hexdigest()
    for host, url in (("civitai", fake.url("civitai", "/api/download/models/10")), ("civitai_cdn", api(fake)["Location"]),
                      ("s3", fake.url("s3", "/b/a"))):
        fake.faults({"kind": "redirect_to_other_host", "match": {"host": host}})
        answer = ask(fake, url, **(KEY if host == "civitai" else {}))
        equal((answer.status, urlsplit(answer["Location"]).netloc), (307, urlsplit(fake.url("elsewhere")).netloc), host)
        equal(hashlib.sha256(ask(fake, answer["Location"]).body).hexdigest(), expected, host)


@case
def redirects_go_in_circles_and_to_bad_places(fake):
    fake.faults({"kind": "redirect_loop", "times": None})
    url = fake.url("s3", "/b/a?x=%20")
    equal(ask(fake, url)["Location"], url)
    equal(curl(fake, "--location", "--max-redirs", "5", url)[0], 47)
    fake.clear()
    for location in ("http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "ftp://127.0.0.1/x",
                     "//elsewhere.example/x", "/relative"):
        equal(spoilt(fake, "redirect_to", location=location)["Location"], location)
    answer = spoilt(fake, "redirect_to", location="{http:elsewhere}/x", status=302)
    equal((answer.status, answer["Location"]), (302, fake.url("elsewhere", "/x", "http")))
    equal(spoilt(fake, "redirect_to", location="{elsewhere}/x")["Location"], fake.url("elsewhere", "/x"))


# ---- other bytes


@case
def one_bit_is_turned_at_the_same_place_in_every_range(fake):
    right = good(fake)
    fake.faults({"kind": "wrong_hash", "times": None, "params": {"at": 1000}})
    wrong = ask(fake, fake.url("s3", "/b/a")).body
    equal([at for at in range(SIZE) if right[at] != wrong[at]], [1000])
    equal(ask(fake, fake.url("s3", "/b/a"), Range="bytes=990-1010").body, wrong[990:1011])


@case
def lengths_differ_consistently(fake):
    for by in (-1, 5):
        answer = spoilt(fake, "wrong_length", by=by)
        equal((len(answer.body), answer["Content-Length"]), (SIZE + by, str(SIZE + by)))
        equal(spoilt(fake, "wrong_length", headers={"Range": "bytes=0-3"}, by=by)["Content-Range"], f"bytes 0-3/{SIZE + by}")


@case
def more_is_sent_than_agreed(fake):
    right = good(fake)
    answer = spoilt(fake, "oversize", how="announced", most=10)
    assert int(answer["Content-Length"]) > 1 << 40
    answer = spoilt(fake, "oversize", headers={"Range": "bytes=0-9"}, how="chunked", extra=100)
    equal((answer.status, len(answer.body), answer["Content-Length"], answer["Transfer-Encoding"]),
          (206, 110, None, "chunked"))
    equal(answer.body[:10], right[:10])
    answer = raw(fake, "oversize", "Range: bytes=0-9\r\n", how="beyond", extra=100)
    assert b"Content-Length: 10\r\n" in answer and len(answer.partition(b"\r\n\r\n")[2]) == 110, answer
    answer = spoilt(fake, "endless", most=30 << 20)
    equal((len(answer.body), answer["Content-Length"]), (30 << 20, None))


def raw(fake, kind, headers="", seconds=SECONDS, **params):
    """All bytes of the answer until the connection ends."""
    fake.faults({"kind": kind, "params": params})
    place = fake.about["hosts"]["s3"]
    with socket.create_connection((place["address"], place["port"]), seconds) as connection:
        connection.sendall(f"GET /b/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@case
def other_kinds_of_files_come(fake):
    equal(spoilt(fake, "pickle_body").body[:4], b"PK\x03\x04")
    equal(spoilt(fake, "pickle_body", form="pickle").body[:2], b"\x80\x02")
    equal(spoilt(fake, "pickle_body", headers={"Range": "bytes=0-3"}).body, b"PK\x03\x04")
    equal(spoilt(fake, "bad_safetensors", form="header_too_large").body[:8], (100_000_001).to_bytes(8, "little"))
    equal(spoilt(fake, "other_content", text="abc").body, b"abc")


@case
def packed_bodies_come_unasked(fake):
    status, out, problem = curl(fake, "--compressed", fake.url("s3", "/b/b"))
    equal((status, out), (0, b"0123456789"), problem)
    fake.faults({"kind": "gzip_bomb", "params": {"unpacked": 3_000_000}})
    status, out, problem = curl(fake, "--compressed", fake.url("s3", "/b/a"))
    equal((status, out), (0, bytes(3_000_000)), problem)
    answer = spoilt(fake, "gzip_bomb")
    assert len(answer.body) < 100_000 and answer["Content-Encoding"] == "gzip", repr(answer)
    answer = spoilt(fake, "gzip", headers={"Range": "bytes=0-99"})
    equal((answer.status, answer["Content-Encoding"]), (206, "gzip"))


# ---- ranges

WRONG_RANGES = [  # how, Content-Range, the bytes that come
    ("shifted", f"bytes 101-200/{SIZE}", (101, 201)), ("header", f"bytes 101-200/{SIZE}", (100, 200)),
    ("total", f"bytes 100-199/{SIZE + 1}", (100, 200)), ("missing", None, (100, 200)),
    ("short", f"bytes 100-198/{SIZE}", (100, 199)),
]


@case
def ranges_are_wrong_in_every_way(fake):
    right, asked = good(fake), {"Range": "bytes=100-199"}
    for how, told, (start, stop) in WRONG_RANGES:
        answer = spoilt(fake, "wrong_content_range", headers=asked, how=how)
        equal((answer.status, answer["Content-Range"], answer.body), (206, told, right[start:stop]), how)
    answer = spoilt(fake, "range_ignored_200", headers=asked)
    equal((answer.status, answer["Content-Range"], answer.body), (200, None, right))


@case
def validators_change_and_vanish(fake):
    etag = ask(fake, fake.url("s3", "/b/a"))["ETag"]
    answer = spoilt(fake, "etag_changed", headers={"Range": "bytes=0-9", "If_Range": etag})
    assert answer.status == 200 and answer["ETag"] != etag and len(answer.body) == SIZE, repr(answer)
    equal(spoilt(fake, "etag_changed", headers={"Range": "bytes=0-9"}).status, 206)
    equal(spoilt(fake, "etag_changed", headers={"If_Match": etag}).status, 412)
    equal(spoilt(fake, "etag_missing")["ETag"], None)
    equal(spoilt(fake, "etag_weak")["ETag"], "W/" + etag)


# ---- how it is sent


@case
def bodies_end_early(fake):
    for scheme in ("http", "https"):
        answer = spoilt(fake, "truncated", scheme=scheme, at=1000)
        equal((len(answer.body), answer["Content-Length"]), (1000, str(SIZE)))
        assert "IncompleteRead" in repr(answer.problem), repr(answer)
        answer = spoilt(fake, "truncated", scheme=scheme, at=1000, no_length=True)
        equal((len(answer.body), answer.problem, answer["Content-Length"]), (1000, None, None), scheme)
        fake.faults({"kind": "truncated", "params": {"part": 0.25, "no_length": True}})
        status, out, _ = curl(fake, fake.url("s3", "/b/a", scheme))
        equal((status, len(out)), (0, SIZE // 4), f"curl takes it for whole, {scheme}")
        answer = spoilt(fake, "no_length", scheme=scheme)
        equal((answer.problem, len(answer.body), answer["Content-Length"]), (None, SIZE, None), scheme)


@case
def connections_are_reset(fake):
    for scheme in ("http", "https"):
        answer = spoilt(fake, "reset", scheme=scheme, at=1000)
        assert answer.problem is not None and len(answer.body) <= 1000, repr(answer)
        fake.faults({"kind": "reset", "params": {"at": 0}})
        assert curl(fake, fake.url("s3", "/b/a", scheme))[0] in (18, 35, 56), scheme


@case
def connections_end_without_an_answer(fake):
    equal(raw(fake, "no_answer"), b"")
    fake.faults({"kind": "no_answer"})
    equal(curl(fake, fake.url("s3", "/b/a", "http"))[0], 52)
    equal(raw(fake, "garbage", raw="no HTTP"), b"no HTTP")


@case
def silence_lasts_until_the_client_leaves(fake):
    right = good(fake)
    for params in ({"before_head": True}, {"at": 100}):
        fake.clear()
        fake.faults({"kind": "stall", "params": params})
        connection = connect(fake, fake.url("s3"))
        connection.connect()
        connection.putrequest("GET", "/b/a")
        connection.endheaders()
        got = b""
        while "at" in params and len(got.partition(b"\r\n\r\n")[2]) < 100:
            got += connection.sock.recv(65536)
        fake.requests("s3", at_least=1)
        connection.sock.settimeout(0.3)
        try:
            more = connection.sock.recv(1)
            raise AssertionError(f"{more!r} came after {got[-100:]!r}")
        except TimeoutError:
            equal(got.partition(b"\r\n\r\n")[2], right[:100] if "at" in params else b"", params)
        equal([record["done"] for record in fake.requests() if record["fault"]], [False])
        connection.close()
        fake.requests("s3", at_least=len(fake.requests()), done=1)  # it notices
    answer = spoilt(fake, "stall", at=100, seconds=0.05)
    equal(len(answer.body), 100)


@case
def slow_bodies_are_slow(fake):
    begin = time.monotonic()
    equal(spoilt(fake, "slow", key="b", rate=100, before=0.1).body, b"0123456789")
    assert time.monotonic() - begin >= 0.1, "faster than it may be"


@case
def bodies_come_in_chunks(fake):
    for scheme in ("http", "https"):
        answer = spoilt(fake, "chunked", scheme=scheme)
        equal((answer["Transfer-Encoding"], answer["Content-Length"], len(answer.body)), ("chunked", None, SIZE), scheme)


@case
def headers_are_too_many_or_odd(fake):
    assert len(raw(fake, "big_headers").partition(b"\r\n\r\n")[0]) > 400_000
    equal(raw(fake, "interim", n=1000).count(b"HTTP/1.1 103 "), 1000)
    assert raw(fake, "many_headers", n=3000).count(b"\r\nX-") == 3000
    assert "../.." in spoilt(fake, "content_disposition")["Content-Disposition"]
    assert "session=" in spoilt(fake, "set_cookie")["Set-Cookie"]


@case
def every_kind_works_everywhere(fake):
    """No kind may break the fakes themselves, whatever it falls on; Fake.stop tells."""
    hosts = {
        "civitai": fake.url("civitai",
                            "/api/download/models/10"), "civitai_cdn": api(fake)["Location"], "s3": fake.url("s3", "/b/b"),
        "huggingface": fake.url("huggingface", "/o/open/resolve/main/a"), "elsewhere": fake.url("elsewhere", "/held/0")}
    hosts["huggingface_cdn"] = ask(fake, hosts["huggingface"])["Location"]
    for kind in sorted(KINDS):
        for host, url in hosts.items():
            fake.faults({
                "kind": kind, "times": 2, "match": {"host": host}, "params": {"seconds": 0.01, "rate": 1 << 30, "extra":
                                                                              10}})
            for headers in ({}, {"Range": "bytes=0-3"}):
                try:
                    ask(fake, url, most=1000, **headers, **(KEY if host == "civitai" else {}))
                except OSError:
                    pass
                except Exception as problem:  # pylint: disable=broad-except
                    assert type(problem).__name__ in ("RemoteDisconnected", "BadStatusLine", "LineTooLong",
                                                      "HTTPException"), f"{kind} {host}: {problem!r}"
        fake.clear()


# ---- drawn faults are such that a patient client gets its file

PIECE, PATIENCE = 256 << 10, 300  # bytes, tries


class Patient:
    """A client that believes nothing, and tries again."""

    def __init__(self, fake):
        self.fake, self.left, self.url, self.etag = fake, PATIENCE, None, None

    def ask(self, url, **headers):
        self.left -= 1
        assert self.left > 0, "patience is over"
        try:
            return ask(self.fake, url, **headers)
        except (OSError, http.client.HTTPException):
            return None

    def resolve(self):
        while self.url is None:
            answer = self.ask(self.fake.url("civitai", "/api/download/models/10"), **KEY)
            self.url = answer["Location"] if answer and answer.status == 307 else None

    def piece(self, start, stop):
        while True:
            self.resolve()
            answer = self.ask(self.url, Range=f"bytes={start}-{stop - 1}")
            if answer and answer.status in (401, 403):
                self.url = None
            elif answer and self.is_good(answer, start, stop):
                return answer.body

    def is_good(self, answer, start, stop):
        self.etag = self.etag or answer["ETag"]
        told = (answer.status, answer["Content-Range"], answer["ETag"], len(answer.body), answer.problem)
        return told == (206, f"bytes {start}-{stop - 1}/{SIZE}", self.etag, stop - start, None)


@case
def drawn_faults_can_be_survived(fake):
    expected = good(fake)
    for seed in range(6):
        fake.clear()
        drawn = fake.draw_faults(seed, 12, within=8, hosts=["civitai", "civitai_cdn"])
        patient = Patient(fake)
        got = b"".join(patient.piece(at, min(at + PIECE, SIZE)) for at in range(0, SIZE, PIECE))
        assert got == expected, f"seed {seed}: {drawn}"
        assert sum(fault["used"] for fault in fake.control("GET", "faults")) >= 6, f"seed {seed}: hardly any fault fell"


# ---- speed


@case
def parallel_ranges_arrive_whole(fake):
    """16 ranges side by side on plain http; the sum is told, not judged."""
    n, size = 16, 1 << 30
    step, got, begin = size // n, [0] * n, time.monotonic()

    def fetch(at):
        place = fake.about["hosts"]["s3"]
        with socket.create_connection((place["address"], place["port"]), SECONDS) as connection:
            asked = f"Range: bytes={at * step}-{(at + 1) * step - 1}"
            connection.sendall(f"GET /b/plenty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{asked}\r\n\r\n".encode())
            buffer = bytearray(1 << 20)
            while read := connection.recv_into(buffer):
                got[at] += read

    threads = [threading.Thread(target=fetch, args=[at]) for at in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    print(f"    {sum(got) / seconds / 1e9:.2f} GB/s in {n} ranges", flush=True)
    assert all(step < each < step + 1000 for each in got), got
    records = fake.requests("s3", at_least=n, done=1)
    equal({record["sent"] for record in records}, {step})
    assert max(record["together"] for record in records) > 1


if __name__ == "__main__":
    main(TREE)
