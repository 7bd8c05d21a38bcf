"""What can happen to the clients of any broker, whatever it keeps tasks in."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

from asynq_conformance.disturbances.disturbance import Disturbance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_conformance.histories.run import HistoryRun


def kill(run: HistoryRun) -> None:
    """Kill half of the processes in the middle of what they do; others take their place."""
    for worker in run.workers[::2]:
        run.kill(worker)
        run.begin()


def hold_up(run: HistoryRun) -> None:
    """Stop a process until the leases it holds are lost, and let it go on as if nothing had happened."""
    [worker, *_] = run.workers
    worker.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(run.plan.lease / 1000 * _LONGER)
    finally:
        worker.process.send_signal(signal.SIGCONT)


_LONGER: Final = 1.5

CLIENT_DISTURBANCES: Final[Mapping[str, Disturbance]] = {
    "clients are killed": Disturbance(strike=kill),
    "a client is held up for longer than its leases": Disturbance(strike=hold_up),
}
