"""`Options`: the options of a task and of an enqueue call, how they merge, and which values are valid."""

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
    """The options of a task as keyword arguments. `Options` describes them."""

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
    """The options of an enqueue call: those of a task, and headers, which a task takes separately."""

    headers: Mapping[str, str] | None


def _copied(value: Any) -> Any:
    """A copy, because the caller may change its mapping later. The check refuses what is not a mapping."""
    return dict(value) if isinstance(value, Mapping) else value


@frozen(kw_only=True, repr=False)
class Options:
    """Options of a task. None means not given: the task's own option applies, or else the default.

    TypeError or ValueError, naming the option, for an invalid value.
    """

    queue: str | None = None
    """Name of the queue; by default "default"."""
    task_id: str | None = None
    """The id, unique within the queue; by default random."""
    max_retry: int | None = None
    """Retries after the first failed run; by default 25."""
    timeout: timedelta | None = None
    """The longest time of one run, rounded up to whole seconds. By default 30 minutes, unless there is a
    deadline: a run without any limit is not possible."""
    deadline: datetime | None = None
    """Instant at which every run must have ended, rounded up to the second; at most the end of the year 9999
    (see asynq.instants.MAX_DATETIME). A task whose deadline has passed is archived instead of run."""
    process_at: datetime | None = None
    """Instant from which the task may run; at most the end of the year 9999. The task never runs earlier. It
    runs at once if the instant has passed."""
    process_in: timedelta | None = None
    """The same as a time from now."""
    retention: timedelta | None = None
    """How long the completed task and its result are kept, rounded up to whole seconds. By default the task
    is deleted once it is done."""
    group: str | None = None
    """Name of the group in which the task is aggregated."""
    unique: timedelta | None = None
    """Take a uniqueness lock for this long at most, counted from the due time for a scheduled task. While
    another task with the same queue, type and payload holds the lock, the task is refused with
    DuplicateTaskError."""
    unique_until: UniqueUntil | None = None
    """What releases the lock before its time ends: the end of the task ("done", the default), nothing
    ("expiry"), or a worker that takes the task ("start")."""
    keep_unique: bool | None = None
    """Renew the lock, while the task is live, whenever it would end before the task's next step. On Redis a
    task that waits in its queue or group longer than `unique` still loses it until a worker takes the
    task."""
    on_conflict: OnConflict | None = None
    """If the id is taken: raise TaskIDConflictError ("reject", the default), or replace an archived or
    completed task of the id ("replace_finished")."""
    headers: Mapping[str, str] | None = field(default=None, converter=_copied)
    """Key-value texts that are stored with the task."""

    def __attrs_post_init__(self) -> None:
        for name, check in _CHECKS.items():
            if (value := getattr(self, name)) is not None:
                check(name, value)
        if self.process_at is not None and self.process_in is not None:
            raise ValueError("give process_at or process_in, not both")

    def __or__(self, later: Options) -> Options:
        """These options overridden by `later`. Headers are merged key by key."""
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
    """Options from keyword arguments. TypeError, with the caller's name, for an unknown option."""
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
