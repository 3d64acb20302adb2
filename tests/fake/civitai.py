"""CivitAI's site: the download endpoint with its choice of file, the metadata API, keys, refusals and traps.

What is imitated on purpose, because clients fall into it: the choice of a file depends on the account's preferences; an
invalid key is silently nobody; a User-Agent that looks like a browser's gets the login page instead of 401; HEAD is refused;
urllib's User-Agent meets Cloudflare's page before the key is looked at (so does none at all); every success counts.
"""

import datetime
import json
import re
from urllib.parse import quote

from fake.wire import Reply

TYPES = ("Model", "Text Encoder", "Vision Encoder", "Pruned Model", "Negative", "Training Data", "VAE", "Config", "Archive",
         "UNet", "Diffusion Model", "CLIPVision", "ControlNet", "Workflow", "Upscaler", "Enhancement LoRA", "Other")
FORMATS = ("SafeTensor", "PickleTensor", "GGUF", "Diffusers", "Core ML", "ONNX", "Other")
SIZES = ("full", "pruned")
WEIGHTS = {"format": 100, "size": 10, "fp": 1, "quantType": 0.5}
SITE_DEFAULTS = {"format": "SafeTensor", "size": "pruned", "fp": "fp16", "quantType": "Q4_K_M"}
PRIMARY_TYPES, PRIMARY_BONUS = ("Model", "Pruned Model"), 1000
COMPONENTS = ("VAE", "Text Encoder", "UNet", "ControlNet", "CLIPVision")
BROWSERS = re.compile("mozilla|chrome|safari|firefox|opera|edge", re.I)
KB = 1024
VERSION_KEYS = ("id", "name", "baseModel", "status", "availability", "usageControl", "trainedWords", "earlyAccessEndsAt")
NEEDS_LOGIN = "The creator of this asset requires you to be logged in to download it"
NO_DOWNLOADS = "The creator of this asset has disabled downloads on this file"
EARLY_ACCESS = "This asset is in Early Access. You can use Buzz access it now, or wait until it is made public"
TOO_MANY = "We've noticed an unusual amount of downloading from your account. Contact support or come back later."
LOGIN_PAGE = ("<!DOCTYPE html><html><head><title>Login | Civitai</title></head><body><form action=\"/login\">"
              "<h1>Sign in to Civitai</h1></form></body></html>")
CHALLENGE_PAGE = ("<!DOCTYPE html><html lang=\"en-US\"><head><title>Just a moment...</title></head><body><noscript>Enable "
                  "JavaScript and cookies to continue</noscript><script "
                  "src=\"/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1\"></script></body></html>")


def challenge_page(status):
    """Cloudflare's page in the place of an answer."""
    headers = [("Server", "cloudflare"), ("CF-RAY", "8f0a1b2c3d4e5f60-AMS"), ("cf-mitigated", "challenge")]
    return Reply(status, CHALLENGE_PAGE, headers, "text/html; charset=UTF-8")


def answer_json(status, tree, headers=()):
    return Reply(status, json.dumps(tree), headers, "application/json; charset=utf-8")


ERRORS = {  # kind: (status, tree)
    "400": (400, {"error": "Invalid request"}),
    "401_missing": (401, {"error": "Unauthorized", "message": NEEDS_LOGIN}),
    "401_bad_token": (401, {"error": "Unauthorized", "message": NEEDS_LOGIN}),
    "401_disabled": (401, {"error": "Unauthorized", "message": NO_DOWNLOADS}),
    "403": (403, {"error": "Forbidden"}),
    "403_gated": (403, {"error": "You do not have access to download this file"}),
    "403_early_access": (403, {"error": "Early Access", "deadline": "2099-01-01T00:00:00.000Z", "message": EARLY_ACCESS}),
    "404": (404, {"error": "File not found"}),
    "410": (410, {"error": "Model archived, not available for download"}),
    "429": (429, {"error": TOO_MANY}),
    "451": (451, {"error": "Civitai is not available in your region", "code": "REGION_BLOCKED"}),
    "500": (500, {"error": "Error fetching data"}),
    "502": (502, {"error": "Bad gateway"}),
    "503": (503, {"error": "Service unavailable"}),
}


