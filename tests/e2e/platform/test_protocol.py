"""The wire, byte for byte as recorded from the reference SDK: runpod.md 1.4 to 1.9, 7.1 and Appendix A."""

import asyncio
import json
import signal

from harness import bodies, main, scenario

from fake.platform import Answer, Reset, sequence

PING = "/v2/ep1/ping/pod123?gpu=NVIDIA+H200"


def job(number, **keys):
    return {"id": f"job-{number}-u1", "input": keys}


# ---- A1: first requests, headers


@scenario
async def the_first_requests_are_the_recorded_ones(stage):
    await stage.worker("mock_worker")
    take = (await stage.platform.wait_for("take"))[0]
    stop = (await stage.platform.wait_for("stop"))[0]
    ping = stage.platform.of("ping")[0]
    assert take.method == stop.method == ping.method == "GET"
    assert take.target == "/v2/ep1/job-take/pod123?gpu=NVIDIA+H200&job_in_progress=0", take.target
    assert stop.target == "/v2/ep1/job-stop/pod123?gpu=NVIDIA+H200", stop.target
    assert ping.target == f"{PING}&runpod_version=1.12.0", ping.target
    for request in (take, stop):
        assert request.header("Content-Type") == "application/json"
    for request in (take, stop, ping):
        assert request.version == "HTTP/1.1"
        assert request.header("Authorization") == "secretkey"
        assert request.header("Accept") == "*/*"
        assert request.header("Accept-Encoding") == "gzip, deflate"
        assert request.header("User-Agent").startswith("Tintype/")
        assert request.header("X-Request-ID") is None
    assert ping.header("Connection") == "keep-alive"


@scenario
async def a_result_has_the_recorded_headers(stage):
    await stage.worker("mock_worker")
    post = await stage.answer(job(1))
    assert post.method == "POST"
    assert post.target == "/v2/ep1/job-done/pod123/job-1-u1?gpu=NVIDIA+H200&isStream=false", post.target
    assert post.header("Content-Type") == "application/x-www-form-urlencoded"
    assert post.header("charset") == "utf-8"
    assert post.header("X-Request-ID") == "job-1-u1"
    assert post.header("Authorization") == "secretkey"
    assert post.header("Transfer-Encoding") is None
    assert post.header("Expect") is None
    assert int(post.header("Content-Length")) == len(post.body)
    await stage.platform.wait_for("take", 2)
    assert stage.platform.of("take")[-1].header("X-Request-ID") is None  # the reference leaks it


@scenario
async def connections_are_kept_and_reused(stage):
    await stage.worker("mock_worker")
    for number in range(20):
        await stage.answer(job(number))
    assert stage.platform.n_connections < 8, stage.platform.n_connections


# ---- A2: bodies


@scenario
async def bodies_of_results_are_the_recorded_ones(stage):
    await stage.worker("mock_worker")
    rows = [
        ({"mock_return": {"echo": {"a": 1}}}, '{"output": {"echo": {"a": 1}}}'),
        ({"mock_return": {"error": "bad", "details": [1]}}, '{"output": {"details": [1]}, "error": "bad"}'),
        ({"mock_return": {"error": ["x", "y"]}}, '{"error": ["x", "y"]}'),
        ({"mock_return": {}}, "{}"),
        ({"mock_return": {"refresh_worker": True, "x": 1}}, '{"output": {"x": 1}, "stopPod": true}'),
        ({"mock_return": None}, '{"output": null}'),
        ({"mock_return": "é☃"}, '{"output": "é☃"}'),
        ({"mock_return": {"error": "", "a": 1}}, '{"output": {"a": 1}}'),
        ({"mock_return": [1, "b"]}, '{"output": [1, "b"]}'),
        ({"mock_return": True}, '{"output": true}'),
    ]
    for number, (keys, expected) in enumerate(rows):
        post = await stage.answer(job(number, **keys))
        assert post.body.decode() == expected, f"{keys}: {post.body!r}, expected {expected}"
        assert post.query("isStream") == "false"


