"""`tintype serve` as other clients than RunPod's Python one meet it: plain HTTP, Go's and JavaScript's manners, people who
leave. With the model that comes with the program.
"""

import base64
import http.client
import json
import sys
import time

from house import BUILD, PATIENCE_S, Server, case, example, run_cases, tintype, until
from picture import png

SMALL = {"prompt": "a red sailing boat", "seed": 7, "steps": 2, "width": 64, "height": 64}
LONG = {**SMALL, "steps": 1000}
PRIVATE = "a very private lighthouse"


def running(server, job):
    """Waits until the job makes steps; its progress."""
    def look():
        output = server.status(job).get("output")
        return output if isinstance(output, dict) and output.get("step", 0) >= 1 else None
    return until(look, f"{job} makes steps")


def step_seconds(progress):
    return progress["elapsed_ms"] / 1000 / progress["step"]


@case
def a_picture_has_its_metadata():
    with tintype() as server:
        answer = server.runsync(**SMALL)
        assert answer["status"] == "COMPLETED", answer
        assert isinstance(answer["delayTime"], int) and isinstance(answer["executionTime"], int)
        picture = png(answer["output"]["image"])
        assert (picture.width, picture.height) == (64, 64)
        metadata = answer["output"]["metadata"]
        expected = {"prompt": SMALL["prompt"], "steps": 2, "cfg_scale": 4.5, "seed": 7, "width": 64, "height": 64,
                    "clip_skip": 2, "model": "tintype-tiny.safetensors", "loras": []}
        assert {name: metadata[name] for name in expected} == expected, metadata
        assert metadata["sampler_label"].startswith("DPM++ 2M"), metadata
        assert metadata["timings"]["denoise_ms"] > 0


@case
def several_pictures_of_another_workers_fields():
    with tintype() as server:
        output = server.runsync(prompt="a boat", num_inference_steps=2, guidance_scale=7.5, scheduler="K_EULER_ANCESTRAL",
                                num_images=2, width=64, height=64, seed=5, refiner_inference_steps=None, strength=None,
                                output_format="png")["output"]
        assert len({png(image).rgb for image in output["images"]}) == 2
        assert output["seeds"] == [5, 6]
        assert output["metadata"]["cfg_scale"] == 7.5 and output["metadata"]["sampler"] == "euler_a"


@case
def jpeg_and_webp_are_made():
    with tintype() as server:
        jpeg = base64.b64decode(server.runsync(**SMALL, format="jpeg", quality=80)["output"]["image"])
        webp = base64.b64decode(server.runsync(**SMALL, format="webp")["output"]["image"])
        assert jpeg[:3] == b"\xff\xd8\xff" and webp[8:12] == b"WEBP"


@case
def all_faults_are_one_sentence():
    with tintype() as server:
        answer = server.runsync(prompt="x", steps=0, width=1000001, scheduler="magic", preset="portrait")
        assert answer["status"] == "FAILED" and isinstance(answer["error"], str), answer
        for word in ("steps", "width", "scheduler", "euler", "preset"):
            assert word in answer["error"], answer


@case
def progress_tells_steps_and_shows_a_preview():
    with tintype() as server:
        job = server.run(**LONG)
        progress = running(server, job)
        assert progress["stage"] == "denoise" and progress["steps"] == 1000, progress
        assert (progress["picture"], progress["pictures"]) == (0, 1) and progress["eta_ms"] > 0, progress
        head, _, data = progress["preview"].partition(",")
        assert head == "data:image/jpeg;base64" and base64.b64decode(data)[:3] == b"\xff\xd8\xff"
        server.call("POST", f"/cancel/{job}")


@case
def a_cancelled_picture_stops_within_a_step():
    with tintype() as server:
        job = server.run(**LONG)
        progress = running(server, job)
        assert server.call("POST", f"/cancel/{job}") == {"id": job, "status": "CANCELLED"}
        cancelled = time.monotonic()
        after = server.runsync(**SMALL)
        assert after["status"] == "COMPLETED", after
        # It waited for the rest of one step, not for the hundreds that were left.
        generous_s = 5 + 20 * step_seconds(progress)
        assert after["delayTime"] / 1000 < generous_s, (after["delayTime"], progress, time.monotonic() - cancelled)
        assert server.status(job)["status"] == "CANCELLED"


