from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq import ServeMux, Task, TaskState, TaskType
from asynq.client.enqueue import compose, compose_many, list_of, task_info
from asynq.client.options import NO_OPTIONS, Options
from asynq.ids import random_id
from asynq.info import TaskInfo
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.protocol.ops import Enqueue, Enqueued, Unique
from asynq.scheduler.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = timedelta(seconds=1)


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"id-{next(numbers)}"


@pytest.fixture
def composed(new_id: Callable[[], str]) -> Callable[..., Enqueue]:
    return lambda task, **over: compose(task, Options(**over), new_id)


def test_a_plain_task_gets_the_defaults_of_asynq(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", b"x"))
    assert request == Enqueue(
        message=TaskMessage(id="id-1", type="t", queue="default", payload=b"x", max_retry=25, timeout=1800),
        enqueue_id=request.enqueue_id,
    )


def test_the_id_of_a_call_is_the_random_id_of_its_task_and_never_an_id_that_may_repeat() -> None:
    fresh = compose(Task("t"), NO_OPTIONS, random_id)
    assert fresh.enqueue_id == fresh.message.id
    for request in (
        compose(Task("t"), Options(task_id=fresh.message.id), random_id),
        compose(Task("t", task_id=fresh.message.id), NO_OPTIONS, random_id),
        compose(Task("t"), NO_OPTIONS, lambda: fresh.message.id),
    ):
        assert request.message.id == fresh.message.id
        assert request.enqueue_id not in {fresh.message.id, fresh.enqueue_id}


def test_each_call_creates_new_ids(composed: Callable[..., Enqueue]) -> None:
    task = Task("t")
    first, second = composed(task), composed(task)
    assert first.message.id != second.message.id
    assert first.enqueue_id != second.enqueue_id


def test_options_that_were_used_can_be_copied_and_pickled(composed: Callable[..., Enqueue]) -> None:
    task = Task("t", b"x", queue="q", headers={"h": "1"})
    used = composed(task).message
    for other in (copy.deepcopy(task), pickle.loads(pickle.dumps(task)), copy.copy(task)):  # noqa: S301
        assert other == task
        assert replace(composed(other).message, id=used.id) == used


def test_tasks_with_the_same_followers_get_followers_of_their_own(composed: Callable[..., Enqueue]) -> None:
    task = Task("t", then=[Task("follower")])
    assert composed(task).message.headers != composed(task).message.headers


def test_tasks_with_the_same_options_share_no_headers(composed: Callable[..., Enqueue]) -> None:
    for task in (Task("t"), Task("t", headers={"h": "1"})):
        first: Any = composed(task).message.headers
        first["added"] = "later"
        assert "added" not in composed(task).message.headers


def test_the_call_overrides_the_task_and_headers_accumulate(composed: Callable[..., Enqueue]) -> None:
    task = Task("t", queue="low", max_retry=1, task_id="7", headers={"a": "1", "b": "1"})
    message = composed(task, queue="high", headers={"b": "2"}).message
    assert (message.queue, message.max_retry, message.id) == ("high", 1, "7")
    assert message.headers == {"a": "1", "b": "2"}


def test_a_deadline_without_a_timeout_sets_no_timeout(composed: Callable[..., Enqueue]) -> None:
    message = composed(Task("t"), deadline=datetime(2030, 1, 1, tzinfo=UTC)).message
    assert (message.timeout, message.deadline) == (0, 1_893_456_000)


def test_a_timeout_and_a_deadline_are_both_kept(composed: Callable[..., Enqueue]) -> None:
    message = composed(Task("t", timeout=SECOND), deadline=datetime(2030, 1, 1, tzinfo=UTC)).message
    assert (message.timeout, message.deadline) == (1, 1_893_456_000)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=500), 1),
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1, microseconds=1), 2),
        (timedelta(hours=2), 7200),
    ],
)
def test_whole_seconds_are_rounded_up(
    composed: Callable[..., Enqueue], duration: timedelta, seconds: int
) -> None:
    message = composed(Task("t"), timeout=duration, retention=duration).message
    assert (message.timeout, message.retention) == (seconds, seconds)


