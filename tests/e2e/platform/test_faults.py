"""A platform that misbehaves: storms of errors, silence, resets, garbage; and workers that are killed. What must hold: no
job's end is lost in silence, no busy loop, and the worker stays up."""

import asyncio
import json
import os
import signal
import sys
import time

from harness import bodies, main, scenario

from fake.platform import Answer, Hang, Platform, Raw, Reset, sequence


def job(number, **keys):
    return {"id": f"job-{number}-u1", "input": keys}


def script(*answers):
    """These answers once each, then the default."""
    left = list(answers)

    async def next_answer(_request):
        return left.pop(0) if left else None

    return next_answer


# ---- taking


async def storm(stage, answer, at_most, **variables):
    """With takes answered so for 3 s: at most so many requests, one ERROR line, and a job is still taken afterwards."""
    is_over = False

    async def take(_request):
        return None if is_over else answer

    stage.platform.on("take", take)
    worker = await stage.worker("mock_worker", **variables)
    await asyncio.sleep(3)
    n = len(stage.platform.of("take"))
    assert 2 <= n <= at_most, f"{n} takes in 3 s"
    is_over = True
    await stage.answer(job(1))
    return worker


@scenario
async def a_storm_of_500_is_met_with_back_off(stage):
    worker = await storm(stage, Answer(500), 14, TINTYPE_RETRY_BASE_MS="500")
    assert worker.text().count("Failed to get job. | HTTP 500") == 1
    await worker.says("can be reached again to get job", 90.0)  # an empty take is held for 30 s


@scenario
async def a_storm_of_401_is_met_with_back_off(stage):
    await storm(stage, Answer(401), 14, TINTYPE_RETRY_BASE_MS="500")


@scenario
async def a_storm_of_404_and_502_is_met_with_back_off(stage):
    await storm(stage, Answer(404), 14, TINTYPE_RETRY_BASE_MS="500")


@scenario
async def instant_empty_answers_are_no_busy_loop(stage):
    await storm(stage, Answer(204), 60, TINTYPE_RETRY_BASE_MS="500")


@scenario
async def instant_400_is_no_busy_loop(stage):
    worker = await storm(stage, Answer(400), 60, TINTYPE_RETRY_BASE_MS="500")
    assert "Failed to get job" not in worker.text()  # expected with FlashBoot


@scenario
async def garbage_for_a_take_is_no_busy_loop(stage):
    worker = await storm(stage, Answer(200, b"<html>", content_type="text/html"), 60, TINTYPE_RETRY_BASE_MS="500")
    assert worker.text().count("The answer is not JSON") == 1


@scenario
async def a_connection_that_is_refused_is_met_with_back_off(stage):
    await stage.platform.close()
    worker = await stage.worker("mock_worker", ready=False, TINTYPE_RETRY_BASE_MS="50")
    await worker.says("Failed to get job.")
    await asyncio.sleep(1)
    stage.platform.server = (await type(stage.platform)().start(stage.platform.port)).server
    await worker.says("can be reached again to get job", 90.0)  # an empty take is held for 30 s


@scenario
async def after_429_there_is_a_pause(stage):
    stage.platform.on("take", script(Answer(429), Answer(429, headers=[("Retry-After", "1")])))
    await stage.worker("mock_worker", TINTYPE_RETRY_BASE_MS="30")  # 10 times that: 0.3 s
    first, second, third = (await stage.platform.wait_for("take", 3))[:3]
    assert second.at - first.at >= 0.3, second.at - first.at
    assert third.at - second.at >= 1.0, third.at - second.at


@scenario
async def a_poll_that_hangs_is_given_up_and_repeated(stage):
    stage.platform.on("take", script(Hang(), Hang()))
    worker = await stage.worker("mock_worker", TINTYPE_POLL_TIMEOUT_MS="400")
    await stage.platform.wait_for("take", 3)
    await stage.answer(job(1))
    assert "Failed to get job" not in worker.text()


