"""Writes the figures of a report into a Markdown page: `python -m asynq.bench.page REPORT.json PAGE.md`.

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


def update(page: str, report: Mapping[str, Any]) -> str:
    """The page with the figures of the report.

    Raises:
        ValueError: the page lacks the place for one of them.
    """
    sections = {
        "machine": _machine(report),
        "results": _results(report["rows"]),
        "comparison": _comparison(report),
        "systems": _systems(report),
        "sizes": _sizes({row["name"]: row["measured"]["median"] for row in report["rows"]}),
    }
    for name, text in sections.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"the page must contain {begin} and then {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
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
    report_file, page_file = map(Path, sys.argv[1:])
    page_file.write_text(update(page_file.read_text(), json.loads(report_file.read_text())))
