"""tintype gc, verify, backup and restore."""

import json
import os

from harness import case, equal, has, main


def damage(path):
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(0o444)


@case
def gc_has_nothing_to_do_in_a_tidy_store(store):
    store.pull("civitai:202")
    done = store.run("gc")
    has(done.out, "freed 0 B; ")
    equal(len(store.models()), 1)


@case
def gc_makes_room_with_what_is_used_least(store):
    env = {"TINTYPE_MODELS_MAX_BYTES": "10MB"}
    store.pull("civitai:202")
    store.pull("civitai:801")
    store.run("pin", "civitai:801")
    rehearsal = store.run("gc", "--need", "9.9 MB", "--dry-run", "--json", env=env).json()
    equal((rehearsal["dry_run"], rehearsal["evicted"]), (True, 1))
    equal(len(store.models()), 2)
    done = store.run("gc", "--need", "9.9 MB", env=env)
    has(done.out, "1 model, to be fetched again when it is wanted")
    equal([model["reference"] for model in store.models()], ["civitai:801"])
    store.pull("civitai:202")


@case
def gc_says_when_there_is_not_enough_room(store):
    store.pull("civitai:202")
    store.run("pin", "civitai:202")
    done = store.run("gc", "--need", "1TB", "--json", status=1, env={"TINTYPE_MODELS_MAX_BYTES": "10MB"})
    equal(done.err, f"tintype: {done.json()['error']}\n")
    equal(len(store.models()), 1)


@case
def verify_tells_good_from_bad_and_a_pull_makes_it_good(store):
    digest, path = store.pull("civitai:202")
    store.pull("civitai:801")
    equal(store.run("verify", "--json").json()["good"], 2)
    damage(path)
    done = store.run("verify", status=1)
    has(done.out, f"BAD   {digest[:12]}")
    has(done.out, "1 good, 1 bad, ")
    store.pull("civitai:202")
    has(store.run("verify", "civitai:202").out, "1 good, 0 bad, 0 missing\n")
    has(store.run("verify", "civitai:7", status=1).err, "civitai:7 is not in the store")


@case
def a_backup_holds_names_and_no_secrets(store):
    digest, path = store.pull("civitai:202", "--name", "photo")
    store.run("pin", "photo")
    store.pull(store.fake.presigned("models", "tintype-tiny.safetensors"))
    store.run("backup", "names.json")
    text = (store.folder / "names.json").read_text()
    equal(store.run("backup", "-").out, text)
    names = json.loads(text)["names"]
    equal(len(names), 2)
    for secret in (*store.fake.tokens.values(), "X-Amz"):
        assert secret not in text, secret
    store.environment["TINTYPE_MODELS"] = str(store.folder / "other")
    has(store.run("restore", "names.json").out, "2 names restored; 2 of them to be fetched\n")
    has(store.run("restore", "names.json").out, "0 names restored; 0 of them to be fetched\n")
    equal(store.models(), [])
    equal(store.run("show", "civitai:202", "--json").json()["pinned"], True)
    again, _ = store.pull("civitai:202")
    equal(again, digest)
    equal(store.run("show", "photo", "--json").json()["pinned"], True)
    assert path.exists()


@case
def restore_reads_standard_input_and_refuses_nonsense(store):
    store.pull("civitai:202")
    text = store.run("backup", "-").out
    equal(store.run("restore", "-", "--json", text=text).json(), {"restored": 0, "to_be_fetched": 0})
    for bad in ("", "{", "[]", '{"names": []}', '{"tintype_names": 1, "names": 3}', '{"tintype_names": 1, "names": [{}]}',
                '{"tintype_names": 2, "names": []}'):
        done = store.run("restore", "-", text=bad, status=1)
        equal(done.err.count("\n"), 1, bad)
    has(store.run("restore", "nothing.json", status=1).err, "nothing.json")


@case
def backup_into_a_full_disk_fails(store):
    store.run("backup", "/dev/full", status=1)


if __name__ == "__main__":
    main()
