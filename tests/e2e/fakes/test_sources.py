"""Each source answers as the real one does: choice of file, keys, redirects, signatures, headers, refusals."""

import hashlib
import json
import re
import time
from urllib.parse import urlsplit

from harness import ask, case, curl, equal, main

from fake.catalogue import TOKEN

ANNA = "key-of-anna"
SAFE, TENSOR = {"format": "SafeTensor", "size": "pruned", "fp": "fp16"}, {"a": ["F16", [64, 64]]}
FULL = {**SAFE, "size": "full"}
FILES = [
    {"id": 1, "name": "full.safetensors", "metadata": FULL, "text": "full"},
    {"id": 2, "name": "pruned.safetensors", "metadata": SAFE, "text": "pruned"},
    {"id": 3, "name": "int8.safetensors", "metadata": {**FULL, "fp": "int8"}, "text": "int8"},
    {"id": 4, "name": "old.ckpt", "metadata": {**SAFE, "format": "PickleTensor"}, "text": "pickle"},
    {"id": 5, "name": "hidden.safetensors", "metadata": SAFE, "visibility": "Private", "text": "hidden"},
    {"id": 6, "name": "b two (1).safetensors", "metadata": SAFE, "type": "VAE", "storage": "b2", "tensors": TENSOR},
]


def version(number, **more):
    return {"id": number, "files": [{"id": number + 80, "name": "x.safetensors", "text": "x"}], **more}


EARLY, OVER = "2099-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"
PENDING = {"id": 98, "name": "pending.safetensors", "hashes": {}, "pickleScanResult": "Pending", "text": "p"}
CIVITAI = {
    "tokens": {ANNA: {"name": "anna"}, "likes-full": {"name": "ben", "preferences": {"size": "full"}},
               "granted-key": {"grants": [12, 15]}, "banned-key": {"blocked": True}},
    "models": [
        {"id": 1, "name": "Boats & Co", "type": "Checkpoint", "versions": [
            {"id": 10, "name": "v1.0", "trainedWords": ["boat"], "files": FILES}, version(11, linked=[6]),
            version(12, availability="EarlyAccess", earlyAccessEndsAt=EARLY), version(13, usageControl="InternalGeneration"),
            version(14, status="Draft"), version(15, private=True),
            version(16, availability="EarlyAccess", earlyAccessEndsAt=OVER)]},
        {"id": 2, "mode": "Archived", "versions": [version(20)]},
        {"id": 3, "type": "LORA", "versions": [{"id": 30, "files": [PENDING]}]},
        {"id": 4, "red_only": True, "versions": [version(40)]}],
}
HUGGINGFACE = {
    "tokens": {"hf-of-anna": {"name": "anna", "accepted": ["o/gated"], "sees": ["o/private"]}, "hf-stranger": {"name": "ben"}},
    "repos": [
        {"id": "o/open", "commit": "c" * 40, "branches": ["refs/pr/1"], "resolve_cache": True, "files": [
            {"path": "a b/w.safetensors", "generate": 3 << 20},
            {"path": "config.json", "lfs": False, "text": "hello world\n"}]},
        {"id": "o/gated", "gated": "auto", "files": [{"path": "a", "text": "a"}]},
        {"id": "o/private", "private": True, "files": [{"path": "a", "text": "a"}]},
        {"id": "o/disabled", "disabled": True, "files": [{"path": "a", "text": "a"}]},
        {"id": "o/old", "moved_to": "o/open"}],
}
ODD_KEY = "loras/a b+(1).safetensors"
S3 = {
    "credentials": {TOKEN["access"]: {"secret": TOKEN["secret"]},
                    "AKIATEMPORARY": {"secret": "temporary secret", "session": "the/session=="}},
    "buckets": {"models": {"files": [{"key": ODD_KEY, "text": "object"}, {"key": "plain", "text": "object"}]},
                "open": {"public": True, "files": [{"key": "k", "text": "public"}]}},
}
TREE = {"civitai": CIVITAI, "huggingface": HUGGINGFACE, "s3": S3}


def download(fake, version, query="", key=ANNA, agent=None, method="GET"):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return ask(fake, fake.url("civitai", f"/api/download/models/{version}{query}"), method, **headers,
               **({"User_Agent": agent} if agent is not None else {}))


