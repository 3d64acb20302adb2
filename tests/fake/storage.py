"""The stores behind the sources: CivitAI's (Cloudflare R2, Backblaze B2), Hugging Face's CDN, and "elsewhere".

Each gives URLs that are signed for one method, host, path and query until they expire, and refuses what the real ones do:
an Authorization header beside the signature, HEAD on a URL signed for GET, a query that was decoded and encoded again.
POST /control/expire of models.py makes a new epoch: every URL signed before is expired.

"elsewhere" is a host that nobody signed anything for. It serves any file by number and exists to be redirected to.
"""

import re
import time
from urllib.parse import quote
from xml.sax.saxutils import escape

from fake import signing
from fake.wire import Reply, file_reply

R2_ACCESS, R2_SECRET, R2_REGION = "fakeaccesskeyofr2", "fake secret of r2", "auto"
SEAL = b"fake secret of b2 and cloudfront"
EPOCH = "x-fake-epoch"

CODES = {"400": "InvalidRequest", "401": "Unauthorized", "403": "AccessDenied", "404": "NoSuchKey", "410": "Gone",
         "429": "TooManyRequests", "451": "UnavailableForLegalReasons", "500": "InternalError", "502": "BadGateway",
         "503": "SlowDown"}


def xml_error(status, code, message, **details):
    """S3's form, which R2, B2's S3 side and CloudFront's origin share."""
    inside = {"Code": code, "Message": message, **details, "RequestId": "4442587FB7D0A2F9"}
    text = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in inside.items())
    return Reply(status, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>', content_type="application/xml")


def b2_error(status, code):
    return Reply(status, f'{{"code": "{code}", "message": "", "status": {status}}}', content_type="application/json")


EXPIRED = {
    "aws": lambda: xml_error(403, "AccessDenied", "Request has expired", **{"X-Amz-Expires": 86400}),
    "r2": lambda: xml_error(403, "ExpiredRequest", "Request has expired"),
    "b2": lambda: b2_error(401, "expired_auth_token"),
    "cloudfront": lambda: xml_error(403, "AccessDenied", "Access denied"),
    "civitai": lambda: Reply(403, '{"error":"Forbidden"}', content_type="application/json"),
}


def send(request, item, more=(), etag=None):
    headers = [("Content-Type", "binary/octet-stream"), *more]
    reply = file_reply(request, item.content, etag or item.etag, item.modified, headers)
    reply.item = item
    return reply


class Store:
    """What the stores share."""

    expired_form = "aws"

    def __init__(self, world):
        self.world = world

    def error(self, kind, _request, **params):
        if kind == "expired_signature":
            return EXPIRED[params.get("form", self.expired_form)]()
        status, code = int(kind[:3]), CODES[kind[:3]]
        return xml_error(status, code, "We cannot do that now." if status >= 500 else f"The answer is {code}.")


class CivitaiStore(Store):
    expired_form = "r2"

    def url(self, request, item, name, kind, life_s):
        """A fresh signed URL, on the scheme the request came by."""
        base = self.world.base("civitai_cdn", request.scheme)
        if kind == "b2":
            target = (f"/file/civitai-modelfiles/model/{item.number}/{quote(name)}?exp={int((time.time() + life_s) * 1000)}"
                      f"&{EPOCH}={self.world.epoch}&b2ContentDisposition=attachment%3B+filename%3D%22{quote(name)}%22")
            return base + signing.sealed(SEAL, target, "Authorization")
        path = f"/civitai-delivery-worker-prod/model/{item.number}/{quote(name)}"
        extra = [("response-content-disposition", f'attachment; filename="{name}"'), ("x-id", "GetObject"),
                 (EPOCH, str(self.world.epoch))]
        host, now = base.partition("://")[2], time.time()
        query = signing.presign("GET", host, path, extra, R2_ACCESS, R2_SECRET, R2_REGION, life_s, now)
        return f"{base}{path}?{query}"

    def handle(self, request):
        found = re.match(r"/(civitai-delivery-worker-prod|file/civitai-modelfiles)/model/(\d+)/", request.path)
        item = self.world.catalogue.item(found.group(2)) if found else None
        is_b2 = bool(found) and found.group(1).startswith("file/")
        refusal = (self._judge_b2 if is_b2 else self._judge_r2)(request)
        if refusal:
            return refusal
        if item is None:
            return xml_error(404, "NoSuchKey", "The specified key does not exist.")
        wanted = request.param("b2ContentDisposition" if is_b2 else "response-content-disposition")
        return send(request, item, [("Content-Disposition", wanted)] if wanted else ())

    def _judge_r2(self, request):
        if request.header("authorization"):
            return xml_error(400, "InvalidRequest", "Missing x-amz-content-sha256")
        try:
            signing.judge(request, {R2_ACCESS: {"secret": R2_SECRET}}, R2_REGION)
        except signing.Refusal as refusal:
            if refusal.message == "Request has expired":
                return EXPIRED["r2"]()
            return xml_error(refusal.status, refusal.code, refusal.message)
        return None if request.param(EPOCH) == str(self.world.epoch) else EXPIRED["r2"]()

    def _judge_b2(self, request):
        is_signed = request.method == "GET" and signing.is_sealed(SEAL, request.target, "Authorization")
        if request.header("authorization") or not is_signed:
            return b2_error(403, "unauthorized")
        is_fresh = request.param(EPOCH) == str(self.world.epoch) and time.time() * 1000 < int(request.param("exp"))
        return None if is_fresh else EXPIRED["b2"]()


class HuggingFaceStore(Store):
    expired_form = "cloudfront"

    def url(self, request, item, life_s):
        name = quote(item.name.rpartition("/")[2])
        target = (f"/xet-bridge-us/{item.number}/{item.sha256()}"
                  f"?response-content-disposition=inline%3B+filename*%3DUTF-8%27%27{name}%3B&Expires={time.time() + life_s:.3f}"
                  f"&Policy=eyJTdGF0ZW1lbnQiOltdfQ__&Key-Pair-Id=K2L8F4GPSG1IFC&{EPOCH}={self.world.epoch}")
        return self.world.base("huggingface_cdn", request.scheme) + signing.sealed(SEAL, target)

    def handle(self, request):
        if request.header("authorization"):
            return xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not signing.is_sealed(SEAL, request.target):
            return xml_error(403, "AccessDenied", "Access denied")
        if request.param(EPOCH) != str(self.world.epoch) or time.time() >= float(request.param("Expires")):
            return EXPIRED["cloudfront"]()
        item = self.world.catalogue.item(request.path.split("/")[2])
        if item is None:
            return xml_error(404, "NoSuchKey", "The specified key does not exist.")
        reply = send(request, item, [("Content-Disposition", request.param("response-content-disposition"))],
                     f'"{item.sha256()}"')
        if reply.status == 206 and "gzip" in (request.header("accept-encoding") or ""):  # CloudFront ignores the range then
            reply.status = 200
            reply.set("Content-Range", None)
            reply.show(item.content)
        return reply


class Elsewhere(Store):
    """Any file by number, to anybody; also a login page, and a page that leads nowhere else."""

    def url(self, request, item):
        return f"{self.world.base('elsewhere', request.scheme)}/held/{item.number}"

    def handle(self, request):
        found = re.fullmatch(r"/held/(\d+)", request.path)
        item = self.world.catalogue.item(found.group(1)) if found else None
        if item is None:
            return Reply(404, "nothing here\n", content_type="text/plain")
        return send(request, item)
