"""How things go wrong. KINDS maps a name to a function of the hit that gives the Reply; its docstring names the params.

Most spoil the good answer; those named after a status answer in the form of the site that was asked. Every kind also
takes "rate" (bytes per second) and "before" (seconds before the first byte).
"""

import zlib

from fake import weights
from fake.civitai import LOGIN_PAGE, challenge_page
from fake.content import Generated, GzipZeros, Joined, Memory, Slice, flipped
from fake.wire import Reply

ENDLESS = 1 << 50  # bytes; a year of a fast network
BOMB = 50_000_000  # bytes that a bomb unpacks to, from some 50 kB
FOREVER_S = 3600
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 6938040682\n"
KINDS = {}
DEFAULT_TIMES = {"404_transient": 2}


class Hit:
    """One request that a fault fell on."""

    def __init__(self, world, site, request, params):
        self.world, self.site, self.request, self.params = world, site, request, params

    def good(self):
        return self.site.handle(self.request)

    def param(self, name, default):
        return self.params.get(name, default)


def apply(fault, world, site, request):
    hit = Hit(world, site, request, fault.params)
    reply = KINDS[fault.kind](hit)
    reply.rate = hit.param("rate", reply.rate)
    reply.before = hit.param("before", reply.before)
    return reply


def kind(function, name=None):
    KINDS[name or function.__name__] = function
    return function


# ---- a status in the site's own form


def _status(name):
    def answer(hit):
        """retry_after: text of the header"""
        reply = hit.site.error(name, hit.request)
        if "retry_after" in hit.params:
            reply.set("Retry-After", str(hit.params["retry_after"]))
        return reply
    return answer


for _name in ("400", "401_missing", "401_bad_token", "403", "403_early_access", "403_gated", "404", "410", "429", "451", "500",
              "502", "503"):
    kind(_status(_name), _name)
kind(_status("404"), "404_transient")
for _code in (403, 503, 520, 522, 524, 530):
    kind(lambda hit, code=_code: challenge_page(code), f"cloudflare_{_code}")


@kind
def expired_signature(hit):
    """form: aws, r2, b2, cloudfront or civitai; the host's own when absent"""
    return hit.site.error("expired_signature", hit.request, **hit.params)


@kind
def status(hit):
    """status, body, content_type, headers [[name, value]]"""
    headers = [tuple(pair) for pair in hit.param("headers", [])]
    return Reply(hit.param("status", 418), hit.param("body", ""), headers, hit.param("content_type", None))


# ---- redirects


@kind
def redirect_to_other_host(hit):
    """status. The good answer's file, at a host that has nothing to do with any source."""
    good = hit.good()
    if good.item is None:
        return good
    reply = Reply(hit.param("status", 307), headers=[("Location", hit.world.sites["elsewhere"].url(hit.request, good.item))])
    reply.item = good.item
    return reply


@kind
def redirect_loop(hit):
    """status. To the very URL that was asked for."""
    url = f"{hit.request.scheme}://{hit.request.host()}{hit.request.target}"
    return Reply(hit.param("status", 307), headers=[("Location", url)])


@kind
def redirect_to(hit):
    """location, status. {civitai} in it stands for that host's base on the request's scheme, {http:civitai} for that on http"""
    location = hit.param("location", "http://169.254.169.254/latest/meta-data/")
    for name in hit.world.listeners:
        location = location.replace("{%s}" % name, hit.world.base(name, hit.request.scheme))
        for scheme in ("http", "https"):
            location = location.replace("{%s:%s}" % (scheme, name), hit.world.base(name, scheme))
    return Reply(hit.param("status", 307), headers=[("Location", location)])


# ---- something else in the file's place


def _instead(hit, body, content_type=None):
    """Another file under the good answer's headers: ranges are of that file."""
    content = body if hasattr(body, "runs") else Memory(body if isinstance(body, bytes) else body.encode())
    good = hit.good()
    if good.status not in (200, 206):
        return good
    good.set("Content-Range", None)
    good.status = 200
    good.show(content)
    asked = hit.request.range(content.size)
    if asked == "none":
        return Reply(416, headers=[("Content-Range", f"bytes */{content.size}")])
    if asked:
        good.status = 206
        good.show(content, *asked)
        good.set("Content-Range", f"bytes {asked[0]}-{asked[1] - 1}/{content.size}")
    if content_type:
        good.set("Content-Type", content_type)
    return good


