"""python -m asynq_mutants: which mutations of the Lua scripts the tests detect."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynq_mutants.scripts.equivalents import read_equivalents
from asynq_mutants.scripts.selection import changed_files, chosen
from asynq_mutants.scripts.session import MutationSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_mutants.scripts.operators import Mutation
    from asynq_mutants.scripts.trial import Result

ONE_IN = 48
"""With --changed, one of this many mutants of unchanged scripts is tested."""


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if every tested mutant was killed."""
    asked = _parser().parse_args(arguments)
    equivalents = read_equivalents()

    def choose(mutations: list[Mutation]) -> list[Mutation]:
        files, one_in = set(asked.file), 1 if not asked.file else sys.maxsize
        if asked.changed:
            files, one_in = changed_files(asked.base), ONE_IN
        return [
            mutation
            for mutation in chosen(mutations, session.sources, files, one_in)
            if not any(entry.covers(mutation, session.sources[mutation.file]) for entry in equivalents)
        ]

    session = MutationSession(choose, slots=asked.slots, budget=asked.budget)
    session.run()
    _report(session)
    if asked.json:
        records = [_record(session, result) for result in session.results]
        Path(asked.json).write_text(json.dumps(records, indent=1), encoding="utf-8")
    return int(any(_missed(result) for result in session.results) or not session.results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m asynq_mutants", description=__doc__)
    parser.add_argument("file", nargs="*", help="scripts, such as done or lib/lock; all by default")
    parser.add_argument(
        "--changed", action="store_true", help="test changed scripts, and a sample of the others"
    )
    parser.add_argument("--base", default="origin/main", help="commit with which scripts are compared")
    parser.add_argument(
        "--budget",
        type=float,
        default=3600.0,
        help="seconds after tracing until no further mutant is started",
    )
    parser.add_argument(
        "--slots", type=int, default=os.cpu_count() or 1, help="number of concurrent processes"
    )
    parser.add_argument("--json", help="write all results to this file")
    return parser


def _missed(result: Result) -> bool:
    return result.outcome in ("survived", "not reached by any test")


def _report(session: MutationSession) -> None:
    outcomes = Counter(result.outcome for result in session.results)
    by_file: dict[str, Counter[str]] = {}
    for result in session.results:
        by_file.setdefault(result.mutation.file, Counter())[result.outcome] += 1
    session.say("")
    for file, counts in sorted(by_file.items()):
        missed = counts["survived"] + counts["not reached by any test"]
        session.say(f"{file:20} {counts['killed']:5} killed {missed:4} missed")
    session.say(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    if not session.complete:
        session.say("the time ended before the others were tested")


def _record(session: MutationSession, result: Result) -> dict[str, Any]:
    source = session.sources[result.mutation.file]
    before, after = result.mutation.shown(source)
    return {
        "file": result.mutation.file,
        "line": result.mutation.line(source),
        "operator": result.mutation.operator,
        "before": before,
        "after": after,
        "outcome": result.outcome,
        "by": result.by,
        "tests": result.tests,
        "seconds": round(result.seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
