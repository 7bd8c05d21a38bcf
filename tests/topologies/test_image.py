"""The image of docs/deploy/docker, on a Docker engine that has its base image or can pull it."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest

import asynq
from asynq_topologies import selection
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
DOCKERFILE = "docs/deploy/docker/Dockerfile"
HANDLERS = """
import subprocess
import time

import asynq

mux = asynq.ServeMux()


@mux.task("slow")
def slow() -> str:
    time.sleep(2)
    return "done"


@mux.task("orphan")
def orphan() -> None:
    subprocess.run(["sh", "-c", "sh -c 'exit' & exec 2>&- & sleep 0.1 &"], check=True)
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine() -> DockerClient:
    try:
        client = selection.docker_client()
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        pytest.skip(f"no Docker engine: {error}")
    return client


@pytest.fixture(scope="module")
def image(engine: DockerClient) -> str:
    [base] = set(re.findall(r"^FROM (\S+)", (ROOT / DOCKERFILE).read_text(), re.MULTILINE))
    try:
        engine.images.get(base)
    except docker.errors.ImageNotFound:
        try:
            engine.images.pull(base)
        except docker.errors.APIError as error:
            pytest.skip(f"the engine cannot get {base}: {error.explanation}")
    built, _ = engine.images.build(path=str(ROOT), dockerfile=DOCKERFILE, tag="asynq-test-example", rm=True)
    assert built.id is not None
    return built.id


@pytest.fixture
def start(
    engine: DockerClient, image: str, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Callable[..., Container]]:
    """Starts a container of the image with these arguments, beside a server on this machine."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    started: list[Container] = []

    def start(*command: str) -> Container:
        options: dict[str, Any] = {"volumes": [f"{tmp_path}/handlers.py:/app/handlers.py:ro"]}
        environment = {"ASYNQ_BROKER": redis_server.url}
        container = engine.containers.run(
            image, list(command), detach=True, network_mode="host", environment=environment, **options
        )
        started.append(container)
        return container

    yield start
    for container in started:
        container.remove(force=True)


def output(container: Container, *command: str) -> str:
    ended = container.exec_run(list(command))
    assert ended.exit_code == 0, ended.output
    assert isinstance(ended.output, bytes)
    return ended.output.decode()


def test_a_stopped_container_finishes_its_task(
    start: Callable[..., Container], redis_server: RedisServer
) -> None:
    worker = start("asynq", "worker", "handlers:mux", "--processes", "2", "--shutdown-timeout", "30s")
    with closing(asynq.Client(redis_server.url)) as client:
        info = client.enqueue(asynq.Task("slow", retention=timedelta(minutes=5)))
        eventually(lambda: client.get(info.id).state is asynq.TaskState.ACTIVE, 30)
        worker.stop(timeout=50)
        assert client.get(info.id).state is asynq.TaskState.COMPLETED
        assert client.wait(info, result=str) == "done"
    assert worker.wait()["StatusCode"] == 0
    with closing(asynq.Inspector(redis_server.url)) as inspector:
        assert inspector.servers() == ()


def test_the_container_runs_without_root_and_reaps_orphans(
    start: Callable[..., Container], redis_server: RedisServer
) -> None:
    worker = start("asynq", "worker", "handlers:mux")
    with closing(asynq.Client(redis_server.url)) as client:
        info = client.enqueue(asynq.Task("orphan", retention=timedelta(minutes=5)))
        client.wait(info, timeout=timedelta(seconds=30))
    assert output(worker, "id", "-u") == "10001\n"
    assert output(worker, "cat", "/proc/1/comm") == "tini\n"
    states = "cat /proc/[0-9]*/stat | cut -d' ' -f3"
    eventually(lambda: "Z" not in output(worker, "sh", "-c", states))


def test_the_image_runs_the_command_that_it_names(
    start: Callable[..., Container], redis_server: RedisServer
) -> None:
    worker = start()
    with closing(asynq.Client(redis_server.url)) as client:
        info = client.enqueue(asynq.Task("report:build", {"customer": 7}, retention=timedelta(minutes=5)))
        client.wait(info, timeout=timedelta(seconds=30))
    assert b"report for customer 7" in worker.logs()
