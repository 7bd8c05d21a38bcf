"""`asynq client enqueue` and `asynq client purge`, as the README of the original calls them."""

from __future__ import annotations

import typer

from asynq.cli.queue import purge
from asynq.cli.task_enqueue import enqueue

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Other names of two commands."
)
app.command("enqueue")(enqueue)
app.command("purge")(purge)
