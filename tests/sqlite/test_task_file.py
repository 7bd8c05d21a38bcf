"""Whether the file of a connection is still in place, which a quiet directory answers by itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from asynq_sqlite.store.task_file import TaskFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG_AGO = 1_600_000_000_123_456_789
LONG_AGO_IN_SECONDS = 1_600_000_000_000_000_000
IN_AN_HOUR = time.time_ns() + 3_600_123_456_789


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "tasks.db"


@pytest.fixture
def file(path: Path) -> Iterator[TaskFile]:
    file = TaskFile(str(path), "power")
    connection = file.open()
    yield file
    connection.close()


def changed(directory: Path, instant: int) -> None:
    """Make the directory look as if its last change had been at that instant."""
    os.utime(directory, ns=(instant, instant))


def remove(path: Path) -> None:
    path.unlink()


def remove_the_log(path: Path) -> None:
    path.with_name("tasks.db-wal").unlink()


def replace(path: Path) -> None:
    other = path.parent.parent / "other.db"
    other.touch()
    other.rename(path)


def rename_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def replace_the_directory(path: Path) -> None:
    rename_the_directory(path)
    path.parent.mkdir()
    path.touch()
    changed(path.parent, LONG_AGO)


@pytest.mark.parametrize(
    "act", [remove, remove_the_log, replace, rename_the_directory, replace_the_directory]
)
def test_every_change_of_a_quiet_directory_is_noticed(
    file: TaskFile, path: Path, act: Callable[[Path], None]
) -> None:
    changed(path.parent, LONG_AGO)
    assert file.in_place()
    assert file.in_place()
    act(path)
    assert not file.in_place()


@pytest.mark.parametrize(
    ("instant", "quiet"),
    [(LONG_AGO, True), (LONG_AGO_IN_SECONDS, False), (IN_AN_HOUR, False)],
    ids=["long ago", "in whole seconds", "in the future"],
)
def test_only_the_directory_is_looked_at_if_every_change_shows_in_its_time(
    file: TaskFile, path: Path, instant: int, *, quiet: bool
) -> None:
    changed(path.parent, instant)
    assert file.in_place()
    remove(path)
    changed(path.parent, instant)  # as if the clock had stood still
    assert file.in_place() == quiet


def test_a_file_behind_a_symbolic_link_is_always_looked_at(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    file = TaskFile(str(link), "power")
    connection = file.open()
    changed(tmp_path, LONG_AGO)
    assert file.in_place()
    replace(path)
    changed(tmp_path, LONG_AGO)
    assert not file.in_place()
    connection.close()
