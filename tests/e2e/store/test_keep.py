"""tintype models, show, rm, pin and unpin."""

import os
import shutil
import time

from harness import case, equal, has, lacks, main


def table(store, *words, **more):
    lines = store.run("models", *words, **more).out.splitlines()
    return [line for line in lines[1:] if line and not line.endswith(str(store.root))]


@case
def an_empty_store_says_how_to_begin(store):
    done = store.run("models")
    equal(done.out, f"No models are in the store ({store.root}).\nFetch one: tintype pull civitai:128078, or tintype pull "
                    "--help.\n")
    equal(store.models(), [])


@case
def models_shows_one_line_each(store):
    digest, path = store.pull("civitai:202", "--name", "photo")
    store.pull("civitai:101")
    lines = store.run("models").out.splitlines()
    equal(lines[0].split(), ["NAME", "KIND", "BASE", "SIZE", "LAST", "USED", "DIGEST"])
    photo = next(line for line in lines if "photo (Old Photo v2)" in line)
    for word in ("lora", "SDXL 1.0", " MB ", "just now", digest[:12]):
        has(photo, word)
    has(lines[-1], "2 models, ")
    has(lines[-1], f"; the store is {store.root}")
    model = next(each for each in store.models() if each["alias"] == "photo")
    equal((model["sha256"], model["path"], model["reference"]), (digest, str(path), "civitai:202"))
    equal(model["size_bytes"], path.stat().st_size)
    equal([line for line in lines if line != line.rstrip()], [])


@case
def models_are_chosen_by_kind_and_sorted(store):
    store.run("pull", "civitai:202", "civitai:101", "civitai:101+1002", "-q")
    equal([each["kind"] for each in store.models("--kind", "lora")], ["lora"])
    equal([line.split()[0] for line in table(store, "--sort", "name")], ["Old", "Tintype", "Tintype"])
    sizes = [line for line in table(store, "--sort", "size")]
    has(sizes[0], "checkpoint")
    has(sizes[-1], "vae")
    kinds = ("checkpoint", "lora", "vae")
    shown = [next(word for word in line.split() if word in kinds) for line in table(store, "--sort", "kind")]
    equal(tuple(shown), kinds)
    has(store.run("models", "--kind", "embedding").out, "No model of this kind is in the store")


@case
def the_same_bytes_under_two_names_count_once(store):
    store.run("pull", "civitai:202", "hf://tintype/tiny/loras/old-photo.safetensors", "-q")
    last = store.run("models").out.splitlines()[-1]
    one = next(each["size_bytes"] for each in store.models())
    has(last, f"2 models, {one / 1e6:.2f} MB; ")


@case
def names_of_strangers_cannot_steer_a_terminal(store):
    outputs = [store.run("pull", "civitai:501"), store.run("models"), store.run("show", "civitai:501"),
               store.run("verify"), store.run("rm", "--dry-run", "civitai:501"), store.run("models", "--json")]
    for done in outputs:
        for unfit in ("\x1b", "\x07", "\u202e", "\u009b", "\r", "\x9b"):
            lacks(done.out + done.err, unfit)
    row = table(store)[0]
    assert len(row) < 160, row
    equal([path.name for path in store.folder.rglob("*.safetensors")], [])


@case
def wide_characters_keep_the_columns_straight(store):
    store.run("pull", "civitai:901", "civitai:202", "-q")
    rows = table(store)
    wide = next(row for row in rows if "\u5199" in row)
    other = next(row for row in rows if "Old" in row)
    equal(wide.index("lora") + 3, other.index("lora"))  # three characters, each two columns wide


@case
def show_tells_all_of_one(store):
    digest, path = store.pull("civitai:202", "--name", "photo")
    text = store.run("show", "photo").out
    for line in ("name          Old Photo v2", "called        photo", "reference     civitai:202", "kind          lora",
                 "base model    SDXL 1.0", f"sha256        {digest}", f"path          {path}",
                 "fetched from  civitai:202+2002"):
        has(text, line + "\n")
    has(text, " bytes)\n")
    path.unlink()
    has(store.run("show", "civitai:202").out, "(its bytes are not here: tintype pull fetches them)")
    has(store.run("show", "civitai:9", status=1).err, "civitai:9 is not in the store")


