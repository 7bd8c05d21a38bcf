"""`asynq bench` calibrates with a bare SQLite file that is written as the broker writes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.bench.drivers.sqlite_calibration import SETTINGS, rows_a_second
from asynq_sqlite.store.schema import open_database

if TYPE_CHECKING:
    from pathlib import Path


def test_the_settings_are_those_of_the_broker(tmp_path: Path) -> None:
    connection = open_database(str(tmp_path / "tasks.db"), "power")
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS}
    connection.close()
    assert found == SETTINGS


def test_the_calibration_leaves_no_file(tmp_path: Path) -> None:
    assert rows_a_second(tmp_path, 5, 2) > 0
    assert list(tmp_path.iterdir()) == []
