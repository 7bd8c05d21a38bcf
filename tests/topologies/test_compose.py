"""The compose files for developers: self-contained, on loopback ports, with any image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import yaml

from asynq import Client, Task, TaskState
from asynq.protocol.connect import connect
from asynq.protocol.ops import GetTask
from asynq_topologies import layout, selection
from asynq_topologies.engines import EngineError
from asynq_topologies.ports import free_cluster_ports

if TYPE_CHECKING:
    from asynq_topologies.layout import TopologyKind

FOLDER = Path(__file__).parents[2] / "conformance/asynq_topologies/compose"
KINDS: list[TopologyKind] = ["standalone", "sentinel", "cluster"]
PORT = re.compile(r"\$\{PORT_(\d):-(\d+)\}")


def text_of(kind: TopologyKind) -> str:
    return (FOLDER / f"{kind}.yaml").read_text()


def services_of(kind: TopologyKind) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(text_of(kind))["services"]
    return services


def default_ports(kind: TopologyKind) -> dict[int, int]:
    return {int(number): int(port) for number, port in PORT.findall(text_of(kind))}


@pytest.mark.parametrize("kind", KINDS)
def test_each_server_is_published_on_loopback_at_its_own_port(kind: TopologyKind) -> None:
    services = services_of(kind)
    servers = [name for name in services if name.startswith("server-")]
    assert len(servers) == layout.server_count(kind) == len(default_ports(kind))
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert [PORT.sub(r"\1", port) for port in published] == [
        f"127.0.0.1:{number}:{number}" for number in range(len(servers))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_all_services_take_the_image_that_the_environment_names(kind: TopologyKind) -> None:
    images = {service["image"] for service in services_of(kind).values()}
    assert images == {"${REDIS_IMAGE:-redis:${REDIS_VERSION:-7.4}}"}
    assert selection.DEFAULT_IMAGE == "redis:7.4"


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_servers_share_one_network(kind: TopologyKind) -> None:
    services = services_of(kind)
    services.pop("network")
    assert {service["network_mode"] for service in services.values()} == {"service:network"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_url_in_a_file_leads_to_its_ports(kind: TopologyKind) -> None:
    url = url_of(kind)
    ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", url)}
    assert ports <= set(default_ports(kind).values())
    connect(url).close()


def url_of(kind: TopologyKind) -> str:
    [url] = re.findall(r"^# Broker: (\S+)$", text_of(kind), re.MULTILINE)
    return str(url)


class Compose:
    """One file, brought up on free ports."""

    def __init__(self, kind: TopologyKind, image: str) -> None:
        defaults = default_ports(kind)
        ports = free_cluster_ports(len(defaults))
        self._command = ["docker", "compose", "--file", str(FOLDER / f"{kind}.yaml")]
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"asynq-test-{os.getpid()}",
            "REDIS_IMAGE": image,
            **{f"PORT_{number}": str(port) for number, port in enumerate(ports)},
        }
        self.url = url_of(kind)
        for number, default in defaults.items():
            self.url = self.url.replace(f":{default}", f":{ports[number]}")

    def run(self, *words: str) -> None:
        ended = subprocess.run(
            [*self._command, *words], env=self._environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr

    def __enter__(self) -> Self:
        try:
            self.run("up", "--detach", "--wait", "--wait-timeout", "60")
        except AssertionError:
            self.run("down", "--volumes", "--timeout", "0")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down", "--volumes", "--timeout", "0")


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> str:
    """One that the engine can run."""
    monkeypatch.setenv(selection.CHOICE, "docker")
    try:
        found = selection.select().server
    except EngineError as error:
        pytest.skip(str(error))
    docker = shutil.which("docker")
    if (
        not docker
        or subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode
    ):
        pytest.skip("docker compose is missing")
    return found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_works_on_a_file_that_is_up(kind: TopologyKind, image: str) -> None:
    with Compose(kind, image) as compose, closing(connect(compose.url)) as broker, Client(broker) as client:
        client.enqueue(Task("t"), task_id="before")
        if kind != "standalone":
            # A primary of a cluster as well as that of the sentinels.
            compose.run("kill", "server-0")
        else:
            compose.run("restart", "--timeout", "0", "server-0")
        for number in range(10):
            client.enqueue(Task("t"), task_id=f"after {number}", queue=f"q{number}")
        assert broker.execute(GetTask(queue="default", task_id="before")).state is TaskState.PENDING
