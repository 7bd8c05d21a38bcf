"""`asynq server`: list the servers and what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.command_group import command_group
from asynq.cli.session import FAILED, JSON, BrokerURL, inspecting
from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from asynq.protocol.presence import ServerInfo, WorkerInfo

app = command_group("List servers.")
Runs = Annotated[bool, typer.Option("--runs", help="List what they run instead.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with status 1 if a queue is not served.")]
Checked = Annotated[
    list[str] | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME",
        help="With --check: this queue. Repeatable. [default: all that exist]",
    ),
]


@app.command("ls")
@app.command("list", hidden=True)
def ls(
    *,
    runs: Runs = False,
    check: Check = False,
    queue: Checked = None,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """List the servers that are online, or with --runs the tasks that they run.

    With --check the exit status is 1 if no server is online, or if none of them serves one of the queues. A
    server that takes no new tasks serves none.
    """
    from asynq.cli.terminal.output import Output
    from asynq.worker.queue_patterns import unserved

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        servers = sorted(inspector.servers(), key=lambda server: (server.host, server.pid))
        left = unserved(queue or inspector.queues(), servers) if check else []
    if runs and not as_json:
        pairs = [(server, run) for server in servers for run in server.workers]
        output.each(
            ["server", "id", "type", "payload", "queue", "started", "deadline"],
            pairs,
            _run_row,
            empty="No server has reported a run. They report every 5 seconds.",
        )
    elif runs:
        for server in servers:
            for run in server.workers:
                output.json(run)
    else:
        output.each(
            ["host", "pid", "state", "running", "queues", "started"],
            servers,
            _server_row,
            empty="No server is online.",
        )
    if left:
        typer.echo(f"Error: no server serves {shown(', '.join(map(repr, left)))}", err=True)
    if left or (check and not servers):
        raise typer.Exit(FAILED)


def _server_row(server: ServerInfo) -> list[object]:
    from asynq.runtime.short_texts import from_now

    queues = sorted(server.queues.items(), key=lambda item: (-item[1], item[0]))
    return [
        server.host,
        str(server.pid),
        server.status,
        f"{len(server.workers)}/{server.concurrency}",
        " ".join(f"{name}={weight}" for name, weight in queues)
        + (" (strict)" if server.strict_priority else ""),
        from_now(server.started_at),
    ]


def _run_row(pair: tuple[ServerInfo, WorkerInfo]) -> list[object]:
    from asynq.runtime.short_texts import data, from_now

    server, run = pair
    return [
        f"{server.host}:{server.pid}",
        run.task_id,
        run.task_type,
        data(run.payload),
        run.queue,
        from_now(run.started_at),
        from_now(run.deadline),
    ]
