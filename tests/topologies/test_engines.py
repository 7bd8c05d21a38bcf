"""The same servers as processes and in containers, and the choice between them.

Tests that need a Docker engine are skipped if none can run the servers.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

import asynq_topologies
from asynq.protocol.connect import connect
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, GetTask
from asynq_topologies import images, layout, selection
from asynq_topologies.certificates import Certificate, self_signed
from asynq_topologies.containers import STARTER, Containers, remove_abandoned, started
from asynq_topologies.engines import EngineError, Processes
from asynq_topologies.executables import VERSION, find_redis_server, server_version
from asynq_topologies.layout import Access, TopologyKind
from tests.servers import require_redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

KINDS: list[TopologyKind] = ["standalone", "sentinel", "cluster"]
GUARDED = Access(
    username="app", password="s3cret", sentinel_password="0ther", certificate=Certificate("/c.pem", "/k.pem")
)
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def fresh_selection(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that selects nothing; what was found out before is forgotten, and afterwards again."""

    def forget() -> None:
        selection._selected.cache_clear()
        if selection.docker_client.cache_info().currsize:
            selection.docker_client().close()
        selection.docker_client.cache_clear()

    monkeypatch.delenv(selection.CHOICE, raising=False)
    monkeypatch.delenv(selection.IMAGE, raising=False)
    monkeypatch.delenv(VERSION, raising=False)
    forget()
    yield monkeypatch
    forget()


@pytest.fixture
def docker_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerClient]:
    """Servers are containers. What the test leaves behind in the engine is an error."""
    monkeypatch.setenv(selection.CHOICE, "docker")
    try:
        selection.select()
    except EngineError as error:
        pytest.skip(str(error))
    client = selection.docker_client()
    yield client
    assert mine(client) == []


def mine(client: DockerClient) -> list[str]:
    """Names of the containers that this process has started."""
    return [one.name or "" for one in started(client) if one.labels[STARTER].endswith(f"/{os.getpid()}")]


def enqueue(broker: Any, task_id: str) -> None:
    broker.execute(Enqueue(message=TaskMessage(id=task_id, type="t", queue="q"), enqueue_id=task_id))


# --- which engine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("access", [Access(), GUARDED], ids=["open", "guarded"])
def test_engines_differ_in_what_servers_listen_on_and_in_nothing_else(
    kind: TopologyKind, access: Access
) -> None:
    ports = list(range(21_000, 21_000 + layout.server_count(kind)))

    def written(bind: str) -> list[str]:
        planned = layout.servers(kind, ports, Path("/d"), bind=bind, access=access)
        return [text for server in planned for text in server.files.values()]

    inside, outside = written(Containers.bind), written(Processes.bind)
    assert [text.replace("bind 0.0.0.0\n", "bind 127.0.0.1\n") for text in inside] == outside
    assert inside != outside


def test_an_unknown_engine_is_refused(fresh_selection: pytest.MonkeyPatch) -> None:
    fresh_selection.setenv(selection.CHOICE, "podman")
    with pytest.raises(ValueError, match="auto, docker or process"):
        selection.select()


def test_auto_without_docker_selects_processes_with_the_reason(fresh_selection: pytest.MonkeyPatch) -> None:
    executable = require_redis_server()
    fresh_selection.setenv("DOCKER_HOST", NOWHERE)
    selected = selection.select("auto")
    assert (selected.engine, selected.server) == ("process", executable)
    assert f"no Docker engine answers at {NOWHERE}" in str(selected)


def test_without_docker_a_run_that_asks_for_it_is_refused(fresh_selection: pytest.MonkeyPatch) -> None:
    fresh_selection.setenv("DOCKER_HOST", NOWHERE)
    fresh_selection.setenv(selection.CHOICE, "docker")
    with pytest.raises(EngineError, match=r"no Docker engine answers .*; CONFORMANCE_ENGINE=process"):
        selection.select("process")


