"""`asynq server`: list the servers and what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.command_group import command_group
from asynq.cli.session import JSON, BrokerURL, inspecting

if TYPE_CHECKING:
    from asynq.protocol.presence import ServerInfo, WorkerInfo

app = command_group("List servers.")
Runs = Annotated[bool, typer.Option("--runs", help="List what they run instead.")]


@app.command("ls")
@app.command("list", hidden=True)
def ls(*, runs: Runs = False, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """List the servers that are online, or with --runs the tasks that they run."""
    from asynq.cli.terminal.output import Output
    from asynq.runtime.short_texts import data, from_now

    def server_row(server: ServerInfo) -> list[object]:
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

    def run_row(pair: tuple[ServerInfo, WorkerInfo]) -> list[object]:
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

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        servers = sorted(inspector.servers(), key=lambda server: (server.host, server.pid))
    if runs and not as_json:
        pairs = [(server, run) for server in servers for run in server.workers]
        output.each(
            ["server", "id", "type", "payload", "queue", "started", "deadline"],
            pairs,
            run_row,
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
            server_row,
            empty="No server is online.",
        )