@case
def rm_takes_name_and_bytes(store):
    _, path = store.pull("civitai:202")
    has(store.run("rm", "--dry-run", "civitai:202").out, "would remove Old Photo v2\n")
    assert path.exists()
    has(store.run("rm", "civitai:202").out, "removed Old Photo v2, ")
    assert not path.exists()
    equal(store.models(), [])
    has(store.run("rm", "civitai:202", status=1).err, "civitai:202 is not in the store")


@case
def rm_leaves_bytes_that_another_name_has(store):
    store.run("pull", "civitai:202", "hf://tintype/tiny/loras/old-photo.safetensors", "-q")
    done = store.run("rm", "civitai:202")
    has(done.out, "its bytes are in use or have another name")
    equal(len(store.models()), 1)


@case
def rm_goes_on_after_a_failure_and_tells_it(store):
    store.pull("civitai:202")
    done = store.run("rm", "civitai:7", "civitai:202", "--json", status=1)
    equal(["error" in each for each in done.json()["models"]], [True, False])
    equal(store.models(), [])


@case
def pinned_models_are_marked(store):
    store.pull("civitai:202")
    equal(store.run("pin", "civitai:202").out, "pinned civitai:202\n")
    has(table(store)[0], "pinned")
    equal(store.run("pin", "--off", "civitai:202", "--json").json()["models"], [{"asked_for": "civitai:202", "pinned": False}])
    store.run("pin", "civitai:202")
    equal(store.run("unpin", "civitai:202").out, "unpinned civitai:202\n")
    lacks(table(store)[0], "pinned")
    has(store.run("pin", "civitai:7", status=1).err, "civitai:7 is not in the store")


@case
def read_only_folders_are_used_and_left_alone(store):
    store.pull("civitai:202")
    shipped, plain = store.folder / "shipped", store.folder / "plain"
    shutil.move(store.root, shipped)
    (plain / "loras").mkdir(parents=True)
    (plain / "loras" / "mine.safetensors").write_bytes(b"12345")
    before = {path: path.stat().st_mtime_ns for path in shipped.rglob("*")}
    env = {"TINTYPE_MODELS_READONLY": f"{shipped}::{plain}"}
    rows = table(store, env=env)
    equal(len(rows), 2)
    for row in rows:
        has(row, "read-only")
    store.pull("civitai:202", env={**env, "TINTYPE_OFFLINE": "1"})
    equal(store.run("show", "mine", "--json", env=env).json()["path"], str(plain / "loras" / "mine.safetensors"))
    has(store.run("rm", "civitai:202", status=1, env=env).err, "read-only folder")
    has(store.run("pin", "civitai:202", status=1, env=env).err, "read-only folder")
    store.run("gc", "--need", "1", env=env)
    equal({path: path.stat().st_mtime_ns for path in shipped.rglob("*")}, before)


@case
def the_default_folder_is_in_the_home(store):
    env = {"TINTYPE_MODELS": None}
    if os.path.isdir("/runpod-volume"):
        return
    store.run("pull", "civitai:202", "-q", env=env)
    assert (store.folder / ".local/share/tintype/models/v1/names").is_dir()
    store.run("pull", "civitai:202", "-q", env={**env, "XDG_DATA_HOME": str(store.folder / "data")})
    assert (store.folder / "data/tintype/models/v1/names").is_dir()
    store.run("pull", "civitai:202", "-q", env={**env, "HOME": None})
    assert (store.folder / "tintype-models/v1/names").is_dir()


@case
def what_was_used_last_comes_first(store):
    store.pull("civitai:202")
    time.sleep(1.1)  # times in the store are whole seconds
    store.pull("civitai:201")
    has(table(store)[0], "Old Photo v1")


if __name__ == "__main__":
    main()