@scenario
async def an_exception_is_reported_as_json_in_a_string(stage):
    await stage.worker("mock_worker")
    post = await stage.answer(job(1, mock_error=True))
    assert list(post.json()) == ["error"], post.body
    report = json.loads(post.json()["error"])
    assert list(report) == ["error_type", "error_message", "error_traceback", "hostname", "worker_id", "runpod_version"]
    assert report["error_message"] == "Mock error", report
    assert report["hostname"] == "pod123-64410a0b" and report["worker_id"] == "pod123", report


@scenario
async def progress_comes_before_the_result_and_in_order(stage):
    await stage.worker("mock_worker")
    await stage.answer(job(1, mock_progress={"updates": ["10%", "50%", "90%"], "wait_time": 0.4}, mock_return="done"))
    posts = stage.platform.of("done")
    assert bodies(posts) == ['{"status": "IN_PROGRESS", "output": "10%"}', '{"status": "IN_PROGRESS", "output": "50%"}',
                             '{"status": "IN_PROGRESS", "output": "90%"}', '{"output": "done"}'], bodies(posts)
    assert all(post.query("isStream") == "false" for post in posts)


@scenario
async def a_flood_of_progress_is_thinned_and_never_follows_the_end(stage):
    await stage.worker("mock_worker")
    updates = [f"{n}" for n in range(400)]
    await stage.answer(job(1, mock_progress={"updates": updates, "wait_time": 0.005}, mock_return="done"))
    posts = stage.platform.of("done")
    values = [int(post.json()["output"]) for post in posts[:-1]]
    assert values == sorted(values) and len(values) < 30, values  # 2 s: about 8
    await asyncio.sleep(0.6)
    assert stage.platform.of("done")[-1].is_final()


# ---- A3: streams


@scenario
async def a_stream_is_the_recorded_one(stage):
    await stage.worker("mock_worker", "--generator", "--return_aggregate_stream")
    post = await stage.answer(job(1, mock_return=["a", {"k": 1}, 3]))
    chunks = stage.platform.of("stream")
    assert bodies(chunks) == ['{"output": "a"}', '{"output": {"k": 1}}', '{"output": 3}'], bodies(chunks)
    for chunk in chunks:
        assert chunk.target == "/v2/ep1/job-stream/pod123/job-1-u1?gpu=NVIDIA+H200&isStream=false", chunk.target
        assert chunk.header("X-Request-ID") == "job-1-u1"
    assert post.body.decode() == '{"output": ["a", {"k": 1}, 3]}', post.body
    assert post.query("isStream") == "true"


@scenario
async def a_stream_without_aggregate_ends_with_an_empty_list(stage):
    await stage.worker("mock_worker", "--generator")
    post = await stage.answer(job(1, mock_return=["a"]))
    assert post.body.decode() == '{"output": []}', post.body
    assert post.query("isStream") == "true"


@scenario
async def an_error_in_a_stream_ends_it(stage):
    await stage.worker("mock_worker", "--generator", "--return_aggregate_stream")
    post = await stage.answer(job(1, mock_return=["a", {"error": "soft"}, "never"]))
    assert bodies(stage.platform.of("stream")) == ['{"output": "a"}'], stage.platform.of("stream")
    assert post.body.decode() == '{"error": "soft"}', post.body
    assert post.query("isStream") == "true"


@scenario
async def chunks_of_a_stream_keep_their_order_through_failures(stage):
    stage.platform.on("stream", sequence(Answer(500), Answer(200), Reset(), Answer(429), Answer(200)))
    await stage.worker("mock_worker", "--generator", "--return_aggregate_stream")
    post = await stage.answer(job(1, mock_return=list(range(12))))
    seen = [chunk.json()["output"] for chunk in stage.platform.of("stream")]
    assert [n for i, n in enumerate(seen) if n not in seen[:i]] == list(range(12)), seen
    assert seen == sorted(seen), seen
    assert post.json() == {"output": list(range(12))}


