"""Tasks that are transferred: their hashes, and keys of other types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from msgspec.structs import replace

from asynq.errors import LeaseLostError, TaskNotFoundError
from asynq.protocol.ops import (
    Arrive,
    ClaimTransfer,
    Dequeue,
    Enqueue,
    ExportTask,
    ImportTask,
    ReleaseTask,
    Requeue,
    Retry,
    RunTask,
    Unique,
    UpdateTask,
    WriteResult,
)
from asynq.protocol.sequences import MEMBERS_HEADER, SEQUENCE_HEADER, WAITING
from asynq.protocol.transfer import PARKED, LockImage, TaskImage
from asynq.task_state import TaskState
from asynq_redis.wire import task_message
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable

P = "asynq:{q}:"
LOCK = f"{P}unique:email:k"


def exported(lab: ScriptLab, task_id: str = "t") -> TaskImage:
    image = lab.one(ExportTask(queue="q", task_id=task_id, park=True))
    assert isinstance(image, TaskImage)
    return image


def released(lab: ScriptLab, to: Any = "restored", task_id: str = "t") -> bool:
    return bool(lab.one(ReleaseTask(queue="q", task_id=task_id, to=to)))


def fields(lab: ScriptLab) -> dict[Any, Any]:
    """The hash of the task, without what says who made it and which run was the last."""
    found: dict[Any, Any] = lab.client.hgetall(f"{P}t:t")
    found[b"msg"] = task_message.decode(found[b"msg"])
    return {name: value for name, value in found.items() if name not in (b"enqueue_id", b"lease_token")}


def enqueue_locked(lab: ScriptLab, unique: Unique, **options: Any) -> None:
    made = Enqueue(message=message("t", unique_key=LOCK), enqueue_id="e", unique=unique, **options)
    lab.one(made)


def retried(lab: ScriptLab) -> None:
    enqueue_locked(lab, Unique(ttl=600_000, until="expiry", keep=True))
    [run] = lab.take()
    lab.one(WriteResult(lease=run.lease, result=b""))
    lab.client.hset(f"{P}t:t", "lease_losses", 2)
    lab.client.hset(f"{P}t:t", "cancel", "archive")
    assert lab.one(Retry(delivery=run, delay=60_000, error="no")) is None


def joining(lab: ScriptLab) -> None:
    members = '[["q","m0"],["q","m1"],["q","m2"]]'
    lab.enqueue(message("t", headers={MEMBERS_HEADER: members}))
    arrive = Arrive(queue="q", task_id="t", member=2, member_queue="q", member_id="m2", members=3, result="-")
    assert lab.one(arrive) == 2
    assert lab.one(replace(arrive, member=0, member_id="m0")) == 1


MAKERS: dict[str, Callable[[ScriptLab], object]] = {
    "pending": lambda lab: lab.enqueue(message("t", headers={"a": "b"})),
    "locked": lambda lab: enqueue_locked(lab, Unique(ttl=600_000)),
    "scheduled until its start": lambda lab: enqueue_locked(
        lab, Unique(ttl=600_000, until="start", keep=True), process_in=60_000
    ),
    "scheduled for a group": lambda lab: lab.enqueue(message("t", group="g"), process_in=60_000),
    "in a group": lambda lab: lab.enqueue(message("t", group="g")),
    "in a sequence": lambda lab: lab.enqueue(message("t", headers={SEQUENCE_HEADER: "s"})),
    "retried": retried,
    "joining": joining,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("away", [True, False])
def test_a_transferred_task_has_the_hash_that_it_had(
    lab: ScriptLab, make: Callable[[ScriptLab], object], away: bool
) -> None:
    make(lab)
    before = fields(lab)
    image = exported(lab)
    assert lab.client.zscore(f"{P}scheduled", "t") == PARKED // 1000
    assert lab.client.hget(f"{P}t:t", "state") == b"scheduled"
    assert not lab.client.hexists(f"{P}t:t", "pending_since")
    if away:
        assert released(lab, "deleted")
        assert lab.one(ImportTask(image=image)) is True
    assert released(lab)
    assert fields(lab) == before
    assert not lab.client.hexists(f"{P}t:t", "lease_token")
    assert lab.client.zscore(f"{P}scheduled", "t") != PARKED // 1000


def test_a_task_is_parked_again_without_effect(lab: ScriptLab) -> None:
    lab.enqueue(message("t"))
    twice = [ExportTask(queue="q", task_id="t", park=True)] * 2
    images = lab.all(twice)
    assert images[0] == images[1]
    assert lab.all(twice) == images
    assert lab.client.zrange(f"{P}scheduled", 0, -1) == [b"t"]
    assert released(lab)
    assert lab.client.lrange(f"{P}pending", 0, -1) == [b"t"]


def test_a_call_releases_a_task_once(lab: ScriptLab) -> None:
    lab.enqueue(message("t"))
    exported(lab)
    twice = [ReleaseTask(queue="q", task_id="t", to="restored")] * 2
    lab.all(twice)
    assert lab.client.lrange(f"{P}pending", 0, -1) == [b"t"]


def test_a_task_that_cannot_be_decoded_stays_where_it_is(lab: ScriptLab) -> None:
    lab.enqueue(message("t"), message("u"))
    lab.client.hset(f"{P}t:t", "msg", b"\xff")
    answers = lab.all([ExportTask(queue="q", task_id=name, park=True) for name in "tu"])
    assert isinstance(answers[0], TaskNotFoundError)
    assert isinstance(answers[1], TaskImage)
    assert lab.client.lrange(f"{P}pending", 0, -1) == [b"t"]
    assert isinstance(lab.one(ExportTask(queue="q", task_id="t")), TaskNotFoundError)


def test_a_task_of_an_unknown_state_is_not_exported(lab: ScriptLab) -> None:
    lab.enqueue(message("t"))
    lab.client.hset(f"{P}t:t", "state", "odd")
    assert isinstance(lab.one(ExportTask(queue="q", task_id="t", park=True)), TaskNotFoundError)
    assert lab.client.hget(f"{P}t:t", "state") == b"odd"


def test_a_task_of_go_is_restored_to_its_time(lab: ScriptLab) -> None:
    lab.enqueue(message("t"), process_in=60_000)
    lab.client.hdel(f"{P}t:t", "enqueue_id")
    before = lab.client.zscore(f"{P}scheduled", "t")
    exported(lab)
    released(lab)
    assert lab.client.zscore(f"{P}scheduled", "t") == before


def test_a_parked_task_that_go_runs_is_no_longer_parked(lab: ScriptLab) -> None:
    lab.enqueue(message("t"), process_in=60_000)
    before = exported(lab)
    # What Go's inspector does. It leaves fields alone that it does not know.
    lab.client.zrem(f"{P}scheduled", "t")
    lab.client.lpush(f"{P}pending", "t")
    lab.client.hset(f"{P}t:t", "state", "pending")
    assert not released(lab)
    assert not released(lab, "deleted")
    image = lab.one(ExportTask(queue="q", task_id="t"))
    assert (before.state, image.state) == (TaskState.SCHEDULED, TaskState.PENDING)
    assert lab.one(UpdateTask(queue="q", task_id="t", payload=b"new")) is None
    assert lab.one(RunTask(queue="q", task_id="t")).state is TaskState.PENDING
    lab.client.lrem(f"{P}pending", 0, "t")
    lab.client.zadd(f"{P}archived", {"t": 1})
    lab.client.hset(f"{P}t:t", "state", "archived")
    assert lab.one(RunTask(queue="q", task_id="t")) is None


def test_a_pending_task_without_a_time_is_restored_without_one(lab: ScriptLab) -> None:
    """As Go leaves it when it requeues."""
    lab.enqueue(message("t"))
    lab.client.hdel(f"{P}t:t", "pending_since")
    image = exported(lab)
    assert image.pending_since == 0
    released(lab, "deleted")
    lab.one(ImportTask(image=image))
    released(lab)
    assert not lab.client.hexists(f"{P}t:t", "pending_since")


IMAGE = TaskImage(message=message("t", unique_key=LOCK), state=TaskState.PENDING, pending_since=1)
SEQUENCED = TaskImage(
    message=message("t", headers={SEQUENCE_HEADER: "s"}), state=TaskState.SCHEDULED, due_at=WAITING
)


@pytest.mark.parametrize(
    ("key", "image"),
    [
        (f"{P}t:t", IMAGE),
        (LOCK, replace(IMAGE, lock=LockImage(expires_in=1000))),
        (f"{P}py:seq:s", SEQUENCED),
        (f"{P}py:sequences", SEQUENCED),
        (f"{P}pending", SEQUENCED),
    ],
    ids=["hash", "lock", "places", "names", "pending"],
)
def test_a_key_of_another_type_refuses_one_import(lab: ScriptLab, key: str, image: TaskImage) -> None:
    lab.client.sadd(key, "not ours")
    other = replace(IMAGE, message=message("other"))
    answers = lab.all([ImportTask(image=image), ImportTask(image=other)])
    assert isinstance(answers[0], redis.ResponseError)
    wanted = {f"{P}t:t": "hash", LOCK: "string", f"{P}pending": "list"}.get(key, "zset")
    assert str(answers[0]) == f"WRONGTYPE {key} holds a set where a {wanted} belongs"
    assert answers[1] is True
    assert lab.client.zrange(f"{P}scheduled", 0, -1) == [b"other"]
    assert sorted(lab.client.keys(f"{P}*")) == sorted(
        {key.encode(), f"{P}scheduled".encode(), f"{P}t:other".encode()}
    )


def test_a_group_of_another_type_refuses_a_release(lab: ScriptLab) -> None:
    lab.enqueue(message("t", group="g"))
    exported(lab)
    lab.client.set(f"{P}g:g", "not ours")
    answer = lab.one(ReleaseTask(queue="q", task_id="t", to="restored"))
    assert str(answer) == f"WRONGTYPE {P}g:g holds a string where a zset belongs"
    assert lab.client.zscore(f"{P}scheduled", "t") == PARKED // 1000


def test_a_sequence_of_another_type_does_not_keep_a_task(lab: ScriptLab) -> None:
    lab.enqueue(message("t", headers={SEQUENCE_HEADER: "s"}))
    image = exported(lab)
    assert image.place > 0
    lab.client.delete(f"{P}py:seq:s")
    lab.client.set(f"{P}py:seq:s", "not ours")
    assert exported(lab).place == 0
    assert released(lab)
    assert lab.client.lrange(f"{P}pending", 0, -1) == [b"t"]


def test_a_head_that_go_deleted_holds_up_no_restored_task(lab: ScriptLab) -> None:
    lab.enqueue(*(message(name, headers={SEQUENCE_HEADER: "s"}) for name in ("head", "t")))
    exported(lab)
    lab.client.delete(f"{P}t:head", f"{P}pending")
    assert released(lab)
    assert lab.client.lrange(f"{P}pending", 0, -1) == [b"t"]


def test_a_lock_of_another_type_is_not_exported(lab: ScriptLab) -> None:
    enqueue_locked(lab, Unique(ttl=600_000))
    lab.client.delete(LOCK)
    lab.client.sadd(LOCK, "not ours")
    assert exported(lab).lock is None
    assert released(lab)


def test_a_lock_is_imported_with_its_time(lab: ScriptLab) -> None:
    for until, holder in (("done", b"t"), ("expiry", b"expiry:t")):
        lock = LockImage(expires_in=123_456, until=until)  # type: ignore[arg-type]
        assert lab.one(ImportTask(image=replace(IMAGE, lock=lock))) is True
        assert lab.client.get(LOCK) == holder
        assert 120_000 < lab.client.pttl(LOCK) <= 123_456
        lab.client.flushdb()


def test_a_lock_that_the_id_left_behind_is_taken_over(lab: ScriptLab) -> None:
    image = replace(IMAGE, lock=LockImage(expires_in=60_000))
    for holder in ("t", "expiry:t"):
        lab.client.set(LOCK, holder)
        assert lab.one(ImportTask(image=image)) is True
        assert lab.client.get(LOCK) == b"t"
        lab.client.flushdb()


def test_a_kept_lock_is_renewed_when_its_task_is_restored(lab: ScriptLab) -> None:
    enqueue_locked(lab, Unique(ttl=60_000, keep=True), process_in=600_000)
    exported(lab)
    lab.client.pexpire(LOCK, 1000)
    released(lab)
    assert 655_000 < lab.client.pttl(LOCK) <= 661_000
    lab.client.flushdb()
    enqueue_locked(lab, Unique(ttl=60_000, keep=True))
    exported(lab)
    lab.client.pexpire(LOCK, 1000)
    released(lab)
    assert 55_000 < lab.client.pttl(LOCK) <= 60_000


@pytest.mark.parametrize(
    ("unique", "state"),
    [
        (Unique(ttl=60_000), "pending"),
        (Unique(ttl=60_000, until="start", keep=True), "pending"),
        (Unique(ttl=60_000, keep=True), "archived"),
        (Unique(ttl=60_000, keep=True), "completed"),
    ],
)
def test_no_other_lock_is_renewed(lab: ScriptLab, unique: Unique, state: str) -> None:
    enqueue_locked(lab, unique)
    if state != "pending":
        lab.client.lrem(f"{P}pending", 0, "t")
        lab.client.hset(f"{P}t:t", "state", state)
        lab.client.zadd(f"{P}{state}", {"t": 4_000_000_000})
    exported(lab)
    lab.client.pexpire(LOCK, 1000)
    released(lab)
    assert lab.client.pttl(LOCK) <= 1000


def test_a_requeued_task_has_its_settlement_forgotten(lab: ScriptLab) -> None:
    lab.enqueue(message("t"))
    [run] = lab.take()
    assert lab.one(Requeue(delivery=run)) is None
    exported(lab)
    released(lab)
    assert lab.one(Dequeue(orders=(("q",),), token="new", lease=1000))[0].message.id == "t"


def test_a_claim_is_a_hash_of_the_queue(lab: ScriptLab) -> None:
    claim = ClaimTransfer(queue="q", holder="h", hold=5000)
    identity = lab.one(claim)
    assert identity.encode() == lab.client.get("asynq:py:store")
    assert lab.client.hget(f"{P}py:transfer", "holder") == b"h"
    assert 3_600_000 < lab.client.pttl(f"{P}py:transfer") <= 3_605_000
    assert lab.one(replace(claim, hold=0)) == identity
    assert lab.client.keys(f"{P}*") == []


def test_a_claim_of_another_type_is_refused(lab: ScriptLab) -> None:
    lab.client.set(f"{P}py:transfer", "not ours")
    answer = lab.one(ClaimTransfer(queue="q", holder="h", hold=5000))
    assert str(answer) == f"WRONGTYPE {P}py:transfer holds a string where a hash belongs"
    lab.enqueue(message("t"))
    refused = lab.one(ExportTask(queue="q", task_id="t", park=True, claim="h"))
    assert isinstance(refused, LeaseLostError)


def test_the_note_of_a_parked_task_ends_with_its_transfer(lab: ScriptLab) -> None:
    lab.enqueue(message("t"))
    image = lab.one(ExportTask(queue="q", task_id="t", park=True, transfer=">there"))
    assert (
        lab.client.hget(f"{P}t:t", "lease_token")
        == f"parked pending - {image.pending_since}000000 >there".encode()
    )
    assert lab.one(ReleaseTask(queue="q", task_id="t", to="deleted", transfer=">there"))
    lab.one(ImportTask(image=image, transfer="<there"))
    assert (
        lab.client.hget(f"{P}t:t", "lease_token")
        == f"parked pending - {image.pending_since}000000 <there".encode()
    )
