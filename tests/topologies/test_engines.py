"""The same servers as processes and in containers; the compose files alone where no Docker engine answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import asynq_topologies
from asynq.protocol.connect import connect
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue
from asynq_topologies import engines, layout
from asynq_topologies.certificates import Certificate
from asynq_topologies.layout import Access, TopologyKind

KINDS: list[TopologyKind] = ["standalone", "sentinel", "cluster"]
GUARDED = Access(
    username="app", password="s3cret", sentinel_password="0ther", certificate=Certificate("/c.pem", "/k.pem")
)


def compose_file(kind: TopologyKind) -> Any:
    return yaml.safe_load((engines.COMPOSE_FILES / f"{kind}.yaml").read_text())


def filled_in(word: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        word = word.replace(f"${{{name}:?}}", value)
    assert "$" not in word
    return word


@pytest.mark.parametrize("kind", KINDS)
def test_a_compose_file_runs_each_server_on_the_files_processes_read(
    kind: TopologyKind, tmp_path: Path
) -> None:
    ports = list(range(21_000, 21_000 + layout.server_count(kind)))
    planned = layout.servers(kind, ports, tmp_path, bind=engines.Containers.bind, access=Access())
    variables = engines.compose_variables(tmp_path, ports)
    services = compose_file(kind)["services"]
    network = services.pop("network")
    assert [filled_in(port, variables) for port in network["ports"]] == [
        f"127.0.0.1:{port}:{port}" for port in ports
    ]
    assert list(services) == [f"server-{number}" for number in range(len(planned))]
    for number, (service, server) in enumerate(zip(services.values(), planned, strict=True)):
        command = ["redis-server", str(tmp_path / str(number) / layout.CONFIGURATION)]
        assert [filled_in(word, variables) for word in service["entrypoint"]] == (
            command + (["--sentinel"] if server.sentinel else [])
        )
        assert service["network_mode"] == "service:network"
        assert "ports" not in service
        assert [filled_in(volume, variables) for volume in service["volumes"]] == [f"{tmp_path}:{tmp_path}"]
        assert service["image"] == network["image"]
        assert service["image"].startswith("redis:")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("access", [Access(), GUARDED], ids=["open", "guarded"])
def test_engines_differ_in_what_servers_listen_on_and_in_nothing_else(
    kind: TopologyKind, access: Access
) -> None:
    ports = list(range(21_000, 21_000 + layout.server_count(kind)))

    def written(bind: str) -> list[str]:
        planned = layout.servers(kind, ports, Path("/d"), bind=bind, access=access)
        return [text for server in planned for text in server.files.values()]

    inside, outside = written(engines.Containers.bind), written(engines.Processes.bind)
    assert [text.replace("bind 0.0.0.0\n", "bind 127.0.0.1\n") for text in inside] == outside
    assert inside != outside


@pytest.mark.parametrize(("choice", "told"), [("podman", "auto, docker or process"), ("docker", "no Docker")])
def test_an_engine_that_cannot_be_had_is_refused(
    choice: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engines.CHOICE, choice)
    monkeypatch.setenv("PATH", os.devnull)
    engines.docker_works.cache_clear()
    with pytest.raises((ValueError, RuntimeError), match=told):
        engines.choose()
    engines.docker_works.cache_clear()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_containers_are_reached_at_what_they_announce(
    kind: TopologyKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not engines.docker_works():
        pytest.skip("no Docker engine answers, or docker compose is missing")
    monkeypatch.setenv(engines.CHOICE, "docker")
    with asynq_topologies.start(kind) as topology:
        broker = connect(topology.url)
        for task_id in ("before", "after"):
            message = TaskMessage(id=task_id, type="t", queue="q")
            broker.execute(Enqueue(message=message, enqueue_id=task_id))
            primary = topology.primary_of("asynq:{q}:pending")
            primary.pause()
            topology.wait_replaced(primary)
            primary.resume()
        broker.close()
