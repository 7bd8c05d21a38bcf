"""Parses command-line arguments: durations, queues, limits and handlers. Invalid input is a usage error."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typer

from asynq.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from pathlib import Path

    from asynq.handlers.adapters import HandlerAdapter


def usage_error(text: str) -> typer.BadParameter:
    """Make a usage error whose text is safe to show on a terminal."""
    from asynq.runtime.safe_text import shown

    return typer.BadParameter(shown(text))


def read_duration(option: str, text: str) -> timedelta:
    """Parse a duration such as 30s, 1m30s or 500ms. A number without a unit is in seconds."""
    try:
        return parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise usage_error(f"{option}: {error}") from None


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


def load_handler(target: str, app_dir: Path) -> HandlerAdapter:
    """Import the mux or handler MODULE:NAME. The module is searched in `app_dir` first.

    Errors that the module raises during its import are not caught.
    """
    from asynq.handlers.adapters import adapt_handler

    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise usage_error(f"{target!r}: use MODULE:NAME, for example app.tasks:mux")
    if not all(map(str.isidentifier, module_name.removesuffix(".py").split("."))):
        raise usage_error(
            f"{module_name!r} is not a module name: use a dotted name, for example app.tasks:mux,"
            " and pass its directory with --app-dir"
        )
    directory = str(app_dir.resolve())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    if not _exists(module_name):
        hint = "; omit '.py'" if module_name.endswith(".py") else ""
        raise usage_error(f"there is no module {module_name!r} (searched {directory} first){hint}")
    value: Any = import_module(module_name)
    for name in path.split("."):
        if not hasattr(value, name):
            raise usage_error(f"module {module_name!r} has no {path!r}")
        value = getattr(value, name)
    try:
        return adapt_handler(value)
    except TypeError as error:
        raise usage_error(f"{target!r} is not a handler: {error}") from None


def _exists(module_name: str) -> bool:
    """Whether the module and its parent packages exist. Importing it may still fail."""
    try:
        return find_spec(module_name) is not None
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            return False
        raise
    except ValueError:
        return module_name in sys.modules
