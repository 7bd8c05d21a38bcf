"""`asynq metrics`: an exporter for Prometheus."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from asynq.cli.arguments import refusal, usage_error
from asynq.cli.session import BrokerURL, connected

DEFAULT_PORT = 9876
"""That of Go asynq's exporter."""

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")]
Port = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen at; 0: any free one.")
]
MaxQueues = Annotated[
    int,
    typer.Option(
        "--max-queues",
        metavar="NUMBER",
        min=1,
        help="Queues with time series of their own; others are summed up.",
    ),
]
Memory = Annotated[bool, typer.Option("--memory/--no-memory", help="Estimate the memory of queues.")]


def metrics(
    *,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    max_queues: MaxQueues = 500,
    memory: Memory = True,
    broker: BrokerURL = None,
) -> None:
    """Export metrics of all queues to Prometheus.

    They are read from the broker at each scrape, at http://HOST:PORT/metrics, until SIGTERM or Ctrl-C.
    """
    try:
        from prometheus_client import CollectorRegistry

        from asynq.metrics.endpoint import endpoint
        from asynq.metrics.queues import QueueCollector
    except ModuleNotFoundError as error:
        raise refusal(f"{error.name} is missing: pip install 'asynq-py[metrics]'") from None

    stopped = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopped.set())
    registry = CollectorRegistry()
    with connected(broker, create=True) as made:
        registry.register(QueueCollector(made, max_queues=max_queues, memory=memory))
        try:
            with endpoint(registry, host, port) as bound:
                typer.echo(f"Metrics at http://{host}:{bound}/metrics", err=True)
                stopped.wait()
        except OSError as error:
            raise usage_error(f"--port {port}: {error.strerror}") from None
