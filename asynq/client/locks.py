"""The uniqueness lock that the options of a task ask for: `unique`, `debounce` or `throttle`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from asynq.instants import milliseconds_of
from asynq.protocol.ops import Unique
from asynq.protocol.uniqueness import named_key, unique_key

if TYPE_CHECKING:
    from asynq.client.options import Options
    from asynq.client.task import Task

_LOCKS: Final = ("unique", "debounce", "throttle")
_WITH_UNIQUE: Final = ("unique_until", "keep_unique")
_ALL: Final = frozenset({*_LOCKS, *_WITH_UNIQUE, "key"})
_WITHOUT_DEBOUNCE: Final = ("process_at", "process_in", "group", "sequence", "task_id", "on_conflict")
_LATEST_START: Final = timedelta(days=1)
"""How long after its due time a debounced task surely gives way to a later one, if no worker takes it."""


def unique_of(options: Options) -> Unique | None:
    """The lock, None for no lock. ValueError when options contradict each other."""
    given = vars(options)
    if _ALL.isdisjoint(given):
        return None
    kinds = [kind for kind in _LOCKS if kind in given]
    if len(kinds) > 1:
        raise ValueError(f"{kinds[1]} has no meaning with {kinds[0]}: a task has one lock")
    for name in _WITH_UNIQUE if kinds else (*_WITH_UNIQUE, "key"):
        if name in given and options.unique is None:
            raise ValueError(f"{name} has no meaning without unique")
    if options.debounce is not None:
        for name in _WITHOUT_DEBOUNCE:
            if name in given:
                raise ValueError(f"{name} has no meaning with debounce")
        ttl = milliseconds_of(_LATEST_START)
        return Unique(ttl=ttl, until="start", keep=True, on_duplicate="replace")
    if options.throttle is not None:
        return Unique(ttl=milliseconds_of(options.throttle), until="expiry")
    ttl = milliseconds_of(options.unique or timedelta(0))
    return Unique(ttl=ttl, until=options.unique_until or "done", keep=bool(options.keep_unique))


def lock_name(task: Task, queue: str, options: Options) -> str:
    """The name of the lock. `unique` goes by the payload, unless a key is given; the others by the key."""
    if options.unique is not None and options.key is None:
        return unique_key(queue, task.type, task.payload if task.has_payload else None)
    kind = next(kind for kind in _LOCKS if kind in vars(options))
    return named_key(queue, task.type, kind, options.key or "")
