"""Checks of user input: each raises a TypeError or ValueError that names the option."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from asynq.instants import EPOCH, MAX_DATETIME

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DURATION = timedelta(microseconds=(2**63 - 1) // 1000)
"""The longest duration that Go peers can represent: about 292 years."""
MAX_RETENTION = timedelta(days=50 * 365)
"""The longest retention. Completed tasks that are kept longer are those that others follow."""
INT32_MAX = 2**31 - 1


def check_text(name: str, value: object) -> None:
    """A str that can be encoded as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be encodable as UTF-8; it is {value!r}") from None


def check_name(name: str, value: object) -> None:
    """A text that is not blank."""
    check_text(name, value)
    if not str(value).strip():
        raise ValueError(f"{name} must not be blank")


def check_names(name: str, value: object) -> None:
    """Several names. A single text is refused: it would stand for its characters."""
    if not isinstance(value, Collection) or isinstance(value, str | bytes):
        raise TypeError(f"{name} must be a collection of names, not {value!r}")
    for each in value:
        check_name(f"a name of {name}", each)


def check_queue(name: str, value: object) -> None:
    """A queue name that Redis Cluster can hash to one slot: the text up to the first "}" is its hash tag."""
    check_name(name, value)
    if str(value).startswith("}"):
        raise ValueError(f"{name} must not start with '}}'; it is {value!r}")


def check_positive(name: str, value: object) -> None:
    """An int of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; it is {value}")


def check_count(name: str, value: object) -> None:
    """An int from 0 to the largest value of the wire format."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 <= value <= INT32_MAX:
        raise ValueError(f"{name} must be between 0 and {INT32_MAX}; it is {value}")


def check_flag(name: str, value: object) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def check_one_of(*choices: str) -> Callable[[str, object], None]:
    """A check for one of these texts."""

    def check(name: str, value: object) -> None:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}")

    return check


def check_duration(name: str, value: object) -> None:
    """A timedelta that is not negative."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(value).__name__}")
    if value < timedelta(0):
        raise ValueError(f"{name} must not be negative; it is {value}")
    if value > MAX_DURATION:
        raise ValueError(f"{name} must not be longer than {MAX_DURATION.days} days; it is {value}")


def check_retention(name: str, value: object) -> None:
    """A duration of at most 50 years."""
    check_duration(name, value)
    if isinstance(value, timedelta) and value > MAX_RETENTION:
        raise ValueError(f"{name} must not be longer than {MAX_RETENTION.days} days; it is {value}")


def check_timeout(name: str, value: object) -> None:
    """A positive duration: the wire format uses zero for the default and cannot represent "no limit"."""
    check_duration(name, value)
    if value == timedelta(0):
        raise ValueError(f"{name} must be positive: a task without any time limit cannot be expressed")


def check_interval(name: str, value: object) -> None:
    """A positive duration."""
    check_duration(name, value)
    if value == timedelta(0):
        raise ValueError(f"{name} must be positive")


def check_seconds(name: str, value: object) -> None:
    """A duration of at least one second."""
    check_duration(name, value)
    if isinstance(value, timedelta) and value < timedelta(seconds=1):
        raise ValueError(f"{name} must be at least one second; it is {value}")


def check_instant(name: str, value: object) -> None:
    """An aware datetime."""
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime: give it a tzinfo; it is {value}")


def check_due(name: str, value: object) -> None:
    """An aware datetime that every time zone can represent. It may be in the past."""
    check_instant(name, value)
    if isinstance(value, datetime) and value > MAX_DATETIME:
        raise ValueError(f"{name} must not be later than {MAX_DATETIME}; it is {value}")


def check_zone(name: str, value: object) -> None:
    """A tzinfo, not the name of a time zone."""
    if not isinstance(value, tzinfo):
        raise TypeError(f"{name} must be a tzinfo such as ZoneInfo, not {type(value).__name__}")


def check_deadline(name: str, value: object) -> None:
    """A due time after 1970, which the wire format uses for "no deadline"."""
    check_due(name, value)
    if isinstance(value, datetime) and value <= EPOCH:
        raise ValueError(f"{name} must be later than {EPOCH:%Y-%m-%d}; it is {value}")


def check_headers(name: str, value: object) -> None:
    """A mapping of str to str."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of str to str, not {type(value).__name__}")
    for key, text in value.items():
        check_text(f"a key of {name}", key)
        check_text(f"{name}[{key!r}]", text)


def check_callback(name: str, value: object, *, takes: str, at_once: bool = False) -> None:
    """None, or a callable that takes arguments such as "(error, task)".

    With `at_once`, async functions are refused.
    """
    if value is None:
        return
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    if at_once and inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a sync function: its return value is needed at once")
    try:
        inspect.signature(value).bind(*takes.split(","))
    except TypeError as error:
        raise TypeError(f"{name} must take {takes}: {error}") from None
    except ValueError:
        pass  # some callables written in C have no signature