@scenario
async def broken_answers_to_takes_are_survived(stage):
    text = json.dumps(job(1)).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    stage.platform.on("take", script(
        Reset(), Reset(head), Raw(b"garbage\r\n\r\n"), Raw(head + b"Content-Length: 5000\r\n\r\n" + text),
        Raw(head + b"Content-Length: 0\r\n\r\n"), Answer(200, b'{"id": "job-1-u1", "inp'), Answer(200, b"[[[[["),
        Raw(head + b"Content-Length: %d\r\n\r\n" % len(text) + text, pause=0.005)))
    await stage.worker("mock_worker")
    (post,) = await stage.platform.wait_for_finals(1)
    assert post.body == b'{"output": "Hello World!"}', post.body


# ---- delivering


@scenario
async def a_result_survives_a_storm(stage):
    stage.platform.on("done", sequence(Answer(500), Answer(502), Reset(), Answer(429), Answer(401), Answer(408),
                                       Answer(200)))
    worker = await stage.worker("mock_worker")
    await stage.answer(job(1, mock_return="kept"))
    await stage.platform.wait_for("done", 7)
    assert set(bodies(stage.platform.of("done"))) == {'{"output": "kept"}'}
    await worker.says("was delivered at try")  # libcurl itself repeats one on a connection that was reset


@scenario
async def a_platform_that_hangs_on_results_is_tried_again(stage):
    stage.platform.on("done", sequence(Hang(), Answer(200)))
    await stage.worker("mock_worker", TINTYPE_RETRY_BASE_MS="10")  # one try: 1.2 s
    stage.platform.give(job(1))
    await stage.platform.wait_for_finals(2)


@scenario
async def a_heartbeat_goes_on_and_lists_the_job_while_its_result_is_not_delivered(stage):
    stage.platform.on("done", Answer(503))
    await stage.worker("mock_worker")
    stage.platform.give(job(1))
    await stage.platform.wait_for("done", 3)
    n = len(stage.platform.of("ping"))
    await stage.platform.wait_for("ping", n + 2)
    assert stage.platform.of("ping")[-1].query("job_id") == "job-1-u1"


@scenario
async def a_refusal_for_size_becomes_an_error(stage):
    async def done(request):
        return Answer(413 if len(request.body) > 1_000_000 else 200)

    stage.platform.on("done", done)
    await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_return="x" * 1_500_000))
    await stage.platform.wait_for_finals(2)
    error = stage.platform.finals()[1].json()["error"]
    assert "1500014 bytes" in error and "413" in error, error


@scenario
async def a_400_to_a_large_result_becomes_an_error(stage):
    async def done(request):
        return Answer(400 if len(request.body) > 1_000_000 else 200)

    stage.platform.on("done", done)
    await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_return="x" * 6_000_000))
    await stage.platform.wait_for_finals(2)
    assert "6000014 bytes" in stage.platform.finals()[1].json()["error"]


@scenario
async def a_result_beyond_the_known_limit_is_not_even_tried(stage):
    await stage.worker("mock_worker", TINTYPE_MAX_OUTPUT_BYTES="100000")
    post = await stage.answer(job(1, mock_return="x" * 100_000))
    error = post.json()["error"]
    assert "100014 bytes" in error and "at most 100000" in error, error


@scenario
async def a_large_result_is_uploaded_and_linked(stage):
    store = await Platform().start()
    store.on("other", sequence(Answer(503), Answer(200)))
    await stage.worker("mock_worker", TINTYPE_MAX_OUTPUT_BYTES="100000",
                       BUCKET_ENDPOINT_URL=f"http://127.0.0.1:{store.port}/pictures", BUCKET_ACCESS_KEY_ID="keyid",
                       BUCKET_SECRET_ACCESS_KEY="secret")
    post = await stage.answer(job(1, mock_return="x" * 100_000))
    await store.close()
    put = store.requests[-1]
    assert put.method == "PUT" and put.target.startswith("/pictures/job-1-u1/output-"), put.target
    assert put.body == b'"' + b"x" * 100_000 + b'"' and put.header("Content-Type") == "application/json"
    assert "AWS4-HMAC-SHA256" in put.header("Authorization")
    output = post.json()["output"]
    assert output["size_bytes"] == 100_002 and output["content_type"] == "application/json", output
    assert output["url"].startswith(f"http://127.0.0.1:{store.port}{put.target}?X-Amz-"), output


