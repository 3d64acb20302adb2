"""RunPod's own Python client, unmodified, against workers that are served here: every call it has, sync and asyncio.

Needs the package runpod; the version is part of what is tested.
"""

import asyncio
import sys

from house import BUILD, PATIENCE_S, case, example, run_cases, skip_all, tintype, until

try:
    import runpod
    from runpod.endpoint import AsyncioEndpoint
except ImportError:
    runpod = None

VERSION = "1.12.0"


def endpoint_of(server, key="any"):
    runpod.endpoint_url_base = server.base
    runpod.api_key = key
    return runpod.Endpoint("local")


@case
def run_gives_a_job_whose_output_comes():
    with example("hello") as server:
        job = endpoint_of(server).run({"input": {"name": "Ada"}})
        assert job.output(timeout=PATIENCE_S) == "Hello, Ada!"
        assert job.status() == "COMPLETED"


@case
def run_sync_gives_the_output_itself():
    with example("hello") as server:
        assert endpoint_of(server).run_sync({"input": {"name": "Ada"}}, timeout=PATIENCE_S) == "Hello, Ada!"


@case
def the_client_wraps_an_input_that_stands_alone():
    with example("hello") as server:
        assert endpoint_of(server).run_sync({"name": "Ada"}, timeout=PATIENCE_S) == "Hello, Ada!"


@case
def health_counts_jobs_and_workers():
    with example("hello") as server:
        endpoint = endpoint_of(server)
        endpoint.run_sync({"input": {"name": "Ada"}}, timeout=PATIENCE_S)
        health = endpoint.health(timeout=PATIENCE_S)
        assert health["jobs"]["completed"] == 1, health
        assert set(health["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}, health


@case
def a_wrong_key_is_told_as_401():
    with example("hello", env={"TINTYPE_API_KEY": "right"}) as server:
        try:
            endpoint_of(server, "wrong").run_sync({"input": {"name": "Ada"}})
            raise AssertionError("it was let in")
        except RuntimeError as error:
            assert "401" in str(error), error
        assert endpoint_of(server, "right").run_sync({"input": {"name": "Ada"}}) == "Hello, Ada!"


@case
def stream_gives_every_chunk_in_order():
    with example("counter") as server:
        job = endpoint_of(server).run({"input": {"n": 5, "delay_ms": 20}})
        assert list(job.stream()) == [1, 2, 3, 4, 5]
        assert job.status() == "COMPLETED"


@case
def cancel_ends_a_running_job():
    with example("mock_worker") as server:
        endpoint = endpoint_of(server)
        job = endpoint.run({"input": {"mock_return": "late", "mock_delay": 600}})
        until(lambda: job.status() == "IN_PROGRESS", "it runs")
        job.cancel(timeout=PATIENCE_S)
        assert job.status() == "CANCELLED"
        assert endpoint.run_sync({"input": {"mock_return": "next"}}, timeout=PATIENCE_S) == "next"


@case
def purge_queue_removes_what_waits():
    with example("mock_worker") as server:
        endpoint = endpoint_of(server)
        first = endpoint.run({"input": {"mock_return": "late", "mock_delay": 600}})
        until(lambda: first.status() == "IN_PROGRESS", "the first runs")
        for _ in range(3):
            endpoint.run({"input": {"mock_return": "never"}})
        assert endpoint.purge_queue(timeout=PATIENCE_S)["removed"] == 3
        first.cancel(timeout=PATIENCE_S)


@case
def a_failed_job_is_told_as_failed():
    with example("mock_worker") as server:
        job = endpoint_of(server).run({"input": {"mock_error": True}})
        until(lambda: job.status() == "FAILED", "it failed")
        assert job.output() is None  # all that this client tells
        assert "Mock error" in server.status(job.job_id)["error"]


async def use_asyncio_client(server):
    import aiohttp

    async with aiohttp.ClientSession() as session:
        endpoint = AsyncioEndpoint("local", session)
        job = await endpoint.run({"name": "Ada"})
        for _ in range(PATIENCE_S * 10):
            if await job.status() == "COMPLETED":
                break
            await asyncio.sleep(0.1)
        assert await job.output(timeout=PATIENCE_S) == "Hello, Ada!"
        health = await endpoint.health()
        assert health["jobs"]["completed"] == 1, health


@case
def the_asyncio_client_runs_a_job():
    with example("hello") as server:
        endpoint_of(server)
        asyncio.run(use_asyncio_client(server))


async def cancel_by_asyncio(server):
    import aiohttp

    async with aiohttp.ClientSession() as session:
        endpoint = AsyncioEndpoint("local", session)
        job = await endpoint.run({"mock_return": "late", "mock_delay": 600})
        while await job.status() == "IN_QUEUE":
            await asyncio.sleep(0.05)
        await job.cancel()
        assert await job.status() == "CANCELLED"


@case
def the_asyncio_client_cancels_a_job():
    with example("mock_worker") as server:
        endpoint_of(server)
        asyncio.run(asyncio.wait_for(cancel_by_asyncio(server), PATIENCE_S))


@case
def the_asyncio_client_streams():
    async def chunks(server):
        import aiohttp

        async with aiohttp.ClientSession() as session:
            job = await AsyncioEndpoint("local", session).run({"mock_return": ["value1", "value2", "value3"]})
            return [chunk async for chunk in job.stream()]

    with example("mock_worker", "--generator", "--return_aggregate_stream") as server:
        endpoint_of(server)
        found = asyncio.run(asyncio.wait_for(chunks(server), PATIENCE_S))
        assert found == ["value1", "value2", "value3"], found


# ---- the four cases of the reference's own end-to-end test ----


def run_mock(fields, *flags):
    with example("mock_worker", *flags) as server:
        return endpoint_of(server).run_sync({"input": fields}, timeout=PATIENCE_S)


@case
def public_case_basic():
    assert run_mock({"mock_return": "this worked!"}) == "this worked!"


@case
def public_case_delay():
    assert run_mock({"mock_return": "Delay test successful.", "mock_delay": 10}) == "Delay test successful."


@case
def public_case_generator():
    values = ["value1", "value2", "value3"]
    assert run_mock({"mock_return": values}, "--generator", "--return_aggregate_stream") == values


@case
def public_case_async_generator():
    values = ["value1", "value2", "value3"]
    assert run_mock({"mock_return": values}, "--async_generator", "--return_aggregate_stream") == values


# ---- pictures ----


@case
def a_picture_comes_through_the_client():
    from picture import png

    with tintype() as server:
        fields = {"prompt": "a red sailing boat", "seed": 7, "steps": 2, "width": 64, "height": 64}
        output = endpoint_of(server).run_sync({"input": fields}, timeout=300)
        assert output["metadata"]["seed"] == 7, output["metadata"]
        assert png(output["image"]).width == 64


def main():
    if runpod is None:
        skip_all(f"the package runpod is not in {BUILD}/venv")
        return 0
    assert runpod.__version__ == VERSION, runpod.__version__
    return run_cases()


sys.exit(main())
