"""What may be asked of a task, by the task itself or by the call that enqueues it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from attrs import field, frozen

from asynq import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

UniqueUntil = Literal["done", "expiry", "start"]
OnConflict = Literal["reject", "replace_finished"]


class TaskKeywords(TypedDict, total=False):
    """The options of a task as keyword arguments; `Options` says what each means."""

    queue: str | None
    task_id: str | None
    max_retry: int | None
    timeout: timedelta | None
    deadline: datetime | None
    process_at: datetime | None
    process_in: timedelta | None
    retention: timedelta | None
    group: str | None
    unique: timedelta | None
    unique_until: UniqueUntil | None
    keep_unique: bool | None
    on_conflict: OnConflict | None


class EnqueueKeywords(TaskKeywords, total=False):
    """The options of an enqueue call: headers too, which for a task are an argument of their own."""

    headers: Mapping[str, str] | None


def _copied(value: Any) -> Any:
    """The caller may change its mapping later; what is no mapping is left for the check to refuse."""
    return dict(value) if isinstance(value, Mapping) else value


@frozen(kw_only=True, repr=False)
class Options:
    """What may be asked of a task. None means not given: what the task says, or else the default, holds.

    TypeError or ValueError, naming the option, for a value that cannot be honoured.
    """

    queue: str | None = None
    """The queue, "default" by default."""
    task_id: str | None = None
    """The id, unique within the queue; random by default."""
    max_retry: int | None = None
    """Retries after a first failed run, 25 by default."""
    timeout: timedelta | None = None
    """Longest time one run may take, rounded up to whole seconds. 30 minutes when there is no deadline
    either: a run without any limit cannot be expressed."""
    deadline: datetime | None = None
    """Instant after which no run may go on, rounded up to the second, until the end of the year 9999 (see
    asynq.instants.MAX_DATETIME). A task whose deadline has passed is archived instead of run."""
    process_at: datetime | None = None
    """Instant from which the task may run, until the end of the year 9999; never early. At once when it has
    passed."""
    process_in: timedelta | None = None
    """The same as a time from now."""
    retention: timedelta | None = None
    """How long the completed task and its result are kept, rounded up to whole seconds. By default the task
    is deleted once it is done."""
    group: str | None = None
    """Name of the group in which the task is aggregated."""
    unique: timedelta | None = None
    """Refuse the task with DuplicateTaskError while one of the same queue, type and payload holds the lock;
    else hold the lock, this long at most. Counted from the due time for a scheduled task."""
    unique_until: UniqueUntil | None = None
    """What ends the lock before its time: the task's end ("done", the default), nothing ("expiry"), or that
    a worker takes the task ("start")."""
    keep_unique: bool | None = None
    """Renew the lock, while the task lives, whenever it would end before the task's next step. On Redis a
    task that waits in its queue or group longer than `unique` loses it all the same, until it is taken."""
    on_conflict: OnConflict | None = None
    """When the id is taken: TaskIDConflictError ("reject", the default), or an archived or completed task of
    the id makes room ("replace_finished")."""
    headers: Mapping[str, str] | None = field(default=None, converter=_copied)
    """Texts that travel with the task."""

    def __attrs_post_init__(self) -> None:
        for name, check in _CHECKS.items():
            if (value := getattr(self, name)) is not None:
                check(name, value)
        if self.process_at is not None and self.process_in is not None:
            raise ValueError("give process_at or process_in, not both")

    def __or__(self, later: Options) -> Options:
        """These options with those of `later` over them; headers accumulate, key by key."""
        given = later.given()
        if not given:
            return self
        merged = self.given()
        if "process_at" in given or "process_in" in given:
            merged.pop("process_at", None)
            merged.pop("process_in", None)
        if self.headers and later.headers:
            given["headers"] = {**self.headers, **later.headers}
        return Options(**{**merged, **given})

    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: value for name in _CHECKS if (value := getattr(self, name)) is not None}

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"


def options_of(caller: str, given: Mapping[str, Any]) -> Options:
    """The options a caller was given as keywords. TypeError, in the caller's name, for one that is none."""
    for name in given.keys() - _CHECKS.keys():
        near = get_close_matches(name, _CHECKS, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(_CHECKS)}"
        raise TypeError(f"{caller}() got an unexpected option {name!r}; {hint}")
    return Options(**given)


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "queue": checks.check_queue,
    "task_id": checks.check_name,
    "max_retry": checks.check_count,
    "timeout": checks.check_timeout,
    "deadline": checks.check_deadline,
    "process_at": checks.check_due,
    "process_in": checks.check_duration,
    "retention": checks.check_duration,
    "group": checks.check_name,
    "unique": checks.check_lock_time,
    "unique_until": checks.check_one_of("done", "expiry", "start"),
    "keep_unique": checks.check_flag,
    "on_conflict": checks.check_one_of("reject", "replace_finished"),
    "headers": checks.check_headers,
}
