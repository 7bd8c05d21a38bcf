"""Tests the store at a URL against the promises of a broker, or checks a recorded history.

`python -m asynq_conformance redis://127.0.0.1:6379/15` prints a table in about a minute.
`python -m asynq_conformance check history.jsonl.gz` checks a recording of concurrent processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from asynq_conformance.report.outcomes import ConformanceReport, LawOutcome

BROKEN: Final = 1
REFUSED: Final = 2
"""Exit statuses: a promise is broken or unknown; no test was run."""
MOST_FAILURES: Final = 5
"""Number of failed laws whose messages are printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["check"]:
        return _check(words[1:])
    options = _parser().parse_args(words)
    from asynq.errors import AsynqError
    from asynq.runtime.safe_text import shown

    try:
        if refusal := _refusal(options):
            print(refusal, file=sys.stderr)
            return REFUSED
        return _run(options)
    except (ValueError, AsynqError) as error:
        print(f"asynq_conformance: {shown(str(error))}", file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asynq_conformance",
        description="Test the EMPTY store at a URL against all promises of a broker, and leave it empty. "
        "`check FILE` checks a recorded history instead.",
    )
    parser.add_argument("url", metavar="URL", help="redis://127.0.0.1:6379/15, sqlite:///trial.db, ...")
    parser.add_argument("--force", action="store_true", help="delete all queues of the store first")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--report", metavar="DIR", help="write report.md, report.json and report.html to this directory"
    )
    parser.add_argument("--profile", default="smoke", help="smoke (the default), ci or nightly")
    parser.add_argument(
        "--only", metavar="EXPRESSION", help="run only laws whose names match, as with pytest's -k"
    )
    parser.add_argument("--layers", default="A,B", help="layers to run; A,B by default; C and D take longer")
    return parser


def _refusal(options: argparse.Namespace) -> str:
    """The reason why this store is not tested; "" if it can be."""
    from asynq.protocol import ops
    from asynq.protocol.connect import connect, redact_url
    from asynq_conformance.selection import harness_at

    harness = harness_at(options.url)
    broker = connect(options.url)
    try:
        queues = broker.execute(ops.ListQueues())
    finally:
        broker.close()
    if queues and not options.force:
        return (
            f"{redact_url(options.url)} is in use: "
            f"it has {plural(len(queues), 'queue')}, such as {queues[0]!r}.\n"
            "The tests need an empty store, which they repeatedly fill and empty. Name another store, "
            "or add --force to delete the contents of this one."
        )
    harness.empty()
    return ""


def _run(options: argparse.Namespace) -> int:
    import pytest

    from asynq_conformance.report import document, text
    from asynq_conformance.selection import harness_at

    watcher = _Watcher()
    arguments = [
        *("--pyargs", "asynq_conformance.test_broker", "-p", "asynq_conformance.plugin"),
        *("-p", "no:terminal", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(Path.cwd())),
        *("-W", "ignore", f"--broker={options.url}"),
        *(f"--conformance-profile={options.profile}", f"--conformance-layers={options.layers}"),
        *([f"--conformance-report={options.report}"] if options.report else []),
        *(["-k", options.only] if options.only else []),
    ]
    # The user's own pytest settings and plugins must not affect the run.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    try:
        status = pytest.main(arguments, plugins=[watcher])
    finally:
        watcher.close()
        with contextlib.suppress(Exception):
            harness_at(options.url).empty()
    report = watcher.report
    if report is None:
        print("asynq_conformance: no test ran", file=sys.stderr)
        return REFUSED
    if options.json:
        sys.stdout.write(document.as_json(report))
    elif sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console

        print(text.coloured(report, Console().width))
    else:
        print(text.plain(report))
    if not options.json:
        explain(report, options)
    return 0 if report.ok and status == pytest.ExitCode.OK else BROKEN


def explain(report: ConformanceReport, options: argparse.Namespace) -> None:
    """Print the message of each of the first failed laws, with the command that repeats it."""
    from asynq.protocol.connect import redact_url
    from asynq.runtime.safe_text import shown_lines

    failed: dict[str, LawOutcome] = {}
    for outcome in report.of("failed"):
        failed.setdefault(_law(outcome.test), outcome)
    for law, outcome in list(failed.items())[:MOST_FAILURES]:
        again = ["python", "-m", "asynq_conformance", redact_url(options.url), "--only", law]
        again += ["--profile", options.profile] if options.profile != "smoke" else []
        again += ["--layers", outcome.fact.layer] if outcome.fact.layer not in "AB" else []
        test = outcome.test.rpartition("::")[2]
        print(f"\n{test}\n{shown_lines(outcome.reason)}\nto repeat it: {shlex.join(again)}")
    if len(failed) > MOST_FAILURES:
        print(f"\nand {len(failed) - MOST_FAILURES} more laws: --report DIR writes all of them to files")


def _law(test: str) -> str:
    return test.rpartition("::")[2].partition("[")[0]


class _Watcher:
    """Shows the progress of the run, and keeps its report."""

    def __init__(self) -> None:
        self._config: Any = None
        self._done = 0
        self._all = 0
        self._failed = 0
        self._shown = -1

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._all = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed += report.failed
        if report.when == "teardown":
            self._done += 1
            self._show()

    def _show(self) -> None:
        """Show the progress: in place on a terminal, otherwise one line per tenth."""
        step = 100 if sys.stderr.isatty() else 10
        share = self._done * step // max(self._all, 1)
        if share == self._shown:
            return
        self._shown = share
        failed = f", {self._failed} failed" if self._failed else ""
        line = f"{self._done}/{self._all} tests{failed}"
        sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Clear the progress line."""
        if sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 40 + "\r")

    @property
    def report(self) -> ConformanceReport | None:
        """The report; None before the run has ended."""
        watch = self._config.pluginmanager.get_plugin("asynq_conformance_watch") if self._config else None
        found: ConformanceReport | None = (
            watch.run.result if watch is not None and watch.run is not None else None
        )
        return found


def _check(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asynq_conformance check", description="Check a recorded history against all rules."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="history.jsonl.gz")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    options = parser.parse_args(words)
    from asynq.runtime.safe_text import shown, shown_lines
    from asynq_conformance.histories.checking import check_file

    try:
        found = check_file(options.file)
    except (OSError, ValueError, EOFError, zlib.error) as error:  # the last two: a truncated gzip file
        print(f"asynq_conformance: {options.file}: {shown(str(error))}", file=sys.stderr)
        return REFUSED
    if options.json:
        verdicts = {
            name: {"state": found.state_of(name), "violations": list(map(str, verdict.violations))}
            for name, verdict in found.verdicts.items()
        }
        document = {"state": found.state, "counts": dict(found.counts), "verdicts": verdicts}
        print(json.dumps({**document, "incomplete": found.incomplete}, indent=1))
    else:
        print(shown_lines(str(found)))
    return 0 if found.state == "ok" else BROKEN


if __name__ == "__main__":
    sys.exit(main())
