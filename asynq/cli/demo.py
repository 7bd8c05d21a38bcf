"""`asynq demo`: processes real files with several workers, kills one, and shows that no task is lost."""

from __future__ import annotations

import json
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import refuse_empty_url, usage_error
from asynq.supervisor.command import BROKER_VARIABLE, INTERRUPTED

if TYPE_CHECKING:
    from asynq.demo.run import Demo

_TAIL = 20


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            exists=True,
            file_okay=False,
            help="Directory with the files to process. [default: Python's standard library]",
        ),
    ] = None,
    *,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            "-b",
            metavar="URL",
            envvar=BROKER_VARIABLE,
            callback=refuse_empty_url,
            help="URL of a broker. [default: an embedded broker in a temporary file]",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", metavar="NUMBER", min=2, help="Number of worker processes.")
    ] = 2,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", metavar="NUMBER", min=1, help="Maximum number of files to process."),
    ] = 5000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show that a killed worker loses no tasks.

    The demo processes every file of a directory. Each file gets two tasks, one for an async and one for a
    sync handler, in two queues with weights. Several worker processes run them, and one of these is killed
    with SIGKILL. The exit status is 1 if a task is lost. The demo uses two queues named demo-... and deletes
    them at the end.
    """
    from asynq.cli.worker_launch import check_shared
    from asynq.demo.run import Demo, readable_files

    chosen = (directory or Path(sysconfig.get_path("stdlib"))).resolve()
    files = readable_files(chosen, limit)
    if not files:
        raise usage_error(f"there is no readable file in {chosen}")
    if broker is not None:
        check_shared(broker)
    with tempfile.TemporaryDirectory(prefix="asynq-demo-") as scratch:
        prepared = Demo(
            broker_url=broker or f"sqlite:///{scratch}/tasks.db",
            directory=chosen,
            files=files,
            processes=processes,
            scratch=Path(scratch),
        )
        raise typer.Exit(_show(prepared, as_json=as_json))


def _show(prepared: Demo, *, as_json: bool) -> int:
    """Run the demo, and print its progress and result. Returns the exit status."""
    import asyncio

    from rich.console import Console

    from asynq.demo.display import display_for, print_table
    from asynq.errors import AsynqError
    from asynq.runtime.safe_text import shown

    # With --json, stdout contains nothing but JSON.
    console = Console(file=sys.stderr if as_json else sys.stdout)
    try:
        with display_for(console) as display:
            report = asyncio.run(prepared.run(display))
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        print_table(console, report)
    if report.total.lost:
        _print_tail(prepared.worker_log)
    return int(report.total.lost > 0)


def _print_tail(log: Path) -> None:
    """Print the last log lines of the workers, for debugging."""
    from asynq.runtime.safe_text import shown

    for line in log.read_text(errors="replace").splitlines()[-_TAIL:]:
        typer.echo(shown(line), err=True)
