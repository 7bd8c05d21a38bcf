"""The recording of concurrent runs is read as it was written, even if a process died while writing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from asynq.errors import (
    AsynqError,
    BrokerUnavailable,
    DuplicateTaskError,
    NotReplicatedError,
    SkipRetry,
    TaskIDConflictError,
)
from asynq.protocol import ops
from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask, TaskMessage
from asynq.protocol.presence import WorkerInfo
from asynq.task_state import TaskState
from asynq_conformance.histories.history import NEVER_ENDED, History
from asynq_conformance.histories.record import (
    EventKind,
    HistoryEvent,
    RecordError,
    decode,
    encode,
    from_line,
    merge,
    read,
    to_line,
    write,
)
from asynq_conformance.histories.recorder import HistoryRecorder, RecordingBroker
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MESSAGE = TaskMessage(id="t", type="x", queue="q", payload=b"\x00\xff", headers={"$": "map", "ä": "\ud800"})
DELIVERY = Delivery(message=MESSAGE, token="k", expires_at=5)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -3,
    0.5,
    "\ud800",
    b"",
    (),
    ("a", ("b",)),
    {"limit": 3},
    ops.Enqueue(message=MESSAGE, enqueue_id="e", unique=ops.Unique(ttl=1000, until="start")),
    ops.Enqueued(state=TaskState.PENDING, due_at=3),
    ops.Dequeue(orders=(("a", "b"), ("b", "a")), token="k", lease=3, limits={"a": 2}),
    (DELIVERY, DELIVERY),
    ops.Complete(delivery=DELIVERY, result=b"r"),
    ops.Recover(lost=LostLease(message=MESSAGE, observed="o"), to="retry", error="e"),
    StoredTask(message=MESSAGE, state=TaskState.ARCHIVED, due_at=1, result=b""),
    QueueStats(queue="q", paused=True),
    ops.Ping(),
    TaskIDConflictError("q", "t", TaskState.COMPLETED),
    BrokerUnavailable("gone", maybe_applied=True),
    WorkerInfo(
        task_id="t",
        task_type="x",
        payload=b"",
        queue="q",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        deadline=datetime(2026, 1, 2, tzinfo=UTC),
    ),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_survives_a_round_trip(value: Any) -> None:
    event = HistoryEvent("p", 3, 7, EventKind.OK, "Op", value)
    again = from_line(to_line(event)).value
    assert type(again) is type(value)
    if not isinstance(value, AsynqError):
        assert again == value
    else:
        assert attrs.astuple(again) == attrs.astuple(value)  # type: ignore[arg-type]


def test_errors_without_fields_keep_their_message() -> None:
    assert decode(encode(SkipRetry("enough"))).args == ("enough",)


def test_a_backend_specific_error_is_written_as_its_public_base_class() -> None:
    class OwnError(AsynqError):
        pass

    again = decode(encode(OwnError("what")))
    assert type(again) is AsynqError
    assert str(again) == "OwnError: what"


def test_a_value_of_an_unsupported_type_is_refused() -> None:
    with pytest.raises(TypeError):
        encode(object())


@pytest.mark.parametrize(
    "line", [b"{}\n", b"nothing\n", b'{"p":"p","c":0,"t":0,"e":"x","op":"o","v":null}\n']
)
def test_a_line_that_is_not_an_event_is_refused(line: bytes) -> None:
    with pytest.raises(RecordError):
        from_line(line)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(RecordError):
        decode({"$": "Popen"})


@pytest.mark.parametrize("name", ["record.jsonl", "record.jsonl.gz"])
def test_a_file_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    events = [HistoryEvent("p", number, number, EventKind.NOTE, "kill", {"n": number}) for number in range(3)]
    write(tmp_path / name, events)
    assert list(read(tmp_path / name)) == events


def test_files_are_merged_by_time_without_an_incomplete_last_line(tmp_path: Path) -> None:
    for name, times in (("a", (1, 4, 5)), ("b", (2, 3))):
        write(tmp_path / name, [HistoryEvent(name, at, at, EventKind.NOTE, "n", None) for at in times])
    with (tmp_path / "a").open("ab") as torn:
        torn.write(b'{"p":"a","c":9,')
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all.gz") == 5
    assert [event.at for event in read(tmp_path / "all.gz")] == [1, 2, 3, 4, 5]


# --- recording ------------------------------------------------------------------------------------------


class Failing(MemoryBroker):
    """A broker that always raises the given error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def execute_many(self, operations: Sequence[Any], /) -> Any:
        raise self.error

    async def aexecute_many(self, operations: Sequence[Any], /) -> Any:
        raise self.error


