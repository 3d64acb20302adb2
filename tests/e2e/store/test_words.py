"""Flags, variables and help of the commands about models, and the examples of docs/models.md."""

import re
import shlex

from harness import REPOSITORY, case, equal, has, lacks, main

COMMANDS = ("pull", "models", "show", "rm", "pin", "unpin", "gc", "verify", "backup", "restore")


@case
def every_command_has_help(store):
    for command in COMMANDS:
        text = store.run(command, "--help").out
        has(text, f"tintype {command}")
        equal(store.run("help", command).out, text)
        assert max(map(len, text.splitlines())) <= 100, command
        equal(store.run(command, "-h", "--nonsense").out, text)
    text = store.run("help").out
    for word in ("Models\n", "tintype pull", "tintype models", "tintype rm"):
        has(text, word)
    assert not store.root.exists(), "help made a folder"


@case
def words_that_make_no_sense_are_told_with_status_2(store):
    for words, sentence in (
            ([], None),
            (["pull"], "tintype pull: expected the models to fetch; \"tintype pull --help\" has examples"),
            (["pull", "civitai:202", "--nmae", "x"], "tintype pull: unknown flag --nmae, did you mean --name?"),
            (["pull", "civitai:202", "--name"], "tintype pull: --name: expected a value after it"),
            (["pull", "civitai:202", "--quiet=yes"], "tintype pull: --quiet takes no value"),
            (["pull", "civitai:202", "--kind", "lroa"], "--kind"),
            (["pull", "civitai:202", "civitai:201", "--name", "x"], "tintype pull: --name goes with one model"),
            (["pull", "civitai:202", "civitai:201", "--sha256", "0" * 64], "tintype pull: --sha256 goes with one model"),
            (["pull", "civitai:202", "--sha256", "12"], "tintype pull: --sha256: expected 64 hexadecimal digits"),
            (["pull", "civitai:202", "civitai:x"], "civitai:"),
            (["pull", "ftp://example.org/x"], "expected https://, hf:// or s3://"),
            (["pull", "a\x1b[31m"], "has a control character at byte 1"),
            (["models", "x"], "tintype models: unexpected argument \"x\""),
            (["models", "--sort", "colour"], "tintype models: --sort: expected used, size, name or kind"),
            (["show"], "tintype show: expected one model"),
            (["show", "a", "b"], "tintype show: unexpected argument \"b\""),
            (["rm"], "tintype rm: expected the models to remove"),
            (["gc", "--need", "much"], "--need: expected a size such as 20GB"),
            (["gc", "x"], "tintype gc: unexpected argument \"x\""),
            (["verify", "a", "b"], "unexpected argument \"b\""),
            (["backup"], "tintype backup: expected one file, or -"),
            (["modles"], "unknown command \"modles\", did you mean models?"),
            (["pul"], "did you mean pull?")):
        if words:
            done = store.run(*words, status=2)
            has(done.err, sentence)
            equal((done.out, done.err.count("\n")), ("", 1), words)
    equal(store.fake.requests(), [])


@case
def variables_that_make_no_sense_are_told_by_name(store):
    for name, value in (("TINTYPE_MODELS_MAX_BYTES", "lots"), ("TINTYPE_MODELS_MAX_BYTES", "-1GB"),
                        ("TINTYPE_MODELS_MAX_BYTES", "1e999"), ("TINTYPE_MODELS_MAX_BYTES", "0"),
                        ("TINTYPE_ALLOW_PRIVATE", "maybe"), ("TINTYPE_OFFLINE", "2"), ("TINTYPE_DOWNLOAD_CONNECTIONS", "0"),
                        ("TINTYPE_DOWNLOAD_CONNECTIONS", "17"), ("TINTYPE_CIVITAI_URL", "civitai.com"),
                        ("TINTYPE_CIVITAI_URL", "https://user@example.org"), ("TINTYPE_HF_URL", "https://example.org/?token=x"),
                        ("TINTYPE_MODELS_READONLY", ":".join("abcdefghi")), ("TINTYPE_MODELS", "x" * 5000),
                        ("CIVITAI_API_KEY", "two words"), ("HF_TOKEN", "x" * 600), ("TINTYPE_LOG_LEVEL", "loud")):
        done = store.run("models", status=2, env={name: value})
        equal(done.err.count("\n"), 1, done)
        if name != "TINTYPE_LOG_LEVEL":
            has(done.err, f"tintype: {name}: ")
        if name in ("CIVITAI_API_KEY", "HF_TOKEN"):
            lacks(done.err, value)
    plain = {"TINTYPE_ALLOW_PRIVATE": None, "TINTYPE_CIVITAI_URL": "http://mirror.example.org"}
    done = store.run("models", status=2, env=plain)
    has(done.err, "http:// needs TINTYPE_ALLOW_PRIVATE=1")


@case
def sizes_are_read_as_people_write_them(store):
    for text in ("200GB", "1.5 TB", "512MiB", "1000", "20g", "3kb"):
        store.run("models", env={"TINTYPE_MODELS_MAX_BYTES": text})


@case
def mirrors_and_private_addresses_are_said_in_the_log(store):
    done = store.run("models", env={"TINTYPE_LOG_LEVEL": None})
    for word in ("TINTYPE_ALLOW_PRIVATE", "CivitAI is asked at " + store.fake.url("civitai"),
                 "Hugging Face is asked at " + store.fake.url("huggingface")):
        has(done.err, word)
    quiet = store.run("models", env={"TINTYPE_LOG_LEVEL": None, "TINTYPE_ALLOW_PRIVATE": "0", "TINTYPE_CIVITAI_URL": None,
                                     "TINTYPE_HF_URL": None})
    equal(quiet.err, "")


@case
def keys_are_used_without_the_blanks_they_were_pasted_with(store):
    store.pull("civitai:202", env={"CIVITAI_API_KEY": f"  {store.fake.tokens['civitai']}\n"})


@case
def the_examples_of_the_documentation_are_understood(store):
    """Each command with --help behind it, so that nothing is fetched, and each reference by the parser."""
    text = (REPOSITORY / "docs" / "models.md").read_text()
    commands = re.findall(r"^(?:[A-Z0-9_]+=\S+ )*tintype ((?:%s)\b.*)$" % "|".join(COMMANDS), text, re.M)
    assert len(commands) > 15, commands
    seen = set()
    for command in commands:
        words = shlex.split(command.split(" | ")[0], comments=True)
        seen.add(words[0])
        done = store.run(*words, status=None) if words[0] in ("models", "gc") else store.run(*words, "--help")
        lacks(done.err, "unknown flag")
    equal(seen, set(COMMANDS))
    for variable in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", text):
        has((REPOSITORY / "src" / "cmd" / "store_options.h").read_text(), variable)


if __name__ == "__main__":
    main()
