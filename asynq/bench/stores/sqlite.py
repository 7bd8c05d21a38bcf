"""A SQLite file in a temporary directory. Each measurement has a new one."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asynq.bench.errors import BenchError
from asynq.bench.stores.store import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = Path(__file__).parents[1] / "drivers" / "sqlite_calibration.py"
_TRANSACTIONS = {1: 500, 50: 200}
"""Transactions of one calibration, by the number of rows in each."""


class SQLiteStore:
    """The file. The directory belongs to the caller, who removes it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self.calibrations: Mapping[str, Calibration] = {
            f"S{rows}": Calibration(
                f"S{rows}",
                f"SQLite itself, inserts of 100 bytes, {rows} in a transaction",
                partial(self._calibrate, rows),
            )
            for rows in _TRANSACTIONS
        }

    @property
    def url(self) -> str:
        """The URL of the current file."""
        return f"sqlite:///{self._path}"

    def reset(self) -> None:
        """Remove the file, and go on with another one."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._number += 1

    def cpu_seconds(self) -> float:
        """SQLite runs in the processes that use it."""
        return 0.0

    def commands(self) -> int:
        """Not counted."""
        return 0

    def describe(self) -> dict[str, str]:
        """Nothing: the library of Python is used."""
        return {}

    def close(self) -> None:
        """Nothing is open."""

    @property
    def _path(self) -> Path:
        return self._directory / f"tasks-{self._number}.db"

    def _calibrate(self, rows: int) -> float:
        """Rows a second."""
        command = [sys.executable, str(SCRIPT), str(self._directory), str(rows), str(_TRANSACTIONS[rows])]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
        if ended.returncode:
            raise BenchError(f"the calibration of SQLite failed: {ended.stderr.strip()[-500:]}")
        return float(ended.stdout)
