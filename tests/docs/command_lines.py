"""Whether a command line is valid, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from asynq.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(command: Sequence[str]) -> None:
    """Raises click's UsageError if the command `asynq ...` has an unknown name, option or value."""
    main = typer.main.get_command(app)
    words = list(command[1:])
    if words[-1] == "--help":
        words.pop()
    context = main.make_context("asynq", words)
    assert isinstance(main, typer.core.TyperGroup)
    name, subcommand, rest = main.resolve_command(context, words)
    assert subcommand is not None
    assert subcommand.make_context(name, rest, parent=context, resilient_parsing=not rest)