def body_of(fake, answer):
    equal(answer.status, 307, f"{answer!r}")
    return ask(fake, answer["Location"]).body


# ---- CivitAI


@case
def civitai_redirects_to_a_signed_url_on_another_host(fake):
    answer = download(fake, 10, "?fileId=2")
    place = urlsplit(answer["Location"])
    equal((place.scheme, place.netloc), ("https", urlsplit(fake.url("civitai_cdn")).netloc))
    assert "X-Amz-Expires=86400" in place.query and "X-Amz-SignedHeaders=host" in place.query
    file = ask(fake, answer["Location"], Range="bytes=1-3")
    equal((file.status, file.body, file["Content-Disposition"]),
          (206, b"run", 'attachment; filename="boatsCo_v10.safetensors"'))
    plain = ask(fake, fake.url("civitai", "/api/download/models/10?fileId=2", "http"), Authorization="Bearer key-of-anna")
    equal(urlsplit(plain["Location"]).scheme, "http")
    equal(fake.leaks(), [])


CHOICES = [  # query, key, what comes
    ("", ANNA, b"pruned"), ("", "likes-full", b"full"), ("?fileId=1", ANNA, b"full"), ("?size=full", ANNA, b"full"),
    ("?format=PickleTensor", ANNA, b"pickle"), ("?fileId=3", "likes-full", b"int8"), ("?fp=int8&size=full", ANNA, b"int8"),
]


@case
def civitai_chooses_by_account_and_query(fake):
    for query, key, expected in CHOICES:
        found = body_of(fake, download(fake, 10, query, key))
        equal(found, expected, f"{query} {key}")
    equal(download(fake, 10, "?fp=int8").status, 404)  # pruned outranks fp, and the winner contradicts the query
    equal(download(fake, 10, "?fileId=91").status, 404)  # another version's
    equal(download(fake, 10, "?fileId=5").status, 404)  # not public
    equal(download(fake, 11, "?fileId=6").status, 404)  # linked
    equal(download(fake, 11, "?type=VAE").status, 307)  # linked, by type


REFUSALS = [  # version, query, key, status, words
    (10, "", None, 401, "requires you to be logged in"), (10, "", "wrong", 401, "requires you to be logged in"),
    (10, "", "banned-key", 403, "Forbidden"), (12, "", ANNA, 403, "Early Access"), (13, "", ANNA, 401, "disabled downloads"),
    (14, "", ANNA, 404, "File not found"), (15, "", ANNA, 403, "do not have access"), (20, "", ANNA, 410, "archived"),
    (999, "", ANNA, 404, "File not found"), (10, "?type=Nonsense", ANNA, 400, "type"), (10, "?fileId=x", ANNA, 400, "fileId"),
    ("abc", "", ANNA, 400, "id"), (99999999999, "", ANNA, 400, "id"),
]


@case
def civitai_refuses_with_its_own_words(fake):
    for number, query, key, status, words in REFUSALS:
        answer = download(fake, number, query, key)
        equal(answer.status, status, f"{number} {query} {key}")
        tree = json.loads(answer.body)
        assert words in tree["error"] + tree.get("message", ""), f"{number}: {tree}"
    equal(json.loads(download(fake, 12).body)["deadline"], "2099-01-01T00:00:00.000Z")
    for number, key in ((12, "granted-key"), (15, "granted-key"), (16, ANNA)):
        equal(download(fake, number, "", key).status, 307, number)


@case
def civitai_takes_the_key_from_the_query_only_without_a_header(fake):
    url = fake.url("civitai", "/api/download/models/10?fileId=2&token=key-of-anna")
    equal(ask(fake, url).status, 307)
    equal(ask(fake, url, Authorization="nonsense").status, 401)
    equal(ask(fake, fake.url("civitai", "/api/v1/me"), Authorization="Bearer key-of-anna").status, 200)
    equal(ask(fake, fake.url("civitai", "/api/v1/me"), Authorization="Bearer wrong").status, 401)


