"""python -m asynq_mutants.matrix: which layer of the suite catches which bug, and with how much effort.

Each bug is tested with the laws that name it (A), random and fixed programs (B), and recorded histories (C).
Bugs of the client or the transport are tested with the test that must detect them (A or D).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import asdict

from asynq_conformance import profiles
from asynq_conformance.promises import LAYERS
from asynq_mutants.kills import EQUIVALENT, KILLED, SURVIVED, BugResult, LayerResult, totals
from asynq_mutants.rows import CORRECT_BROKER, rows
from asynq_mutants.trials import timed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asynq_mutants.rows import MatrixRow

MISSED: Final = 1
REFUSED: Final = 2
"""Exit statuses: a bug survived a layer that must kill it; nothing was tested."""
NOT_TRIED: Final = "not tried"
ACCUSED: Final = "accused"
"""Status of the correct broker if something was found."""
BY_LUCK: Final = 0.5
"""Maximum number of random programs: kills that need more depend on luck."""
_WIDTH: Final = 44


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every tested bug was caught by every layer that must catch it."""
    asked = _parser().parse_args(arguments)
    profiles.choose(profile=asked.profile)
    layers = [layer.strip().upper() for layer in asked.layers.split(",")]
    chosen = [row for row in [*rows(), CORRECT_BROKER] if not asked.bug or row.id in asked.bug]
    unknown = {*asked.bug} - {row.id for row in chosen} | {*layers} - LAYERS.keys()
    if unknown:
        print(f"unknown bugs or layers: {', '.join(sorted(unknown))}", file=sys.stderr)
        return REFUSED
    began = time.monotonic()
    print(_line("", "bug", layers, {layer: layer for layer in layers}, "must"), flush=True)
    found = []  # the correct broker last, to show that no tested bug left anything broken
    for number, row in enumerate(chosen, start=1):
        result = tried(row, layers, everywhere=asked.everywhere)
        found.append(result)
        texts = {layer: result.layers[layer].text for layer in layers if layer in result.layers}
        must = " ".join(row.must) + ("" if result.status == KILLED else f"  {result.status}")
        print(_line(f"{number}/{len(chosen)}", f"{row.id} {row.bug}", layers, texts, must), flush=True)
    _summarize(found, time.monotonic() - began)
    if asked.json:
        plain = [asdict(result) for result in found]
        Path(asked.json).write_text(json.dumps({"bugs": plain}, indent=1) + "\n", encoding="utf-8")
    return MISSED if any(result.status in (SURVIVED, ACCUSED) for result in found) else 0


def tried(row: MatrixRow, layers: Collection[str], *, everywhere: bool = False) -> BugResult:
    """Test these layers on a bug. Histories are recorded if layer C must catch it, or with `everywhere`."""
    results: dict[str, LayerResult] = {}
    for layer, trial in row.trials.items():
        needless = layer == "C" and row is not CORRECT_BROKER and layer not in row.must
        if layer in layers and (everywhere or not needless):
            with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
                results[layer] = timed(trial, Path(folder))
    for layer, why in row.beyond.items():
        results.setdefault(layer, LayerResult(by=why))
    status = _status(row, results)
    return BugResult(
        id=row.id,
        bug=row.bug,
        promise=", ".join(row.promises),
        layer=", ".join(row.must),
        killed_by=next((one.by for one in results.values() if one.status == KILLED), ""),
        seconds=round(sum(one.seconds for one in results.values()), 2),
        status=status,
        layers=results,
    )


def _status(row: MatrixRow, results: Mapping[str, LayerResult]) -> str:
    if row is CORRECT_BROKER:
        return ACCUSED if any(one.status == KILLED for one in results.values()) else EQUIVALENT
    wanted = [results[layer].status for layer in row.must if layer in results]
    return SURVIVED if SURVIVED in wanted else KILLED if KILLED in wanted else NOT_TRIED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asynq_mutants.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bug", nargs="*", help="numbers or names of bugs; all by default")
    parser.add_argument("--layers", default=",".join(LAYERS), help="A,B,C,D")
    parser.add_argument("--profile", default="ci", help="amount of testing: smoke, ci or nightly")
    parser.add_argument("--everywhere", action="store_true", help="record histories for all bugs")
    parser.add_argument("--json", metavar="FILE", help="write the matrix to this file")
    return parser


def _line(number: str, what: str, layers: Sequence[str], cells: Mapping[str, str], must: str) -> str:
    what = what if len(what) <= _WIDTH else f"{what[: _WIDTH - 3]}..."
    texts = "".join(f"  {cells.get(layer, '-'):<14}" for layer in layers)
    return f"{number:>7}  {what:<{_WIDTH}}{texts}  {must}".rstrip()


def _summarize(found: Sequence[BugResult], seconds: float) -> None:
    print()
    for total in totals(found):
        print(total)
    for bug in found:
        programs = bug.layers.get("B", LayerResult())
        if programs.tried and programs.tried > BY_LUCK * profiles.current().examples:
            print(f"killed late, depends on luck: {bug.id} {bug.bug}: {programs.by}")
        if programs.by and not programs.status:
            print(f"not testable with programs: {bug.id} {bug.bug}: {programs.by}")
    statuses = Counter(bug.status for bug in found)
    tried = sum(statuses.values()) - statuses[EQUIVALENT] - statuses[ACCUSED]
    print(
        f"{statuses[KILLED]} of {tried} killed by every required layer, {statuses[SURVIVED]} survived,",
        end=" ",
    )
    print(f"{statuses[NOT_TRIED]} not tried, {seconds:.0f} s")
    if statuses[ACCUSED]:
        print("the correct broker was accused: these results are not reliable")
    missed = [bug for bug in found if bug.status == SURVIVED]
    for bug in missed:
        survived = [layer for layer, result in bug.layers.items() if result.status == SURVIVED]
        print(f"  {bug.id} {bug.bug}: survived {', '.join(survived)}, must be killed by {bug.layer}")


if __name__ == "__main__":
    sys.exit(main())
