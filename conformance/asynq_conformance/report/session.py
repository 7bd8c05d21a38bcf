"""One pytest run of the suite: selection, collection of outcomes, and output of the report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.connect import redact_url
from asynq_conformance import evidence, profiles
from asynq_conformance.promises import LAYERS
from asynq_conformance.properties import RUN_FACTS, WORKER_OUTPUT
from asynq_conformance.report import text, xfails
from asynq_conformance.report.collector import REPEAT, Collector
from asynq_conformance.report.facts import fact_of, plain_facts, record_fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from asynq_conformance.report.outcomes import ConformanceReport


class ReportSession:
    """State of one pytest process. The process that prints the report knows all outcomes."""

    def __init__(self, config: pytest.Config) -> None:
        """Raises UsageError if an option, or a file that it names, is invalid."""
        self._config = config
        self._began = time.monotonic()
        self.collector = Collector()
        self.result: ConformanceReport | None = None
        """The report, after the run has ended."""
        self._layers = _layers(config.option.conformance_layers)
        self._budget: float | None = config.option.conformance_budget
        try:
            known = config.option.conformance_xfails
            self._known = xfails.read(Path(known)) if known else []
        except (OSError, ValueError) as error:
            raise pytest.UsageError(str(error)) from error
        self._complaints: list[str] = []

    # --- before ---------------------------------------------------------------------------------------

    def select(self, items: list[pytest.Item]) -> None:
        """Record the facts of every test, mark known failures, and deselect the tests of other layers."""
        dropped = []
        about = [(item, fact) for item in items if (fact := fact_of(item))]
        for item, fact in about:
            record_fact(item, fact)
            if fact.layer not in self._layers:
                dropped.append(item)
        self._mark_known([item for item, _ in about])
        if dropped:
            gone = set(map(id, dropped))
            items[:] = [item for item in items if id(item) not in gone]
            self._config.hook.pytest_deselected(items=dropped)

    def _mark_known(self, items: list[pytest.Item]) -> None:
        whole = not any("::" in argument for argument in self._config.args)
        for line in self._known:
            meant = [item for item in items if line.matches(item.nodeid)]
            for item in meant:
                fact = fact_of(item)
                if fact and line.guarantee not in fact.promises:
                    self._complain(f"{line} verifies {' '.join(fact.promises)}, not {line.guarantee}")
                reason = f"{line.guarantee}: {line.reason} ({line.link})"
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
            if not meant and whole and line.concerns(item.nodeid for item in items):
                self._complain(f"{line} names a test that does not exist; remove the line")

    def _complain(self, complaint: str) -> None:
        known = f"{self._config.option.conformance_xfails}, {complaint}"
        if known not in self._complaints:
            self._complaints.append(known)

    def expect(self, items: list[pytest.Item]) -> None:
        """Register the tests that will run."""
        self.collector.expect(plain_facts(items))

    # --- each test --------------------------------------------------------------------------------------

    def around(self, item: pytest.Item) -> AbstractContextManager[None]:
        """Context in which the evidence of the test is recorded."""
        return evidence.listening(item.user_properties)

    def check_budget(self, item: pytest.Item) -> None:
        """Skip a test of the suite after the time budget is used up."""
        if self._budget is not None and time.monotonic() - self._began > self._budget and fact_of(item):
            pytest.skip(f"the time budget of {self._budget:g} s is used up")

    def explain(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Add the command that repeats a failure."""
        if fact_of(item) is None:
            return
        command = self._repeat(item)
        if not any(name == REPEAT for name, _ in item.user_properties):
            item.user_properties.append((REPEAT, command))
            report.user_properties.append((REPEAT, command))
        report.sections.append(("to repeat it", command))

    def _repeat(self, item: pytest.Item) -> str:
        options = self._config.option
        words = ["python", "-m", "pytest", *self._named(item)]
        words.append(f"--conformance-profile={profiles.current().name}")
        if options.conformance_seed is not None:
            words.append(f"--conformance-seed={options.conformance_seed}")
        words += [f"--broker={broker}" for broker in options.conformance_brokers]
        return _command(words)

    def _named(self, item: pytest.Item) -> list[str]:
        """The test relative to the directory of invocation, which may differ from pytest's root directory."""
        within = item.nodeid.partition("::")[2]
        module = getattr(getattr(item, "module", None), "__name__", "")
        if self._config.option.pyargs and module.startswith("asynq_conformance."):
            return ["--pyargs", f"{module}::{within}"]
        return [f"{os.path.relpath(item.path, self._config.invocation_params.dir)}::{within}"]

    def add(self, report: pytest.TestReport) -> None:
        """Add the report of a test."""
        self.collector.add(report)

    # --- after ------------------------------------------------------------------------------------------

    def take(self, collected: Mapping[str, Any]) -> None:
        """Add what a worker process collected."""
        self.collector.expect(collected["facts"])
        self._complaints += [line for line in collected["complaints"] if line not in self._complaints]

    def finish(self, session: pytest.Session, uncollected: int) -> None:
        """In a worker process, send the collected tests; otherwise write the report and set the status."""
        if uncollected:
            self._complaints.append(
                f"{uncollected} files could not be collected, so their tests are missing from the table"
            )
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[WORKER_OUTPUT] = {"facts": plain_facts(session.items), "complaints": self._complaints}
            return
        if not self.collector or self._config.option.collectonly:
            return
        self.result = report = self.report()
        if directory := self._config.option.conformance_report:
            from asynq_conformance.report.files import write

            write(report, Path(directory))
        if not report.ok and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def report(self) -> ConformanceReport:
        """The report of all outcomes."""
        report = self.collector.report()
        report.complaints = list(self._complaints)
        told: dict[str, Any] = self._config.stash.get(RUN_FACTS, {})
        report.run = {
            "asynq": _version(),
            "python": sys.version.split()[0],
            "profile": profiles.current().name,
            "seed": profiles.seed(),
            **told,
            "seconds": round(time.monotonic() - self._began, 1),
            "command": _command(["pytest", *map(str, self._config.invocation_params.args)]),
        }
        return report

    def summarize(self, terminal: pytest.TerminalReporter) -> None:
        """Print the table, or only the figures with -q."""
        report = self.result
        if report is None:
            return
        terminal.section("conformance")
        if terminal.verbosity < 0:
            lines = [text.title(report), *text.headline(report), *text.limited(list(text.details(report)))]
            terminal.write_line("\n".join(lines))
        elif terminal.hasmarkup:
            terminal.write_line(text.coloured(report, width=terminal._tw.fullwidth))  # noqa: SLF001
        else:
            terminal.write_line(text.plain(report))
        if self._config.option.conformance_report:
            terminal.write_line(f"report: {Path(self._config.option.conformance_report) / 'report.html'}")


def _layers(text_: str | None) -> set[str]:
    wanted = {name.strip().upper() for name in (text_ or ",".join(LAYERS)).split(",")}
    if unknown := wanted - LAYERS.keys():
        raise pytest.UsageError(f"--conformance-layers: {', '.join(sorted(unknown))} must be A, B, C or D")
    return wanted


def _command(words: Iterable[str]) -> str:
    """The command as a shell line. Passwords in URLs are masked, because reports are shown to others."""
    return shlex.join(redact_url(word) if "://" in word else word for word in words)


def _version() -> str:
    try:
        return version("asynq-py")
    except PackageNotFoundError:
        return "a source tree"
