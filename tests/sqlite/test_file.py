"""The database file: readable data, foreign and damaged files, options and URLs."""

from __future__ import annotations

import pickle
import re
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.clock import FakeClock
from asynq.errors import BrokerRefusedError, BrokerURLError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_sqlite import MemoryBroker, SQLiteBroker, connect, connect_memory
from asynq_sqlite.store.schema import Durability, open_database
from tests.sqlite.tools import enqueue, sql, take, tasks

if TYPE_CHECKING:
    from pathlib import Path

PING = ops.Ping()


def refusal(path: Path, op: ops.Op[Any] = PING) -> str:
    broker = SQLiteBroker(path)
    with pytest.raises(BrokerRefusedError) as refused:
        broker.execute(op)
    broker.close()
    return str(refused.value)


def test_tasks_are_readable_with_the_sqlite_shell(broker: SQLiteBroker, path: Path) -> None:
    broker.execute(enqueue("t", payload=b'{"user": 1}', headers={"trace": "é"}))
    shown = sql(path, "SELECT id, type, state, CAST(payload AS TEXT), headers FROM tasks")
    assert shown == [("t", "type", "pending", '{"user": 1}', '{"trace": "é"}')]


def test_a_file_that_is_not_a_database_is_refused_unchanged(path: Path) -> None:
    path.write_bytes(b"my diary\n" * 1000)
    assert "is not a SQLite database" in refusal(path)
    assert path.read_bytes() == b"my diary\n" * 1000


def test_a_database_of_another_program_is_refused_unchanged(path: Path) -> None:
    sql(path, "CREATE TABLE diary (line TEXT)")
    before = path.read_bytes()
    assert "of another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused(broker: SQLiteBroker, path: Path) -> None:
    broker.execute(PING)
    broker.close()
    sql(path, "PRAGMA user_version = 99")
    assert "schema version 99" in refusal(path)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "its directory must exist" in refusal(tmp_path / "nowhere" / "tasks.db")


def test_a_damaged_file_is_refused(broker: SQLiteBroker, path: Path) -> None:
    broker.execute_many([enqueue(f"t{number}", payload=bytes(2000)) for number in range(50)])
    broker.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    assert "is damaged" in refusal(path, ops.ListTasks(queue="q", state=TaskState.PENDING))


def test_a_value_sqlite_cannot_store_does_not_affect_its_batch(broker: SQLiteBroker) -> None:
    many = [enqueue("a"), enqueue("huge", timeout=2**70), enqueue("broken \ud800"), enqueue("z")]
    answers = broker.execute_many(many)
    assert isinstance(answers[1], BrokerRefusedError)
    assert isinstance(answers[2], BrokerRefusedError)
    assert [task.message.id for task in tasks(broker, TaskState.PENDING)] == ["a", "z"]


@pytest.mark.parametrize(("durability", "full"), [("power", 2), ("process", 1)])
def test_durability_decides_whether_commits_are_flushed(
    path: Path, durability: Durability, full: int
) -> None:
    with closing(open_database(str(path), durability)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (full,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": ""}, "path"),
        ({"path": ":memory:"}, "MemoryBroker"),
        ({"durability": "hope"}, "durability"),
        ({"budget": timedelta(seconds=-1)}, "budget"),
        ({"max_size": 0}, "max_size"),
    ],
)
def test_an_invalid_option_is_named_in_the_error(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SQLiteBroker(**{"path": "tasks.db", **options})


def test_a_broker_can_be_pickled(path: Path) -> None:
    broker = SQLiteBroker(path, clock=FakeClock(5), durability="process", budget=timedelta(seconds=1))
    broker.execute(enqueue("t"))
    copy = pickle.loads(pickle.dumps(broker))  # noqa: S301 - our own bytes
    assert (repr(copy), copy.capabilities) == (repr(broker), broker.capabilities)
    assert take(copy)[0].expires_at == 30_005
    broker.close()
    copy.close()


def test_a_memory_broker_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="this process"):
        pickle.dumps(MemoryBroker())


def test_a_relative_path_is_resolved_when_the_broker_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = connect("sqlite:///my%20tasks.db?durability=process")
    monkeypatch.chdir("/")
    broker.execute(PING)
    broker.close()
    assert (tmp_path / "my tasks.db").exists()
    assert broker.capabilities.durability == "process"


def test_a_missing_file_is_refused_if_it_is_not_to_be_created(path: Path) -> None:
    broker = SQLiteBroker(path, create=False)
    reopened = pickle.loads(pickle.dumps(broker))  # noqa: S301 - a broker of this test
    for each in (broker, reopened, connect(f"sqlite:///{path}?create=false")):
        with (
            closing(each),
            pytest.raises(BrokerRefusedError, match=re.escape(f"there is no database {path}")),
        ):
            each.execute(PING)
    assert list(path.parent.iterdir()) == []
    with closing(SQLiteBroker(path)) as other:
        other.execute(PING)
    with closing(broker):
        broker.execute(PING)


def test_four_slashes_mean_an_absolute_path(path: Path) -> None:
    broker = connect(f"sqlite:///{path}?max_size=1000000")
    broker.execute(PING)
    broker.close()
    assert path.exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://tasks.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///tasks.db?durability=hope",
        "sqlite:///tasks.db?max_size=big",
        "sqlite:///tasks.db?colour=red",
        "sqlite:///tasks.db#part",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(BrokerURLError):
        connect(url)


@pytest.mark.parametrize("url", ["memory://name/path", "memory://name?x=1", "memory://name#x"])
def test_a_malformed_memory_url_is_refused(url: str) -> None:
    with pytest.raises(BrokerURLError):
        connect_memory(url)


def test_memory_urls_of_one_name_share_a_broker() -> None:
    connect_memory("memory://test-file-a").execute(enqueue("t"))
    connect_memory("memory://test-file-a").close()
    assert [d.message.id for d in take(connect_memory("memory://test-file-a"))] == ["t"]
    assert take(connect_memory("memory://test-file-b")) == ()
    assert take(MemoryBroker()) == ()


def test_a_url_instead_of_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="path is a URL, not a path; use asynq"):
        SQLiteBroker("sqlite:///tasks.db")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("max_size=1MB", "max_size must be a whole number of bytes, not '1MB'"),
        ("create=no", "create must be true or false, not 'no'"),
        ("max_sise=1", "unknown option 'max_sise' (known: create, durability, max_size, max_value_bytes)"),
    ],
)
def test_an_invalid_option_of_a_url_is_explained(query: str, says: str) -> None:
    with pytest.raises(BrokerURLError, match=re.escape(says)):
        connect(f"sqlite:///tasks.db?{query}")
