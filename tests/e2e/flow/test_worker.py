"""Jobs of a worker whose models come through the store."""

import asyncio
import shutil
import signal
import time

from harness import EXAMPLE, KEY, Worker, case, check, main, presets, sha256


def error_of(answer):
    return answer["error"] if isinstance(answer["error"], str) else str(answer["error"])


@case
async def a_job_of_the_example_draws_and_the_second_asks_nobody(flow):
    async with Worker(flow, "--config", str(EXAMPLE)) as worker:
        first = await worker.job("one")
        flow.fake.clear()
        second = await worker.job("two", loras=[{"name": "zoom-slider"}, {"name": "age-slider", "scale": 0}])
        check(flow.fake.requests(), [])
    record, other = first["output"]["metadata"], second["output"]["metadata"]
    check([record[name] for name in ("preset", "model", "model_reference", "model_sha256", "steps")],
          ["portrait", "SD XL v1.0", "civitai:128078", sha256("tintype-tiny"), 2])
    check([lora["name"] for lora in record["loras"]],
          ["detail", "film", "soft-light", "skin", "eyes", "contrast", "colour", "age-slider"])
    check(other["loras"][-1]["name"], "zoom-slider")
    for lora in record["loras"]:
        check((lora["sha256"], lora["matched"] > 0, lora["unmatched"]), (sha256("tintype-old-photo"), True, 0))
    assert "CIVITAI_API_KEY is accepted" in worker.text(), "the key was not checked"
    for phase in ("lookup", "wait", "resolve", "download", "verify", "commit"):
        assert f"{phase}_ms=" in worker.text(), phase
    assert KEY not in worker.text()


@case
async def a_worker_that_starts_again_asks_nobody(flow):
    async with Worker(flow, "--config", str(EXAMPLE)) as worker:
        await worker.job("one")
    flow.fake.clear()
    async with Worker(flow, "--config", str(EXAMPLE)) as worker:
        await worker.job("two")
    check(flow.fake.requests(), [])


@case
async def another_preset_takes_the_models_place(flow):
    tree = presets()
    tree["default"] = "boats"
    tree["presets"]["ships"] = {"checkpoint": "civitai:501"}
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        names = [(await worker.job(f"job-{i}", **more))["output"]["metadata"]["model"]
                 for i, more in enumerate([{}, {"preset": "ships"}, {"preset": "ships"}, {"preset": "boats"}])]
    check(names, ["SD XL v1.0", "Other v1.0", "Other v1.0", "SD XL v1.0"])
    check(worker.text().count("engine | model="), 3)


@case
async def first_use_fetches_when_a_job_asks_and_says_how_far(flow):
    tree = presets()
    tree["policy"] = {"fetch": "first_use"}
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        await worker.says("opened when the first job asks")
        await worker.says("models | civitai:128078 is not here; the first job that needs it will find out")
        check(flow.fake.requests("civitai_cdn"), [])
        flow.fake.faults({"kind": "slow", "match": {"host": "civitai_cdn"}, "params": {"rate": 20000000}, "times": None})
        answer = await worker.job("one")
        stages = [request.json() for request in worker.platform.of("done") if not request.is_final()]
    check(answer["output"]["metadata"]["model"], "SD XL v1.0")
    texts = [stage["output"]["text"] for stage in stages if stage["output"].get("stage") == "fetch"]
    assert any(text.startswith("downloading") for text in texts), stages


@case
async def what_no_job_could_fetch_is_told_at_start(flow):
    tree = presets(vae=str(flow.folder / "no.safetensors"))
    tree["policy"] = {"fetch": "first_use"}
    flow.write("tintype.json", tree)
    async with Worker(flow, TINTYPE_OFFLINE="1") as worker:
        await worker.says("civitai:128078 is not here and cannot be fetched: TINTYPE_OFFLINE is set")
        await worker.says("no.safetensors is not here and cannot be fetched: it is a file of this machine")
    async with Worker(flow, TINTYPE_MODELS="/proc/nowhere") as worker:
        await worker.says("civitai:128078 is not here and cannot be fetched: cannot make the folder /proc/nowhere")


