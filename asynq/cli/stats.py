"""`asynq stats`: all queues at a glance, once or again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve

from asynq.cli.completion import STATES
from asynq.cli.queue import OPTIONAL
from asynq.cli.session import JSON, BrokerURL, inspecting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from asynq.cli.terminal.output import Output
    from asynq.info import QueueInfo
    from asynq.inspector.inspector import Inspector

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show them again and again, until Ctrl-C.")]
Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.2, help="Seconds between, with --watch.")
]


def stats(
    *, watch: Watch = False, interval: Interval = 2.0, broker: BrokerURL = None, as_json: JSON = False
) -> None:
    """Show all queues at a glance.

    The sizes of all queues, the runs of today (UTC) and the servers that are online.
    """
    from asynq.cli.terminal.output import Output

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        if not watch:
            infos, servers = _read(inspector)
            if as_json:
                output.json(_summary(infos, servers))
            else:
                console = output.console()
                output.show(console, _page(infos, servers, console.width))
            return
        _watch(inspector, output, interval)


def _read(inspector: Inspector) -> tuple[tuple[QueueInfo, ...], int]:
    read = inspector.overview(memory=True)
    for error in read.unreadable.values():
        raise error
    return read.queues, len(read.servers)


def follow(inspector: Inspector, output: Output, pause: Callable[[], object]) -> None:
    """Print one object after the other, or a page when more has changed than latencies."""
    before: object = None
    console = output.console()
    while True:
        infos, servers = _read(inspector)
        present = [evolve(info, latency=timedelta(0)) for info in infos], servers
        if output.as_json:
            output.json(_summary(infos, servers))
        elif present != before:
            if before is not None:
                output.say("")
            output.show(console, _page(infos, servers, console.width))
        before = present
        console.file.flush()
        pause()


def _watch(inspector: Inspector, output: Output, interval: float) -> None:
    """Show the page again and again."""
    import time

    from rich.live import Live

    console = output.console()
    if output.as_json or not console.is_terminal:
        follow(inspector, output, lambda: time.sleep(interval))
    with Live(console=console, screen=True, auto_refresh=False) as live:
        before: tuple[float, int] | None = None
        while True:
            infos, servers = _read(inspector)
            now, done = time.monotonic(), sum(info.processed_total for info in infos)
            rate = (done - before[1]) / (now - before[0]) if before else None
            live.update(_page(infos, servers, console.width, rate), refresh=True)
            before = now, done
            time.sleep(interval)


def _total(infos: Sequence[QueueInfo], name: str) -> int:
    return sum(int(getattr(info, name)) for info in infos)


def _summary(infos: Sequence[QueueInfo], servers: int) -> dict[str, object]:
    names = ("size", *STATES, "processed", "failed")
    return {
        "aggregate": {name: _total(infos, name) for name in names} | {"timestamp": datetime.now(UTC)},
        "servers": servers,
        "queues": list(infos),
    }


def _page(infos: Sequence[QueueInfo], servers: int, width: int, rate: float | None = None) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from asynq.cli.terminal.output import table_of
    from asynq.runtime.short_texts import percent, plural, short_duration

    processed, failed = _total(infos, "processed"), _total(infos, "failed")
    parts = [
        plural(_total(infos, "size"), "task"),
        plural(len(infos), "queue"),
        f"{plural(servers, 'server')} online",
        f"{processed:,} processed today, {percent(failed, processed) or '0%'} failed",
    ]
    if rate is not None:
        parts.append(f"{rate:,.0f} a second")
    columns = ["queue", "size", *STATES, "latency", "today", "failed", ""]
    rows = [
        [
            info.queue,
            info.size,
            *(getattr(info, state) or "" for state in STATES),
            short_duration(info.latency) if info.pending else "",
            info.processed or "",
            percent(info.failed, info.processed) if info.failed else "",
            "paused" if info.paused else "",
        ]
        for info in sorted(infos, key=lambda info: -info.size)
    ]
    table = table_of(columns, rows, width, right=columns[1:-1], optional=OPTIONAL)
    return Group(Text(" · ".join(parts)), Text(""), table)
