"""What the services answer when it goes wrong, and the sentence that a person reads. Each failure is told once, names the
model, says what to do where something can be done, and leaves nothing behind."""

from harness import case, equal, has, lacks, main

SITE, CDN, HF, HF_CDN = ({"host": name} for name in ("civitai", "civitai_cdn", "huggingface", "huggingface_cdn"))
DOWNLOAD = {"host": "civitai", "path": "^/api/download"}
METADATA = {"host": "civitai", "path": "^/api/v1"}
HF_FILE = "hf://tintype/tiny/tintype-tiny.safetensors"
NEW = [0]


def fresh(store):
    """A store that remembers no refusal."""
    NEW[0] += 1
    store.root = store.folder / f"store-{NEW[0]}"
    store.environment["TINTYPE_MODELS"] = str(store.root)


def refused(store, reference, class_, sentence, *faults, env=None, more=()):
    fresh(store)
    store.fake.clear()
    store.fake.faults(*[{"times": None, **fault} for fault in faults])
    done = store.run("pull", reference, *more, "--json", "-q", status=1, env=env)
    error = done.json()["models"][0]["error"]
    equal((error["class"], done.err.count("\n")), (class_, 1), f"{reference} {faults} {done}")
    has(error["message"], sentence)
    equal(done.err, f"tintype: {error['message']}\n")
    equal([path for path in (store.root / "v1" / "names").glob("*") if "neg" not in path.name], [])
    return error["message"]


@case
def civitai_wants_a_key(store):
    none = {"CIVITAI_API_KEY": None}
    refused(store, "civitai:202", "auth", "civitai:202: CivitAI wants a key: set CIVITAI_API_KEY (made under Account settings, "
            "API keys)", env=none)
    refused(store, "civitai:202", "auth", "civitai:202: CivitAI does not accept the key in CIVITAI_API_KEY",
            env={"CIVITAI_API_KEY": "not-the-key-of-anybody"})
    store.pull("civitai:202", env={**none, "CIVITAI_TOKEN": store.fake.tokens["civitai"]})


@case
def civitai_sends_its_login_page_with_200(store):
    refused(store, "civitai:202", "content", "the server sends a page (text/html; charset=utf-8), expected a model",
            {"kind": "login_html_200", "match": CDN})


@case
def civitai_refuses_for_its_own_reasons(store):
    refused(store, "civitai:301", "forbidden", "civitai:301: in early access until 2099-01-01; only who bought it may "
            "download it")
    refused(store, "civitai:401", "gone", "civitai:401: archived by its creator")
    refused(store, "civitai:202", "gone", "archived by its creator (HTTP 410)", {"kind": "410", "match": DOWNLOAD})
    refused(store, "civitai:202", "region", "does not serve the country this machine is in (HTTP 451); run in another region",
            {"kind": "451", "match": SITE})
    refused(store, "civitai:999999", "gone", "civitai:999999: not there at CivitAI (HTTP 404)")
    refused(store, "civitai:701", "content", "none of its 1 files is a safetensors file (pickles are not read here)")
    refused(store, "civitai:202+9", "gone", "the version has no file 9")


@case
def services_that_are_busy_are_said_to_be(store):
    refused(store, "civitai:202", "rate", "CivitAI says there were too many requests (HTTP 429); try again later",
            {"kind": "429", "match": METADATA})
    refused(store, "civitai:202", "network", "CivitAI fails (HTTP 503)", {"kind": "503", "match": METADATA})
    refused(store, "civitai:202", "edge", "a page of CivitAI's front came instead of an answer (HTTP 522); try again later",
            {"kind": "cloudflare_522", "match": METADATA})
    refused(store, HF_FILE, "rate", "too many requests (HTTP 429)", {"kind": "429", "match": HF})