@case
def a_runsync_client_that_leaves_cancels_its_job():
    with tintype() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        connection.request("POST", "/runsync?wait=300000", json.dumps({"input": LONG}))
        until(lambda: server.call("GET", "/health")["jobs"]["inProgress"] == 1, "it runs")
        connection.close()
        until(lambda: server.call("GET", "/health")["jobs"]["inProgress"] == 0, "it was cancelled")
        assert server.runsync(**SMALL)["status"] == "COMPLETED"


@case
def runsync_answers_when_its_wait_is_over():
    with tintype() as server:
        answer = server.call("POST", "/runsync?wait=1000", {"input": LONG})
        assert answer["status"] in ("IN_QUEUE", "IN_PROGRESS") and set(answer) == {"id", "status"}, answer
        assert server.call("POST", f"/cancel/{answer['id']}")["status"] == "CANCELLED"


@case
def status_and_stream_may_be_posted_to():
    with tintype() as server:
        job = server.run(**SMALL)
        answer = server.call("POST", f"/status-sync/{job}?wait=90000", timeout=100)
        assert answer["status"] == "COMPLETED", answer
        assert server.call("POST", f"/status/{job}")["output"] == answer["output"]
        for method in ("GET", "POST"):
            assert server.call(method, f"/stream/{job}")["stream"] == []
        assert server.call("GET", f"/v2/any-endpoint/status/{job}")["status"] == "COMPLETED"


@case
def metrics_tell_what_the_engine_did():
    with tintype() as server:
        server.runsync(**SMALL)
        def look():
            status, text = server.request("GET", "/metrics")
            assert status == 200
            return text if "tintype_engine_pictures_total 1\n" in text else None
        text = until(look, "the picture is counted")
        assert 'tintype_engine_phase_seconds_count{phase="denoise"} 1\n' in text


@case
def the_api_description_has_the_fields_of_a_job():
    with tintype() as server:
        text = server.request("GET", "/openapi.json")[1]
        for field in ("negative_prompt", "cfg_scale", "num_images", "guidance_rescale"):
            assert f'"{field}"' in text, field
        json.loads(text)


@case
def no_prompt_and_no_key_is_logged():
    with tintype(env={"TINTYPE_API_KEY": "a-private-key"}) as server:
        server.headers = {"Authorization": "Bearer a-private-key"}
        server.runsync(**{**SMALL, "prompt": PRIVATE})
        server.runsync(**{**SMALL, "prompt": PRIVATE, "steps": 0})
        assert server.request("POST", "/run", {"input": SMALL}, headers={"Authorization": "wrong"})[0] == 401
    assert "private" not in server.output(), server.output()
    assert "pictures=1" in server.output()


@case
def the_program_serves_without_a_command_where_a_flag_says_so():
    with Server(BUILD / "tintype", "--rp_serve_api", "--rp_api_port", "0", "--rp_log_level", "DEBUG") as server:
        assert server.runsync(**SMALL)["status"] == "COMPLETED"


@case
def the_environment_gives_what_a_job_leaves_out():
    with tintype(env={"TINTYPE_STEPS": "3", "TINTYPE_WIDTH": "72"}) as server:
        metadata = server.runsync(prompt="x", height=64, steps=1)["output"]["metadata"]
        assert (metadata["width"], metadata["steps"]) == (72, 1), metadata


@case
def a_crash_costs_one_job():
    with example("mock_worker") as server:
        answer = server.runsync(mock_crash=True)
        assert answer["status"] == "FAILED" and "HandlerCrashed" in answer["error"], answer
        assert server.runsync(mock_return="alive")["output"] == "alive"


sys.exit(run_cases())
