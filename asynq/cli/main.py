"""The `asynq` command and its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

import asynq
from asynq.cli.bench import bench
from asynq.cli.demo import demo
from asynq.cli.scheduler import scheduler
from asynq.cli.worker import worker

app = typer.Typer(
    name="asynq",
    help="A distributed task queue with a pluggable broker, wire-compatible with Go's asynq.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(worker)
app.command()(scheduler)
app.command()(demo)
app.command()(bench)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the shape of an option's callback
    if wanted:
        typer.echo(f"asynq-py {asynq.__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the command itself."""
