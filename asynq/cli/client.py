"""`asynq client enqueue` and `asynq client purge`, as the README of the original calls them."""

from __future__ import annotations

from asynq.cli.command_group import command_group
from asynq.cli.queue import purge
from asynq.cli.task_enqueue import enqueue

app = command_group("Other names of two commands.")
app.command("enqueue")(enqueue)
app.command("purge")(purge)
