"""`asynq bench`, with few tasks. Its figures mean nothing here; that it measures and ends properly does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynq.bench.cpu import helpers_cpu_seconds
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer

BENCH = [sys.executable, "-m", "asynq", "bench"]
LIMIT = 100

needs_redis_tools = pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-benchmark")) and not os.environ.get("CI"),
    reason="redis-server or redis-benchmark is not installed",
)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH, *arguments], check=False, capture_output=True, text=True, timeout=LIMIT, env=environment()
    )


def environment() -> dict[str, str]:
    """Without what makes a library write colours to a pipe."""
    return {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_redis_tools
@pytest.mark.timeout(LIMIT)
def test_a_row_is_measured_on_a_server_of_its_own() -> None:
    ended = bench("--quick", "--rows", "drain-50", "--json", "-")
    assert ended.returncode in {0, 1}, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    (row,) = report["rows"]
    assert row["name"] == "drain-50"
    assert row["measured"]["median"] > 0
    assert report["machine"]["build"].startswith("configured with")
    assert report["machine"]["build"].endswith("writing no bytecode") is sys.dont_write_bytecode
    assert len(report["calibrations"]["P1"]["samples"]) == 2
    calibrations = report["calibrations"]["C50"]["samples"]
    assert len(calibrations) == 2
    mean = sum(calibrations) / 2
    assert row["relative"]["median"] == pytest.approx(row["measured"]["median"] / mean, rel=0.01)
    assert (row["verdict"] == "floor missed") is (ended.returncode == 1)
    assert "drain, async handlers, concurrency 50" in ended.stderr
    assert "\x1b" not in ended.stderr


@needs_redis_tools
@pytest.mark.timeout(LIMIT)
def test_a_given_database_is_used_and_left_empty(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    ended = bench(
        "--quick", "--rows", "enqueue-sync,pickup-p99", "--broker", redis_server.url, "--json", str(file)
    )
    assert ended.returncode in {0, 1}, ended.stderr
    assert [row["name"] for row in json.loads(file.read_text())["rows"]] == ["enqueue-sync", "pickup-p99"]
    assert redis_server.client.dbsize() == 0


@needs_redis_tools
def test_a_database_with_keys_is_refused(redis_server: RedisServer) -> None:
    redis_server.client.set("mine", "1")
    ended = bench("--quick", "--rows", "enqueue-sync", "--broker", redis_server.url)
    assert ended.returncode == 2
    assert "the database has 1 keys" in ended.stderr
    assert redis_server.client.get("mine") == b"1"


@contextmanager
def measuring(scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """A benchmark that has begun to measure. Its temporary files are below `scratch`."""
    with subprocess.Popen(
        [*BENCH, "--rows", "pickup-p50"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(scratch)},
    ) as process:
        assert process.stdout is not None
        assert "pickup-p50" in process.stdout.readline()
        yield process


@needs_redis_tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with measuring(tmp_path) as process:
        eventually(lambda: len(children_of(process.pid)) >= 3)
        children = children_of(process.pid)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == 130
    eventually(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()])
    assert list(tmp_path.iterdir()) == []


@needs_redis_tools
def test_a_killed_benchmark_leaves_no_server_behind(tmp_path: Path) -> None:
    with measuring(tmp_path) as process:
        children = children_of(process.pid)
        assert children
        process.kill()
    eventually(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()])


def test_an_unknown_row_is_refused() -> None:
    ended = bench("--rows", "drain-50,drian-*")
    assert ended.returncode == 2
    assert "no row is called 'drian-*'" in ended.stderr
    assert "enqueue-many" in ended.stderr


@pytest.mark.parametrize("option", ["--json", "--svg"])
def test_a_directory_that_is_missing_is_refused_before_anything_is_measured(option: str) -> None:
    ended = bench("--rows", "drain-50", option, "missing/file")
    assert ended.returncode == 2
    assert f"{option}: there is no directory 'missing'" in ended.stderr
    assert ended.stdout == ""


def test_a_broker_that_is_not_redis_is_refused() -> None:
    ended = bench("--rows", "drain-50", "--broker", "memory://")
    assert ended.returncode == 2
    assert "redis://" in ended.stderr


def test_a_server_that_cannot_be_reached_is_refused() -> None:
    ended = bench("--rows", "drain-50", "--broker", "redis://127.0.0.1:1")
    assert ended.returncode == 2
    assert "no Redis server at 127.0.0.1:1" in ended.stderr


def test_without_a_redis_server_nothing_is_measured(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*BENCH, "--rows", "drain-50"],
        check=False,
        capture_output=True,
        text=True,
        env={**environment(), "PATH": str(tmp_path)},
    )
    assert ended.returncode == 2
    assert "redis-server is not installed" in ended.stderr


def test_an_unknown_task_queue_is_refused() -> None:
    ended = bench("--compare", "go,sidekiq")
    assert ended.returncode == 2
    assert "'sidekiq' is not known" in ended.stderr
    assert "dramatiq" in ended.stderr


@needs_redis_tools
@pytest.mark.timeout(LIMIT)
def test_a_task_queue_that_cannot_be_installed_is_named(tmp_path: Path) -> None:
    """Without Node.js on the path there is no BullMQ. The others are measured all the same."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("redis-server", "redis-benchmark"):
        (tools / name).symlink_to(shutil.which(name) or "")
    ended = subprocess.run(
        [
            *BENCH,
            "--quick",
            "--rows",
            "enqueue-many",
            "--compare",
            "bullmq",
            "--peers-dir",
            tmp_path / "peers",
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**environment(), "PATH": str(tools)},
    )
    assert ended.returncode in {0, 1}, ended.stderr
    assert "not measured: bullmq: node and npm are not installed" in ended.stdout
    assert "enqueue_many of 1,000" in ended.stdout


@pytest.mark.timeout(LIMIT)
def test_sqlite_is_measured_without_a_redis_server(tmp_path: Path) -> None:
    svg, file = tmp_path / "chart.svg", tmp_path / "report.json"
    ended = subprocess.run(
        [*BENCH, "--quick", "--rows", "sqlite-enqueue,drain-50", "--json", file, "--svg", svg],
        check=False,
        capture_output=True,
        text=True,
        env={**environment(), "PATH": str(tmp_path)},
    )
    assert ended.returncode in {0, 1}, ended.stderr
    report = json.loads(file.read_text())
    assert [row["name"] for row in report["rows"]] == ["sqlite-enqueue"]
    assert "redis-server is not installed" in report["unmeasured"]["rows on Redis"]
    assert svg.read_text().startswith("<svg ")


def test_the_cpu_time_of_a_helper_process_counts_after_its_end() -> None:
    before = helpers_cpu_seconds(os.getpid())
    # More than is asserted: these times are counted in ticks of 10 ms, and a tick may be missed.
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert helpers_cpu_seconds(os.getpid()) - before >= 0.1
