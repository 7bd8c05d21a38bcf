"""The `asynq` command and its subcommands, each of which is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

import asynq


class Subcommand(NamedTuple):
    """A command, or a group of commands, that is not imported yet."""

    target: str
    """MODULE:NAME of its function, or of the typer application of a group."""
    help: str
    """The first sentence of its help."""
    hidden: bool = False

    def load(self, name: str) -> Any:
        """Import it."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            function = found
            found = typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(name)(function)
        return typer.main.get_command(found)


SUBCOMMANDS = {
    "worker": Subcommand("asynq.cli.worker:worker", "Process tasks until a signal stops it."),
    "scheduler": Subcommand(
        "asynq.cli.scheduler:scheduler", "Enqueue periodic tasks until a signal stops it."
    ),
    "enqueue": Subcommand("asynq.cli.task_enqueue:enqueue", "Enqueue a task, or many from standard input."),
    "stats": Subcommand("asynq.cli.stats:stats", "Show all queues at a glance."),
    "dash": Subcommand("asynq.cli.dash:dash", "Show everything live, and change it."),
    "queue": Subcommand("asynq.cli.queue:app", "List and change queues."),
    "task": Subcommand("asynq.cli.task:app", "List, inspect and change tasks."),
    "group": Subcommand("asynq.cli.group:app", "List groups of tasks."),
    "server": Subcommand("asynq.cli.server:app", "List servers."),
    "cron": Subcommand("asynq.cli.cron:app", "List and change periodic tasks."),
    "broker": Subcommand("asynq.cli.broker:broker", "Show the store: version, nodes, memory, warnings."),
    "doctor": Subcommand("asynq.cli.doctor:doctor", "Find and repair damage in the store."),
    "migrate": Subcommand("asynq.cli.migrate:migrate", "Copy or move queues to another broker."),
    "metrics": Subcommand("asynq.cli.metrics:metrics", "Export metrics of all queues to Prometheus."),
    "web": Subcommand("asynq.cli.web:web", "Serve the web interface."),
    "demo": Subcommand("asynq.cli.demo:demo", "Show that a killed worker loses no tasks."),
    "bench": Subcommand("asynq.cli.bench:bench", "Measure the speed of this library."),
    "monitor": Subcommand("asynq.cli.dash:dash", "Show everything live, and change it.", hidden=True),
    "client": Subcommand("asynq.cli.client:app", "Other names of two commands.", hidden=True),
}
"""In the order of the help."""


class Subcommands(TyperGroup):
    """The group of all commands. The help knows them without importing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, each in SUBCOMMANDS.items():
            stub = TyperCommand(name, help=each.help, hidden=each.hidden, rich_markup_mode=None)
            self.add_command(stub)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that a command line names, with the arguments that are left for it."""
        # The original's README calls a worker so.
        of_servers = args[1:2] in (["ls"], ["list"])
        if args[:1] == ["server"] and not of_servers and any(":" in each for each in args[1:]):
            args = ["worker", *args[1:]]
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else SUBCOMMANDS[name].load(name), rest


app = typer.Typer(
    name="asynq",
    cls=Subcommands,
    help="A distributed task queue with a pluggable broker, wire-compatible with Go's asynq.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
