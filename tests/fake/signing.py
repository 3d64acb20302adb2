"""Signatures in URLs and headers: AWS Signature Version 4, made and judged, and the opaque kind of other stores.

SigV4 as AWS documents it ("Authenticating Requests: Using the Authorization Header / Query Parameters" of the S3 API
reference). A judgement gives None, or a Refusal with S3's own code, status and sentence.
"""

import calendar
import hashlib
import hmac
import re
import time
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW_S = 15 * 60  # what S3 allows a clock to be off
LONGEST_LIFE_S = 7 * 24 * 3600


class Refusal(Exception):
    def __init__(self, status, code, message, **details):
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


def encode(text, safe=""):
    return quote(text, safe=safe + "-_.~")


def split_query(query):
    """[(name, value)] percent-decoded; a plus is a plus."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def canonical_query(pairs):
    return "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in pairs))


def canonical_request(method, path, pairs, headers, signed, payload):
    """path raw; headers [(name, value)]; signed [lower-case names]"""
    values = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(re.sub(r"\s+", " ", value.strip()))
    lines = [f"{name}:{','.join(values.get(name, ['']))}\n" for name in signed]
    return "\n".join([method, encode(unquote(path), "/"), canonical_query(pairs), "".join(lines), ";".join(signed), payload])


def string_to_sign(date, scope, canonical):
    return "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])


def signature(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def amz_date(now):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def parse_date(text):
    if not re.fullmatch(r"\d{8}T\d{6}Z", text):
        raise Refusal(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


def presign(method, host, path, pairs, access, secret, region, life_s, now):
    """The query of a presigned URL; path raw, pairs further parameters (signed as well)."""
    date = amz_date(now)
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    pairs = list(pairs) + [("X-Amz-Algorithm", ALGORITHM), ("X-Amz-Credential", f"{access}/{scope}"), ("X-Amz-Date", date),
                           ("X-Amz-Expires", str(int(life_s))), ("X-Amz-SignedHeaders", "host")]
    canonical = canonical_request(method, path, pairs, [("host", host)], ["host"], UNSIGNED)
    return canonical_query(pairs) + "&X-Amz-Signature=" + signature(secret, scope, string_to_sign(date, scope, canonical))


class Claim:
    """What a request says of itself, wherever it stands."""
    def __init__(self, credential, signed, given, date, payload, pairs, what):
        parts = credential.split("/")
        if len(parts) != 5 or parts[3:] != ["s3", "aws4_request"]:
            raise Refusal(400, what, "the credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\", "
                          f"not {credential!r}")
        self.access, self.region, self.scope = parts[0], parts[2], "/".join(parts[1:])
        self.signed, self.given, self.date = signed.split(";"), given, date
        self.payload, self.pairs, self.what = payload, pairs, what
        if parts[1] != date[:8]:
            raise Refusal(400, what,
                          f"Invalid credential date {parts[1]!r}. This date is not the same as X-Amz-Date: {date[:8]!r}")


def claim_of_header(request):
    found = re.fullmatch(ALGORITHM + r"\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})",
                         request.header("authorization").strip())
    if not found:
        raise Refusal(400, "AuthorizationHeaderMalformed", "The authorization header is malformed")
    payload = request.header("x-amz-content-sha256")
    if payload is None:
        raise Refusal(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if payload not in (UNSIGNED, hashlib.sha256(request.body).hexdigest()):
        raise Refusal(400, "XAmzContentSHA256Mismatch",
                      "The provided 'x-amz-content-sha256' header does not match what was computed.")
    date = request.header("x-amz-date") or ""
    parse_date(date)
    return Claim(*found.groups(), date, payload, split_query(request.query), "AuthorizationHeaderMalformed")


def claim_of_query(request):
    pairs = split_query(request.query)
    values = dict(pairs)
    wanted = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
    what = "AuthorizationQueryParametersError"
    if any(name not in values for name in wanted) or values["X-Amz-Algorithm"] != ALGORITHM:
        raise Refusal(400, what, f"Query-string authentication version 4 requires the {', '.join(wanted)} parameters.")
    if not re.fullmatch(r"\d+", values["X-Amz-Expires"]) or not 0 < int(values["X-Amz-Expires"]) <= LONGEST_LIFE_S:
        raise Refusal(400, what, "X-Amz-Expires must be a number between 1 and 604800 seconds")
    rest = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    return Claim(values["X-Amz-Credential"], values["X-Amz-SignedHeaders"], values["X-Amz-Signature"], values["X-Amz-Date"],
                 UNSIGNED, rest, what)


def judge_time(request, claim, is_query, now):
    at = parse_date(claim.date)
    if is_query:
        if at > now + SKEW_S:
            raise Refusal(403, "AccessDenied", "Request is not valid yet")
        if now >= at + int(dict(claim.pairs)["X-Amz-Expires"]):
            raise Refusal(403, "AccessDenied", "Request has expired",
                          Expires=amz_date(at + int(dict(claim.pairs)["X-Amz-Expires"])))
    elif abs(now - at) > SKEW_S:
        raise Refusal(403, "RequestTimeTooSkewed",
                      "The difference between the request time and the current time is too large.",
                      RequestTime=request.header("x-amz-date"), ServerTime=amz_date(now))


def judge(request, credentials, region, now=None):
    """Raises Refusal unless the request is signed by one of credentials {access: {"secret", "session"}}. The access key."""
    now = time.time() if now is None else now
    is_query = "X-Amz-Signature=" in request.query
    if is_query and request.header("authorization"):
        raise Refusal(
            400, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
            "Signature query string parameter or the Authorization header should be specified")
    if not is_query and not request.header("authorization"):
        raise Refusal(403, "AccessDenied", "Access Denied")
    claim = claim_of_query(request) if is_query else claim_of_header(request)
    known = credentials.get(claim.access)
    if known is None:
        raise Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    if claim.region != region:
        raise Refusal(400, claim.what, f"the region '{claim.region}' is wrong; expecting '{region}'", Region=region)
    judge_time(request, claim, is_query, now)
    judge_headers(request, claim)
    session = request.header("x-amz-security-token") or dict(claim.pairs).get("X-Amz-Security-Token")
    if known.get("session") != session:
        raise Refusal(403 if session is None else 400, "InvalidToken" if session else "AccessDenied",
                      "The provided token is malformed or otherwise invalid.")
    canonical = canonical_request(request.method, request.path, claim.pairs, request.headers, claim.signed, claim.payload)
    text = string_to_sign(claim.date, claim.scope, canonical)
    if not hmac.compare_digest(signature(known["secret"], claim.scope, text), claim.given):
        raise Refusal(
            403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.", StringToSign=text, CanonicalRequest=canonical)
    return claim.access


def judge_headers(request, claim):
    if claim.signed != sorted(claim.signed) or "host" not in claim.signed:
        raise Refusal(403, "AccessDenied", "SignedHeaders must be sorted and hold host")
    unsigned = [
        name.lower() for name, _ in request.headers
        if name.lower().startswith("x-amz-") and name.lower() not in claim.signed]
    if unsigned:
        raise Refusal(403, "AccessDenied", "There were headers present in the request which were not signed",
                      HeadersNotSigned=", ".join(unsigned))


# ---- the opaque kind: over the bytes of the target as they are sent


def seal(secret, target):
    return hmac.new(secret, target.encode(), hashlib.sha256).hexdigest()


def sealed(secret, target, name="Signature"):
    """The target with a signature over its bytes; re-encoding any part of it breaks the signature."""
    return f"{target}&{name}={seal(secret, target)}"


def is_sealed(secret, target, name="Signature"):
    before, found, given = target.rpartition(f"&{name}=")
    return bool(found) and hmac.compare_digest(seal(secret, before), given)
