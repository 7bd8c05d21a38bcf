"""Asks before something is changed that cannot be undone."""

from __future__ import annotations

import sys

import typer

from asynq.cli.arguments import refusal
from asynq.runtime.safe_text import shown


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do it, unless --yes was given. Ends the command with status 1 if the answer is no.

    Raises:
        BadParameter: Nobody can be asked, because the input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise refusal(f"this would {what}: add --yes, because nobody can be asked here")
    if not typer.confirm(f"This will {shown(what)}. Continue?", err=True):
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(1)
