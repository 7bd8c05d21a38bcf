"""`asynq group`: list the groups of a queue."""

from __future__ import annotations

from asynq.cli.command_group import command_group
from asynq.cli.selection import Queue  # noqa: TC001 - typer reads the annotations
from asynq.cli.session import JSON, BrokerURL, inspecting

app = command_group("List groups of tasks.")


@app.command("ls")
@app.command("list", hidden=True)
def ls(*, queue: Queue = "default", broker: BrokerURL = None, as_json: JSON = False) -> None:
    """List the groups of a queue that contain tasks. Times in JSON are milliseconds."""
    from asynq.cli.terminal.output import Output
    from asynq.instants import duration_of
    from asynq.runtime.short_texts import short_duration

    with inspecting(broker) as inspector:
        inspector.queue_info(queue)  # an unknown queue is an error
        groups = sorted(inspector.groups(queue), key=lambda group: group.name)
        Output(as_json=as_json).each(
            ["group", "size", "oldest task", "newest task"],
            groups,
            lambda group: [
                group.name,
                group.size,
                f"{short_duration(duration_of(group.waiting))} ago",
                f"{short_duration(duration_of(group.quiet))} ago",
            ],
            empty=f"Queue {queue!r} has no groups.",
            right=["size"],
        )
