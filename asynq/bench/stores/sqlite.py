"""SQLite files in memory and on disk. Each measurement has a new one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.errors import BenchError
from asynq.bench.stores.store import Calibration, StoreUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = Path(__file__).parents[1] / "drivers" / "sqlite_calibration.py"


MEMORY = Path("/dev/shm")  # noqa: S108 - files are made in a private directory below it
SPACE = 100_000_000
"""Free bytes that MEMORY must have to be used."""


@frozen(kw_only=True)
class FileKind:
    """Where a file is."""

    store: str
    """Name of the store."""
    prefix: str
    """Of the names of the calibrations."""
    title: str
    transactions: Mapping[int, int]
    """Transactions of one calibration, by the number of rows in each."""


IN_MEMORY = FileKind(store="sqlite", prefix="S", title="without a disk", transactions={1: 30_000, 50: 3_000})
"""In a file system in memory, if there is one: flushes cost nothing, and the disk does not decide."""
ON_DISK = FileKind(store="sqlite-disk", prefix="D", title="on disk", transactions={1: 500})
"""In the directory for temporary files."""


def memory_directory() -> str | None:
    """The directory for files in memory; None if there is none, or too small a one."""
    try:
        return str(MEMORY) if shutil.disk_usage(MEMORY).free >= SPACE else None
    except OSError:
        return None


class SQLiteStore:
    """A file of one kind. The directory belongs to the caller, who removes it."""

    def __init__(self, directory: Path, kind: FileKind) -> None:
        self._directory = directory
        self._kind = kind
        self._number = 0
        self.calibrations: Mapping[str, Calibration] = {
            f"{kind.prefix}{rows}": Calibration(
                f"{kind.prefix}{rows}",
                f"SQLite itself, inserts of 100 bytes, {rows} in a transaction, {kind.title}",
                partial(self._calibrate, rows),
            )
            for rows in kind.transactions
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

    def usage(self) -> StoreUsage:
        """SQLite runs in the processes that use it."""
        return StoreUsage()

    def describe(self) -> dict[str, str]:
        """Nothing: the library of Python is used."""
        return {}

    def close(self) -> None:
        """Nothing is open."""

    @property
    def _path(self) -> Path:
        return self._directory / f"{self._kind.store}-{self._number}.db"

    def _calibrate(self, rows: int) -> float:
        """Rows a second."""
        transactions = str(self._kind.transactions[rows])
        command = [sys.executable, str(SCRIPT), str(self._directory), str(rows), transactions]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
        if ended.returncode:
            raise BenchError(f"the calibration of SQLite failed: {ended.stderr.strip()[-500:]}")
        return float(ended.stdout)
