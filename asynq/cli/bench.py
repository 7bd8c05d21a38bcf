"""`asynq bench`: measures this library, and other task queues beside it."""

from __future__ import annotations

import json
import signal
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import usage_error
from asynq.supervisor.command import INTERRUPTED, USAGE_ERROR

if TYPE_CHECKING:
    from asynq.bench.benchmark import Benchmark
    from asynq.bench.peers.peer import Peer
    from asynq.bench.row import Row

FLOOR_MISSED = 1
"""Exit status if the median of a row misses its floor."""

STDOUT = "-"
"""In place of a file."""
WIDTH = 200
"""Columns of the table in a file or pipe."""


BrokerURL = Annotated[
    str | None,
    typer.Option(
        "--broker",
        "-b",
        metavar="URL",
        help="An empty Redis database, which is emptied again. [default: a redis-server of its own]",
    ),
]
Rows = Annotated[
    str, typer.Option("--rows", metavar="GLOB", help="Only rows with such names. Several: with commas.")
]
Repetitions = Annotated[
    int | None,
    typer.Option("--repetitions", "-n", metavar="NUMBER", min=1, help="Measurements per row. [default: 3]"),
]
Compare = Annotated[
    str | None,
    typer.Option("--compare", metavar="NAMES", help="Also measure these task queues, with commas, or all."),
]
PeersDir = Annotated[
    Path | None,
    typer.Option(
        "--peers-dir",
        metavar="PATH",
        file_okay=False,
        help="Where the task queues of --compare are installed. [default: the user's cache]",
    ),
]
JSONFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - is stdout.")
]
SVGFile = Annotated[
    Path | None, typer.Option("--svg", metavar="FILE", dir_okay=False, help="Write a chart as SVG.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Few tasks, one repetition: shows that it works, not how fast.")
]


def bench(
    *,
    broker: BrokerURL = None,
    rows: Rows = "*",
    repetitions: Repetitions = None,
    compare: Compare = None,
    peers_dir: PeersDir = None,
    json_file: JSONFile = None,
    svg_file: SVGFile = None,
    quick: Quick = False,
) -> None:
    """Measure the speed of this library.

    Rates are also shown relative to the speed of the store itself, which is measured again and again in the
    same run. The exit status is 1 if the median of a row misses its floor.
    """
    from asynq.bench.benchmark import Benchmark
    from asynq.bench.peers.peer import default_directory

    for option, file in (("--json", json_file), ("--svg", svg_file)):
        if file is not None and file != STDOUT and not Path(file).absolute().parent.is_dir():
            raise usage_error(f"{option}: there is no directory {str(Path(file).parent)!r}")
    prepared = Benchmark(
        rows=_chosen_rows(rows),
        broker_url=broker,
        repetitions=repetitions or (1 if quick else 3),
        quick=quick,
        peers=_chosen_peers(compare),
        peers_directory=(peers_dir or default_directory()).absolute(),
    )
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise typer.Exit(_show(prepared, json_file, svg_file))


def _chosen_rows(globs: str) -> list[Row]:
    """The rows with names that match, in the order of the table."""
    from asynq.bench.rows import ALL_ROWS

    patterns = [pattern.strip() for pattern in globs.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in ALL_ROWS):
            names = ", ".join(row.name for row in ALL_ROWS)
            raise usage_error(f"--rows: no row is called {pattern!r}. The rows: {names}")
    return [row for row in ALL_ROWS if any(fnmatchcase(row.name, pattern) for pattern in patterns)]


def _chosen_peers(names: str | None) -> list[Peer]:
    """The task queues of these names, in the order of the catalogue."""
    from asynq.bench.peers.catalogue import PEERS

    if names is None:
        return []
    chosen = set(PEERS) if names == "all" else {name.strip() for name in names.split(",")}
    if unknown := sorted(chosen - PEERS.keys()):
        raise usage_error(f"--compare: {unknown[0]!r} is not known. Known: all, {', '.join(PEERS)}")
    return [peer for name, peer in PEERS.items() if name in chosen]


def _show(prepared: Benchmark, json_file: str | None, svg_file: Path | None) -> int:
    """Measure, and print progress and results. Returns the exit status."""
    from rich.console import Console

    from asynq.bench.display import display_for, print_report
    from asynq.bench.svg import chart
    from asynq.errors import AsynqError
    from asynq.runtime.safe_text import shown

    # With --json -, stdout contains nothing but JSON.
    console = Console(file=sys.stderr if json_file == STDOUT else sys.stdout)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        with display_for(console) as display:
            report = prepared.run(display)
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    print_report(console, report)
    if json_file is not None:
        text = json.dumps(report.as_json(), indent=2)
        if json_file == STDOUT:
            typer.echo(text)
        else:
            Path(json_file).write_text(text + "\n")
    if svg_file is not None:
        svg_file.write_text(chart(report))
    return FLOOR_MISSED if report.missed else 0
