"""An S3-compatible endpoint: GET and HEAD of objects, signed by header or URL, path-style or with the bucket in the host.

Signatures are judged as S3 judges them (signing.py), with its codes and sentences; SignatureDoesNotMatch tells the string
that it signed. {"presigned": false} in the catalogue refuses presigned URLs, as RunPod's gateway does.
"""

import re
from urllib.parse import unquote

from fake import signing
from fake.storage import Store, send, xml_error


class S3(Store):
    def handle(self, request):
        reply = self._handle(request)
        reply.set("x-amz-request-id", "4442587FB7D0A2F9")
        return reply

    def _handle(self, request):
        if request.method not in ("GET", "HEAD"):
            return xml_error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        name, key = self._place(request)
        bucket = self.world.catalogue.s3["buckets"].get(name)
        try:
            self._judge(request, bucket)
        except signing.Refusal as refusal:
            return xml_error(refusal.status, refusal.code, refusal.message, **refusal.details)
        if bucket is None:
            return xml_error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=name)
        item = bucket["files"].get(key)
        if item is None:
            return xml_error(404, "NoSuchKey", "The specified key does not exist.", Key=key)
        return send(request, item)

    def _place(self, request):
        """(bucket, key): the bucket is the host's first label where that names one."""
        host = request.host().rpartition(":")[0] or request.host()
        first = host.partition(".")[0]
        path = unquote(request.path).lstrip("/")
        if not re.fullmatch(r"[\d.]+", host) and first in self.world.catalogue.s3["buckets"]:
            return first, path
        name, _, key = path.partition("/")
        return name, key

    def _judge(self, request, bucket):
        settings = self.world.catalogue.s3
        is_presigned = "X-Amz-Signature=" in request.query
        if is_presigned and not settings["presigned"]:
            raise signing.Refusal(403, "AccessDenied", "Presigned URLs are not supported.")
        if not is_presigned and request.header("authorization") is None and bucket and bucket["public"]:
            return
        signing.judge(request, settings["credentials"], settings["region"])

    def presigned(self, bucket, key, access, life_s, now, scheme="https"):
        """A presigned URL for tests that need a good one."""
        base = self.world.base("s3", scheme)
        path = "/" + signing.encode(f"{bucket}/{key}", "/")
        settings = self.world.catalogue.s3
        secret, host = settings["credentials"][access]["secret"], base.partition("://")[2]
        query = signing.presign("GET", host, path, [], access, secret, settings["region"], life_s, now)
        return f"{base}{path}?{query}"
