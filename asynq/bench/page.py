"""Writes the figures of a report into Markdown pages: `python -m asynq.bench.page REPORT.json PAGE.md ...`.

A figure stands between two comments, such as `<!-- results -->` and `<!-- /results -->`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynq.bench.display import number
from asynq.bench.report import GO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UTILISATION = 0.6
"""Share of the capacity that the sizes in the page plan with."""
RATES = (1_000, 10_000, 50_000)
"""Tasks a second in the table of sizes."""
BACKLOG = 1_000_000
"""Pending tasks in the table of sizes."""
SUMMARY = {
    "drain-50": "Drain, 50 at a time",
    "cpu-worker-50": "CPU of the worker per task",
    "cpu-redis-50": "CPU of Redis per task",
    "enqueue-sync": "Enqueue, sync, one by one",
    "enqueue-concurrent": "100 concurrent enqueues",
    "pickup-p50": "Idle pick-up, median",
    "memory-start-pss": "Memory of an idle worker",
    "redis-memory": "Redis memory per pending task",
}
"""The rows of the short comparison, with their titles in it."""


def update(page: str, report: Mapping[str, Any]) -> str:
    """The page with those figures of the report for which it has a place.

    Raises:
        ValueError: the page has no place, or a place without its begin or its end.
    """
    sections = {
        "machine": _machine(report),
        "results": _results(report["rows"]),
        "comparison": _comparison(report),
        "systems": _systems(report),
        "sizes": _sizes({row["name"]: row["measured"]["median"] for row in report["rows"]}),
        "summary": _summary(report),
    }
    places = 0
    for name, text in sections.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin and end not in page:
            continue
        if not (found_begin and found_end):
            raise ValueError(f"the page must contain {begin} and then {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
        places += 1
    if not places:
        raise ValueError(f"the page has a place for none of {', '.join(sections)}")
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _machine(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    facts = [
        f"on {report['started'][:10]} in {report['seconds'] / 60:.0f} minutes",
        f"repetitions: {report['repetitions']}",
        f"{machine['cpus']} cores ({machine['processor']}), load before the run: {machine['load']}",
        f"{machine['system']}, {machine['python']}, Redis {machine.get('redis', 'none')}",
    ]
    if "build" in machine:
        facts.append(f"interpreter {machine['build']}")
    calibrations = [
        f"{name} ({one['title']}): {_spread(one)} a second" for name, one in report["calibrations"].items()
    ]
    return "\n".join(f"- {line}" for line in (*facts, *calibrations))


def _results(rows: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ["Row", "Measure", "Measured", "Result", "Floor", "Goal", "Verdict"],
        (
            [
                f"`{row['name']}`",
                row["title"],
                f"{number(row['measured']['median'])} {row['unit']}",
                f"{_spread(row['relative'] or row['measured'])} {row['calibration'] or row['unit']}",
                _bound(row, "floor"),
                _bound(row, "goal"),
                row["verdict"],
            ]
            for row in rows
        ),
    )


def _comparison(report: Mapping[str, Any]) -> str:
    names = list(report["systems"])
    _, *others = names
    return _table(
        ["Measure", "Unit", *names],
        (
            [
                row["title"],
                row["unit"],
                number(row["measured"]["median"]),
                *(number(row["peers"][name]["median"]) if name in row["peers"] else "" for name in others),
            ]
            for row in report["rows"]
            if row["peers"]
        ),
    )


def _summary(report: Mapping[str, Any]) -> str:
    """A few rows of the comparison, as columns."""
    rows = {row["name"]: row for row in report["rows"]}

    def median(system: str, row: Mapping[str, Any]) -> str:
        numbers = row["measured"] if system == next(iter(report["systems"])) else row["peers"].get(system)
        return number(numbers["median"]) if numbers else ""

    return _table(
        ["", *(f"{title} ({rows[name]['unit']})" for name, title in SUMMARY.items())],
        (
            [f"{system} {one['version']}", *(median(system, rows[name]) for name in SUMMARY)]
            for system, one in report["systems"].items()
        ),
    )


def _systems(report: Mapping[str, Any]) -> str:
    return _table(
        ["Task queue", "Version", "Options"],
        ([name, one["version"], one["options"]] for name, one in report["systems"].items()),
    )


def _sizes(medians: Mapping[str, float]) -> str:
    """Processes and servers for some rates, from what a task costs."""
    # A worker also waits for Redis, so its CPU time alone would promise too much.
    worker = min(medians["drain-50"], 1e6 / medians["cpu-worker-50"])
    redis = 1e6 / medians["cpu-redis-50"]
    traffic, memory = medians["redis-bytes-50"], medians["redis-memory"]

    def needed(rate: int, capacity: float) -> int:
        return math.ceil(rate / capacity / UTILISATION)

    return _table(
        [
            "Tasks a second",
            "Worker processes",
            "Redis primaries",
            "Network of Redis",
            "Memory of Redis, 1 million pending",
        ],
        (
            [
                f"{rate:,}",
                str(needed(rate, worker)),
                str(needed(rate, redis)),
                f"{number(rate * traffic * 8 / 1e6)} Mbit/s",
                f"{number(BACKLOG * memory / 1e9)} GB",
            ]
            for rate in RATES
        ),
    )


def _spread(numbers: Mapping[str, Any]) -> str:
    if len(numbers["samples"]) == 1:
        return number(numbers["median"])
    return f"{number(numbers['median'])} ({number(numbers['min'])}-{number(numbers['max'])})"


def _bound(row: Mapping[str, Any], kind: str) -> str:
    if row[kind] is None:
        return ""
    go = row[f"go_{kind}"]
    return f"{row[kind]:g}" + (f" and {go:g} x Go" if go and GO in row["peers"] else "")


if __name__ == "__main__":
    report_file, *page_files = map(Path, sys.argv[1:])
    for page_file in page_files:
        page_file.write_text(update(page_file.read_text(), json.loads(report_file.read_text())))