@case
def civitai_treats_browsers_urllib_and_head_badly(fake):
    for agent in ("Mozilla/5.0", "knowledge-worker/1"):
        answer = download(fake, 10, "", None, agent)
        equal((answer.status, "reason=download-auth" in answer["Location"]), (307, True), agent)
        page = ask(fake, fake.url("civitai", answer["Location"]), User_Agent=agent)
        equal((page.status, page["Content-Type"]), (200, "text/html; charset=utf-8"))
    for agent in ("Python-urllib/3.11", ""):
        answer = download(fake, 10, "", ANNA, agent)
        assert answer.status == 403 and b"/cdn-cgi/challenge-platform/" in answer.body, repr(answer)
    equal(download(fake, 10, "", ANNA, method="HEAD").status, 401)


@case
def civitai_stores_refuse_keys_head_and_changed_urls(fake):
    for query, forbidden in (("?fileId=2", 400), ("?fileId=6", 403)):  # R2, B2
        url = download(fake, 10, query)["Location"]
        equal(ask(fake, url, Authorization="Bearer key-of-anna").status, forbidden)
        equal(ask(fake, url, "HEAD").status, 403)
        equal(ask(fake, url.replace("filename", "filenamf")).status, 403)
        equal(ask(fake, url.partition("?")[0]).status, 403)
        equal(ask(fake, url).status, 200)
        equal(len([leak for leak in fake.leaks() if "Authorization" in leak]), 1, query)
        fake.clear()
    url = download(fake, 10, "?fileId=6")["Location"]
    equal(ask(fake, url.replace("%3B", ";")).status, 403, "a decoded query")
    equal(ask(fake, url.replace("+", "%20")).status, 403, "an encoded plus")


@case
def civitai_stores_let_urls_expire(fake):
    for query, status in (("?fileId=2", 403), ("?fileId=6", 401)):
        url = download(fake, 10, query)["Location"]
        fake.expire()
        answer = ask(fake, url)
        assert answer.status == status and b"expired" in answer.body, repr(answer)
        equal(ask(fake, download(fake, 10, query)["Location"]).status, 200)