@scenario
async def a_large_result_that_cannot_be_uploaded_is_an_error(stage):
    store = await Platform().start()
    store.on("other", Answer(403))
    await stage.worker("mock_worker", TINTYPE_MAX_OUTPUT_BYTES="100000", TINTYPE_DELIVERY_PATIENCE_MS="500",
                       BUCKET_ENDPOINT_URL=f"http://127.0.0.1:{store.port}", BUCKET_ACCESS_KEY_ID="keyid",
                       BUCKET_SECRET_ACCESS_KEY="secret")
    post = await stage.answer(job(1, mock_return="x" * 100_000))
    await store.close()
    error = post.json()["error"]
    assert "could not be uploaded" in error and "HTTP 403" in error and "secret" not in error, error


@scenario
async def a_refused_small_result_is_reported(stage):
    stage.platform.on("done", sequence(Answer(422), Answer(200)))
    await stage.worker("mock_worker")
    stage.platform.give(job(1))
    await stage.platform.wait_for_finals(2)
    assert stage.platform.finals()[1].json() == {"error": "the platform refused the result: HTTP 422"}
    await stage.answer(job(2))


@scenario
async def a_job_that_the_platform_forgot_is_dropped(stage):
    stage.platform.on("done", sequence(Answer(404), Answer(200)))
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1))
    await worker.says("no longer knows this job")
    await stage.answer(job(2))
    assert len(stage.platform.finals("job-1-u1")) == 1


@scenario
async def failing_heartbeats_cost_one_line(stage):
    stage.platform.on("ping", sequence(Answer(200), Answer(500), Answer(500), Answer(500), Answer(200)))
    worker = await stage.worker("mock_worker")
    await worker.says("can be reached again to send a heartbeat")
    assert worker.text().count("Failed to send a heartbeat") == 1


@scenario
async def no_log_line_holds_a_key_a_prompt_or_a_result(stage):
    stage.platform.on("done", sequence(Answer(500), Answer(400), Answer(200)))
    worker = await stage.worker("mock_worker", RUNPOD_DEBUG_LEVEL="TRACE")
    stage.platform.give(job(1, mock_return="what nobody should read", prompt="a secret wish"))
    await stage.platform.wait_for_finals(3)
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    for words in ("secretkey", "what nobody should read", "a secret wish"):
        assert words not in worker.text(), words


# ---- killed workers


def spooled(stage):
    return list((stage.folder / "spool").glob("pod123/*.result"))


@scenario
async def a_result_outlives_a_worker_killed_while_delivering(stage):
    is_up = False

    async def done(_request):
        return Answer(200) if is_up else Answer(503)

    stage.platform.on("done", done)
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_return={"a": "é"}))
    await stage.platform.until(lambda: spooled(stage), what="a file in the spool")
    await worker.kill()
    is_up = True
    n = len(stage.platform.of("done"))
    again = await stage.worker("mock_worker")
    await stage.platform.wait_for("done", n + 1)
    assert stage.platform.of("done")[-1].body.decode() == '{"output": {"a": "é"}}'
    assert stage.platform.of("done")[-1].target == stage.platform.of("done")[0].target
    await stage.platform.until(lambda: not spooled(stage), what="an empty spool")
    await asyncio.sleep(0.3)
    assert len(stage.platform.of("done")) == n + 1  # once, and no report of a lost job
    await stage.answer(job(2))
    again.signal(signal.SIGTERM)
    assert await again.end() == 0


