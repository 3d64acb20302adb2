"""The program as a RunPod endpoint runs it: without a command, with the platform's environment. Pictures, stop, misfits."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from house import BUILD, MODEL, PATIENCE_S, case, run_cases
from picture import png

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from fake.platform import Platform  # noqa: E402 # after the path

SMALL = {"prompt": "a private boat", "seed": 7, "steps": 2, "width": 64, "height": 64}


class Stage:
    """A platform and the program that works for it."""

    async def __aenter__(self):
        self.platform = await Platform().start()
        self.folder = tempfile.mkdtemp()
        return self

    async def work(self, model=MODEL):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "TINTYPE_"))}
        env |= self.platform.environment()
        env |= {"TINTYPE_MODEL": str(model), "TMPDIR": self.folder}
        self.process = await asyncio.create_subprocess_exec(BUILD / "tintype", env=env, cwd=self.folder,
                                                            stdin=asyncio.subprocess.DEVNULL,
                                                            stdout=asyncio.subprocess.PIPE,
                                                            stderr=asyncio.subprocess.STDOUT)
        self.output = asyncio.ensure_future(self.process.stdout.read())

    async def end(self, expected):
        """Its status is the expected one; everything that it printed."""
        status = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        text = (await asyncio.wait_for(self.output, PATIENCE_S)).decode(errors="replace")
        assert status == expected, f"exit status {status}:\n{text[-4000:]}"
        assert "Sanitizer" not in text and "runtime error:" not in text, text[-4000:]
        return text

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self.platform.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def on_stage(scenario):
    async def play():
        async with Stage() as stage:
            await scenario(stage)

    def run():
        asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE_S))

    run.__name__ = scenario.__name__
    return case(run)


@on_stage
async def a_job_of_the_platform_becomes_a_picture(stage):
    await stage.work()
    stage.platform.give({"id": "job-1-u1", "input": SMALL})
    (final,) = await stage.platform.wait_for_finals(1, seconds=PATIENCE_S)
    output = final.json()["output"]
    assert png(output["image"]).width == 64 and output["metadata"]["seed"] == 7
    stage.process.send_signal(signal.SIGTERM)
    text = await stage.end(0)
    assert "private" not in text and "secretkey" not in text, text


@on_stage
async def progress_reaches_the_platform_without_pictures(stage):
    await stage.work()
    stage.platform.give({"id": "job-1-u1", "input": {**SMALL, "steps": 1000}})
    await stage.platform.until(lambda: any(b"denoise" in r.body for r in stage.platform.of("done")), PATIENCE_S, "progress")
    for update in stage.platform.of("done"):
        assert update.json()["status"] == "IN_PROGRESS" and b"preview" not in update.body, update
    stage.platform.stop("job-1-u1")
    stage.platform.give({"id": "job-2-u1", "input": SMALL})
    (final,) = await stage.platform.wait_for_finals(1, seconds=PATIENCE_S)
    assert final.job_id == "job-2-u1", "a stopped job posts nothing"
    assert "image" in final.json()["output"]


@on_stage
async def a_bad_job_is_answered_with_one_sentence(stage):
    await stage.work()
    stage.platform.give({"id": "job-1-u1", "input": {"prompt": "x", "steps": 0, "sampler": "magic"}})
    (final,) = await stage.platform.wait_for_finals(1, seconds=PATIENCE_S)
    error = final.json()["error"]
    assert set(final.json()) == {"error"} and "steps" in error and "sampler" in error, final


@on_stage
async def a_model_that_does_not_open_makes_the_worker_unhealthy(stage):
    model = Path(stage.folder) / "volume" / "cut.safetensors"
    model.parent.mkdir()
    model.write_bytes(MODEL.read_bytes()[:100000])
    await stage.work(model)
    await stage.platform.until(lambda: any("status=unhealthy" in r.target for r in stage.platform.of("ping")), PATIENCE_S,
                               "a ping that says unhealthy")
    text = await stage.end(1)
    (ping,) = [r for r in stage.platform.of("ping") if "status=unhealthy" in r.target]
    assert "cut.safetensors" in ping.query("reason") and "volume" not in ping.query("reason"), ping
    assert str(model) in text, text  # the log is the operator's
    assert not stage.platform.finals()


sys.exit(run_cases())
