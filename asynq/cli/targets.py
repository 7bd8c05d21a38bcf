"""Loads what a command line names as MODULE:NAME: a server or a handler, or schedulers."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from asynq.cli.arguments import usage_error, usage_error_class
from asynq.handlers.adapters import HandlerAdapter, adapt_handler
from asynq.runtime.safe_text import shown_traceback
from asynq.scheduler.group import schedulers_of
from asynq.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from asynq.scheduler.base_scheduler import BaseScheduler

T = TypeVar("T")


def load_application(target: str, app_dir: Path) -> Server | HandlerAdapter:
    """Import the server, the mux or another handler MODULE:NAME, or call the function that makes it.

    The module is searched in `app_dir` first. Errors that user code raises are not caught.
    """
    value = load_object(target, app_dir)
    if isinstance(value, Server):
        if value.handler is None:
            raise usage_error(f"the server {target!r} has no handler: make it with handler=mux")
        return value
    try:
        return adapt_handler(value)
    except TypeError as error:
        raise usage_error(f"{target!r} is neither a server nor a handler: {error}") from None


def load_schedulers(target: str, app_dir: Path) -> Sequence[BaseScheduler]:
    """Import the scheduler, or a sequence of several, or call the function that makes it; as above."""
    value = load_object(target, app_dir)
    try:
        several = schedulers_of(value)
    except TypeError as error:
        raise usage_error(f"{target!r}: {error}") from None
    if not several:
        raise usage_error(f"there is no scheduler in {target!r}")
    return several


def load_or_show(load: Callable[[str, Path], T], target: str, app_dir: Path) -> T | None:
    """What `load` returns. None after an error of user code, which is shown, whatever it is."""
    try:
        return load(target, app_dir)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, usage_error_class()):
            raise
        sys.stderr.write(f"{shown_traceback(error)}\nError: {target!r} could not be loaded\n")
        return None


def load_object(target: str, app_dir: Path) -> Any:
    """Import MODULE:NAME. A function without parameters is called, and what it makes is returned."""
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
    if not _takes_nothing(value):
        return value
    if inspect.iscoroutinefunction(value):
        raise usage_error(f"{target!r} is async: use a plain function")
    return value()


def _takes_nothing(value: object) -> bool:
    """Whether it is a function that can be called without arguments. A handler takes two."""
    if not inspect.isroutine(value):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:
        return False  # some functions written in C have no signature
    return all(
        parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    )


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
