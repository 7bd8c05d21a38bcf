"""The web interface of Go asynq, unmodified, on queues of this library."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from attrs import frozen

from tests.interop import toolchain
from tests.interop.waits import is_gone
from tests.servers import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.conftest import Place
    from tests.interop.python_side import PythonSide

LONG = 3600.0
REPLY_TIMEOUT = 30.0
"""Seconds that one request may take."""
EXIT_TIMEOUT = 30.0
"""Seconds that the program may take to exit."""


@frozen
class Web:
    """The program, on one broker."""

    url: str

    def page(self, path: str, method: str = "GET") -> bytes:
        """The body of a reply. An HTTP error fails the test."""
        request = Request(f"{self.url}{path}", method=method)  # noqa: S310 - our own server
        with urlopen(request, timeout=REPLY_TIMEOUT) as reply:  # noqa: S310 - as above
            body: bytes = reply.read()
            return body

    def get(self, path: str) -> Any:
        """What the API shows."""
        return json.loads(self.page(f"/api{path}"))

    def act(self, method: str, path: str) -> None:
        """Change something through the API."""
        self.page(f"/api{path}", method)

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            return bool(self.page("/"))
        except URLError:
            return False


@pytest.fixture(scope="session")
def program(programs_directory: Path) -> Path:
    """The program with its embedded pages, built from its module."""
    return toolchain.build(toolchain.ASYNQMON, programs_directory)


@pytest.fixture
def web(program: Path, place: Place, tmp_path: Path) -> Iterator[Web]:
    """The program on the broker of the test."""
    port = free_port()
    scheme, _, addresses = place.url.partition("://")
    broker = (
        ["--redis-cluster-nodes", addresses]
        if scheme == "redis-cluster"
        else ["--redis-url", f"redis://{addresses}"]
    )
    with (tmp_path / "asynqmon.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "--port", str(port), *broker], stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        web = Web(f"http://127.0.0.1:{port}")
        eventually(web.answers, explain=(tmp_path / "asynqmon.log").read_text)
        yield web
    finally:
        process.kill()
        process.wait(EXIT_TIMEOUT)


def test_the_web_interface_is_served(web: Web) -> None:
    assert b"<html" in web.page("/")
    assert web.get("/redis_info")["address"]


def test_the_web_interface_shows_queues(web: Web, python: PythonSide) -> None:
    python.enqueue("ok", b"x", queue="critical")
    python.enqueue("ok", b"x", process_in=LONG)
    python.enqueue("ok", b"x", group="invoices")
    queues = {one["queue"]: one for one in web.get("/queues")["queues"]}
    assert queues.keys() == {"critical", "default"}
    numbers = ("size", "pending", "scheduled", "aggregating", "groups", "paused")
    assert [queues["default"][name] for name in numbers] == [2, 0, 1, 1, 1, False]
    assert web.get("/queues/critical")["current"]["pending"] == 1
    assert web.get("/queues/default/groups")["groups"] == [{"group": "invoices", "size": 1}]
    assert set(web.get("/queue_stats")["stats"]) == {"critical", "default"}


@pytest.mark.parametrize("state", ["pending", "scheduled", "archived", "completed", "retry", "active"])
def test_the_web_interface_lists_the_tasks_of_a_state(web: Web, python: PythonSide, state: str) -> None:
    types = {"retry": "fail", "active": "hold", "completed": "result"}
    if state in types:
        python.worker(retry_delay=LONG)
    process_in = {"process_in": LONG} if state == "scheduled" else {}
    python.enqueue(types.get(state, "ok"), "täxt".encode(), task_id="a", retention=LONG, **process_in)  # type: ignore[arg-type]
    if state == "archived":
        python.one("archive", "default", "a")
    eventually(lambda: python.task("default", "a").state == state)
    [listed] = web.get(f"/queues/default/{state}_tasks")["tasks"]
    assert (listed["id"], listed["payload"]) == ("a", "täxt")
    shown = web.get("/queues/default/tasks/a")
    assert (shown["state"], shown["queue"], shown["max_retry"]) == (state, "default", 25)
    if state == "retry":
        assert "täxt" in shown["error_message"]
        assert shown["retried"] == 1
    if state == "completed":
        assert shown["result"] == "täxt"


def test_the_web_interface_lists_and_runs_the_tasks_of_a_group(web: Web, python: PythonSide) -> None:
    python.enqueue("ok", b"x", task_id="a", group="grün")
    tasks = f"/queues/default/groups/{quote('grün')}/aggregating_tasks"
    assert [one["id"] for one in web.get(tasks)["tasks"]] == ["a"]
    web.act("POST", f"{tasks}/a:run")
    assert python.task("default", "a").state == "pending"


def test_the_web_interface_moves_a_task_and_keeps_its_headers(web: Web, python: PythonSide) -> None:
    python.enqueue("ok", b"x", headers={"k": "v"}, task_id="a", process_in=LONG)
    web.act("POST", "/queues/default/scheduled_tasks/a:archive")
    assert python.task("default", "a").state == "archived"
    web.act("POST", "/queues/default/archived_tasks/a:run")
    assert python.task("default", "a").state == "pending"
    worker = python.worker()
    [run] = eventually(lambda: worker.runs("a"))
    assert run.headers == {"k": "v"}


def test_the_web_interface_deletes_tasks(web: Web, python: PythonSide) -> None:
    python.enqueue("ok", b"x", task_id="a", unique=LONG)
    web.act("DELETE", "/queues/default/pending_tasks/a")
    assert is_gone(python, "a")
    python.enqueue("ok", b"x", unique=LONG)
    for _ in range(3):
        python.enqueue("ok", process_in=LONG)
    web.act("DELETE", "/queues/default/scheduled_tasks:delete_all")
    assert python.queue("default")["scheduled"] == 0


def test_the_web_interface_pauses_and_deletes_a_queue(web: Web, python: PythonSide) -> None:
    python.enqueue("ok", task_id="a")
    web.act("POST", "/queues/default:pause")
    assert python.queue("default")["paused"]
    web.act("POST", "/queues/default:resume")
    assert not python.queue("default")["paused"]
    python.one("delete", "default", "a")
    web.act("DELETE", "/queues/default")
    assert python.queues() == []


def test_the_web_interface_cancels_a_run(web: Web, python: PythonSide) -> None:
    worker = python.worker(retry_delay=LONG)
    python.enqueue("hold", task_id="a")
    eventually(lambda: worker.runs("a"))

    def cancelled() -> bool:
        web.act("POST", "/queues/default/active_tasks/a:cancel")
        return python.task("default", "a").state == "retry"

    eventually(cancelled)
    assert worker.told_to_end() == ["a"]


def test_the_web_interface_shows_servers_and_their_runs(web: Web, python: PythonSide) -> None:
    worker = python.worker(concurrency=3)
    python.enqueue("hold", b"x", task_id="a")

    def runs() -> list[Any]:
        servers = web.get("/servers")["servers"]
        return [run for server in servers for run in server["active_workers"]]

    [run] = eventually(runs)
    assert (run["task_id"], run["task_type"], run["queue"]) == ("a", "hold", "default")
    [server] = web.get("/servers")["servers"]
    assert (server["pid"], server["concurrency"], server["status"]) == (worker.pid, 3, "active")
    assert server["queue_priorities"] == {"default": 1}


def test_the_web_interface_shows_periodic_tasks(web: Web, python: PythonSide) -> None:
    _, entry = python.scheduler("@every 1s", "ok:tick", b"x", queue="ticks")
    [shown] = eventually(lambda: web.get("/scheduler_entries")["entries"])
    assert (shown["id"], shown["spec"], shown["task_type"]) == (entry, "@every 1s", "ok:tick")
    assert shown["options"] == ['Queue("ticks")']
    eventually(lambda: len(python.enqueued_by(entry)) >= 1)
    events = web.get(f"/scheduler_entries/{quote(entry)}/enqueue_events")["events"]
    assert python.enqueued_by(entry)[-1] in {event["task_id"] for event in events}