# ---- 1.4: taking


@scenario
async def batches_are_taken_while_more_than_one_slot_is_free(stage):
    await stage.worker("mock_worker", "--async_generator", CONCURRENCY_MODIFIER="3", MOCK_RETURN='["x"]')
    first = (await stage.platform.wait_for("batch"))[0]
    assert first.target == "/v2/ep1/job-take-batch/pod123?gpu=NVIDIA+H200&batch_size=3&job_in_progress=0", first.target
    stage.platform.give(job(1, mock_delay=1.5), job(2, mock_delay=1.5))
    await stage.platform.until(lambda: stage.platform.of("take"), what="a single take")
    single = stage.platform.of("take")[0]
    assert single.target == "/v2/ep1/job-take/pod123?gpu=NVIDIA+H200&job_in_progress=1", single.target
    stage.platform.give(job(3))
    await stage.platform.wait_for_finals(3)


@scenario
async def heartbeats_list_the_jobs(stage):
    await stage.worker("mock_worker", "--async_generator", CONCURRENCY_MODIFIER="2", MOCK_RETURN='["x"]')
    stage.platform.give(job(1, mock_delay=3), job(2, mock_delay=3))
    both = {f"{PING}&job_id=job-{a}-u1%2Cjob-{b}-u1&runpod_version=1.12.0" for a, b in ((1, 2), (2, 1))}
    await stage.platform.until(lambda: any(p.target in both for p in stage.platform.of("ping")), what="a ping with both")
    await stage.platform.wait_for_finals(2)
    n = len(stage.platform.of("ping"))
    await stage.platform.wait_for("ping", n + 2)
    assert stage.platform.of("ping")[-1].target == f"{PING}&runpod_version=1.12.0"


@scenario
async def more_jobs_than_asked_for_all_run(stage):
    many = json.dumps([job(n, mock_delay=0.2) for n in range(6)]).encode()
    answers = [Answer(200, many)]

    async def take(_request):
        return answers.pop() if answers else None

    stage.platform.on("take", take)
    await stage.worker("mock_worker")
    posts = await stage.platform.wait_for_finals(6)
    assert sorted(post.job_id for post in posts) == [f"job-{n}-u1" for n in range(6)]


@scenario
async def two_jobs_of_one_id_both_run(stage):
    twins = [Answer(200, [job(1, mock_return="a"), job(1, mock_return="b")])]

    async def take(_request):
        return twins.pop() if twins else None

    stage.platform.on("take", take)
    await stage.worker("mock_worker")
    posts = await stage.platform.wait_for_finals(2)
    assert sorted(bodies(posts)) == ['{"output": "a"}', '{"output": "b"}'], bodies(posts)


@scenario
async def items_of_a_batch_are_judged_one_by_one(stage):
    items = (b'[{"input": {}}, {"id": "no-input-u1"}, 5, null, {"id": "nan-u1", "input": NaN},'
             b' {"id": "a/b", "input": 1}, {"id": "good-u1", "input": {"mock_return": 7}, "extra": [1]}]')
    answers = [Answer(200, items)]

    async def take(_request):
        return answers.pop() if answers else None

    stage.platform.on("take", take)
    worker = await stage.worker("mock_worker")
    await stage.platform.wait_for_finals(3)
    by_id = {post.job_id: post.json() for post in stage.platform.finals()}
    assert by_id["good-u1"] == {"output": 7}
    assert "input" in by_id["no-input-u1"]["error"], by_id
    assert "JSON" in by_id["nan-u1"]["error"], by_id
    assert set(by_id) == {"good-u1", "no-input-u1", "nan-u1"}, by_id
    await worker.says("without a usable id")
    assert worker.process.returncode is None  # the reference exits 1 here


