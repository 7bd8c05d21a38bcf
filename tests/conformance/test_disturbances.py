"""Servers are killed, stalled, replaced, filled and partitioned under load; their promises hold.

Without `min_replicas`, a write can be lost if no replica had received it when its primary was lost, or if a
replaced primary accepted it. A lost task must have been acknowledged within that window. With `min_replicas`,
no acknowledged write is lost, but a read may show one that is not acknowledged, and is then lost.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest

from asynq_conformance.disturbances.laws import DisturbanceLaws
from asynq_sqlite.harness import SQLiteHarness
from tests.conformance.breakable_redis import BreakableRedis
from tests.conformance.redis_disturbances import (
    AWAY,
    break_disk,
    cut_connections,
    drop_packets,
    fail_over,
    fill_memory,
    forget_scripts,
    hang_server,
    kill_server,
    lose_replies,
    move_slot,
    of,
    replace_hanging,
    replace_killed,
    set_clocks_wrong,
)
from tests.waiting import let_pass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from asynq_conformance.histories.run import HistoryRun

HEALED = 10.0
"""Seconds, including failovers and the delays of a busy machine."""
SAFE = 20.0
"""If all replicas must confirm, the former primary must be a replica again: sentinels demote it 10 s after it
came back."""

ANYWHERE: Final[Mapping[str, Any]] = {
    "all scripts are forgotten": of(forget_scripts),
    "all connections are cut": of(cut_connections),
    "replies are lost": of(lose_replies, heals_within=HEALED),
    "the network drops everything": of(drop_packets, heals_within=HEALED),
}


class Disturbed(DisturbanceLaws):
    """A topology for each test."""

    kind: ClassVar[Any]
    safe: ClassVar[bool] = False

    @pytest.fixture
    def harness(self) -> Iterator[BreakableRedis]:
        with BreakableRedis(self.kind, safe=self.safe) as harness:
            yield harness


class TestStandaloneDisturbed(Disturbed):
    column = "standalone"
    kind = "standalone"
    disturbances: ClassVar[Mapping[str, Any]] = {
        **ANYWHERE,
        "the server is killed": of(kill_server, heals_within=HEALED),
        "the server hangs": of(hang_server, heals_within=HEALED),
        "clocks of clients are wrong": of(set_clocks_wrong),
        "memory is full": of(fill_memory),
        "the disk is full": of(break_disk),
    }


def lock_file(harness: SQLiteHarness, run: HistoryRun) -> None:
    """Another process holds the write lock for a while."""
    with closing(sqlite3.connect(harness.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("BEGIN IMMEDIATE")
        let_pass(AWAY)
        connection.execute("ROLLBACK")


class TestSQLiteDisturbed(DisturbanceLaws):
    column = "sqlite"
    disturbances: ClassVar[Mapping[str, Any]] = {"the file is locked": of(lock_file)}

    @pytest.fixture
    def harness(self, tmp_path: Path) -> SQLiteHarness:
        return SQLiteHarness(f"sqlite:///{tmp_path}/tasks.db")


class TestSentinelDisturbed(Disturbed):
    column = "sentinel"
    kind = "sentinel"
    disturbances: ClassVar[Mapping[str, Any]] = {
        "the primary is killed": of(replace_killed, heals_within=HEALED, may_lose=True),
        "the primary hangs": of(replace_hanging, heals_within=HEALED, may_lose=True),
        "an operator fails over": of(fail_over, heals_within=HEALED, may_lose=True),
    }


class TestSentinelDisturbedSafe(Disturbed):
    column = "sentinel, replicated"
    kind = "sentinel"
    safe = True
    disturbances: ClassVar[Mapping[str, Any]] = {
        "the primary is killed": of(replace_killed, heals_within=SAFE, may_undo=True),
        "the primary hangs": of(replace_hanging, heals_within=SAFE, may_undo=True),
    }


class TestClusterDisturbed(Disturbed):
    column = "cluster"
    kind = "cluster"
    disturbances: ClassVar[Mapping[str, Any]] = {
        "a primary is killed": of(replace_killed, heals_within=HEALED, may_lose=True),
        "a primary hangs": of(replace_hanging, heals_within=HEALED, may_lose=True),
        "an operator fails over": of(fail_over, heals_within=HEALED, may_lose=True),
        "slots move": of(move_slot, heals_within=HEALED),
        "all scripts are forgotten": of(forget_scripts),
    }


class TestClusterDisturbedSafe(Disturbed):
    column = "cluster, replicated"
    kind = "cluster"
    safe = True
    disturbances: ClassVar[Mapping[str, Any]] = {
        "a primary is killed": of(replace_killed, heals_within=SAFE, may_undo=True),
        "a primary hangs": of(replace_hanging, heals_within=SAFE, may_undo=True),
    }