@pytest.mark.parametrize(
    ("choice", "variable"), [("auto", VERSION), ("process", VERSION), ("auto", selection.IMAGE)]
)
def test_without_docker_an_image_is_refused(
    choice: str, variable: str, fresh_selection: pytest.MonkeyPatch
) -> None:
    fresh_selection.setenv("DOCKER_HOST", NOWHERE)
    fresh_selection.setenv(variable, "valkey/valkey:8")
    with pytest.raises(EngineError, match="Docker"):
        selection.select(choice)


def test_a_version_selects_a_process(fresh_selection: pytest.MonkeyPatch) -> None:
    executable = require_redis_server()
    major = str(server_version(executable)[0])
    fresh_selection.setenv(VERSION, major)
    assert selection.select("process").version.split(".")[0] == major


def test_a_missing_version_is_refused_with_the_available_ones(
    fresh_selection: pytest.MonkeyPatch,
) -> None:
    fresh_selection.setenv(VERSION, "5.0")
    with pytest.raises(EngineError, match=r"no redis-server 5\.0 on this machine, versions found: "):
        selection.select("process")


@pytest.mark.parametrize(
    ("wanted", "image"),
    [
        ("", "redis:7.4"),
        ("6.2", "redis:6.2"),
        ("8", "redis:8"),
        ("valkey/valkey:8", "valkey/valkey:8"),
        ("valkey:8.1", "valkey:8.1"),
    ],
)
def test_a_version_or_a_name_selects_an_image(wanted: str, image: str) -> None:
    assert selection.image_name(wanted) == image


# --- containers -----------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_containers_are_reachable_at_their_announced_address(
    kind: TopologyKind, docker_engine: DockerClient
) -> None:
    with asynq_topologies.start(kind) as topology, closing(connect(topology.url)) as broker:
        for task_id in ("before", "after"):
            enqueue(broker, task_id)
            primary = topology.primary_of("asynq:{q}:pending")
            primary.pause()
            topology.wait_replaced(primary)
            primary.resume()


def test_a_killed_container_restarts_with_its_data(docker_engine: DockerClient) -> None:
    with asynq_topologies.start("standalone") as topology, closing(connect(topology.url)) as broker:
        enqueue(broker, "1")
        [node] = topology.nodes
        node.kill()
        assert not node.answers()
        node.restart()
        assert broker.execute(GetTask(queue="q", task_id="1")).message.id == "1"


def test_repeated_and_late_container_operations_have_no_effect(docker_engine: DockerClient) -> None:
    with asynq_topologies.start("standalone") as topology:
        [node] = topology.nodes
        node.resume()
        assert node.answers()
        node.pause()
        node.pause()
        node.kill()
        for operation in (node.pause, node.resume, node.kill):
            operation()
        assert not node.answers()
        assert node.host.log != ""


@pytest.mark.parametrize("kind", KINDS)
def test_containers_can_be_guarded(kind: TopologyKind, docker_engine: DockerClient, tmp_path: Path) -> None:
    try:
        access = Access(username="app", password="s3cret", certificate=self_signed(tmp_path))
        topology = asynq_topologies.start(kind, access=access)
    except (FileNotFoundError, RuntimeError) as error:
        if "tls" not in str(error).lower() and "openssl" not in str(error):
            raise
        pytest.skip("needs the openssl command and an image with TLS")
    with topology, closing(connect(topology.url)) as broker:
        enqueue(broker, "1")


def test_containers_of_a_killed_process_are_removed_by_the_next(docker_engine: DockerClient) -> None:
    path = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-m", "asynq_topologies", "standalone"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )

    def abandoned() -> list[str]:
        found = started(docker_engine)
        return [one.name or "" for one in found if one.labels[STARTER].endswith(f"/{process.pid}")]

    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        assert len(abandoned()) == 2
        process.send_signal(signal.SIGKILL)
        process.wait()
    with asynq_topologies.start("standalone"):
        assert abandoned() == []


def test_containers_that_another_process_removes_meanwhile_are_no_error(docker_engine: DockerClient) -> None:
    with asynq_topologies.start("standalone") as topology, closing(docker.from_env()) as client:

        def remove_what_was_listed(*_: object, **__: object) -> None:
            client.api.hooks["response"].clear()
            topology.stop()

        client.api.hooks["response"].append(remove_what_was_listed)
        remove_abandoned(client)
        assert mine(client) == []


