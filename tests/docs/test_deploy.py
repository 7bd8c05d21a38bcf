"""The files for deployment are valid, and use commands and metrics that exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

import asynq
from asynq.metrics.queues import QueueCollector
from asynq.metrics.worker import WorkerCollector
from asynq.monitoring.counters import RunCounters
from asynq.monitoring.counting_recorder import CountingRecorder
from tests.docs.command_lines import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "docs/deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = [*yaml.safe_load_all((DEPLOY / "kubernetes/asynq.yaml").read_text())]
SCALING = yaml.safe_load((DEPLOY / "kubernetes/keda.yaml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/asynq.json").read_text())
METRIC = re.compile(r"\basynq_\w+")


def containers() -> Iterator[dict[str, Any]]:
    for manifest in MANIFESTS:
        yield from manifest["spec"]["template"]["spec"]["containers"]


def commands() -> Iterator[list[str]]:
    """Every `asynq` command in the files."""
    for unit in UNITS:
        yield from (
            shlex.split(line) for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
        )
    yield json.loads((DEPLOY / "docker/Dockerfile").read_text().rpartition("\nCMD ")[2])
    yield from (
        each["command"] for each in COMPOSE["services"].values() if each.get("command", [""])[0] == "asynq"
    )
    for container in containers():
        yield container["args"]


def seconds(command: list[str]) -> int:
    """Its --shutdown-timeout."""
    return int(option(command, "--shutdown-timeout").removesuffix("s"))


def option(command: list[str], name: str) -> str:
    """The value of an option, which stands behind it or behind an equals sign."""
    words = [part for word in command for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return words[words.index(name) + 1]


def queries() -> Iterator[str]:
    yield from (alert["expr"] for alert in ALERTS)
    yield SCALING["spec"]["triggers"][0]["metadata"]["query"]
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def exported() -> set[str]:
    broker = asynq.MemoryBroker()
    with asynq.Client(broker) as client:
        client.enqueue(asynq.Task("email:deliver"))
    registry = CollectorRegistry()
    registry.register(QueueCollector(broker))
    counters = RunCounters()
    recorder = CountingRecorder(counters)
    recorder.run_settled("default", "email:deliver", "done")
    recorder.broker_called("exchange", {"done": 1}, 0.1, "")
    registry.register(WorkerCollector([counters]))
    text = generate_latest(registry).decode()
    counters.close()
    broker.close()
    return set(re.findall(r"^(asynq_\w+)", text, re.MULTILINE))


def test_all_commands_of_the_files_are_valid() -> None:
    found = list(commands())
    assert len(found) == 10
    for command in found:
        parse(command)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_a_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/srv/app/.venv/bin/asynq", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert unit.name not in verified.stderr
    assert verified.returncode == 0


def test_managers_wait_until_a_supervisor_has_killed_its_workers() -> None:
    """15 seconds after the shutdown timeout: docs/deployment.md."""
    unit = (DEPLOY / "systemd/asynq-worker.service").read_text()
    worker = COMPOSE["services"]["worker"]
    pod = MANIFESTS[0]["spec"]["template"]["spec"]
    held = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1].rpartition(" ")[2])
    times = [
        (int(unit.partition("TimeoutStopSec=")[2].split()[0]), seconds(shlex.split(unit))),
        (int(worker["stop_grace_period"].removesuffix("s")), seconds(worker["command"])),
        (pod["terminationGracePeriodSeconds"] - held, seconds(pod["containers"][0]["args"])),
    ]
    assert [wait > shutdown + 15 for wait, shutdown in times] == [True] * 3


def test_compose_names_services_and_files_that_exist() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / "docker" / source).is_file()
    exporter, worker = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert exporter["static_configs"][0]["targets"] == ["exporter:9876"]
    assert worker["dns_sd_configs"][0]["names"] == ["worker"]
    port = worker["dns_sd_configs"][0]["port"]
    assert str(port) == option(COMPOSE["services"]["worker"]["command"], "--metrics-port")


def test_probes_ask_a_port_that_a_worker_opens_to_them() -> None:
    probed = 0
    for container in containers():
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "httpGet" not in (probe := container.get(name, {})):
                continue
            probed += 1
            assert probe["httpGet"]["path"] == ("/livez" if name == "livenessProbe" else "/readyz")
            [port] = [each for each in container["ports"] if each["name"] == probe["httpGet"]["port"]]
            assert option(container["args"], "--health-port") == str(port["containerPort"])
            assert option(container["args"], "--health-host") == "0.0.0.0"  # noqa: S104 - in a container
    assert probed == 5
    for service in ("worker", "scheduler"):
        asked = COMPOSE["services"][service]["healthcheck"]["test"][-1]
        assert f":{option(COMPOSE['services'][service]['command'], '--health-port')}/readyz" in asked


def test_health_checks_need_no_new_engine() -> None:
    """The engine of Debian 12 refuses all services if one has a `start_interval`."""
    checks = [service["healthcheck"] for service in COMPOSE["services"].values() if "healthcheck" in service]
    assert len(checks) == 3
    assert [check for check in checks if "start_interval" in check] == []


def test_the_image_copies_files_that_exist() -> None:
    dockerfile = (DEPLOY / "docker/Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    assert [name for line in copied for name in line.split() if not (DEPLOY.parents[1] / name).exists()] == []
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE)


def test_manifests_select_their_own_pods_without_root() -> None:
    for manifest in MANIFESTS:
        template = manifest["spec"]["template"]
        assert manifest["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert SCALING["spec"]["scaleTargetRef"]["name"] == MANIFESTS[0]["metadata"]["name"]


@pytest.mark.skipif(
    shutil.which("kubernetes-validate") is None, reason="kubernetes-validate is not installed"
)
def test_manifests_follow_the_schemas_of_kubernetes() -> None:
    command = ["kubernetes-validate", "--strict", str(DEPLOY / "kubernetes/asynq.yaml")]
    validated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_rules_and_dashboard_use_metrics_that_are_exported() -> None:
    used = {name for query in queries() for name in METRIC.findall(query)}
    assert used - exported() == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
def test_prometheus_accepts_its_configuration() -> None:
    command = ["promtool", "check", "config", str(DEPLOY / "prometheus/prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
@pytest.mark.parametrize(
    ("pending", "firing"),
    [
        ("0+100x60", ["AsynqQueueGrowth"]),
        ("0+500x60", ["AsynqQueueGrowth", "AsynqQueueSize"]),
        ("5000+0x60", []),
        ("20000+0x60", ["AsynqQueueSize"]),
        ("20000-100x60", ["AsynqQueueSize"]),
        ("0+200x30 6000-20x30", []),
    ],
)
def test_alerts_on_the_size_and_the_growth_of_a_queue(
    pending: str, firing: list[str], tmp_path: Path
) -> None:
    """`pending` is in the notation of promtool: the first value, and the change in each of 60 minutes."""
    case = tmp_path / "case.yml"
    fires = 'count by (alertname) (ALERTS{alertname=~"AsynqQueue(Size|Growth)", alertstate="firing"})'
    series = 'asynq_tasks_enqueued_total{queue="default", state="pending"}'
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": pending}],
        "promql_expr_test": [{"expr": fires, "eval_time": "60m", "exp_samples": expected}],
    }
    rules = str(DEPLOY / "prometheus/alerts.yml")
    case.write_text(json.dumps({"rule_files": [rules], "evaluation_interval": "1m", "tests": [test]}))
    run = subprocess.run(
        ["promtool", "test", "rules", str(case)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_page_explains_every_alert() -> None:
    page = (DEPLOY / "index.md").read_text()
    assert re.findall(r"^\| `(Asynq\w+)` \|", page, re.MULTILINE) == [alert["alert"] for alert in ALERTS]


def test_panels_of_the_dashboard_have_places_of_their_own() -> None:
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