@scenario
async def the_next_job_is_taken_while_a_result_is_on_its_way(stage):
    stage.platform.on("done", sequence(Answer(200, {}, after=1.5), Answer(200, {})))
    await stage.worker("mock_worker")
    stage.platform.give(job(1), job(2))
    await stage.platform.wait_for_finals(2)
    first, second = stage.platform.finals()
    assert second.at - first.at < 1.4, second.at - first.at  # not after the first answer


@scenario
async def five_megabytes_go_in_and_out(stage):
    await stage.worker("mock_worker")
    text = "x" * 5_000_000
    post = await stage.answer(job(1, mock_return=text))
    assert post.json() == {"output": text}


# ---- 1.8: stop


@scenario
async def a_stopped_job_posts_nothing(stage):
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_delay=60))
    await worker.says("Started.")
    stage.platform.stop("nobody-u1", "job-1-u1")
    await worker.says("Job stopped.")
    post = await stage.answer(job(2))
    assert post.body == b'{"output": "Hello World!"}', post.body
    assert [r.job_id for r in stage.platform.of("done")] == ["job-2-u1"]
    n = len(stage.platform.of("ping"))
    await stage.platform.wait_for("ping", n + 2)
    assert stage.platform.of("ping")[-1].query("job_id") is None


@scenario
async def without_a_stop_channel_the_worker_says_so_once(stage):
    stage.platform.on("stop", Answer(404, {"error": "no such route"}))
    worker = await stage.worker("mock_worker", TINTYPE_RETRY_BASE_MS="5")  # asks again after 0.6 s
    await stage.platform.wait_for("stop", 3)
    await stage.answer(job(1))
    assert worker.text().count("no stop channel") == 1
    first, second = stage.platform.of("stop")[:2]
    assert second.at - first.at >= 0.59, second.at - first.at


@scenario
async def odd_answers_of_the_stop_channel_are_passed_over(stage):
    stage.platform.on("stop", sequence(Answer(200, b"nope"), Answer(200, []), Answer(200, {"jobsToStop": "x"}),
                                       Answer(200, {"jobsToStop": [1, None]}), Answer(500), Answer(429), Answer(204)))
    await stage.worker("mock_worker")
    await stage.platform.wait_for("stop", 7)
    await stage.answer(job(1))


@scenario
async def a_take_url_without_job_take_switches_the_stop_channel_off(stage):
    base = f"http://127.0.0.1:{stage.platform.port}/jobs/$ID"
    worker = await stage.worker("mock_worker", RUNPOD_WEBHOOK_GET_JOB=base)
    await worker.says("per-job stop is disabled for this worker")
    await stage.platform.until(lambda: stage.platform.of("other"), what="a take")
    assert stage.platform.of("other")[0].target == "/jobs/pod123?job_in_progress=0"
    assert not stage.platform.of("stop")


# ---- 1.6, 1.13: refresh, unfit, crash


@scenario
async def refresh_worker_is_told_and_the_worker_goes_on(stage):
    await stage.worker("mock_worker")
    post = await stage.answer(job(1, mock_refresh=True, mock_return="x"))
    assert post.json().get("stopPod") is True, post.body
    await stage.answer(job(2))


@scenario
async def a_worker_for_one_job_says_so_and_ends(stage):
    worker = await stage.worker("mock_worker", "--refresh_worker")
    stage.platform.give(job(1, mock_return=5), job(2))
    assert await worker.end() == 0
    assert bodies(stage.platform.finals()) == ['{"output": 5, "stopPod": true}']
    assert len(stage.platform.of("take")) == 1  # the second job is another worker's


@scenario
async def a_worker_for_one_job_ends_after_an_error_too(stage):
    worker = await stage.worker("mock_worker", "--refresh_worker")
    stage.platform.give(job(1, mock_return={"error": "bad"}))
    assert await worker.end() == 0
    assert bodies(stage.platform.finals()) == ['{"error": "bad", "stopPod": true}']


