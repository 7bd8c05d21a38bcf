"""`Options`: the options of a task and of an enqueue call, how they merge, and which values are valid."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import isfunction
from typing import TYPE_CHECKING, Any, Literal, Never, Protocol, TypedDict, Unpack

from asynq import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from asynq.protocol.ops import Enqueue

_set = object.__setattr__
UniqueUntil = Literal["done", "expiry", "start"]
OnConflict = Literal["reject", "replace_finished"]


class TaskLike(Protocol):
    """An `asynq.Task`, with any types of its result and its progress."""

    @property
    def type(self) -> str:
        """Type of the task."""
        ...

    @property
    def payload(self) -> bytes:
        """The payload as it is stored."""
        ...

    @property
    def options(self) -> Options:
        """Options of the task."""
        ...

    @property
    def has_payload(self) -> bool:
        """Whether the task was given a payload. A `TaskType`, which is no task, does not say so."""
        ...


class TypeKeywords(TypedDict, total=False):
    """The options of all tasks of a type as keyword arguments: those of a task that are not instants."""

    queue: str | None
    task_id: str | None
    max_retry: int | None
    timeout: timedelta | None
    process_in: timedelta | None
    retention: timedelta | None
    group: str | None
    sequence: str | None
    unique: timedelta | None
    unique_until: UniqueUntil | None
    keep_unique: bool | None
    debounce: timedelta | None
    throttle: timedelta | None
    key: str | None
    on_conflict: OnConflict | None


class TaskKeywords(TypeKeywords, total=False):
    """The options of a task as keyword arguments. `Options` describes them."""

    deadline: datetime | None
    process_at: datetime | None
    then: TaskLike | Iterable[TaskLike] | None


class EnqueueKeywords(TaskKeywords, total=False):
    """The options of an enqueue call: those of a task, and headers, which a task takes separately."""

    headers: Mapping[str, str] | None


class Options:
    """Options of a task. None means not given: the task's own option applies, or else the default.

    Only the options that were given are stored; they cannot be changed. TypeError or ValueError, naming the
    option, for an invalid value.
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
    sequence: str | None = None
    """Name of the sequence in which the task runs, such as "customer-42". Tasks of one queue with the same
    sequence run one at a time, in the order of their enqueue; a task that is retried keeps its turn. Not
    together with `group`, `process_at`, `process_in` or `keep_unique`."""
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
    debounce: timedelta | None = None
    """Run the task this long after the last call, at least one second, and only the last one: a task with the
    same queue, type and `key` that has not started yet is deleted and replaced."""
    throttle: timedelta | None = None
    """Refuse further tasks with the same queue, type and `key` with DuplicateTaskError for this long,
    at least one second, counted from the due time for a scheduled task."""
    key: str | None = None
    """What makes tasks duplicates besides queue and type: in place of the payload for `unique`, alone for
    `debounce` and `throttle`."""
    on_conflict: OnConflict | None = None
    """If the id is taken: raise TaskIDConflictError ("reject", the default), or replace an archived or
    completed task of the id ("replace_finished")."""
    headers: Mapping[str, str] | None = None
    """Key-value texts that are stored with the task."""
    then: tuple[TaskLike, ...] | None = None
    """Tasks that follow this one: they are enqueued when it succeeds, and can read its result. They may have
    followers themselves. Not together with `group`."""

    __slots__ = ("__dict__", "__weakref__", "_request")

    _request: Enqueue | None
    """What `asynq.client.enqueue` has made of these options for all tasks that have them."""

    def __init__(self, **given: Unpack[EnqueueKeywords]) -> None:
        _set(self, "_request", None)
        vars(self).update(_checked("Options", given))

    def __reduce__(self) -> tuple[Any, ...]:
        return _options, (vars(self),)

    def __or__(self, later: Options) -> Options:
        """These options overridden by `later`. Headers are merged key by key."""
        earlier, given = vars(self), vars(later)
        if not earlier or not given:
            return later if given else self
        merged = {**earlier, **given}
        for name, other in (("process_at", "process_in"), ("process_in", "process_at")):
            if name in given and other in earlier:
                del merged[other]
        if "headers" in earlier and "headers" in given:
            merged["headers"] = {**earlier["headers"], **given["headers"]}
        return _options(merged)

    def given(self) -> Mapping[str, Any]:
        """The options that were given, by name."""
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Options) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(vars(self).items()))

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"options cannot be changed: {name}={value!r}")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"options cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def options_of(caller: str, given: Mapping[str, Any], others: Iterable[str] = ()) -> Options:
    """Options from keyword arguments. TypeError, with the caller's name, for an unknown option.

    The error also lists `others`: options of the caller that are no options of tasks.
    """
    return _options(_checked(caller, given, others)) if given else NO_OPTIONS


def _options(checked: Mapping[str, Any]) -> Options:
    options = Options.__new__(Options)
    _set(options, "_request", None)
    vars(options).update(checked)
    return options


def _checked(caller: str, given: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
    """The options that are not None. TypeError or ValueError for an unknown or an invalid one."""
    options: dict[str, Any] = {}
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(_unexpected(caller, name, [*_CHECKS, *others]))
        if value is not None:
            check(name, value)
            options[name] = value
    if "process_at" in options and "process_in" in options:
        raise ValueError("give process_at or process_in, not both")
    if "headers" in options:
        options["headers"] = dict(options["headers"])  # the caller may change its mapping later
    if "then" in options:
        options["then"] = _as_followers(options["then"])
    return options


def _unexpected(caller: str, name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(known)}"
    return f"{caller}() got an unexpected option {name!r}; {hint}"


def what_instead(value: object) -> str:
    """The class of a value that is no task, with what to write for a task."""
    hint = ""
    if isinstance(value, str):
        hint = f": write asynq.Task({value!r}, payload)"
    elif hasattr(value, "result_types") and callable(value):
        hint = ": a call of it makes a task"
    elif isfunction(value):
        hint = ": decorate it with @mux.task, and a call of it makes a task"
    return type(value).__name__ + hint


def _check_followers(name: str, value: object) -> None:
    """A task, or an iterable of tasks."""
    if not (_is_task(value) or (isinstance(value, Iterable) and not isinstance(value, str | bytes))):
        raise TypeError(f"{name} must be an asynq.Task or several, not {what_instead(value)}")


def _as_followers(value: Any) -> tuple[TaskLike, ...]:
    """The tasks of a checked value. TypeError when one is not a Task."""
    followers = (value,) if _is_task(value) else tuple(value)
    for position, follower in enumerate(followers):
        if not _is_task(follower):
            raise TypeError(f"then[{position}] must be an asynq.Task, not {what_instead(follower)}")
    return followers


def _is_task(value: object) -> bool:
    return isinstance(getattr(value, "options", None), Options) and hasattr(value, "has_payload")


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "queue": checks.check_queue,
    "task_id": checks.check_name,
    "max_retry": checks.check_count,
    "timeout": checks.check_timeout,
    "deadline": checks.check_deadline,
    "process_at": checks.check_due,
    "process_in": checks.check_duration,
    "retention": checks.check_retention,
    "group": checks.check_name,
    "sequence": checks.check_name,
    "unique": checks.check_seconds,
    "unique_until": checks.check_one_of("done", "expiry", "start"),
    "keep_unique": checks.check_flag,
    "debounce": checks.check_seconds,
    "throttle": checks.check_seconds,
    "key": checks.check_name,
    "on_conflict": checks.check_one_of("reject", "replace_finished"),
    "headers": checks.check_headers,
    "then": _check_followers,
}

NO_OPTIONS = Options()
