"""`TaskFilter`: selects tasks by type, payload, error and age."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import field, frozen

from asynq.checks import check_duration, check_text

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import Any

    from attrs import Attribute

    from asynq.info import TaskInfo


def _text(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        check_text(attribute.name, value)


def _duration(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        check_duration(attribute.name, value)


@lru_cache(maxsize=16)
def _pattern(text: str) -> re.Pattern[str]:
    """The pattern as a regular expression. `fnmatch` would keep 32,768 of them, whatever their size."""
    return re.compile(translate(text))


@frozen(kw_only=True)
class TaskFilter:
    """Selects the tasks that meet all conditions that are given. Without any, it selects every task.

    Raises:
        TypeError, ValueError: A condition is not of its type, or a duration is negative.
    """

    type: str | None = field(default=None, validator=_text)
    """Pattern of the task type, such as "email:*". `*`, `?` and `[...]` as in the names of files."""
    payload: str | None = field(default=None, validator=_text)
    """Text that the payload contains, in UTF-8."""
    error: str | None = field(default=None, validator=_text)
    """Text that the last error contains. Upper and lower case are the same."""
    older_than: timedelta | None = field(default=None, validator=_duration)
    """The task has been in its state for longer. A task of which this is unknown is not selected: see
    `TaskInfo.since`."""
    newer_than: timedelta | None = field(default=None, validator=_duration)
    """The task has been in its state for at most this time."""

    def matches(self, task: TaskInfo, now: datetime) -> bool:
        """Whether the task is selected. `now` is the broker's time."""
        return (
            (self.type is None or _pattern(self.type).match(task.type) is not None)
            and (self.payload is None or self.payload.encode() in task.payload)
            and (self.error is None or self.error.casefold() in task.last_err.casefold())
            and self._age_matches(task.since, now)
        )

    def _age_matches(self, since: datetime | None, now: datetime) -> bool:
        if self.older_than is None and self.newer_than is None:
            return True
        if since is None:
            return False
        age = now - since
        return (self.older_than is None or age > self.older_than) and (
            self.newer_than is None or age <= self.newer_than
        )
