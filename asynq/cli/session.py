"""What each command about a broker does first and last: find the broker, and tell errors."""

from __future__ import annotations

import os
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import refuse_empty_url, usage_error
from asynq.cli.project import configured_broker
from asynq.errors import (
    AsynqError,
    BrokerUnavailable,
    BrokerURLError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskNotFoundError,
)
from asynq.runtime.safe_text import shown
from asynq.supervisor.command import BROKER_VARIABLE, DEFAULT_BROKER, INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.inspector.inspector import Inspector
    from asynq.protocol.broker import Broker

FAILED = 1
"""Exit status if what was asked could not be done, or was answered with no."""
UNAVAILABLE = 3
"""Exit status if the broker cannot be reached."""


BrokerURL = Annotated[
    str | None,
    typer.Option(
        "--broker",
        "-b",
        metavar="URL",
        envvar=BROKER_VARIABLE,
        callback=refuse_empty_url,
        show_envvar=True,
        help=f"URL of the broker. [default: broker in [tool.asynq] of pyproject.toml, or {DEFAULT_BROKER}]",
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def broker_url(given: str | None) -> str:
    """The URL of the broker: that of the command line or its variable, of the project, or the default."""
    if given is None:
        return configured_broker() or DEFAULT_BROKER
    return given


def existing(given: str | None) -> Broker:
    """The broker of an URL as above. A file that is missing is not created. BrokerURLError."""
    from asynq.protocol.connect import connect

    url = broker_url(given)
    broker = connect(url)
    if not url.startswith("sqlite:") or "create=" in url:
        return broker
    return connect(f"{url}{'&' if '?' in url else '?'}create=false")


@contextmanager
def connected(url: str | None, argument: str = "--broker", *, create: bool = False) -> Iterator[Broker]:
    """A broker. Errors of the broker end the command, and say what to do.

    Args:
        url: Its URL, if the command line gave one.
        argument: What gave the URL.
        create: Whether a file that is missing is created. A command that only reads or changes what exists
            would answer a mistyped path with an empty store.
    """
    from asynq.inspector.inspector import Inspector
    from asynq.protocol.connect import connect

    if url == "":
        raise usage_error(f"{argument}: the URL is empty")
    try:
        broker = connect(broker_url(url)) if create else existing(url)
    except BrokerURLError as error:
        raise usage_error(f"{argument}: {error}") from None
    try:
        yield broker
    except (ValueError, TypeError) as error:
        raise usage_error(str(error)) from None
    except AsynqError as error:
        tell(error, Inspector(broker))
        raise typer.Exit(UNAVAILABLE if isinstance(error, BrokerUnavailable) else FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _end_of_pipe()
    finally:
        broker.close()


@contextmanager
def inspecting(url: str | None) -> Iterator[Inspector]:
    """An inspector. Errors end the command, as above."""
    from asynq.inspector.inspector import Inspector

    with connected(url) as broker:
        yield Inspector(broker)


def tell(error: AsynqError, inspector: Inspector) -> None:
    """Print an error."""
    typer.echo(f"Error: {shown(error)}{_hint(error, inspector)}", err=True)


def _hint(error: AsynqError, inspector: Inspector) -> str:
    """What the user may have meant, or can do."""
    if isinstance(error, QueueNotEmptyError):
        return ". --force deletes them too"
    if isinstance(error, TaskNotFoundError):
        return ". Ids must be whole"
    if isinstance(error, BrokerUnavailable):
        return _way_to_primary(inspector) if "read-only replica" in str(error) else ""
    if not isinstance(error, QueueNotFoundError):
        return ""
    try:
        names = inspector.queues()
    except AsynqError:
        return ""
    near = get_close_matches(error.queue, names, n=1)
    if near:
        return f". Did you mean {shown(near[0])}?"
    return f". The queues: {shown(', '.join(names))}" if names else ". There is no queue yet"


def _way_to_primary(inspector: Inspector) -> str:
    """Where the primary of a replica is."""
    try:
        nodes = inspector.broker_info().nodes
    except AsynqError:
        return ""
    primary = next((node.primary for node in nodes if node.role == "replica" and node.primary), "")
    if not primary:
        return ""
    return f". Its primary is {shown(primary)}; a redis-sentinel:// URL finds the primary by itself"


def _end_of_pipe() -> None:
    """End quietly when the reader of our output has gone, as `head` does."""
    # Python would complain of standard output once more at its own end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise typer.Exit(FAILED)
