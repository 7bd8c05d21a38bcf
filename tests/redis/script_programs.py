"""Parts of a program that runs every script, on more tasks than a call may move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.errors import TaskIDConflictError
from asynq.protocol.followers import FOLLOWERS_HEADER, PARENT_RETENTION, members_header
from asynq.protocol.ops import (
    Archive,
    Arrive,
    ClaimTransfer,
    Complete,
    Enqueue,
    ExportTask,
    FinishParent,
    ImportTask,
    ListParked,
    ReleaseTask,
    TakeParents,
    Unique,
    WriteResult,
)
from asynq.protocol.sequences import MEMBERS_HEADER, SEQUENCE_HEADER
from asynq.protocol.transfer import TaskImage
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from asynq.protocol.message import StoredTask

MANY = 120
PARENT = {FOLLOWERS_HEADER: "{}"}


def follow_everything(lab: ScriptLab, ids: list[str]) -> None:
    """Parents, more than a call may take, with locks of their own, some of them gone."""
    lab.enqueue(*(message(name, "f", retention=PARENT_RETENTION, headers=PARENT) for name in ids))
    lock = Unique(ttl=9_000_000, until="expiry")
    key = "asynq:{f}:unique:email:"
    locked = message("locked", "f", unique_key=key, retention=PARENT_RETENTION, headers=PARENT)
    lab.enqueue(locked, unique=lock)
    for number in range(3):
        taken = lab.take(50, "f", token=f"parents-{number}")
        assert set(lab.all([Complete(delivery=delivery, result=b"r") for delivery in taken])) == {None}
    lab.client.delete("asynq:{f}:t:000", "asynq:{f}:t:001")
    parents: list[StoredTask] = []
    while found := lab.one(TakeParents(queue="f", hold=1000)):
        parents += found
    assert len(parents) == MANY - 1
    members = members_header([("f", name) for name in ids])
    lab.enqueue(message("last", "f", headers={MEMBERS_HEADER: members}))
    call = Arrive(
        queue="f", task_id="last", member=0, member_queue="f", member_id="", members=MANY, result="-"
    )
    arrivals = [replace(call, member=member, member_id=name) for member, name in enumerate(ids)]
    assert lab.all(arrivals) == [*reversed(range(MANY))]
    assert lab.many(*arrivals[:2]) == [0, 0]
    again = Enqueue(message=message("locked", "f"), enqueue_id="again", on_conflict="replace_finished")
    assert isinstance(lab.many(again)[0], TaskIDConflictError)
    finished = [
        FinishParent(
            queue="f",
            task_id=parent.message.id,
            held_until=parent.due_at,
            retention=60_000 * (number % 2),
        )
        for number, parent in enumerate(parents)
    ]
    assert set(lab.all(finished)) == {True}
    assert set(lab.all(finished)) == {False}


def transfer_everything(lab: ScriptLab, ids: list[str]) -> None:
    """Tasks of all kinds, out of a queue and into it again."""
    lab.enqueue(*(message(f"x{name}", "x", retention=600) for name in ids[:60]))
    taken = lab.take(50, "x", token="x")
    lab.all([WriteResult(lease=delivery.lease, result=b"half") for delivery in taken])
    lab.all([Complete(delivery=delivery) for delivery in taken[:20]])
    lab.all([Archive(delivery=delivery, error="no") for delivery in taken[20:]])
    lab.enqueue(*(message(f"g{name}", "x", group="g") for name in ids))
    lab.enqueue(*(message(f"s{name}", "x", headers={SEQUENCE_HEADER: "s"}) for name in ids))
    members = members_header([("x", name) for name in ids[:3]])
    lab.enqueue(message("join", "x", headers={MEMBERS_HEADER: members}))
    kept = Unique(ttl=600_000, keep=True)
    for name, lock in {
        "done": kept,
        "expiry": replace(kept, until="expiry"),
        "start": replace(kept, until="start"),
    }.items():
        lab.enqueue(message(name, "x", unique_key=f"asynq:{{x}}:unique:email:{name}"), unique=lock)
    names = [f"{kind}{name}" for name in ids for kind in "gs"] + [f"x{name}" for name in ids[:60]]
    names += ["join", "done", "expiry", "start"]
    for hold in (1000, 0, 1000, 0):
        assert lab.one(ClaimTransfer(queue="x", holder="h", hold=hold))
    for to in ("restored", "deleted"):
        exports = [ExportTask(queue="x", task_id=name, park=True) for name in names]
        images = lab.all(exports)
        assert all(isinstance(image, TaskImage) for image in images)
        assert [replace(image, lock=None) for image in lab.all(exports)] == [
            replace(image, lock=None) for image in images
        ]
        assert len(lab.one(ListParked(queue="x"))) == len(names)
        assert set(lab.all([ReleaseTask(queue="x", task_id=name, to=to) for name in names])) == {True}
    images = sorted(images, key=lambda image: image.place)
    assert set(lab.all([ImportTask(image=image) for image in images])) == {True}
    # Last a call with tasks that are in no sequence.
    again = [ImportTask(image=image) for image in reversed(images)]
    assert set(lab.all(again)) == {False}
    assert set(lab.all([ReleaseTask(queue="x", task_id=name, to="restored") for name in names])) == {True}
