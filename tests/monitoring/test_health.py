"""Health checks over HTTP, of real workers and schedulers on real brokers."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from asynq import Client, Health, MemoryBroker, Monitoring, Scheduler, ServeMux, Server, Task
from asynq.monitoring.health_file import HealthFile
from asynq.monitoring.http_listener import HTTPListener, Page
from asynq.runtime.health import combined
from asynq.supervisor.worker_board import WorkerBoard, workers_health
from tests.monitoring.processes import fifo, program, release
from tests.servers import RedisServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

ONE_SECOND = timedelta(seconds=1)


def worker_options(port: int, *more: str) -> list[str]:
    return ["worker", "app:mux", "--health-port", str(port), *more]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_is_live_and_ready_until_it_drains(shared_url: str, tmp_path: Path, processes: str) -> None:
    port = free_port()
    options = worker_options(port, "--processes", processes, "--shutdown-timeout", "30s")
    with fifo(tmp_path / "gate") as gate, program(tmp_path, shared_url, port, *options) as worker:
        worker.becomes_ready()
        assert worker.get("/livez") == (200, '{"ok":true,"failing":{}}\n')
        assert worker.get("/else") == (404, "not found; there are /livez, /readyz\n")
        with Client(shared_url) as client:
            client.enqueue(Task("runs long", str(gate)))
        worker.line()
        worker.process.send_signal(signal.SIGTERM)
        worker.answers("/readyz", 503, "draining")
        assert worker.health("/livez") == (200, {})
        release(gate)
        assert worker.process.wait(60) == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_is_not_ready_without_its_broker(tmp_path: Path, processes: str) -> None:
    port = free_port()
    with RedisServer.start() as redis:
        options = worker_options(port, "--processes", processes)
        with program(tmp_path, redis.url, port, *options) as worker:
            worker.becomes_ready()
            redis.kill()
            worker.answers("/readyz", 503, "broker")
            assert worker.health("/livez") == (200, {})
            redis.restart()
            worker.becomes_ready()
            assert worker.ends() == 0


def test_a_worker_is_not_ready_while_its_broker_does_not_answer(tmp_path: Path) -> None:
    port = free_port()
    options = worker_options(port, "--processes", "2")
    with RedisServer.start() as redis, program(tmp_path, redis.url, port, *options) as worker:
        worker.becomes_ready()
        redis.pause()  # its connections stay open
        assert "no answer within 2 s" in worker.answers("/readyz", 503, "broker")["broker"]
        redis.resume()
        worker.becomes_ready()
        assert worker.ends() == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_whose_event_loop_is_blocked_is_not_live(tmp_path: Path, processes: str) -> None:
    port, url = free_port(), f"sqlite:///{tmp_path}/tasks.db"
    options = worker_options(port, "--processes", processes, "--max-loop-lag", "1s")
    with fifo(tmp_path / "gate") as gate, program(tmp_path, url, port, *options) as worker:
        worker.becomes_ready()
        with Client(url) as client:
            client.enqueue(Task("blocks the loop", str(gate)))
        pid = worker.line()
        reason = worker.answers("/livez", 503, "loop")["loop"]
        assert "the event loop has been blocked for" in reason
        assert (f"process {pid}: " in reason) == (processes == "2")
        worker.answers("/readyz", 503, "loop")
        release(gate)
        worker.answers("/livez", 200)
        worker.becomes_ready()
        assert worker.ends() == 0


def test_a_worker_process_that_is_stopped_is_not_live_and_one_that_is_killed_is_replaced(
    tmp_path: Path,
) -> None:
    port, url = free_port(), f"sqlite:///{tmp_path}/tasks.db"
    options = worker_options(port, "--processes", "2", "--max-loop-lag", "1s")
    with program(tmp_path, url, port, *options) as worker, Client(url) as client:
        worker.becomes_ready()
        client.enqueue(Task("pid"))
        pid = int(worker.line())
        os.kill(pid, signal.SIGSTOP)
        assert "it has not reported for" in worker.answers("/livez", 503, "loop")["loop"]
        os.kill(pid, signal.SIGKILL)
        worker.answers("/livez", 200)
        worker.becomes_ready()
        assert worker.ends() == 0


def test_a_server_of_a_program_shows_its_health(tmp_path: Path) -> None:
    port = free_port()
    with program(tmp_path, f"sqlite:///{tmp_path}/t.db", port, "worker", "app:server") as worker:
        worker.becomes_ready()
        assert f"serving /livez, /readyz at http://127.0.0.1:{port}" in worker.log
        assert worker.ends() == 0


def test_options_of_the_command_replace_those_of_a_server_one_by_one() -> None:
    server = Server(MemoryBroker(), monitoring=Monitoring(health_port=1, max_loop_lag=ONE_SECOND))
    server.override(monitoring=Monitoring(health_port=2))
    assert server.monitoring == Monitoring(health_port=2, max_loop_lag=ONE_SECOND)
    assert server.monitoring.longest_lag == ONE_SECOND
    assert Monitoring().longest_lag == timedelta(seconds=30)


def test_a_scheduler_shows_its_health(tmp_path: Path) -> None:
    port = free_port()
    with RedisServer.start() as redis:
        options = ["scheduler", "app:scheduler", "--health-port", str(port)]
        with program(tmp_path, redis.url, port, *options) as scheduler:
            scheduler.becomes_ready()
            redis.kill()
            scheduler.answers("/readyz", 503, "broker")
            redis.restart()
            scheduler.becomes_ready()
            assert scheduler.ends() == 0


@pytest.mark.parametrize("command", ["worker", "workers", "scheduler"])
def test_a_port_that_is_in_use_is_a_usage_error(tmp_path: Path, command: str) -> None:
    with HTTPListener("127.0.0.1", 0, {}) as taken:
        options = {
            "worker": worker_options(taken.port),
            "workers": worker_options(taken.port, "--processes", "2"),
            "scheduler": ["scheduler", "app:scheduler", "--health-port", str(taken.port)],
        }[command]
        with program(tmp_path, f"sqlite:///{tmp_path}/t.db", 0, *options) as started:
            assert started.process.wait(60) == 2
            lines = [line for line in started.log.splitlines() if "Error" in line]
            assert lines == [f"Error: --health-port {taken.port} of 127.0.0.1: Address already in use"]
            assert "Traceback" not in started.log


async def test_health_of_a_server_follows_its_states() -> None:
    broker = MemoryBroker()
    server = Server(broker)
    assert (await server.health()).failing == {"started": "it is starting"}
    await server.start(ServeMux())
    health = await server.health()
    assert health.ready
    assert health.live
    server.stop()
    assert (await server.health()).failing == {"draining": "it takes no new tasks"}
    await server.shutdown()
    assert (await server.health()).failing == {"draining": "it is closed"}


async def test_health_of_a_scheduler_follows_its_states() -> None:
    scheduler = Scheduler(MemoryBroker())
    assert (await scheduler.health()).failing == {"started": "it is starting"}
    await scheduler.start()
    assert (await scheduler.health()).ready
    await scheduler.shutdown()
    assert (await scheduler.health()).failing == {"draining": "it is closed"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"health_port": "80"}, TypeError),
        ({"health_port": 65536}, ValueError),
        ({"max_loop_lag": 3}, TypeError),
        ({"max_loop_lag": timedelta(0)}, ValueError),
        ({"systemd": 1}, TypeError),
    ],
)
def test_invalid_options_are_named(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Monitoring(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="monitoring must be"):
        Server(MemoryBroker(), monitoring=options)  # type: ignore[arg-type]


def test_a_process_that_starts_in_the_place_of_another_does_not_count() -> None:
    with closing(WorkerBoard()) as one, closing(WorkerBoard()) as two:
        _check_replacement(one, two)


def _check_replacement(one: WorkerBoard, two: WorkerBoard) -> None:
    def health() -> Health:
        return workers_health([one, two], ONE_SECOND, draining=False)

    write(one, Health())
    assert health().failing == {"started": "a process: it is starting"}
    write(two, Health())
    assert health().ready
    two.ended()
    assert health().ready
    write(one, Health({"broker": "gone"}))
    assert set(health().failing) == {"broker", "started"}
    write(one, Health())
    write(two, Health({"draining": "it takes no new tasks"}))
    assert health().ready
    write(one, Health({"draining": "it takes no new tasks"}))
    assert health().failing == {"draining": "a process: it takes no new tasks"}
    drained = workers_health([one, two], ONE_SECOND, draining=True)
    assert drained.failing == {"draining": "it takes no new tasks"}
    write(one, Health())
    two.finish()
    assert health().ready
    assert workers_health([one], ONE_SECOND, draining=True).failing == {"draining": "it takes no new tasks"}


def write(board: WorkerBoard, health: Health) -> None:
    """Write as the process of a board does."""
    board._health.write(health)
    board.health(ONE_SECOND)


def test_a_health_file_tells_how_old_it_is() -> None:
    now = 0.0
    file = HealthFile(monotonic=lambda: now)
    assert set(file.read(ONE_SECOND).failing) == {"started"}
    file.write(Health({"broker": "x" * 1000}))
    assert file.read(ONE_SECOND).failing == {"broker": "x" * 300}
    file.write(Health())
    now = 1.5
    assert file.read(ONE_SECOND).ready
    now = 1.6
    assert file.read(ONE_SECOND).failing == {"loop": "it has not reported for 2 s"}
    os.pwrite(file.fd, b"x", 16)  # while the process writes
    assert set(file.read(ONE_SECOND).failing) == {"started"}
    file.close()


def test_health_of_several_parts_names_each_part() -> None:
    parts = [("a", Health({"broker": "x"})), ("b", Health({"broker": "y", "loop": "z"})), ("", Health())]
    assert combined(parts).failing == {"broker": "a: x; b: y", "loop": "b: z"}


def test_slow_clients_do_not_keep_a_probe_from_its_answer() -> None:
    with HTTPListener("127.0.0.1", 0, {"/livez": lambda _: Page(b"ok")}) as listener, ExitStack() as opened:
        for _ in range(200):
            slow = opened.enter_context(socket.create_connection(("127.0.0.1", listener.port), 0.9))
            slow.sendall(b"GET /livez")
        with urlopen(listener.address + "/livez", timeout=5) as answer:  # noqa: S310 - it is our own
            assert answer.read() == b"ok"
        assert threading.active_count() < 100


def test_a_reason_of_several_parts_is_given_once() -> None:
    parts = [
        (name, Health({"started": "it is starting"})) for name in ("a process", "a process", "process 7")
    ]
    assert combined(parts).failing == {"started": "a process, process 7: it is starting"}


def test_a_listener_answers_head_requests_and_hides_errors() -> None:
    def fail(_: object) -> Page:
        raise RuntimeError("inside")

    with HTTPListener("::1", 0, {"/": lambda _: Page(b"body"), "/fails": fail}) as listener:
        assert listener.address == f"http://[::1]:{listener.port}"
        with urlopen(Request(listener.address + "/?query", method="HEAD")) as answer:  # noqa: S310 - it is our own
            assert (answer.read(), answer.headers["Content-Length"]) == (b"", "4")
        with pytest.raises(HTTPError, match="500") as refused:
            urlopen(listener.address + "/fails")  # noqa: S310 - it is our own
        with refused.value as error:
            assert error.read() == b"internal error\n"