@scenario
async def a_job_that_ran_when_its_worker_was_killed_is_reported(stage):
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_delay=600))
    await worker.says("Started.")
    await worker.kill()
    await stage.worker("mock_worker")
    (post,) = await stage.platform.wait_for_finals(1)
    assert post.job_id == "job-1-u1" and "killed while this job ran" in post.json()["error"], post.body
    await stage.answer(job(2))
    assert len(stage.platform.finals("job-1-u1")) == 1


@scenario
async def kills_at_any_moment_lose_no_job_in_silence(stage):
    """Ten workers, each killed at another moment of a stream of jobs: each job that was taken has an end in the record."""
    taken = []
    number = 0

    async def take(request):
        nonlocal number
        number += 1
        n = number
        taken.append(n)
        return Answer(200, job(n, mock_delay=0.02 * (n % 3), mock_return=n))

    stage.platform.on("take", take)
    for round_number in range(10):
        worker = await stage.worker("mock_worker")
        await asyncio.sleep(0.11 + 0.037 * round_number)
        await worker.kill()
    stage.platform.on("take", None)
    await stage.worker("mock_worker")

    def missing():
        ends = {request.job_id for request in stage.platform.finals()}
        return [n for n in taken if f"job-{n}-u1" not in ends]

    # An answer that the worker had not read when it was killed is not its job yet: at most one a worker.
    await stage.platform.until(lambda: len(missing()) <= 10, what="all ends")
    await asyncio.sleep(1)
    assert len(missing()) <= 10, missing()
    assert number > 30, number


@scenario
async def an_unreachable_platform_leaves_results_on_disk_at_the_end(stage):
    stage.platform.on("done", Answer(503))
    worker = await stage.worker("mock_worker", TINTYPE_DELIVERY_PATIENCE_MS="600")
    stage.platform.give(job(1, mock_return="later"))
    await stage.platform.wait_for("done")
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    assert "kept on disk for the next worker" in worker.text()
    stage.platform.on("done", None)
    n = len(stage.platform.of("done"))
    await stage.worker("mock_worker")
    await stage.platform.wait_for("done", n + 1)
    assert stage.platform.of("done")[-1].body == b'{"output": "later"}'


@scenario
async def a_worker_told_to_end_at_once_leaves_its_result_on_disk(stage):
    stage.platform.on("done", Answer(503))
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_return="later"))
    await stage.platform.wait_for("done")
    for words in ("shutdown signal", "running jobs are cancelled", "ending at once"):
        worker.signal(signal.SIGTERM)
        await worker.says(words)
    assert await worker.end() == 1
    stage.platform.on("done", None)
    n = len(stage.platform.of("done"))
    await stage.worker("mock_worker")
    await stage.platform.wait_for("done", n + 1)
    assert stage.platform.of("done")[-1].body == b'{"output": "later"}'


@scenario
async def without_a_place_for_the_spool_the_worker_works(stage):
    (stage.folder / "file").write_text("x")
    stage.platform.on("done", sequence(Answer(503), Answer(200)))
    worker = await stage.worker("mock_worker", TINTYPE_SPOOL_FOLDER=str(stage.folder / "file"))
    await worker.says("kept in memory only")
    stage.platform.give(job(1))
    await stage.platform.wait_for_finals(2)


# ---- time


@scenario
async def heartbeats_are_on_time_while_all_cores_burn(stage):
    await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_burn=3))
    burners = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
               for _ in range(2 * (os.cpu_count() or 1))]
    await asyncio.sleep(5)
    for burner in burners:
        burner.kill()
        await burner.wait()
    times = [request.at for request in stage.platform.of("ping")]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) >= 3 and max(gaps) < 2.5, gaps


@scenario
async def a_fast_worker_takes_many_jobs_a_second(stage):
    await stage.worker("mock_worker")
    begin = time.monotonic()
    stage.platform.give(*(job(n) for n in range(200)))
    await stage.platform.wait_for_finals(200, seconds=60)
    assert time.monotonic() - begin < 60  # the reference: 200 s


main()