def test_the_container_that_tells_a_version_names_its_starter(docker_engine: DockerClient) -> None:
    seen: list[str] = []
    with closing(docker.from_env()) as client:
        client.api.hooks["response"].append(lambda *_, **__: seen.extend(mine(docker_engine)))
        images.version_of(client, selection.select().server)
    assert seen != []


def test_a_failed_start_of_servers_leaves_no_resource(
    docker_engine: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("asynq_topologies.containers.SERVER", "no-such-program")
    with pytest.raises(EngineError, match="no-such-program"):
        asynq_topologies.start("standalone")
    assert list(tmp_path.iterdir()) == []
    assert mine(docker_engine) == []


# --- images ---------------------------------------------------------------------------------------------


def test_an_image_contains_the_server_and_its_dependencies(tmp_path: Path) -> None:
    executable = require_redis_server()
    with tarfile.open(fileobj=io.BytesIO(images.packed(executable))) as archive:
        names = set(archive.getnames())
        server = archive.extractfile("usr/local/bin/redis-server")
        assert server is not None
        assert server.read() == Path(executable).read_bytes()
    needed = {str(library).lstrip("/") for library in images.libraries_of(Path(executable))}
    assert needed < names
    assert {"bin/sleep", "bin/sh", "tmp"} < names


@pytest.mark.timeout(120)
def test_an_image_of_a_local_server_runs_it(docker_engine: DockerClient) -> None:
    executable = find_redis_server()
    if executable is None:
        pytest.skip("no redis-server to make an image of")
    with ExitStack() as stack:
        for _ in range(2):  # the second one replaces the first
            names = images.make(docker_engine, executable, "asynq-topologies-test")
        for name in names:
            stack.callback(docker_engine.images.remove, name)
        version = ".".join(map(str, server_version(executable)))
        assert images.version_of(docker_engine, names[0]) == version
        left = [image.tags for image in docker_engine.images.list("asynq-topologies-test")]
        assert [sorted(tags) for tags in left] == [sorted(names)]


def test_an_unrelated_image_is_not_replaced(docker_engine: DockerClient) -> None:
    executable = require_redis_server()
    version = ".".join(map(str, server_version(executable)))
    name = "asynq-topologies-foreign"
    docker_engine.api.import_image_from_data(images.packed(executable), repository=name, tag=version)
    try:
        with pytest.raises(EngineError, match=f"{name}:{version}"):
            images.make(docker_engine, executable, name)
    finally:
        docker_engine.images.remove(f"{name}:{version}")


def test_an_unrelated_image_that_is_removed_meanwhile_is_no_error(docker_engine: DockerClient) -> None:
    executable = require_redis_server()
    unrelated = "asynq-topologies-foreign:1"
    docker_engine.api.import_image_from_data(
        images.packed(executable), repository=unrelated.partition(":")[0], tag="1"
    )
    with ExitStack() as stack:
        client = stack.enter_context(closing(docker.from_env()))

        def remove_what_was_listed(*_: object, **__: object) -> None:
            client.api.hooks["response"].clear()
            docker_engine.images.remove(unrelated)

        client.api.hooks["response"].append(remove_what_was_listed)
        for name in images.make(client, executable, "asynq-topologies-test"):
            stack.callback(docker_engine.images.remove, name)


def test_a_missing_image_is_reported_with_the_way_to_build_it(
    docker_engine: DockerClient,
) -> None:
    with pytest.raises(EngineError, match=r"has no image .*python -m asynq_topologies image"):
        images.provide(docker_engine, "localhost:1/asynq-topologies-none:1")


def test_an_image_that_an_engine_cannot_run_is_refused_with_the_reason(docker_engine: DockerClient) -> None:
    with pytest.raises(EngineError, match="Docker could not run"):
        images.version_of(docker_engine, "asynq-topologies-none:1")
