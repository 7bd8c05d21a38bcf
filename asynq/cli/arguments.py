"""Parses command-line arguments: durations, queues and limits. Invalid input is a usage error."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from asynq.durations import parse_duration
from asynq.supervisor.command import BROKER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    import typer


def usage_error_class() -> type[typer.BadParameter]:
    """The class of usage errors. It loads typer, which a process that runs a worker does without."""
    import typer

    return typer.BadParameter


def usage_error(text: str) -> typer.BadParameter:
    """Make a usage error whose text is safe to show on a terminal."""
    from asynq.runtime.safe_text import shown

    return usage_error_class()(shown(text))


def refusal(text: str) -> typer.BadParameter:
    """Make a usage error of a command, or of what it lacks, rather than of a value."""
    error = usage_error(text)
    error.format_message = lambda: error.message  # type: ignore[method-assign]
    return error


def option_of(name: str) -> str:
    """The option of the command line that sets a parameter."""
    return f"--{name.replace('_', '-')}"


def read_duration(option: str, text: str) -> timedelta:
    """Parse a duration such as 30s, 1m30s or 500ms. A number without a unit is in seconds."""
    try:
        return parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise usage_error(f"{option}: {error}") from None


def read_payload(text: str | None) -> object:
    """A payload of the command line: JSON objects and lists as a program gives them, or else the text.

    Those of a program are stored without spaces and with sorted keys: a unique lock and `--payload` take
    equal ones for equal.
    """
    if text is None or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value: object = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


_UNITS = ("", "k", "m", "g")


def read_size(option: str, text: str) -> int:
    """Parse a number of bytes such as 500MB or 1.5GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmg]?)(i?)b?", text.strip().lower())
    if match is None:
        raise usage_error(f"{option} {text!r}: use a number with a unit, such as 500MB or 1.5GiB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _UNITS.index(match[2]))


def read_queues(texts: Iterable[str]) -> dict[str, int]:
    """Parse NAME or NAME=WEIGHT into weights by queue. The default weight is 1."""
    queues: dict[str, int] = {}
    for text in texts:
        name, _, weight = text.rpartition("=") if "=" in text else (text, "", "1")
        if not name.strip() or not weight.isdecimal() or int(weight) < 1:
            raise usage_error(f"--queue {text!r}: use NAME or NAME=WEIGHT, with a weight of at least 1")
        if name in queues:
            raise usage_error(f"--queue {text!r}: queue {name!r} is given twice")
        queues[name] = int(weight)
    return queues


def read_limits(option: str, texts: Iterable[str]) -> dict[str, int]:
    """Parse NAME=NUMBER into limits by queue."""
    limits: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name.strip() or not number.isdecimal() or int(number) < 1:
            raise usage_error(f"{option} {text!r}: use NAME=NUMBER, with a number of at least 1")
        if name in limits:
            raise usage_error(f"{option} {text!r}: queue {name!r} is given twice")
        limits[name] = int(number)
    return limits


def refuse_empty_url(url: str | None) -> str | None:
    """The URL, if one is given. Refused is an empty one, as of a variable of a script that is not set."""
    if url == "" or (url is None and os.environ.get(BROKER_VARIABLE) == ""):
        raise usage_error("the URL is empty")
    return url
