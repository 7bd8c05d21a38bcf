"""Locks of unique tasks that Go put into groups: only the message of such a task names its lock."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.doctor import Fault
from asynq.protocol.ops import (
    AdoptOrphans,
    Archive,
    ArchiveTask,
    Complete,
    DeleteQueue,
    DeleteTask,
    Done,
    Enqueue,
    EnqueueTick,
    Examine,
    ExportTask,
    FinishAggregation,
    FinishParent,
    Forward,
    ListLostLeases,
    MoveTasks,
    PurgeCompleted,
    Recover,
    ReleaseTask,
    Retry,
    RunTask,
    TakeGroup,
    TrimArchive,
)
from asynq.task_state import TaskState
from asynq_mutants.scripts.sources import included, read_sources
from tests.redis.go_tasks import GROUP, LOCK, NOW, P, go_leaves, locked
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery

HOUR = 3_600_000

End = Callable[[ScriptLab, str], None]
Ending = tuple[str, str, End]
"""The script that ends or removes the task, how, and the calls that make it do so."""


def starting_with(state: str, *then: Callable[[ScriptLab], Any]) -> End:
    """Let Go leave its task, whose lock this owner has, and which exists until the last of these steps."""

    def run(lab: ScriptLab, owner: str) -> None:
        go_leaves(lab, state)
        lab.client.set(LOCK, owner)
        for step in then:
            assert locked(lab)
            step(lab)

    return run


def settled(settle: Callable[[Delivery], Any]) -> Callable[[ScriptLab], None]:
    """Run the pending task."""

    def run(lab: ScriptLab) -> None:
        [delivery] = lab.take()
        assert lab.one(settle(delivery)) is None

    return run


def executed(op: Any) -> Callable[[ScriptLab], None]:
    """Execute an operation, which must not be refused."""

    def run(lab: ScriptLab) -> None:
        assert not isinstance(lab.one(op), Exception)

    return run


def given_way(settle: Callable[[ScriptLab], object]) -> Callable[[ScriptLab], None]:
    """Archive another task, for which the archived one makes room."""

    def run(lab: ScriptLab) -> None:
        lab.enqueue(message("other"))
        settle(lab)
        assert lab.client.zrange(f"{P}archived", 0, -1) == [b"other"]

    return run


def lost(max_size: int) -> Callable[[ScriptLab], None]:
    """Archive the task of a lost worker."""

    def run(lab: ScriptLab) -> None:
        lab.take()
        lab.clock.advance(60_000)
        [lease] = lab.one(ListLostLeases(queue="q")).leases
        assert lab.one(Recover(lost=lease, to="archived", error="lost", max_size=max_size)) is True

    return run


def aggregated(lab: ScriptLab) -> None:
    """Finish an aggregation of the group."""
    taken = lab.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    aggregate = Enqueue(message=message("aggregate"), enqueue_id="e")
    assert lab.one(FinishAggregation(taken=taken, enqueue=aggregate)).state is TaskState.PENDING


def ticked(lab: ScriptLab) -> None:
    """Let the second of two ticks of a call replace the task."""
    first = Enqueue(message=message("first"), enqueue_id="e", on_conflict="replace_finished")
    ticks = [
        EnqueueTick(entry_id=enqueue.message.id, tick=lab.clock.now(), keep=HOUR, enqueue=enqueue)
        for enqueue in (first, REPLACE)
    ]
    assert {answer.enqueued.state for answer in lab.all(ticks)} == {TaskState.PENDING}


def moved(state: str, to: Any = "deleted", **options: Any) -> Callable[[ScriptLab], None]:
    """Move all tasks of a state."""
    group = "g" if state == "aggregating" else ""
    return executed(MoveTasks(queue="q", state=TaskState(state), to=to, group=group, limit=50, **options))


def repaired(lab: ScriptLab) -> None:
    """Let the doctor delete an archived task that no list has."""
    lab.client.delete(f"{P}archived")
    assert len(lab.examine(repair=True)) == 1


def replaced(lab: ScriptLab) -> None:
    """Replace the task by the second one of a call."""
    first = Enqueue(message=message("first"), enqueue_id="e", on_conflict="replace_finished")
    assert {answer.state for answer in lab.many(first, REPLACE)} == {TaskState.PENDING}


def exported(lab: ScriptLab) -> None:
    """Park the task."""
    image = lab.one(ExportTask(queue="q", task_id="go", park=True))
    assert (image.lock is not None) is (lab.client.get(LOCK) == b"go")


def released(lab: ScriptLab) -> None:
    """Delete the parked task."""
    assert lab.one(ReleaseTask(queue="q", task_id="go", to="deleted"))


REPLACE = Enqueue(message=message("go"), enqueue_id="e", on_conflict="replace_finished")
ENDS: list[Ending] = [
    ("done", "pending", starting_with("pending", settled(lambda run: Done(delivery=run)))),
    ("complete", "pending", starting_with("pending", settled(lambda run: Complete(delivery=run)))),
    (
        "archive",
        "a full archive",
        starting_with("pending", settled(lambda run: Archive(delivery=run, error="no", max_size=0))),
    ),
    (
        "archive",
        "gives way",
        starting_with(
            "archived", given_way(settled(lambda run: Archive(delivery=run, error="no", max_size=1)))
        ),
    ),
    (
        "archive",
        "after a retry",
        starting_with(
            "pending",
            settled(lambda run: Retry(delivery=run, delay=1000, error="no")),
            executed(RunTask(queue="q", task_id="go")),
            settled(lambda run: Archive(delivery=run, error="no")),
            executed(TrimArchive(queue="q", max_size=0)),
        ),
    ),
    ("recover", "a full archive", starting_with("pending", lost(max_size=0))),
    ("recover", "gives way", starting_with("archived", given_way(lost(max_size=1)))),
    *(
        ("move", state, starting_with(state, executed(DeleteTask(queue="q", task_id="go"))))
        for state in ("pending", "retry", "archived", "completed", "aggregating")
    ),
    (
        "move",
        "a full archive",
        starting_with("aggregating", executed(ArchiveTask(queue="q", task_id="go", max_size=0))),
    ),
    (
        "move",
        "gives way",
        starting_with("archived", given_way(executed(ArchiveTask(queue="q", task_id="other", max_size=1)))),
    ),
    (
        "move",
        "after a run by hand",
        starting_with(
            "aggregating",
            executed(RunTask(queue="q", task_id="go")),
            executed(DeleteTask(queue="q", task_id="go")),
        ),
    ),
    *(
        ("move_first", state, starting_with(state, moved(state)))
        for state in ("pending", "retry", "archived", "completed", "aggregating")
    ),
    (
        "move_first",
        "a full archive",
        starting_with("aggregating", moved("aggregating", "archived", max_size=0)),
    ),
    *(
        ("delete_queue", state, starting_with(state, executed(DeleteQueue(queue="q", force=True))))
        for state in ("pending", "retry", "archived", "completed", "aggregating")
    ),
    (
        "finish_parent",
        "completed",
        starting_with(
            "completed",
            executed(FinishParent(queue="q", task_id="go", held_until=1000 * NOW, retention=0)),
        ),
    ),
    ("purge", "completed", starting_with("completed", executed(PurgeCompleted(queue="q")))),
    ("trim", "archived", starting_with("archived", executed(TrimArchive(queue="q", max_size=0)))),
    ("enqueue", "replaced", starting_with("archived", replaced)),
    ("enqueue_tick", "replaced", starting_with("completed", ticked)),
    ("finish_set", "aggregated", starting_with("aggregating", aggregated)),
    *(
        (script, state, starting_with(state, exported, released))
        for script in ("export", "release")
        for state in ("pending", "archived", "aggregating")
    ),
    ("repair_tasks", "in no list", starting_with("archived", repaired)),
]


@pytest.mark.parametrize("end", [pytest.param(end, id=f"{script} {how}") for script, how, end in ENDS])
def test_a_lock_named_only_by_the_message_is_released(lab: ScriptLab, end: End) -> None:
    end(lab, "go")
    assert not locked(lab)


# The doctor deletes the lock of a task that does not exist.
@pytest.mark.parametrize(
    "end", [pytest.param(end, id=f"{script} {how}") for script, how, end in ENDS if script != "repair_tasks"]
)
def test_a_lock_held_by_another_task_is_kept(lab: ScriptLab, end: End) -> None:
    end(lab, "another")
    assert lab.client.get(LOCK) == b"another"


# --- remnants -------------------------------------------------------------------------------------------


def remnant(lab: ScriptLab, **fields: str) -> None:
    """A hash without a message, which nothing is left of but the name of its lock."""
    for name, value in {"unique_key": LOCK, **fields}.items():
        lab.client.hset(f"{P}t:go", name, value)
    lab.client.set(LOCK, "go", ex=3600)
    lab.client.sadd("asynq:queues", "q")


def dequeued(lab: ScriptLab) -> None:
    lab.client.lpush(f"{P}pending", "go")
    assert lab.take() == []


def forwarded(lab: ScriptLab) -> None:
    lab.client.zadd(f"{P}retry", {"go": NOW})
    lab.one(Forward(queue="q"))


def adopted(lab: ScriptLab) -> None:
    lab.client.lpush(f"{P}active", "go")
    assert lab.one(AdoptOrphans(queue="q", grace=1)).dropped == 1


def listed_as_lost(lab: ScriptLab) -> None:
    lab.client.zadd(f"{P}lease", {"go": NOW - 3600})
    assert lab.one(ListLostLeases(queue="q")).dropped == 1


def examined(lab: ScriptLab) -> None:
    lab.client.zadd(f"{P}archived", {"go": NOW})
    page = lab.one(Examine(queue="q", cursor="archived:0", repair=True))
    assert [finding.fault for finding in page.findings] == [Fault.MISSING_TASK]


def moved_by_hand(lab: ScriptLab) -> None:
    lab.client.zadd(f"{P}archived", {"go": NOW})
    lab.one(MoveTasks(queue="q", state=TaskState.ARCHIVED, to="pending", limit=50))


def taken_in_a_group(lab: ScriptLab) -> None:
    lab.client.zadd(GROUP, {"go": NOW})
    assert lab.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000)) is None


REMNANTS: dict[str, Callable[[ScriptLab], None]] = {
    "dequeue": dequeued,
    "forward": forwarded,
    "adopt": adopted,
    "list_lost": listed_as_lost,
    "doctor_ids": examined,
    "move_first": moved_by_hand,
    "drop_members": taken_in_a_group,
}
"""By the script that removes it."""


@pytest.mark.parametrize("remove", REMNANTS.values(), ids=REMNANTS)
def test_removing_a_remnant_releases_its_lock(lab: ScriptLab, remove: Callable[[ScriptLab], None]) -> None:
    remnant(lab)
    remove(lab)
    assert lab.client.keys(f"{P}t:*") == []
    assert not locked(lab)


@pytest.mark.parametrize("remove", REMNANTS.values(), ids=REMNANTS)
def test_a_remnant_of_a_group_is_removed(lab: ScriptLab, remove: Callable[[ScriptLab], None]) -> None:
    remnant(lab, group="g")
    lab.client.hdel(f"{P}t:go", "unique_key")
    remove(lab)
    assert lab.client.keys(f"{P}t:*") == []


# --- no script is forgotten -----------------------------------------------------------------------------


DELETIONS = {
    ("lib/delete", "task.hash"): "task",
    ("lib/delete", "task.lock"): "lock",
    ("lib/lock", "lock"): "lock",
    ("doctor_locks", "lock"): "lock",
    ("update_task", "old_lock"): "lock",
    # The new task takes over the lock.
    ("lib/enqueue", "displaced.hash"): "task",
    # The caller has the message, and names the lock.
    ("done", "unpack(hashes)"): "task",
    ("finish_set", "unpack(tasks)"): "task",
    ("finish_set", "unpack(owned)"): "lock",
    ("finish_set", "set"): "other",
    ("claim_transfer", "transfer"): "other",
    # The queue has no task left.
    ("delete_queue", "unpack(doomed_keys)"): "other",
    ("delete_queue", "unpack(places)"): "other",
    ("lib/fence", "unpack(KEYS, keys_taken + 1)"): "other",
    ("write_scheduler", "draft"): "other",
    ("write_scheduler", "entries"): "other",
    ("write_server", "draft"): "other",
    ("write_server", "workers"): "other",
}
"""Every deletion of keys in the scripts: the file and the keys, and what they are."""


def deletions(source: str) -> set[str]:
    """The keys that a file deletes."""
    return set(re.findall(r"call\('(?:DEL|UNLINK)', ((?:[^()]|\([^()]*\))+)\)", source))


def test_every_deletion_of_a_key_is_listed() -> None:
    sources = read_sources()
    assert {(file, keys) for file, source in sources.items() for keys in deletions(source)} == set(DELETIONS)
    written = sum(len(re.findall(r"'(?:DEL|UNLINK)'", source)) for source in sources.values())
    assert written == len(DELETIONS)


def test_every_deleting_script_is_tested_with_a_task_of_go() -> None:
    sources = read_sources()
    deleting = {file for (file, _), kind in DELETIONS.items() if kind == "task" and "/" not in file}
    deleting |= {
        file for file, source in sources.items() if "/" not in file and "lib/delete" in included(source)
    }
    assert {script for script, _, _ in ENDS} | set(REMNANTS) == deleting | {"complete"}