def test_a_deadline_between_seconds_is_rounded_up(composed: Callable[..., Enqueue]) -> None:
    deadline = datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert composed(Task("t"), deadline=deadline).message.deadline == 1_893_456_001


def test_process_at_is_rounded_up_to_milliseconds(composed: Callable[..., Enqueue]) -> None:
    moment = datetime(2030, 1, 1, 1, 0, 0, 1, tzinfo=UTC)
    elsewhere = moment.astimezone(tz=None)
    assert composed(Task("t"), process_at=moment).process_at == 1_893_459_600_001
    assert composed(Task("t"), process_at=elsewhere).process_at == 1_893_459_600_001


def test_process_in_is_rounded_up_to_milliseconds(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t"), process_in=timedelta(seconds=2, microseconds=1))
    assert (request.process_in, request.process_at) == (2001, None)


def test_a_call_overrides_the_time_of_the_task(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", process_in=SECOND), process_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert (request.process_in, request.process_at) == (None, 1_893_456_000_000)


def test_unique_requests_the_lock_of_queue_type_and_payload(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", b"a"), unique=timedelta(hours=1), queue="low")
    assert request.unique == Unique(ttl=3_600_000, until="done", keep=False)
    assert request.message.unique_key == "asynq:{low}:unique:t:0cc175b9c0f1b6a831c399e269772661"


def test_a_missing_and_an_empty_payload_take_different_locks(composed: Callable[..., Enqueue]) -> None:
    nothing = composed(Task("t"), unique=SECOND).message.unique_key
    empty = composed(Task("t", b""), unique=SECOND).message.unique_key
    assert nothing == "asynq:{default}:unique:t:"
    assert empty == "asynq:{default}:unique:t:d41d8cd98f00b204e9800998ecf8427e"


def test_further_uniqueness_options_are_passed_on(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", unique_until="start", keep_unique=True), unique=SECOND)
    assert request.unique == Unique(ttl=1000, until="start", keep=True)


@pytest.mark.parametrize("option", [{"unique_until": "expiry"}, {"keep_unique": True}])
def test_a_uniqueness_option_without_unique_is_refused(
    composed: Callable[..., Enqueue], option: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        composed(Task("t"), **option)


def test_a_debounced_task_waits_and_replaces_the_one_before(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", b"a"), debounce=timedelta(seconds=30), queue="low")
    assert request.process_in == 30_000
    assert request.message.unique_key == "asynq:{low}:unique:t:debounce:"
    assert request.unique == Unique(ttl=86_400_000, until="start", keep=True, on_duplicate="replace")


def test_a_throttled_task_locks_its_type_for_the_whole_time(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t", b"a"), throttle=timedelta(minutes=1))
    assert request.process_in is None
    assert request.message.unique_key == "asynq:{default}:unique:t:throttle:"
    assert request.unique == Unique(ttl=60_000, until="expiry")


@pytest.mark.parametrize("kind", ["unique", "debounce", "throttle"])
def test_a_key_takes_the_place_of_the_payload(composed: Callable[..., Enqueue], kind: str) -> None:
    request = composed(Task("t", b"a", key="user-7"), **{kind: SECOND})
    assert request.message.unique_key == f"asynq:{{default}}:unique:t:{kind}:user-7"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unique": SECOND, "debounce": SECOND}, "debounce has no meaning with unique"),
        ({"unique": SECOND, "throttle": SECOND}, "throttle has no meaning with unique"),
        ({"throttle": SECOND, "debounce": SECOND}, "throttle has no meaning with debounce"),
        ({"throttle": SECOND, "unique_until": "done"}, "unique_until has no meaning without unique"),
        ({"debounce": SECOND, "keep_unique": True}, "keep_unique has no meaning without unique"),
        ({"debounce": SECOND, "process_in": SECOND}, "process_in has no meaning with debounce"),
        ({"debounce": SECOND, "task_id": "a"}, "task_id has no meaning with debounce"),
        ({"debounce": SECOND, "group": "a"}, "group has no meaning with debounce"),
        ({"key": "a"}, "key has no meaning without unique"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    composed: Callable[..., Enqueue], options: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        composed(Task("t"), **options)


def test_on_conflict_and_group_are_passed_on(composed: Callable[..., Enqueue]) -> None:
    request = composed(Task("t"), on_conflict="replace_finished", group="g")
    assert (request.on_conflict, request.message.group) == ("replace_finished", "g")


def test_a_value_that_is_not_a_task_is_refused(composed: Callable[..., Enqueue]) -> None:
    with pytest.raises(TypeError, match=r"asynq\.Task, not str"):
        composed("t")


def test_misuse_in_a_batch_is_reported_with_its_position(new_id: Callable[[], str]) -> None:
    tasks = [Task("t"), Task("t", keep_unique=True)]
    with pytest.raises(ValueError, match="keep_unique") as refused:
        compose_many(tasks, Options(), new_id)
    assert "tasks[1]" in refused.value.__notes__[0]


@pytest.mark.parametrize(
    ("state", "due_at", "next_process_at"),
    [
        (TaskState.PENDING, 1_000, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (TaskState.SCHEDULED, 90_000, datetime(1970, 1, 1, 0, 1, 30, tzinfo=UTC)),
        (TaskState.AGGREGATING, 1_000, None),
    ],
)
def test_the_answer_to_an_enqueue_contains_the_state_of_the_task(
    composed: Callable[..., Enqueue], state: TaskState, due_at: int, next_process_at: datetime | None
) -> None:
    task = Task("t", b"x", headers={"h": "1"})
    request = composed(task, timeout=timedelta(minutes=3), retention=SECOND, group="g")
    assert task_info(task, request, Enqueued(state=state, due_at=due_at)) == TaskInfo(
        id="id-1",
        queue="default",
        type="t",
        state=state,
        payload=b"x",
        headers={"h": "1"},
        timeout=timedelta(minutes=3),
        retention=SECOND,
        group="g",
        next_process_at=next_process_at,
        since=next_process_at if state is TaskState.PENDING else None,
    )


def test_a_stored_task_is_shown_with_python_types() -> None:
    message = TaskMessage(
        id="1",
        type="t",
        queue="q",
        retried=2,
        error="boom",
        last_failed_at=60,
        deadline=120,
        completed_at=180,
    )
    info = TaskInfo.of(
        StoredTask(message=message, state=TaskState.COMPLETED, due_at=999_000, result=b"r", orphaned=False)
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert info.last_failed_at == epoch + timedelta(minutes=1)
    assert info.deadline == epoch + timedelta(minutes=2)
    assert info.completed_at == epoch + timedelta(minutes=3)
    assert (info.timeout, info.next_process_at) == (None, None)
    assert (info.retried, info.last_err, info.result) == (2, "boom", b"r")


def test_an_active_task_with_a_lost_worker_is_shown_as_orphaned() -> None:
    stored = StoredTask(
        message=TaskMessage(id="1", type="t", queue="q"), state=TaskState.ACTIVE, due_at=5, orphaned=True
    )
    assert TaskInfo.of(stored).orphaned


def test_a_batch_that_is_not_iterable_is_refused() -> None:
    one: Any = Task("t")
    with pytest.raises(TypeError, match=r"tasks must be an iterable of asynq\.Task, not Task"):
        list_of(one)


def welcome(user_id: int) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("welcome", r"write asynq\.Task\('welcome', payload\)"),
        (TaskType("welcome"), ": a call of it makes a task"),
        (ServeMux().task("mail:welcome")(welcome), ": a call of it makes a task"),
        (welcome, "decorate it with @mux.task"),
        (7, "int$"),
    ],
)
def test_what_is_no_task_is_refused_with_what_to_write(wrong: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=rf"^task must be an asynq\.Task, not .*{hint}"):
        compose(wrong, NO_OPTIONS, random_id)
    with pytest.raises(TypeError, match=rf"^task must be an asynq\.Task, not .*{hint}"):
        Entry.of("@hourly", wrong, NO_OPTIONS, UTC)
    with pytest.raises(TypeError, match=rf"^then must be an asynq\.Task or several, not .*{hint}"):
        Task("t", then=wrong)
    with pytest.raises(TypeError, match=rf"^then\[0\] must be an asynq\.Task, not .*{hint}"):
        Task("t", then=[wrong])
