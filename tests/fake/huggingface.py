"""Hugging Face's hub: resolve with the headers clients pin files by, the redirect to the CDN, and its errors by header.

Large files (lfs) are redirected to the signed CDN; small ones come from the hub itself, as git blobs. A repository that is
missing and one that nobody may see answer alike. A bad token fails even for public repositories.
"""

import json
import re
from urllib.parse import quote, unquote

from fake.storage import send
from fake.wire import Reply

QUOTA, WINDOW_S = 3000, 300
CACHE = "/api/resolve-cache/models"
RESOLVE = (rf"({CACHE})/([^/]+/[^/]+)/([^/]+)/(.+)", r"()/([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)")

ERRORS = {  # kind: (status, X-Error-Code, X-Error-Message)
    "400": (400, None, "Bad request"),
    "401_missing": (401, "RepoNotFound", "Invalid username or password."),
    "401_bad_token": (401, None, "Invalid credentials in Authorization header"),
    "401_gated": (401, "GatedRepo", "Access to this resource is restricted. You must be authenticated to access it."),
    "403": (403, None, "Access to this resource is disabled."),
    "403_gated": (403, "GatedRepo", "Access to this resource is restricted and you are not in the authorized list."),
    "403_early_access": (403, "GatedRepo", "Your request to access this resource is awaiting a review."),
    "404_repo": (404, "RepoNotFound", "Repository not found"),
    "404_revision": (404, "RevisionNotFound", "Invalid rev id"),
    "404": (404, "EntryNotFound", "Entry not found"),
    "410": (410, None, "Gone"),
    "429": (429, None, "We had to rate limit you."),
    "451": (451, None, "Unavailable for legal reasons"),
    "500": (500, None, "Internal Error - We're working hard to fix this as soon as possible!"),
    "502": (502, None, "Bad gateway"),
    "503": (503, None, "Service Unavailable"),
}


class Refused(Exception):
    pass


class HuggingFace:
    def __init__(self, world):
        self.world = world

    def error(self, kind, _request, **_more):
        if kind == "expired_signature":
            kind = "401_bad_token"
        status, code, message = ERRORS.get(kind) or ERRORS[kind.partition("_")[0]]
        headers = [("X-Error-Message", message)] + ([("X-Error-Code", code)] if code else [])
        if status == 429:
            headers += self._limit(0, 17)
        return Reply(status, message, headers, "text/plain; charset=utf-8")

    def _limit(self, left, seconds):
        return [("RateLimit", f'"resolvers";r={left};t={seconds}'),
                ("RateLimit-Policy", f'"fixed window";"resolvers";q={QUOTA};w={WINDOW_S}')]

    def handle(self, request):
        try:
            return self._handle(request)
        except Refused as refused:
            return self.error(str(refused), request)

    def _handle(self, request):
        if request.method not in ("GET", "HEAD"):
            return Reply(405, "Method not allowed", content_type="text/plain")
        account = self._account(request)
        found = re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)(?:/revision/([^/]+)|/(tree)/([^/]+))?", request.path)
        if found:
            repo = self._repo(found.group(1), account, request)
            revision = found.group(2) or found.group(4)
            return self._tree(repo) if found.group(3) else self._about(repo, revision)
        for pattern in RESOLVE:
            found = re.fullmatch(pattern, request.path)
            if found:
                return self._resolve(request, account, *found.groups())
        raise Refused("404")

    # ---- who may see what

    def _account(self, request):
        header = request.header("authorization")
        if header is None:
            return None
        account = self.world.catalogue.huggingface["tokens"].get(re.sub(r"(?i)^bearer\s+", "", header))
        if account is None:
            raise Refused("401_bad_token")
        return account

    def _repo(self, name, account, _request):
        repo = self.world.catalogue.repos.get(unquote(name))
        if repo is None or (repo["private"] and (account is None or repo["id"] not in account.get("sees", []))):
            raise Refused("401_missing" if account is None else "404_repo")
        return repo

    def _judge_gate(self, repo, account):
        if repo["disabled"]:
            raise Refused("403")
        if repo["gated"] and account is None:
            raise Refused("401_gated")
        if repo["gated"] and repo["id"] not in account.get("accepted", []):
            raise Refused("403_gated")

    def _judge_revision(self, repo, revision):
        if unquote(revision) not in ("main", "HEAD", repo["commit"], *repo["branches"]):
            raise Refused("404_revision")

    # ---- files

    def _resolve(self, request, account, is_cache, name, revision, path):
        repo = self._repo(name, account, request)
        if repo["moved_to"]:
            return Reply(307, headers=[("Location", request.target.replace(f"/{name}/", f"/{repo['moved_to']}/", 1))])
        self._judge_gate(repo, account)
        self._judge_revision(repo, revision)
        n_left = max(0, QUOTA - 1 - self.world.catalogue.n_resolved["huggingface"])
        common = [("X-Repo-Commit", repo["commit"]), *self._limit(n_left, WINDOW_S)]
        file = repo["files"].get(unquote(path))
        if file is None:
            reply = self.error("404", request)
            reply.set("X-Repo-Commit", repo["commit"])
            return reply
        self.world.catalogue.n_resolved["huggingface"] += 1
        if file["lfs"]:
            return self._to_cdn(request, file["item"], common)
        if repo["resolve_cache"] and not is_cache:
            return Reply(307, headers=[("Location", f"{CACHE}/{repo['id']}/{repo['commit']}/{path}"), *common])
        return self._small(request, file["item"], common)

    def _to_cdn(self, request, item, common):
        sha = item.sha256()
        xet = f"{self.world.base('huggingface', request.scheme)}/api/models/{quote(item.name)}/xet-read-token/0"
        url = self.world.sites["huggingface_cdn"].url(request, item, self.world.catalogue.huggingface["life_s"])
        reply = Reply(302, "Found. Redirecting to the file.", [
            ("Location", url), ("X-Linked-Size", str(item.content.size)), ("X-Linked-Etag", f'"{sha}"'),
            ("X-Xet-Hash", sha[::-1]), ("Link", f'<{xet}>; rel="xet-auth"'), ("Accept-Ranges", "bytes"),
            ("Vary", "Origin, Accept"), *common], "text/plain; charset=utf-8")
        reply.item = item
        return reply

    def _small(self, request, item, common):
        reply = send(request, item, common, f'"{item.git_sha1()}"')
        reply.set("Content-Type", "text/plain; charset=utf-8")
        return reply

    # ---- metadata

    def _about(self, repo, revision):
        self._judge_revision(repo, revision or "main")
        tree = {key: repo[key] for key in ("id", "private", "gated", "disabled")}
        tree.update(_id="66a1b2c3d4e5f60718293a4b", modelId=repo["id"], sha=repo["commit"], tags=[],
                    siblings=[{"rfilename": path} for path in repo["files"]])
        return Reply(200, json.dumps(tree), content_type="application/json; charset=utf-8")

    def _tree(self, repo):
        entries = []
        for path, file in repo["files"].items():
            item = file["item"]
            entry = {"type": "file", "path": path, "size": item.content.size}
            if file["lfs"]:
                entry["lfs"] = {"oid": item.sha256(), "size": item.content.size, "pointerSize": 135}
            entries.append(entry)
        return Reply(200, json.dumps(entries), content_type="application/json; charset=utf-8")
