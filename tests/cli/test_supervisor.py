from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from asynq.supervisor.command import USAGE_ERROR
from asynq.supervisor.supervisor import Supervisor, describe
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# One write a line: several copies share the pipe.
SAY = "import os; say = lambda text: os.write(2, f'{text}\\n'.encode())\n"
PATIENT = SAY + "import signal; say(os.getpid()); signal.pause()"
GRACEFUL = (
    SAY + "import signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "signal.signal(signal.SIGTSTP, lambda *_: say('quiet'))\n"
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})\n"
    "say(os.getpid())\n"
    "while True: signal.pause()\n"
)
REFUSING = "from asynq.supervisor.reports import SupervisorReporter; SupervisorReporter().cannot_start()\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PATIENT


class Running:
    """A supervisor at work, and what its copies print."""

    def __init__(self, supervisor: Supervisor, lines: asyncio.StreamReader) -> None:
        self.supervisor = supervisor
        self.ended = asyncio.create_task(supervisor.run())
        self._lines = lines

    async def line(self) -> str:
        return (await self._lines.readline()).decode().strip()

    async def restarting(self) -> None:
        """Waits until a copy is about to be started again."""
        await aeventually(lambda: self.supervisor.restarts)

    async def all_ended(self) -> bool:
        """Waits until no copy holds the pipe any more."""
        return await self._lines.read() == b""


@asynccontextmanager
async def supervised(
    script: str,
    processes: int = 1,
    *,
    stop_timeout: float = 30.0,
    first_pause: float = 0.01,
    stall_timeout: float | None = None,
) -> AsyncIterator[Running]:
    reading, writing = os.pipe()
    supervisor = Supervisor(
        [sys.executable, "-c", script],
        processes,
        env=os.environ,
        stop_timeout=stop_timeout,
        rng=random.Random(1),
        first_pause=first_pause,
        stall_timeout=stall_timeout,
        stderr=writing,
    )
    lines = asyncio.StreamReader()
    pipe = os.fdopen(reading)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), pipe
    )
    running = Running(supervisor, lines)
    try:
        yield running
    finally:
        os.close(writing)
        supervisor.stop(signal.SIGKILL)
        await asyncio.wait([running.ended])
        transport.close()


async def test_the_requested_number_of_workers_runs_until_a_stop() -> None:
    async with supervised(GRACEFUL, 3) as running:
        pids = {int(await running.line()) for _ in range(3)}
        assert len(pids) == 3
        running.supervisor.stop()
        assert await running.ended == 0
        assert running.supervisor.pids == []


async def test_a_crashed_worker_is_restarted() -> None:
    async with supervised(PATIENT) as running:
        first = int(await running.line())
        os.kill(first, signal.SIGKILL)
        assert int(await running.line()) != first
        assert running.supervisor.restarts == 1


async def test_a_worker_that_cannot_start_ends_all_workers() -> None:
    async with supervised(REFUSING, 2) as running:
        assert await running.ended == USAGE_ERROR


async def test_an_exit_status_alone_does_not_mean_that_a_worker_cannot_start() -> None:
    async with supervised(SAY + f"say(os.getpid()); raise SystemExit({USAGE_ERROR})") as running:
        assert await running.line() != await running.line()
        assert not running.ended.done()


async def test_a_restarted_worker_that_cannot_start_is_started_again(tmp_path: Path) -> None:
    once = f"if not os.path.exists({str(tmp_path / 'f')!r}): open({str(tmp_path / 'f')!r}, 'w'); sys.exit(1)"
    async with supervised(f"import os, sys\n{once}\n{SAY}say(os.getpid())\n{REFUSING}") as running:
        assert await running.line() != await running.line()
        assert not running.ended.done()


async def test_a_worker_that_does_not_stop_is_killed_and_the_status_reports_it() -> None:
    async with supervised(STUBBORN, stop_timeout=0.05) as running:
        await running.line()
        running.supervisor.stop()
        assert await running.ended == 1


async def test_a_worker_states_how_long_it_takes_to_stop() -> None:
    stating = "from asynq.supervisor.reports import SupervisorReporter as It; It().stop_timeout(0.05)\n"
    async with supervised(stating + STUBBORN, stop_timeout=60.0) as running:
        await running.line()
        running.supervisor.stop()
        assert await running.ended == 1


