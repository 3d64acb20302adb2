"""`tintype run` with models that are fetched first."""

import json

from harness import EXAMPLE, REPOSITORY, case, check, main, presets, sha256


@case
def the_example_fetches_draws_and_says_with_what(flow):
    record = flow.draw("--config", str(EXAMPLE))
    check([record[name] for name in ("preset", "model", "model_reference", "model_sha256")],
          ["portrait", "SD XL v1.0", "civitai:128078", sha256("tintype-tiny")])
    check([(lora["name"], lora["scale"]) for lora in record["loras"]],
          [(lora["name"], lora["scale"]) for lora in json.loads(EXAMPLE.read_text())["presets"]["portrait"]["loras"][:8]])
    for lora in record["loras"]:
        check((lora["sha256"], lora["matched"] > 0, lora["unmatched"]), (sha256("tintype-old-photo"), True, 0))
    check(record["loras"][1]["reference"], "civitai:179152")
    check((record["negative_prompt"], record["clip_skip"], record["steps"]), ("blurry, deformed", 2, 2))
    assert "SD XL v1.0: checkpoint, 39.2 MB, fetched and checked in" in flow.stderr
    check(len({request["target"].partition("?")[0] for request in flow.fake.requests("civitai_cdn")}), 2)  # one LoRA, nine names


@case
def the_second_picture_needs_no_network(flow):
    first = flow.draw("--config", str(EXAMPLE))
    flow.fake.clear()
    second = flow.draw("--config", str(EXAMPLE))
    check(flow.fake.requests(), [])
    check(first["loras"], second["loras"])


@case
def a_flag_beats_the_preset_which_beats_the_environment(flow):
    flow.write("tintype.json", presets(defaults={"steps": 3, "cfg_scale": 2}))
    flow.set(TINTYPE_STEPS=9, TINTYPE_CFG=7, TINTYPE_MODEL="civitai:501", TINTYPE_SAMPLER="euler")
    record = json.loads(flow.run("--prompt", "a", "--width", "64", "--height", "64", "--seed", "1", "--cfg", "1", "--json"))
    record = record["output"]["metadata"]
    check([record[name] for name in ("steps", "cfg_scale", "sampler", "model")], [3, 1, "euler", "SD XL v1.0"])
    check(flow.draw("--model", "civitai:501")["model"], "Other v1.0")


@case
def references_stand_where_files_do(flow):
    record = flow.draw("--model", "civitai:101055@128078", "--lora", "civitai:179152:0.5", "--lora",
                       "https://civitai.com/models/1/x?modelVersionId=142892")
    check(record["model_reference"], "civitai:128078")
    check([(lora["name"], lora["scale"]) for lora in record["loras"]], [("film v1.0", 0.5), ("soft-light v1.0", 1)])


@case
def a_listed_lora_is_switched_on_by_its_name_also_in_the_prompt(flow):
    flow.write("tintype.json", presets(loras=[{"name": "film", "source": "civitai:179152", "scale": 0.3, "active": False}]))
    check(flow.draw()["loras"], [])
    check([(lora["name"], lora["scale"]) for lora in flow.draw("--lora", "film")["loras"]], [("film", 0.3)])
    flow.run("--prompt", "a <lora:film:0.7> boat", "--steps", "1", "--width", "64", "--height", "64", "--json")
    lora = json.loads(flow.stdout)["output"]["metadata"]["loras"][0]
    check([lora[name] for name in ("name", "scale", "reference", "from_prompt")], ["film", 0.7, "civitai:179152", True])


@case
def an_embedding_goes_by_the_presets_name(flow):
    flow.write("tintype.json", presets(embeddings=[{"name": "nightglow", "source": "civitai:801"}]))
    tokens = {}
    for prompt in ("a boat, nightglow", "a boat, moonlit"):
        flow.run("--prompt", prompt, "--steps", "1", "--width", "64", "--height", "64", "--json")
        tokens[prompt] = json.loads(flow.stdout)["output"]["metadata"]["embeddings"]
    check(tokens, {"a boat, nightglow": 1, "a boat, moonlit": 0})


@case
def a_missing_key_is_named(flow):
    flow.set(CIVITAI_API_KEY=None)
    flow.write("tintype.json", presets())
    sentence = flow.fails(status=2)
    assert "CIVITAI_API_KEY" in sentence, sentence


@case
def a_key_that_is_not_accepted_is_named(flow):
    flow.set(CIVITAI_API_KEY="a-key-that-is-not-known")
    sentence = flow.fails("--model", "civitai:128078")
    assert "CIVITAI_API_KEY" in sentence and "a-key-that" not in flow.stderr, sentence


@case
def early_access_is_said(flow):
    sentence = flow.fails("--lora", "civitai:301", status=2)
    assert "early access" in sentence.lower() and "301" in sentence, sentence


@case
def an_unknown_preset_is_told_with_the_nearest(flow):
    check(flow.fails("--config", str(EXAMPLE), "--preset", "potrait", status=2),
          'preset: there is no "potrait", did you mean "portrait"?')
    check(flow.fake.requests(), [])


@case
def a_file_with_mistakes_is_refused_with_all_of_them(flow):
    flow.write("tintype.json", presets(stepz=1, checkpont="civitai:1"))
    flow.fails(status=2)
    assert "2 things are wrong" in flow.stderr and "checkpont" in flow.stderr and "stepz" in flow.stderr, flow.stderr


@case
def the_list_of_presets_shows_no_key(flow):
    flow.write("tintype.json", presets(
        vae="https://example.org/v.safetensors?X-Amz-Signature=abcdef&token=hush", description="\x1b[31mred",
        loras=[{"name": "film", "source": "https://civitai.com/api/download/models/179152?token=hush"}],
        embeddings=[{"name": "bad", "source": "https://example.org/e.safetensors?sig=hush"}]))
    for flag in ((), ("--json",)):
        shown = flow.program("presets", *flag)
        for secret in ("hush", "abcdef", "\x1b"):
            assert secret not in shown, shown
        for word in ("civitai:179152", "https://example.org/v.safetensors", "https://example.org/e.safetensors", "red"):
            assert word in shown, shown


@case
def a_model_that_is_none_is_told_by_its_name(flow):
    sentence = flow.fails("--model", "civitai:601")
    check(sentence, "Broken v1.0 is not an SDXL model: none of its 1 tensors is where a UNet, VAE or text encoder would have it "
          "(the first is a)")


@case
def offline_says_so(flow):
    flow.set(TINTYPE_OFFLINE=1)
    check(flow.fails("--model", "civitai:128078"), "civitai:128078: not here, and nothing may be fetched")


@case
def files_of_this_machine_need_no_store(flow):
    flow.draw("--model", str(REPOSITORY / "models" / "tintype-tiny.safetensors"))
    assert not (flow.folder / "store").exists(), "a store was made"


if __name__ == "__main__":
    main()
