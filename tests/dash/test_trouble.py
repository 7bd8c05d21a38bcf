"""Brokers that go away and come back, hostile names and payloads, what a command line refuses."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from asynq import Client, Schedules, Task
from asynq.cli.main import SUBCOMMANDS
from asynq.errors import BrokerRefusedError
from asynq.protocol.ops import DeleteTask, ListQueues
from asynq_redis import RedisBroker
from tests.dash.driving import SMALL, Prepared, driven
from tests.servers import RedisServer
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest

    from tests.cli.commands import Commands
    from tests.dash.driving import Driven

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nx[bold red]y[/bold red][@click=app.quit]z\u202e"
"""Escape sequences, line breaks, markup of rich and of textual, a mark that turns the direction of text."""


async def test_a_broker_goes_away_and_comes_back() -> None:
    with RedisServer.start() as server:
        broker = RedisBroker(server.url, budget=timedelta(milliseconds=100))
        Client(broker).enqueue(Task("t"))
        async with driven(broker, SMALL) as screen:
            await screen.shows("default", "1 task")
            server.kill()
            await screen.shows("the broker is unavailable", "Trying again", "default")
            await screen.press("enter")
            await screen.shows("the broker is unavailable", "Reading the tasks")
            server.restart()
            await screen.lacks("the broker is unavailable")
            await screen.shows("this queue no longer exists")
            Client(broker).enqueue(Task("t", task_id="new"))
            await screen.shows("Tasks 1 to 1 of 1", "new")
        broker.close()


async def test_a_broker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asynq.dash.app.PATIENCE", 0.1)
    with RedisServer.start() as server:
        broker = RedisBroker(server.url)
        Client(broker).enqueue(Task("t"))
        async with driven(broker, SMALL) as screen:
            await screen.shows("default")
            server.pause()
            await screen.shows("The broker has not answered yet")
            server.resume()
            await screen.lacks("The broker has not answered yet")
        broker.close()


async def test_a_change_that_is_refused_is_told(memory: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.enqueue("one")
    many = memory.broker.aexecute_many

    async def read_only(ops: Any, /) -> Any:
        """As a replica answers."""
        if isinstance(ops[0], DeleteTask):
            return [BrokerRefusedError("READONLY You can't write against a read only replica.")]
        return await many(ops)

    monkeypatch.setattr(memory.broker, "aexecute_many", read_only)
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.shows("one")
        await screen.press("d")
        await screen.confirm("Delete this pending task")
        await screen.shows("0 tasks deleted. 1 left as it was", "READONLY")


async def test_an_error_of_reading_is_told_and_forgotten(
    memory: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = memory.broker.aexecute
    refusing = True

    async def refuses(op: Any, /) -> Any:
        if refusing and isinstance(op, ListQueues):
            raise BrokerRefusedError(f"NOPERM {ESCAPES}")
        return await execute(op)

    monkeypatch.setattr(memory.broker, "aexecute", refuses)
    async with driven(memory.broker) as screen:
        await screen.shows("the broker refused: NOPERM")
        assert_safe(screen)
        refusing = False
        await screen.lacks("NOPERM")


async def test_the_sentence_of_an_error_ends_once(memory: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(_: Any, /) -> Any:
        raise BrokerRefusedError("not now.")

    async with driven(memory.broker) as screen:
        await screen.shows("0 queues")
        monkeypatch.setattr(memory.broker, "aexecute", refuses)
        await screen.shows("not now. Trying again")


def test_a_signal_ends_the_dashboard_and_restores_the_terminal(tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "asynq", "dash", "--broker", f"sqlite:///{tmp_path}/tasks.db"]
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        dashboard = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        try:
            while b"\x1b[?1049h" not in written:
                written += screen.read(4096)
            dashboard.send_signal(signal.SIGTERM)
            with suppress(OSError):  # so a terminal ends
                while more := screen.read(4096):
                    written += more
            assert dashboard.wait(PATIENCE) == 0
        finally:
            dashboard.kill()
            dashboard.wait()
    assert b"\x1b[?1049l" in written


def assert_safe(screen: Driven) -> None:
    """No control character is on the screen, and nothing was taken for markup."""
    assert all(line.isprintable() for line in screen.lines)
    assert {len(line) for line in screen.lines} == {screen.app.size.width}


async def test_hostile_names_and_payloads_are_shown_escaped(memory: Prepared) -> None:
    name = f"q{ESCAPES}"
    memory.client.enqueue(Task(f"type{ESCAPES}", ESCAPES.encode(), headers={ESCAPES: ESCAPES}), queue=name)
    memory.client.enqueue(Task(f"type{ESCAPES}", ESCAPES, task_id=f"id{ESCAPES}"), queue=name)
    memory.client.enqueue(Task("t", {"a": ESCAPES}), queue=name, group=f"group{ESCAPES}")
    memory.fail(f"error{ESCAPES}", 2, name)
    Schedules(memory.broker).set(f"schedule{ESCAPES}", "@every 1h", Task(f"type{ESCAPES}", ESCAPES))
    async with driven(memory.broker, (160, 50)) as screen:
        await screen.shows("q\\x1b]0;owned", "x[bold red]y[/")
        assert_safe(screen)
        await screen.press("4")
        await screen.shows("schedule\\x1b]0;owned")
        assert_safe(screen)
        await screen.press("enter")
        await screen.shows("Enqueued last")
        assert_safe(screen)
        await screen.press("escape", "p")
        await screen.shows("Pause schedule", "\\x1b]0;owned")
        assert_safe(screen)
        await screen.press("n", "1", "p")
        await screen.confirm("Pause queue", "\\x1b]0;owned")
        await screen.shows("is paused.")
        assert_safe(screen)
        await screen.press("enter", "7")
        await screen.shows("group\\x1b]0;owned")
        assert_safe(screen)
        await screen.press("5")
        await screen.shows("error\\x1b]0;owned")
        assert_safe(screen)
        for _ in range(2):
            await screen.press("enter")
            await screen.shows("Payload", "error\\x1b]0;owned")
            assert_safe(screen)
            for _ in range(2):
                await screen.press("v")
                assert_safe(screen)
            await screen.press("escape", "down")
        await screen.press("slash")
        await screen.write("error=[/] x[bold]")
        await screen.shows("No task matches")
        assert_safe(screen)


async def test_a_queue_that_cannot_be_read_is_named(redis_server: RedisServer) -> None:
    on = Prepared(RedisBroker(redis_server.url))
    on.enqueue("a", queue="good")
    on.enqueue("a", queue="bad")
    redis_server.client.delete("asynq:{bad}:pending")
    redis_server.client.set("asynq:{bad}:pending", "no list")
    async with driven(on.broker) as screen:
        await screen.shows("queue bad cannot be read", "good")
    on.broker.close()


async def test_a_page_is_left_while_it_is_read(memory: Prepared) -> None:
    memory.enqueue("one")
    async with driven(memory.broker, interval=0.001) as screen:
        await screen.shows("default")
        for _ in range(3):
            await screen.press("enter", "enter", "escape", "escape")
        await aeventually(lambda: "1 Queues" in screen.text)


def test_without_a_terminal_the_command_says_what_to_use_instead(run: Commands) -> None:
    ended = run("dash")
    assert ended.status == 2
    assert "asynq stats --watch" in ended.err


def test_an_unknown_theme_is_a_usage_error(run: Commands) -> None:
    ended = run("monitor", "--theme", "pink")
    assert ended.status == 2
    assert "dark, light" in ended.err


def test_without_textual_the_command_says_what_to_install(tmp_path: Any) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError('no', name='textual')")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from asynq.__main__ import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "dash"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "pip install 'asynq-py[dash]'" in " ".join(ended.stderr.replace("│", "").split())


def test_the_help_of_the_command_line_does_not_load_textual() -> None:
    assert "dash" in SUBCOMMANDS
    code = "import sys, asynq.cli.main, asynq.cli.dash; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
