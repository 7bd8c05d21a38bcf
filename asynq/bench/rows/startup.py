"""How long it takes to import the library and to start its command."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.row import latency_row

if TYPE_CHECKING:
    from asynq.bench.trial import Trial

STARTS = 7


@frozen(kw_only=True)
class StartScenario:
    """Python starts, does something small, and ends."""

    store: str = ""
    mode: str | None = None
    costly: bool = True

    def measure(self, trial: Trial) -> dict[str, float]:
        """Milliseconds more than for an empty program, the least of several starts."""
        starts = 2 if trial.quick else STARTS
        python = min(_seconds("-c", "pass") for _ in range(starts))
        return {
            "import": (min(_seconds("-c", "import asynq") for _ in range(starts)) - python) * 1000,
            "help": (min(_seconds("-m", "asynq", "--help") for _ in range(starts)) - python) * 1000,
        }


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - started


ROWS = (
    latency_row(StartScenario(), "import", "import of the package", "import", 50),
    latency_row(StartScenario(), "help", "the command with --help", "help", 250),
)