class Refused(Exception):
    def __init__(self, kind, **more):
        super().__init__(kind)
        self.kind, self.more = kind, more


def score(file, wanted):
    total = 1000
    for key, weight in WEIGHTS.items():
        value = file["metadata"].get(key)
        if value is not None:
            total += weight if value == wanted.get(key) else -weight
    return total + (PRIMARY_BONUS if file["type"] in PRIMARY_TYPES else 0)


def choose(files, wanted):
    return max(files, key=lambda file: score(file, wanted), default=None)


class Civitai:
    def __init__(self, world):
        self.world = world

    # ---- answers

    def error(self, kind, request, **more):
        if kind == "expired_signature":
            return answer_json(403, {"error": "Forbidden"})
        status, tree = ERRORS.get(kind) or ERRORS[kind.partition("_")[0]]
        tree = {**tree, **more}
        if BROWSERS.search(request.agent()):
            if status == 401:
                url = f"/login?returnUrl={quote(request.path, safe='')}&reason=download-auth"
                return Reply(307, headers=[("Location", url)])
            return Reply(status, tree.get("message", tree["error"]), content_type="text/plain")
        return answer_json(status, tree, [("Cache-Control", "no-store")])

    def handle(self, request):
        if not request.agent() or request.agent().lower().startswith("python-urllib"):
            return challenge_page(403)
        if request.path == "/login":
            return Reply(200, LOGIN_PAGE, content_type="text/html; charset=utf-8")
        if request.path.startswith("/api/") and self.world.catalogue.civitai["region_blocked"]:
            return self.error("451", request)
        for pattern, method in self.ROUTES:
            found = re.fullmatch(pattern, request.path)
            if found:
                try:
                    return method(self, request, *found.groups())
                except Refused as refused:
                    return self.error(refused.kind, request, **refused.more)
        return answer_json(404, {"error": "Not found"})

    # ---- keys

    def account(self, request):
        """The account of the key; None for nobody. A header, even a useless one, hides ?token=."""
        header = request.header("authorization")
        key = re.sub(r"(?i)^bearer\s+", "", header) if header is not None else request.param("token")
        return self.world.catalogue.civitai["tokens"].get(key)

    # ---- downloads

    def download(self, request, text):
        if request.method == "HEAD":
            raise Refused("401_missing")
        catalogue = self.world.catalogue
        query = self._query(request)
        account = self.account(request)
        if account and account.get("blocked"):
            raise Refused("403")
        version = self._version(request, text)
        self._judge(version, account, catalogue.civitai)
        file = self._choose(version, query, account)
        if catalogue.civitai["limit"] is not None and catalogue.n_resolved["civitai"] >= catalogue.civitai["limit"]:
            raise Refused("429")
        catalogue.n_resolved["civitai"] += 1
        store, life_s = self.world.sites["civitai_cdn"], catalogue.civitai["life_s"]
        url = store.url(request, file["item"], self._name(file), file["storage"], life_s)
        reply = Reply(307, headers=[("Location", url), ("Cache-Control", "no-store")])
        reply.item = file["item"]
        return reply

    def _id(self, text):
        if not re.fullmatch(r"\d{1,10}", text) or int(text) > 2**31 - 1:
            raise Refused("400", error=f"Invalid id: {text[:40]}")
        return int(text)

    def _is_hidden(self, request, model):
        return model["red_only"] and not request.host().partition(":")[0].endswith("civitai.red")

    def _version(self, request, text):
        version = self.world.catalogue.versions.get(self._id(text))
        return None if version is None or self._is_hidden(request, version["model"]) else version

    def _query(self, request):
        """The parameters that choose, judged as the site does."""
        query = {name: value for name, value in request.params() if name in ("fileId", "type", *WEIGHTS)}
        for name, allowed in (("type", TYPES), ("format", FORMATS), ("size", SIZES)):
            if name in query and query[name] not in allowed:
                raise Refused("400", error=f"Invalid {name}: {query[name][:40]}")
        if not re.fullmatch(r"\d{1,12}", query.get("fileId", "1")) or len(query.get("fp", "")) > 64:
            raise Refused("400", error="Invalid fileId")
        return query

    def _judge(self, version, account, settings):
        if version is None or version["status"] != "Published" or version["model"]["mode"] == "TakenDown":
            raise Refused("404")
        if version["model"]["mode"] == "Archived":
            raise Refused("410")
        if version["usageControl"] != "Download":
            raise Refused("401_disabled")
        has_grant = account is not None and version["id"] in account.get("grants", [])
        if account is None and settings["require_token"]:
            raise Refused("401_missing")
        if version["availability"] == "EarlyAccess" and self._is_early(version) and not has_grant:
            raise Refused("403_early_access", deadline=version["earlyAccessEndsAt"])
        if version["private"] and not has_grant:
            raise Refused("403_gated")

    def _is_early(self, version):
        ends = version["earlyAccessEndsAt"]
        now = datetime.datetime.now(datetime.timezone.utc)
        return ends is None or datetime.datetime.fromisoformat(ends.replace("Z", "+00:00")) > now

    def _choose(self, version, query, account):
        public = [file for file in version["files"] if file["visibility"] == "Public"]
        if "fileId" in query:
            file = next((file for file in public if file["id"] == int(query["fileId"])), None)
            if file is None:
                raise Refused("404")
            return file
        files = [file for file in public if query.get("type", file["type"]) == file["type"]]
        if not files and query.get("type") in COMPONENTS:
            files = [file for file in self._linked(version) if file["type"] == query["type"]]
        wanted = {**SITE_DEFAULTS, **((account or {}).get("preferences") or {}), **query}
        file = choose(files, wanted)
        if file is None or any(file["metadata"].get(key, query[key]) != query[key] for key in WEIGHTS if key in query):
            raise Refused("404")
        return file

    def _linked(self, version):
        return [self.world.catalogue.files[number] for number in version["linked"] if number in self.world.catalogue.files]

    def _name(self, file):
        """The name the server builds for the download."""
        model = file["version"]["model"]
        if model["type"] in ("LORA", "LoCon", "DoRA"):
            return file["name"]
        first, second = (re.sub(r"[^A-Za-z0-9]+", "", name) for name in (model["name"], file["version"]["name"]))
        return f"{first[:1].lower()}{first[1:]}_{second}.{file['name'].rpartition('.')[2]}"

    # ---- metadata

    def version(self, request, text):
        version = self._version(request, text)
        if version is None or version["status"] != "Published":
            return answer_json(404, {"error": "Model not found"})
        return answer_json(200, self._describe_version(request, version, is_whole=True))

    def model(self, request, text):
        model = self.world.catalogue.models.get(self._id(text))
        if model is None or self._is_hidden(request, model):
            return answer_json(404, {"error": f"No model with id {text}"})
        published = [each for each in model["versions"] if each["status"] == "Published"]
        tree = {key: model[key] for key in ("id", "name", "type", "nsfw", "poi", "mode")}
        tree.update(tags=[], modelVersions=[self._describe_version(request, each, is_whole=False) for each in published])
        return answer_json(200, tree, [("Cache-Control", "public, s-maxage=300")])

    def _describe_version(self, request, version, is_whole):
        model = version["model"]
        own = [file for file in version["files"] if file["visibility"] == "Public"]
        files = [] if model["mode"] == "Archived" else own + self._linked(version)
        primary = choose(own, SITE_DEFAULTS)
        tree = {key: version[key] for key in VERSION_KEYS}
        tree.update(baseModelType="Standard", air=version["air"] or self._air(version), downloadUrl=self._url(request, version),
                    files=[self._describe_file(request, file, file is primary) for file in files], images=[])
        if is_whole:
            tree.update(modelId=model["id"], model={key: model[key] for key in ("name", "type", "nsfw", "poi", "mode")})
        return tree

    def _air(self, version):
        model = version["model"]
        return f"urn:air:sdxl:{model['type'].lower()}:civitai:{model['id']}@{version['id']}"

    def _url(self, request, version, **query):
        tail = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return f"{request.scheme}://{request.host()}/api/download/models/{version['id']}" + (f"?{tail}" if tail else "")

    def _describe_file(self, request, file, is_primary):
        item = file["item"]
        wanted = {"type": file["type"], **file["metadata"]}
        query = {} if is_primary else {key: wanted[key] for key in ("type", "format", "size", "fp") if key in wanted}
        tree = {key: file[key] for key in ("id", "name", "type", "metadata", "pickleScanResult", "virusScanResult")}
        tree.update(sizeKB=item.content.size / KB, pickleScanMessage=None, virusScanMessage=None, hashes=self._hashes(file),
                    scannedAt="2025-08-07T10:00:00.000Z", downloadUrl=self._url(request, file["version"], **query))
        return {**tree, "primary": True} if is_primary else tree

    def _hashes(self, file):
        return file["item"].hashes() if file["hashes"] is None else file["hashes"]

    def by_hash(self, request, text):
        has_it = lambda file: text.upper() in (value.upper() for value in self._hashes(file).values())  # noqa: E731
        versions = [file["version"] for file in self.world.catalogue.files.values() if has_it(file)]
        versions = [each for each in versions if each["status"] == "Published" and not self._is_hidden(request, each["model"])]
        if not versions:
            return answer_json(404, {"error": "Model not found"})
        oldest = min(versions, key=lambda version: version["id"])
        tree = self._describe_version(request, oldest, is_whole=True)
        return answer_json(200, tree, [("Cache-Control", "public, s-maxage=3600")])

    def by_hashes(self, request):
        try:
            asked = json.loads(request.body)
        except ValueError:
            asked = None
        if not isinstance(asked, list) or len(asked) > 100 or not all(isinstance(h, str) and len(h) == 64 for h in asked):
            return answer_json(400, {"error": "An array of at most 100 SHA256 hashes is expected"})
        wanted, found = {text.upper() for text in asked}, {}
        for file in self.world.catalogue.files.values():
            if self._hashes(file).get("SHA256", "").upper() in wanted:
                found[file["version"]["id"]] = self._describe_version(request, file["version"], is_whole=True)
        return answer_json(200, list(found.values()))

    def mini(self, request, text):
        version = self._version(request, text)
        chosen = request.param("modelFileId")
        files = [] if version is None else [f for f in version["files"] if chosen in (None, str(f["id"]))]
        file = choose(files, SITE_DEFAULTS)
        if file is None:
            return answer_json(404, {"error": "Model not found"})
        tree = {key: version[key] for key in ("baseModel", "availability", "earlyAccessEndsAt")}
        tree.update(air=version["air"] or self._air(version), versionName=version["name"], modelName=version["model"]["name"],
                    size=file["item"].content.size / KB, fileType=file["type"], fileName=file["name"],
                    hashes=self._hashes(file), format=file["metadata"].get("format"),
                    downloadUrls=[self._url(request, version, fileId=file["id"])],
                    requireAuth=self.world.catalogue.civitai["require_token"], checkPermission=version["private"])
        return answer_json(200, tree)

    def me(self, request):
        account = self.account(request)
        if account is None:
            return answer_json(401, {"error": "Unauthorized"})
        return answer_json(200, {"id": 1, "username": account.get("name")})

    def page(self, _request, _text):
        return Reply(200, "<!DOCTYPE html><html><body>a model's page</body></html>", content_type="text/html; charset=utf-8")

    ROUTES = [
        (r"/api/download/models/([^/]+)", download),
        (r"/api/v1/model-versions/by-hash/([^/]+)", by_hash),
        (r"/api/v1/model-versions/by-hash", by_hashes),
        (r"/api/v1/model-versions/mini/([^/]+)", mini),
        (r"/api/v1/model-versions/([^/]+)", version),
        (r"/api/v1/models/([^/]+)", model),
        (r"/api/v1/me", me),
        (r"/models/(.+)", page),
    ]