@scenario
async def a_crash_costs_one_job(stage):
    worker = await stage.worker("mock_worker")
    post = await stage.answer(job(1, mock_crash=True))
    report = json.loads(post.json()["error"])
    assert report["error_type"] == "HandlerCrashed", report
    assert (await stage.answer(job(2))).body == b'{"output": "Hello World!"}'
    assert worker.process.returncode is None


@scenario
async def a_worker_that_is_not_fit_reports_and_ends_with_1(stage):
    worker = await stage.worker("mock_worker", ready=False, RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=None,
                                RUNPOD_MIN_MEMORY_GB="900000")
    assert await worker.end() == 1
    (ping,) = stage.platform.of("ping")
    assert ping.query("status") == "unhealthy" and ping.query("check") == "_memory_check", ping
    assert "Insufficient memory" in ping.query("reason") and ping.query("runpod_version") == "1.12.0", ping
    assert not stage.platform.of("take")


# ---- 1.12: the end


@scenario
async def sigterm_ends_an_idle_worker_at_once(stage):
    worker = await stage.worker("mock_worker")
    await stage.platform.wait_for("take")
    worker.signal(signal.SIGTERM)
    assert await worker.end(20) == 0


@scenario
async def sigterm_lets_a_running_job_finish(stage):
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_delay=2, mock_return="kept"))
    await worker.says("Started.")
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    assert bodies(stage.platform.finals()) == ['{"output": "kept"}']
    assert len(stage.platform.of("take")) == 1  # no new job was asked for


@scenario
async def a_second_sigterm_gives_the_running_job_up_and_says_so(stage):
    worker = await stage.worker("mock_worker")
    stage.platform.give(job(1, mock_delay=600))
    await worker.says("Started.")
    worker.signal(signal.SIGTERM)
    await worker.says("Received shutdown signal")
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    (post,) = stage.platform.finals()
    assert "shut down before this job was finished" in post.json()["error"], post.body


@scenario
async def a_job_past_its_execution_timeout_says_so(stage):
    worker = await stage.worker("mock_worker")
    late = {**job(1, mock_delay=600), "policy": {"executionTimeout": 5000}}  # the platform's shortest
    post = await stage.answer(late)
    assert post.json() == {"error": "the job ran longer than its execution timeout"}, post.body
    assert worker.process.returncode is None


@scenario
async def sigterm_waits_for_a_delivery(stage):
    stage.platform.on("done", sequence(Answer(503), Answer(503), Answer(200, {}, after=0.5)))
    worker = await stage.worker("mock_worker", TINTYPE_RETRY_BASE_MS="100")
    stage.platform.give(job(1))
    await stage.platform.wait_for("done")
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    assert len(stage.platform.of("done")) == 3


# ---- 7.1: the four public end-to-end cases of the reference


@scenario
async def the_public_case_basic(stage):
    await stage.worker("mock_worker")
    assert (await stage.answer(job(1, mock_return="this worked!"))).json() == {"output": "this worked!"}


@scenario
async def the_public_case_delay(stage):
    await stage.worker("mock_worker")
    post = await stage.answer(job(1, mock_return="Delay test successful.", mock_delay=10))
    assert post.json() == {"output": "Delay test successful."}


@scenario
async def the_public_case_generator(stage):
    await stage.worker("mock_worker", "--generator", "--return_aggregate_stream")
    post = await stage.answer(job(1, mock_return=["value1", "value2", "value3"]))
    assert post.json() == {"output": ["value1", "value2", "value3"]}


@scenario
async def the_public_case_async_generator(stage):
    await stage.worker("mock_worker", "--async_generator", "--return_aggregate_stream")
    post = await stage.answer(job(1, mock_return=["value1", "value2", "value3"]))
    assert post.json() == {"output": ["value1", "value2", "value3"]}


main()