async def test_workers_that_do_not_stop_after_a_second_signal_are_killed_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynq.supervisor.supervisor.FORCED_STOP_TIMEOUT", 0.05)
    async with supervised(STUBBORN, stop_timeout=600) as running:
        await running.line()
        running.supervisor.stop()
        running.supervisor.force_stop()
        assert await running.ended == 1


async def test_a_stopping_supervisor_does_not_wait_to_restart_a_worker() -> None:
    async with supervised(SAY + "say('up'); raise SystemExit(3)", first_pause=600) as running:
        assert await running.line() == "up"
        await running.restarting()
        running.supervisor.stop()
        assert await running.ended == 0


STALLING = (
    SAY + "import itertools, signal; from datetime import timedelta\n"
    "from asynq.supervisor.stall_watch import start_supervisor_heartbeat\n"
    "lags = itertools.chain([0] * 3, itertools.repeat(60))\n"
    "start_supervisor_heartbeat(lambda: timedelta(seconds=next(lags)))\n"
    "say(os.getpid()); signal.pause()"
)


async def test_a_worker_without_heartbeats_is_killed_and_restarted() -> None:
    async with supervised(STALLING, stall_timeout=0.5) as running:
        first = int(await running.line())
        assert int(await running.line()) != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


async def test_a_worker_before_its_first_heartbeat_is_given_time() -> None:
    starting = SAY + "import signal, time; say('up'); time.sleep(1); say('done'); signal.pause()"
    async with supervised(starting, stall_timeout=0.2) as running:
        assert [await running.line(), await running.line()] == ["up", "done"]
        assert running.supervisor.restarts == 0


async def test_a_cancelled_supervisor_leaves_no_worker() -> None:
    async with supervised(STUBBORN, 2) as running:
        pids = [int(await running.line()) for _ in range(2)]
        running.ended.cancel()
        await asyncio.wait([running.ended])
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_sigtstp_is_passed_to_all_workers_and_prevents_restarts() -> None:
    async with supervised(GRACEFUL) as running:
        pid = int(await running.line())
        running.supervisor.stop_fetching()
        assert await running.line() == "quiet"
        os.kill(pid, signal.SIGTERM)
        assert await running.ended == 0


async def test_workers_end_gracefully_when_the_supervisor_is_killed() -> None:
    copy = (
        "import sys; from asynq.supervisor.supervisor import stop_with_supervisor; stop_with_supervisor()\n"
        + GRACEFUL.replace("sys.exit(0)", "(say('bye'), sys.exit(0))")
    )
    script = (
        "import asyncio, os, random, sys; from asynq.supervisor.supervisor import Supervisor\n"
        f"command = [sys.executable, '-c', {copy!r}]\n"
        "asyncio.run(Supervisor(command, 1, env=os.environ, stop_timeout=9, rng=random.Random()).run())\n"
    )
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE
    )
    assert supervisor.stderr is not None
    assert int(await supervisor.stderr.readline()) != supervisor.pid
    supervisor.kill()
    assert await supervisor.stderr.readline() == b"bye\n"
    assert await supervisor.stderr.read() == b""
    await supervisor.wait()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with exit status 0"),
        (3, "ended with exit status 3"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_the_end_of_a_process_is_described_in_words(status: int, text: str) -> None:
    assert describe(status) == text


async def test_a_worker_with_nothing_left_to_do_is_not_restarted() -> None:
    script = "from asynq.supervisor.reports import SupervisorReporter; SupervisorReporter().finished()\n"
    async with supervised(script, 2) as running:
        assert await running.ended == 0
        assert running.supervisor.restarts == 0


async def test_a_worker_that_has_reached_a_limit_is_replaced_at_once() -> None:
    script = (
        SAY
        + "from asynq.supervisor.reports import SupervisorReporter\n"
        + "SupervisorReporter().replace(); say(os.getpid())\n"
    )
    async with supervised(script, first_pause=3600.0) as running:
        assert await running.line() != await running.line()