@case
def hugging_face_refuses_for_its_own_reasons(store):
    gated = "hf://tintype/gated/a.safetensors"
    refused(store, gated, "auth", "gated: accept its licence on huggingface.co and set HF_TOKEN", env={"HF_TOKEN": None})
    refused(store, "hf://tintype/nothing/a.safetensors", "gone", "no such repository, or the account of HF_TOKEN may "
            "not see it")
    refused(store, "hf://tintype/tiny/nothing.safetensors", "gone", "the repository has no file nothing.safetensors")
    refused(store, "hf://tintype/tiny@v9/a.safetensors", "gone", "the repository has no revision v9")
    refused(store, HF_FILE, "auth", "Hugging Face does not accept the token in HF_TOKEN", env={"HF_TOKEN": "hf_OfNobodyAtAll"})


@case
def buckets_refuse_for_their_own_reasons(store):
    key = "s3://models/tintype-tiny.safetensors"
    none = {"AWS_ACCESS_KEY_ID": None}
    refused(store, key, "auth", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", env=none)
    refused(store, key, "auth", "does not accept AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for it (HTTP 403)",
            env={"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-anybody"})
    refused(store, "s3://models/nothing.safetensors", "gone", "not there at the S3 service (HTTP 404)")


@case
def what_is_no_model_is_told(store):
    wanted = "expected a safetensors file, found "
    for kind, class_, sentence in (("html_200", "content", "the server sends a page (text/html), expected a model"),
                                   ("json_200", "content", "the server sends a page (application/json), expected a model"),
                                   ("pickle_body", "content", wanted + "a zip archive or a pickle"),
                                   ("lfs_pointer", "content", wanted + "a Git LFS pointer"),
                                   ("wrong_hash", "digest", "SHA-256"),
                                   ("gzip", "content", "compressed (gzip), expected the bytes as they are")):
        message = refused(store, "civitai:202", class_, sentence, {"kind": kind, "match": CDN})
        lacks(message, "<")
        equal(store.parts(), [], kind)


@case
def files_that_are_too_large_are_not_taken(store):
    held = store.fake.url("elsewhere", f"/held/{store.items['civitai:big.safetensors']['number']}")
    most = "bytes, expected at most 67108864 for its kind"
    refused(store, held, "size", most, more=["--kind", "embedding"])
    refused(store, held, "size", most, {"kind": "oversize", "params": {"how": "announced"}, "match": {"host": "elsewhere"}},
            more=["--kind", "embedding"])


@case
def servers_whose_ranges_are_wrong_are_asked_for_the_whole(store):
    for fault in ({"kind": "wrong_content_range", "params": {"how": "shifted"}}, {"kind": "range_ignored_200"},
                  {"kind": "wrong_content_range", "params": {"how": "total"}}):
        fresh(store)
        store.fake.clear()
        store.fake.faults({"times": None, "match": CDN, **fault})
        equal(store.pull("civitai:601")[0], store.items["civitai:big.safetensors"]["sha256"])


@case
def redirects_to_where_nobody_should_go_are_not_followed(store):
    for location in ("ftp://example.org/x", "file:///etc/passwd", "https://user:word@example.org/x"):
        refused(store, "civitai:202", "refused", "is not followed",
                {"kind": "redirect_to", "match": DOWNLOAD, "params": {"location": location}})
    refused(store, "civitai:202", "refused", "redirects", {"kind": "redirect_loop", "match": DOWNLOAD})


@case
def addresses_inside_the_network_are_not_asked(store):
    guarded = {"TINTYPE_ALLOW_PRIVATE": None}
    sentence = "the address lies inside this network and is not asked (set TINTYPE_ALLOW_PRIVATE=1 if it should be)"
    refused(store, "civitai:202", "refused", sentence, env=guarded)
    equal(store.fake.requests(), [])
    for url in ("https://127.0.0.1/x.safetensors", "https://[::1]/x.safetensors", "https://2130706433/x.safetensors"):
        refused(store, url, "refused", sentence, env=guarded)


@case
def a_person_who_pulls_again_is_not_told_what_was_remembered(store):
    none = {"CIVITAI_API_KEY": None}
    store.run("pull", "civitai:202", status=1, env=none)
    n = len(store.fake.requests())
    again = store.run("pull", "civitai:202", status=1, env=none)
    has(again.err, "set CIVITAI_API_KEY")
    assert len(store.fake.requests()) > n
    store.pull("civitai:202")


if __name__ == "__main__":
    main()