@case
def civitai_describes_versions_and_models(fake):
    tree = json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/10")).body)
    equal((tree["modelId"], tree["model"]["type"], tree["air"], tree["baseModel"]),
          (1, "Checkpoint", "urn:air:sdxl:checkpoint:civitai:1@10", "SDXL 1.0"))
    equal([file["id"] for file in tree["files"]], [1, 2, 3, 4, 6])
    equal([file["id"] for file in tree["files"] if file.get("primary")], [2])
    pruned = tree["files"][1]
    equal(pruned["hashes"]["SHA256"], hashlib.sha256(b"pruned").hexdigest().upper())
    equal(round(pruned["sizeKB"] * 1024), 6)
    linked = json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/11")).body)["files"][1]
    assert "/api/download/models/10?" in linked["downloadUrl"], linked
    model = json.loads(ask(fake, fake.url("civitai", "/api/v1/models/1")).body)
    equal([version["id"] for version in model["modelVersions"]], [10, 11, 12, 13, 15, 16])
    equal(json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/20")).body)["files"], [])
    equal(json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/30")).body)["files"][0]["hashes"], {})
    mini = json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/mini/10?modelFileId=3")).body)
    assert mini["downloadUrls"][0].endswith("/api/download/models/10?fileId=3"), mini
    equal(json.loads(ask(fake, fake.url("civitai", "/api/v1/models/77")).body), {"error": "No model with id 77"})
    equal(json.loads(ask(fake, fake.url("civitai", "/api/v1/model-versions/14")).body), {"error": "Model not found"})


@case
def civitai_finds_by_hash(fake):
    sha = hashlib.sha256(b"int8").hexdigest()
    for text in (sha, sha.upper(), sha[:10]):
        equal(json.loads(ask(fake, fake.url("civitai", f"/api/v1/model-versions/by-hash/{text}")).body)["id"], 10, text)
    equal(ask(fake, fake.url("civitai", "/api/v1/model-versions/by-hash/" + "0" * 64)).status, 404)
    url = fake.url("civitai", "/api/v1/model-versions/by-hash")
    found = ask(fake, url, "POST", body=json.dumps([sha, "0" * 64]).encode())
    equal([version["id"] for version in json.loads(found.body)], [10])
    equal(ask(fake, url, "POST", body=b'["short"]').status, 400)


@case
def civitai_counts_downloads_and_blocks_regions(fake):
    try:
        fake.catalogue({"civitai": {**CIVITAI, "region_blocked": True}})
        equal((download(fake, 10).status, json.loads(download(fake, 10).body)["code"]), (451, "REGION_BLOCKED"))
        fake.catalogue({"civitai": {**CIVITAI, "limit": 0}})
        answer = download(fake, 10)
        equal((answer.status, answer["Retry-After"]), (429, None))
    finally:
        fake.catalogue(TREE)


def by_name(fake, url, *more):
    """What curl gets when the real names lead to the fakes."""
    hosts, store = fake.about["hosts"], "x.r2.cloudflarestorage.com"
    names = {"civitai.com": "civitai", "civitai.red": "civitai", store: "civitai_cdn", "huggingface.co": "huggingface"}
    to = [f"{name}:443:{hosts[host]['address']}:{hosts[host]['port']}" for name, host in names.items()]
    return curl(fake, *(word for each in to for word in ("--connect-to", each)), *more, url)


@case
def civitai_answers_to_its_real_names(fake):
    key = ["--header", "Authorization: Bearer key-of-anna"]
    try:
        fake.links(civitai_cdn="https://x.r2.cloudflarestorage.com")
        status, out, problem = by_name(fake, "https://civitai.com/api/download/models/10?fileId=2", "--location", *key)
        equal((status, out, fake.leaks()), (0, b"pruned", []), problem)
        equal(fake.requests("civitai_cdn", at_least=1)[0]["http_host"], "x.r2.cloudflarestorage.com")
    finally:
        fake.links()
    tree = json.loads(by_name(fake, "https://civitai.com/api/v1/model-versions/10")[1])
    equal(tree["downloadUrl"], "https://civitai.com/api/download/models/10")
    equal(curl(fake, "--connect-to", f"other.invalid:443:127.0.0.1:{fake.about['hosts']['civitai']['port']}",
               "https://other.invalid/")[0], 60, "a name that is not ours")


@case
def civitai_hides_models_that_are_on_red_only(fake):
    for path in ("/api/v1/model-versions/40", "/api/v1/models/4", "/api/download/models/40?fileId=120"):
        for name, status in (("civitai.com", b"404"), ("civitai.red", b"307" if "download" in path else b"200")):
            key = ["--header", "Authorization: Bearer key-of-anna", "--output", "/dev/null", "--write-out", "%{http_code}"]
            equal(by_name(fake, f"https://{name}{path}", *key)[1], status, f"{name}{path}")


# ---- Hugging Face


def resolve(fake, repo, path, revision="main", method="HEAD", token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return ask(fake, fake.url("huggingface", f"/{repo}/resolve/{revision}/{path}"), method, **headers)


@case
def huggingface_tells_what_to_pin_and_redirects(fake):
    for method in ("HEAD", "GET"):
        answer = resolve(fake, "o/open", "a%20b/w.safetensors", method=method)
        sha = fake.items()["huggingface:o/open/a b/w.safetensors"]["sha256"]
        equal((answer.status, answer["X-Repo-Commit"], answer["X-Linked-Etag"], answer["X-Linked-Size"]),
              (302, "c" * 40, f'"{sha}"', str(3 << 20)), method)
        assert 'rel="xet-auth"' in answer["Link"] and answer["RateLimit"].startswith('"resolvers";r='), repr(answer)
        file = ask(fake, answer["Location"], Accept_Encoding="identity")
        equal((hashlib.sha256(file.body).hexdigest(), file["ETag"]), (sha, f'"{sha}"'))
        equal(urlsplit(answer["Location"]).netloc, urlsplit(fake.url("huggingface_cdn")).netloc)
    for revision in ("c" * 40, "refs%2Fpr%2F1"):
        equal(resolve(fake, "o/open", "a%20b/w.safetensors", revision).status, 302, revision)


@case
def huggingface_sends_small_files_itself(fake):
    answer = resolve(fake, "o/open", "config.json")
    equal((answer.status, answer["Location"]), (307, "/api/resolve-cache/models/o/open/" + "c" * 40 + "/config.json"))
    file = ask(fake, fake.url("huggingface", answer["Location"]))
    equal((file.status, file.body, file["ETag"]),
          (200, b"hello world\n", '"3b18e512dba79e4c8300dd08aeb37f8e728b8dad"'))  # what git hash-object says
    moved = resolve(fake, "o/old", "config.json")
    equal((moved.status, moved["Location"]), (307, "/o/open/resolve/main/config.json"))


HUB_REFUSALS = [  # repository, path, revision, token, status, code
    ("o/none", "a", "main", None, 401, "RepoNotFound"), ("o/none", "a", "main", "hf-of-anna", 404, "RepoNotFound"),
    ("o/private", "a", "main", None, 401, "RepoNotFound"), ("o/private", "a", "main", "hf-stranger", 404, "RepoNotFound"),
    ("o/private", "a", "main", "hf-of-anna", 302, None), ("o/gated", "a", "main", None, 401, "GatedRepo"),
    ("o/gated", "a", "main", "hf-stranger", 403, "GatedRepo"), ("o/gated", "a", "main", "hf-of-anna", 302, None),
    ("o/open", "none", "main", None, 404, "EntryNotFound"), ("o/open", "config.json", "none", None, 404, "RevisionNotFound"),
    ("o/open", "config.json", "main", "wrong", 401, None), ("o/disabled", "a", "main", None, 403, None),
]


@case
def huggingface_says_errors_by_header(fake):
    for repo, path, revision, token, status, code in HUB_REFUSALS:
        answer = resolve(fake, repo, path, revision, token=token)
        equal((answer.status, answer["X-Error-Code"]), (status, code), f"{repo} {path} {revision} {token}")
    answer = resolve(fake, "o/open", "config.json", token="wrong")
    equal(answer["X-Error-Message"], "Invalid credentials in Authorization header")
    equal(resolve(fake, "o/disabled", "a")["X-Error-Message"], "Access to this resource is disabled.")
    equal(resolve(fake, "o/open", "none")["X-Repo-Commit"], "c" * 40)


@case
def huggingface_cdn_refuses_tokens_and_old_urls(fake):
    url = resolve(fake, "o/open", "a%20b/w.safetensors")["Location"]
    equal(ask(fake, url, Authorization="Bearer hf-of-anna").status, 400)
    equal([leak.split(": ")[1] for leak in fake.leaks()], ["header Authorization", "a secret of huggingface"])
    equal(ask(fake, url.replace("%27%27", "''")).status, 403, "a decoded query")
    equal(ask(fake, url, Range="bytes=0-9", Accept_Encoding="gzip").status, 200, "a range beside gzip")
    equal(ask(fake, url, Range="bytes=0-9", Accept_Encoding="identity").status, 206)
    etag = ask(fake, url, "HEAD")["ETag"]
    equal(ask(fake, url, Range="bytes=0-9", If_Range=etag).status, 206)
    fake.expire()
    equal(ask(fake, url).status, 403)


@case
def huggingface_lists_repositories(fake):
    tree = json.loads(ask(fake, fake.url("huggingface", "/api/models/o/open")).body)
    equal((tree["sha"], [file["rfilename"] for file in tree["siblings"]]), ("c" * 40, ["a b/w.safetensors", "config.json"]))
    equal(json.loads(ask(fake, fake.url("huggingface", "/api/models/o/open/revision/main")).body)["sha"], "c" * 40)
    files = json.loads(ask(fake, fake.url("huggingface", "/api/models/o/open/tree/main")).body)
    equal(files[0]["lfs"]["size"], 3 << 20)
    equal(ask(fake, fake.url("huggingface", "/api/models/o/none")).status, 401)


# ---- S3


def curl_signed(fake, user, path="/models/plain", *more):
    """What curl, an independent signer, gets; None from an old one, which does not sign the headers that it was given."""
    if tuple(map(int, re.match(r"curl (\d+)\.(\d+)", curl(fake, "--version")[1].decode()).groups())) < (7, 87):
        return None
    sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--user", user]
    return curl(fake, *sign, *more, fake.url("s3", path))[1]


@case
def s3_takes_the_signature_that_curl_makes(fake):
    access, secret = TOKEN["access"], TOKEN["secret"]
    for user, expected in ((f"{access}:{secret}", b"object"), (f"{access}:wrong", b"<StringToSign>AWS4-HMAC-SHA256"),
                           (f"nobody:{secret}", b"<Code>InvalidAccessKeyId</Code>")):
        found = curl_signed(fake, user)
        assert found is None or expected in found, f"{user}: {found}"


@case
def s3_wants_the_digest_of_the_body_told(fake):
    authorization = (f"AWS4-HMAC-SHA256 Credential={TOKEN['access']}/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,"
                     f"Signature={'0' * 64}")
    answer = ask(fake, fake.url("s3", "/models/plain"), Authorization=authorization)
    assert answer.status == 400 and b"x-amz-content-sha256" in answer.body, repr(answer)


@case
def s3_finds_the_bucket_in_the_host(fake):
    port = fake.about["hosts"]["s3"]["port"]
    status, out, problem = curl(fake, "--connect-to", f"open.s3.localhost:{port}:127.0.0.5:{port}",
                                f"https://open.s3.localhost:{port}/k")
    equal((status, out), (0, b"public"), problem)
    equal(ask(fake, fake.url("s3", "/open/k")).body, b"public")


@case
def s3_takes_presigned_urls_until_they_expire(fake):
    url = fake.presigned("models", ODD_KEY, life_s=60)
    equal(ask(fake, url).body, b"object")
    equal(ask(fake, url, Range="bytes=1-2").body, b"bj")
    equal(ask(fake, url, "HEAD").status, 403, "signed for GET")
    old = ask(fake, fake.presigned("models", ODD_KEY, life_s=60, ago_s=61))
    assert old.status == 403 and b"Request has expired" in old.body, repr(old)
    assert b"Only one auth mechanism allowed" in ask(fake, url, Authorization="Bearer x").body


@case
def s3_refuses_with_its_codes(fake):
    unsigned, signed = fake.url("s3"), fake.presigned
    for url, status, code in ((unsigned + "/models/x", 403, b"AccessDenied"), (unsigned + "/open/x", 404, b"NoSuchKey"),
                              (signed("models", "none"), 404, b"NoSuchKey"), (signed("none", "x"), 404, b"NoSuchBucket")):
        answer = ask(fake, url)
        assert answer.status == status and b"<Code>" + code in answer.body, f"{url}: {answer!r}"
    try:
        fake.catalogue({"s3": {**S3, "presigned": False}})
        equal(ask(fake, fake.presigned("models", ODD_KEY)).status, 403, "as RunPod's gateway")
    finally:
        fake.catalogue(TREE)


@case
def s3_wants_the_session_token_that_belongs_to_the_key(fake):
    for token, expected in (("the/session==", b"object"), ("other", b"<Code>InvalidToken</Code>"),
                            (None, b"<Code>AccessDenied</Code>")):
        more = ["--header", f"x-amz-security-token: {token}"] if token else []
        found = curl_signed(fake, "AKIATEMPORARY:temporary secret", "/models/plain", *more)
        assert found is None or expected in found, f"{more}: {found}"


# ---- the record


@case
def requests_are_recorded_as_they_came(fake):
    before = time.monotonic()
    ask(fake, fake.url("s3", "/open/k?token=secret"), X_Custom="1", Range="bytes=2-3")
    record = fake.requests("s3", at_least=1, done=1)[0]
    equal((record["method"], record["target"], record["range"], record["status"], record["sent"]),
          ("GET", "/open/k?token=secret", "bytes=2-3", 206, 2))
    assert ["X-Custom", "1"] in record["headers"] and record["at"] >= before, record
    fake.clear()
    equal(fake.requests(), [])


@case
def what_a_stranger_must_not_see_is_told(fake):
    fake.control("POST", "faults", {"kind": "redirect_to_other_host"})
    url = fake.url("civitai", "/api/download/models/10?fileId=2")
    curl(fake, "--location", "--header", "Authorization: Bearer key-of-anna", url)
    equal(fake.leaks(), [], "curl strips the key")
    fake.clear()
    fake.faults({"kind": "redirect_to_other_host"})
    curl(fake, "--location-trusted", "--referer", ";auto", "--header", "Authorization: Bearer key-of-anna", "--header",
         "X-Api-Key: k", "--cookie", "a=b", url)
    leaks = " ".join(fake.leaks())
    for what in ("header Authorization", "header Referer", "header Cookie", "header X-Api-Key", "a secret of civitai"):
        assert what in leaks, f"{what}: {leaks}"


if __name__ == "__main__":
    main(TREE)