def recorded(path: Path) -> History:
    return History.load(path)


def enqueue(task_id: str, enqueue_id: str) -> ops.Enqueue:
    return ops.Enqueue(message=TaskMessage(id=task_id, type="x", queue="q"), enqueue_id=enqueue_id)


async def ask(broker: Any, face: str) -> None:
    answer = getattr(broker, face)([ops.Ping()] if face.endswith("many") else ops.Ping())
    if face.startswith("a"):
        await answer


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DuplicateTaskError("q", "x"), EventKind.FAIL),
        (BrokerUnavailable("gone"), EventKind.FAIL),
        (BrokerUnavailable("gone", maybe_applied=True), EventKind.INFO),
        (NotReplicatedError(1, 0), EventKind.INFO),
        (RuntimeError("a bug"), EventKind.INFO),
        (KeyboardInterrupt(), EventKind.INFO),
    ],
    ids=lambda value: getattr(value, "value", type(value).__name__),
)
@pytest.mark.parametrize("face", ["execute", "execute_many", "aexecute", "aexecute_many"])
async def test_an_error_is_recorded_as_failed_or_as_unknown(
    tmp_path: Path, error: BaseException, outcome: EventKind, face: str
) -> None:
    with HistoryRecorder(tmp_path / "p", "p") as recorder:
        broker: Any = RecordingBroker(Failing(error), recorder)
        with pytest.raises(type(error)):
            await ask(broker, face)
    [call] = recorded(tmp_path / "p").calls
    assert (call.outcome, call.responded == NEVER_ENDED) == (outcome, outcome is EventKind.INFO)


async def test_each_operation_of_a_batch_is_recorded_as_a_call(tmp_path: Path) -> None:
    with HistoryRecorder(tmp_path / "p", "p") as recorder:
        broker = RecordingBroker(MemoryBroker(), recorder)
        broker.execute_many([enqueue("a", "1"), enqueue("a", "2")])
        await broker.aexecute_many([enqueue("b", "3")])
        broker.execute(ops.Ping())
        await broker.aexecute(ops.Ping())
    calls = recorded(tmp_path / "p").calls
    assert [(call.number, call.outcome.value) for call in calls] == [
        (0, "ok"),
        (1, "fail"),
        (2, "ok"),
        (3, "ok"),
        (4, "ok"),
    ]
    assert all(call.invoked <= call.responded for call in calls)


async def test_a_cancelled_call_has_an_unknown_end(tmp_path: Path) -> None:
    with HistoryRecorder(tmp_path / "p", "p") as recorder:
        broker = RecordingBroker(MemoryBroker(), recorder)
        call = asyncio.ensure_future(broker.aexecute(ops.Ping()))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert [call.outcome for call in recorded(tmp_path / "p").calls] == [EventKind.INFO]


def test_a_call_of_a_killed_process_has_no_end(tmp_path: Path) -> None:
    recorder = HistoryRecorder(tmp_path / "p", "p")
    recorder.invoke([ops.Ping()])
    [call] = recorded(tmp_path / "p").calls
    assert (call.outcome, call.responded) == (EventKind.INFO, NEVER_ENDED)
    recorder.close()


def test_an_end_without_a_start_is_refused() -> None:
    with pytest.raises(RecordError):
        History.of([HistoryEvent("p", 0, 1, EventKind.OK, "Ping", None)])


def test_a_moved_wall_clock_widens_the_tolerance_for_times() -> None:
    def clocks(at: int, wall: int) -> HistoryEvent:
        return HistoryEvent("p", -1, at, EventKind.NOTE, "clocks", {"wall": wall})

    steady = History.of([clocks(0, 1000), clocks(500, 1500)])
    moved = History.of([clocks(0, 1000), clocks(500, 7_000_001_500)])
    assert moved.tolerance - steady.tolerance == 7_000_000_000
