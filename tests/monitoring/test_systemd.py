"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Health, Task
from asynq.monitoring.systemd import SystemdNotifier
from tests.monitoring.processes import fifo, program, release
from tests.servers import RedisServer, free_port
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CREDENTIALS = struct.Struct("3i")


class Manager:
    """The side of systemd: the messages of a service, and who sent them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.senders: set[int] = set()
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(PATIENCE)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def message(self) -> list[str]:
        """The lines of the next message."""
        data, extra, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        self.senders |= {_CREDENTIALS.unpack(content)[0] for _, _, content in extra}
        lines = data.decode().splitlines()
        self.lines += lines
        return lines

    def until(self, line: str) -> None:
        """Waits for a line."""
        while line not in self.message():
            pass

    def until_silent(self, seconds: float) -> None:
        """Waits until nothing has come for so many seconds."""
        self._socket.settimeout(seconds)
        try:
            while self.message():
                pass
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def managed(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    try:
        yield manager
    finally:
        manager.close()


@pytest.mark.parametrize("command", ["worker", "workers", "scheduler"])
def test_a_service_tells_when_it_is_ready_and_when_it_stops(tmp_path: Path, command: str) -> None:
    options = {
        "worker": ["worker", "app:mux"],
        "workers": ["worker", "app:mux", "--processes", "2"],
        "scheduler": ["scheduler", "app:scheduler"],
    }[command]
    with RedisServer.start() as redis, managed(str(tmp_path / "socket")) as systemd:
        redis.kill()
        with program(tmp_path, redis.url, 0, *options, NOTIFY_SOCKET=systemd.address) as service:
            while not any("broker" in line for line in systemd.lines):
                systemd.message()
            assert "READY=1" not in systemd.lines
            redis.restart()
            systemd.until("READY=1")
            systemd.until("STATUS=ready") if "STATUS=ready" not in systemd.lines else None
            service.process.send_signal(signal.SIGTERM)
            systemd.until("STOPPING=1")
            assert service.process.wait(PATIENCE) == 0
        assert systemd.senders == {service.process.pid}
        assert not [line for line in systemd.lines if "WATCHDOG" in line]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_service_sends_keepalives_while_its_event_loop_is_not_stuck(tmp_path: Path, processes: str) -> None:
    url, address = f"sqlite:///{tmp_path}/tasks.db", f"@asynq-test-{os.getpid()}-{free_port()}"
    options = ["worker", "app:mux", "--processes", processes, "--max-loop-lag", "1s"]
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"}
    with (
        managed(address) as systemd,
        fifo(tmp_path / "gate") as gate,
        program(tmp_path, url, 0, *options, **variables) as service,
        Client(url) as client,
    ):
        systemd.until("READY=1")
        for _ in range(3):
            systemd.until("WATCHDOG=1")
        client.enqueue(Task("blocks the loop", str(gate)))
        service.line()
        systemd.until_silent(2.0)
        assert [line for line in systemd.lines if line.startswith("STATUS=loop: ")]
        release(gate)
        systemd.until("WATCHDOG=1")
        assert service.ends() == 0


def test_an_environment_without_a_socket_asks_for_nothing() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"WATCHDOG_USEC": "1"}):
        asked = dict(environment)
        assert SystemdNotifier.from_environment(asked) is None
        assert asked == {}


@pytest.mark.parametrize(
    ("usec", "pid", "interval"), [("300000", "", 0.1), ("300000", "1", 0.5), ("x", "", 0.5)]
)
def test_keepalives_are_for_the_process_that_systemd_names(usec: str, pid: str, interval: float) -> None:
    environment = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid or str(os.getpid())}
    notifier = SystemdNotifier.from_environment(environment)
    assert notifier is not None
    assert notifier.interval == pytest.approx(interval)
    assert environment == {}
    notifier.tell(Health())  # nobody listens
    notifier.close()


def test_a_service_that_drains_is_not_stopping_before_it_ends(tmp_path: Path) -> None:
    with managed(str(tmp_path / "socket")) as systemd:
        notifier = SystemdNotifier(systemd.address)
        notifier.tell(Health({"draining": "it takes no new tasks"}))
        assert systemd.message() == ["STATUS=draining: it takes no new tasks"]
        notifier.close()
        assert systemd.message() == ["STOPPING=1"]


def test_a_status_is_one_line_and_sent_when_it_changes(tmp_path: Path) -> None:
    with managed(str(tmp_path / "socket")) as systemd:
        notifier = SystemdNotifier(systemd.address, watchdog=10)
        notifier.tell(Health({"broker": "no\nREADY=1"}))
        assert systemd.message() == ["WATCHDOG=1", "STATUS=broker: no READY=1"]
        notifier.tell(Health())
        assert systemd.message() == ["READY=1", "WATCHDOG=1", "STATUS=ready"]
        notifier.tell(Health())
        assert systemd.message() == ["WATCHDOG=1"]
        notifier.tell(Health({"draining": "it takes no new tasks", "loop": "blocked"}))
        assert systemd.message() == ["STATUS=draining: it takes no new tasks; loop: blocked"]
        notifier.close()


def test_what_was_told_to_nobody_is_told_again(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    notifier = SystemdNotifier(address)
    notifier.tell(Health())
    with managed(address) as systemd:
        notifier.tell(Health())
        assert systemd.message() == ["READY=1", "STATUS=ready"]
    (tmp_path / "socket").unlink()
    notifier.tell(Health({"draining": "it takes no new tasks"}))
    with managed(address) as systemd:
        notifier.tell(Health({"draining": "it takes no new tasks"}))
        assert systemd.message() == ["STATUS=draining: it takes no new tasks"]
    notifier.close()


def test_what_found_no_room_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asynq.monitoring.systemd.LAST_PATIENCE", PATIENCE)
    address = str(tmp_path / "socket")
    with managed(address) as systemd:
        notifier = SystemdNotifier(address, watchdog=10)
        filled = fill(address)
        notifier.tell(Health())
        assert [systemd.message() for _ in range(filled)] == [["full"]] * filled
        notifier.tell(Health())
        assert systemd.message() == ["READY=1", "WATCHDOG=1", "STATUS=ready"]
        filled = fill(address)
        closing = threading.Thread(target=notifier.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        assert [systemd.message() for _ in range(filled)] == [["full"]] * filled
        assert systemd.message() == ["STOPPING=1"]
        closing.join()


def fill(address: str) -> int:
    """Fills the queue of a socket. The number of messages."""
    filled = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd, suppress(BlockingIOError):
        crowd.setblocking(False)
        while True:
            crowd.sendto(b"full", address)
            filled += 1
    return filled