@case
async def what_cannot_be_had_costs_one_job(flow):
    tree = presets()
    tree["default"] = "boats"
    tree["presets"]["broken"] = {"checkpoint": "civitai:601"}
    tree["presets"]["nowhere"] = {"checkpoint": "civitai:999"}
    tree["presets"]["early"] = {"checkpoint": "civitai:128078", "loras": [{"name": "early", "source": "civitai:301"}]}
    tree["presets"]["gone"] = {"checkpoint": str(flow.folder / "private" / "gone.safetensors")}
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        errors = {name: error_of(await worker.job(name, preset=name)) for name in ("broken", "nowhere", "early", "gone")}
        errors["unknown"] = error_of(await worker.job("unknown", preset="boat"))
        errors["listed"] = error_of(await worker.job("listed", loras=["civitai:142892"]))
        errors["word"] = error_of(await worker.job("word", loras=["flim"]))
        errors["prompt"] = error_of(await worker.job("prompt", prompt="a <lora:civitai/../x:1>"))
        good = await worker.job("good")
    check(errors["unknown"], 'preset: there is no "boat", did you mean "boats"?')
    check(errors["listed"], "loras[0]: only LoRAs that the preset lists may be used here, by their names")
    check(errors["word"], 'loras[0]: no LoRA "flim" in the preset boats, did you mean "film"?')
    assert "early access" in errors["early"].lower(), errors
    assert "999" in errors["nowhere"], errors
    check(errors["broken"].partition(":")[0], "Broken v1.0 is not an SDXL model")
    for sentence in errors.values():
        assert str(flow.folder) not in sentence, sentence
    check(good["output"]["metadata"]["model"], "SD XL v1.0")


@case
async def an_open_policy_lets_jobs_name_models(flow):
    tree = presets()
    tree["policy"] = {"loras": "open", "sources": ["civitai"]}
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        answer = await worker.job("one", loras=[{"source": "civitai:142892", "scale": 0.5}])
        refused = error_of(await worker.job("two", loras=["https://127.0.0.1/x.safetensors"]))
        path = error_of(await worker.job("three", loras=["/etc/passwd"]))
    check([lora["reference"] for lora in answer["output"]["metadata"]["loras"]], ["civitai:179152", "civitai:142892"])
    check(refused, "loras[0]: models from url may not be named by requests here")
    assert "may not name files by their path" in path, path


@case
async def a_key_that_is_not_accepted_ends_the_worker_with_a_sentence(flow):
    flow.set(CIVITAI_API_KEY="a-key-that-is-not-known")
    flow.write("tintype.json", presets())
    async with Worker(flow) as worker:
        await asyncio.wait_for(worker.process.wait(), 60)
    assert worker.process.returncode == 1, worker.process.returncode
    assert "CIVITAI_API_KEY is not accepted" in worker.text()
    assert "a-key-that" not in worker.text()


@case
async def a_changed_file_is_read_when_a_signal_says_so(flow):
    flow.write("tintype.json", presets())
    async with Worker(flow) as worker:
        check((await worker.job("one"))["output"]["metadata"]["preset"], "boats")
        flow.write("tintype.json", {"presets": {"ships": presets()["presets"]["boats"]}})
        worker.process.send_signal(signal.SIGHUP)
        check((await worker.job("two"))["output"]["metadata"]["preset"], "ships")
        flow.write("tintype.json", {"presets": {"ships": 3}})
        worker.process.send_signal(signal.SIGHUP)
        check((await worker.job("three"))["output"]["metadata"]["preset"], "ships")
    assert "the changed file is not used" in worker.text()


@case
async def a_store_that_somebody_empties_is_filled_again(flow):
    tree = presets()
    tree["default"] = "boats"
    tree["presets"]["ships"] = {"checkpoint": "civitai:501"}
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        for i, folder in enumerate(("store/v1", "store")):
            await worker.job(f"before-{i}")
            shutil.rmtree(flow.folder / folder)
            names = [(await worker.job(f"{preset}-{i}", preset=preset))["output"]["metadata"]["model"]
                     for preset in ("boats", "ships", "boats")]
            check(names, ["SD XL v1.0", "Other v1.0", "SD XL v1.0"])


@case
async def a_stopped_job_stops_its_download_which_goes_on_with_the_next(flow):
    tree = presets()
    tree["policy"] = {"fetch": "first_use"}
    tree["presets"]["boats"]["loras"] = []
    flow.write("tintype.json", tree)
    async with Worker(flow) as worker:
        flow.fake.faults({"kind": "slow", "match": {"host": "civitai_cdn"}, "params": {"rate": 200000}, "times": None})
        worker.platform.give({"id": "slow", "input": {"prompt": "a", "steps": 1, "width": 64, "height": 64}})
        await worker.platform.until(lambda: any(b"downloading" in request.body for request in worker.platform.of("done")), 60,
                                    "progress of a download")
        began = time.monotonic()
        worker.platform.stop("slow")
        flow.fake.control("DELETE", "faults")
        answer = await worker.job("next")
        assert time.monotonic() - began < 60, "the download went on"
    check(answer["output"]["metadata"]["model"], "SD XL v1.0")


if __name__ == "__main__":
    main()