@kind
def login_html_200(_hit):
    return Reply(200, LOGIN_PAGE, content_type="text/html; charset=utf-8")


@kind
def html_200(hit):
    """body"""
    page = hit.param("body", "<!DOCTYPE html><html><body>Service unavailable</body></html>")
    return Reply(200, page, content_type="text/html")


@kind
def json_200(_hit):
    return Reply(200, '{"error":"File not found"}', content_type="application/json")


@kind
def lfs_pointer(hit):
    return _instead(hit, LFS_POINTER, "text/plain")


@kind
def pickle_body(hit):
    """form: zip or pickle"""
    return _instead(hit, weights.pickle(hit.param("form", "zip")))


@kind
def bad_safetensors(hit):
    """form: a name of weights.BROKEN"""
    return _instead(hit, weights.broken(hit.param("form", "overlap")))


@kind
def other_content(hit):
    """text, or bytes (made up, that many)"""
    return _instead(hit, hit.params["text"] if "text" in hit.params else Generated(hit.param("bytes", 4096), 99))


@kind
def wrong_hash(hit):
    """at: the byte whose lowest bit is turned; the middle one when absent"""
    good = hit.good()
    if good.status in (200, 206) and good.content.size > 0:
        good.content = flipped(good.content, hit.param("at", good.content.size // 2))
    return good


def _resized(content, by):
    return Joined(content, Generated(by, 7)) if by > 0 else Slice(content, 0, max(0, content.size + by))


@kind
def wrong_length(hit):
    """by: bytes that the file is longer (or, negative, shorter), consistently"""
    good = hit.good()
    return _instead(hit, _resized(good.content, hit.param("by", -1))) if good.status in (200, 206) else good


@kind
def oversize(hit):
    """how: announced (a larger file), chunked (what was asked for and more, no length), beyond (more than Content-Length);
    extra: bytes more; endless when absent"""
    good, extra = hit.good(), hit.param("extra", ENDLESS)
    if good.status not in (200, 206):
        return good
    how = hit.param("how", "announced")
    if how == "announced":
        return _instead(hit, _resized(good.content, extra))
    n = good.stop - good.start
    good.show(Joined(Slice(good.content, good.start, good.stop), Generated(extra, 7)))
    if how == "chunked":
        good.is_chunked = True
    else:
        good.length, good.end = n, "close"
    return good


@kind
def endless(hit):
    """A chunked body of made-up bytes without end."""
    good = hit.good()
    good.status, good.is_chunked = 200, True
    good.set("Content-Range", None)
    good.show(Generated(ENDLESS, 5))
    return good


@kind
def gzip_bomb(hit):
    """unpacked: bytes"""
    good = hit.good()
    good.show(GzipZeros(hit.param("unpacked", BOMB)))
    good.status = 200
    good.set("Content-Range", None)
    good.set("Content-Encoding", "gzip")
    return good


@kind
def gzip(hit):
    """The good body, packed although nobody asked for that."""
    good = hit.good()
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    good.show(Memory(packer.compress(good.content.bytes(good.start, good.stop)) + packer.flush()))
    good.set("Content-Encoding", "gzip")
    return good


# ---- ranges and validators


@kind
def range_ignored_200(hit):
    good = hit.good()
    if good.status == 206:
        good.status = 200
        good.set("Content-Range", None)
        good.show(good.content)
    return good


@kind
def wrong_content_range(hit):
    """how: shifted (another range's bytes, rightly labelled), header (the right bytes, wrongly labelled), total (another
    size), missing (206 without the header), short (less than was asked for); by: bytes"""
    good = hit.good()
    if good.status != 206:
        return good
    how, by, size = hit.param("how", "shifted"), hit.param("by", 1), good.content.size
    start, stop = good.start, good.stop
    moved = (start + by, stop + by) if stop + by <= size else (max(0, start - by), stop - by)
    if how == "shifted":
        good.show(good.content, *moved)
        start, stop = moved
    elif how == "header":
        start, stop = moved
    elif how == "total":
        size += by
    elif how == "short":
        stop = max(start + 1, stop - by)
        good.show(good.content, start, stop)
    good.set("Content-Range", None if how == "missing" else f"bytes {start}-{stop - 1}/{size}")
    return good


@kind
def etag_changed(hit):
    """etag. As if the file had been replaced: a condition on the old one is not met."""
    good = hit.good()
    if good.status == 206 and hit.request.header("if-range"):
        good.status = 200
        good.set("Content-Range", None)
        good.show(good.content)
    elif hit.request.header("if-match"):
        good = Reply(412)
    good.set("ETag", hit.param("etag", '"0123456789abcdef0123456789abcdef-3"'))
    good.set("Last-Modified", None)
    return good


@kind
def etag_missing(hit):
    good = hit.good()
    good.set("ETag", None)
    return good


@kind
def etag_weak(hit):
    good = hit.good()
    good.set("ETag", "W/" + (good.header("etag") or '"x"'))
    return good


# ---- how it is sent


def _cut(hit, reply):
    n = reply.stop - reply.start
    reply.cut = hit.param("at", int(n * hit.param("part", 0.5)))
    return reply


@kind
def truncated(hit):
    """at (bytes) or part (0..1) of the body, then an orderly end; no_length: true leaves out Content-Length"""
    reply = _cut(hit, hit.good())
    reply.end, reply.has_length = "close", not hit.param("no_length", False)
    return reply


@kind
def reset(hit):
    """at or part of the body, then RST"""
    reply = _cut(hit, hit.good())
    reply.end = "reset"
    return reply


@kind
def slow(hit):
    """rate: bytes per second"""
    reply = hit.good()
    reply.rate = 1024
    return reply


@kind
def stall(hit):
    """at or part of the body (nothing when both are absent), or before_head: true; then silence for `seconds`, then the end"""
    if hit.param("before_head", False):
        reply = Reply()
        reply.raw = b""
    else:
        reply = hit.good()
        reply.cut = 0
        if "at" in hit.params or "part" in hit.params:
            _cut(hit, reply)
    reply.end, reply.hold = "stall", hit.param("seconds", FOREVER_S)
    return reply


@kind
def no_answer(_hit):
    reply = Reply()
    reply.raw, reply.end = b"", "close"
    return reply


@kind
def garbage(hit):
    """raw"""
    reply = Reply()
    reply.raw, reply.end = hit.param("raw", "\x00\x01 this is no HTTP\r\n\r\n").encode("latin-1"), "close"
    return reply


@kind
def chunked(hit):
    """The good body in chunks, without Content-Length."""
    reply = hit.good()
    reply.is_chunked = True
    return reply


@kind
def no_length(hit):
    """The good body, its end told by the connection's only."""
    reply = hit.good()
    reply.has_length = False
    return reply


@kind
def big_headers(hit):
    """bytes"""
    reply, n = hit.good(), hit.param("bytes", 400_000)
    reply.headers += [(f"X-Filler-{at}", "x" * 8000) for at in range(n // 8000)]
    return reply


@kind
def many_headers(hit):
    """n"""
    reply = hit.good()
    reply.headers += [(f"X-{at}", "1") for at in range(hit.param("n", 5000))]
    return reply


@kind
def interim(hit):
    """n answers 103 before the good one"""
    reply = hit.good()
    reply.first = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * hit.param("n", 1000)
    return reply


@kind
def content_disposition(hit):
    """value"""
    reply = hit.good()
    reply.set("Content-Disposition", hit.param("value", 'attachment; filename="../../../etc/cron.d/x"'))
    return reply


@kind
def set_cookie(hit):
    reply = hit.good()
    reply.headers.append(("Set-Cookie", "session=from-the-server; Path=/"))
    return reply
