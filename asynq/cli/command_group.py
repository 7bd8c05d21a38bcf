"""Groups of commands, such as `asynq queue`."""

from __future__ import annotations

import typer


def command_group(help_text: str) -> typer.Typer:
    """A group without commands yet. Without one, it shows its help."""
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
