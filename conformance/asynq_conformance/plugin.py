"""The pytest plugin: options, and the table of promises at the end of a run with conformance tests.

In other runs it costs only the options and one look at the collected tests.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from asynq_conformance.properties import PROPERTY_PREFIX, WORKER_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Generator

    from asynq_conformance.report.session import ReportSession


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("asynq_conformance", "conformance of asynq brokers")
    group.addoption(
        "--broker",
        action="append",
        default=[],
        metavar="MODULE:HARNESS",
        dest="conformance_brokers",
        help="with `--pyargs asynq_conformance`: run the suite on this harness, or on the store at a URL; "
        "may be repeated",
    )
    group.addoption(
        "--conformance-profile", metavar="NAME", help="amount of testing: smoke, ci (the default) or nightly"
    )
    group.addoption(
        "--conformance-layers",
        metavar="A,B,C,D",
        help="run only these layers: laws, state machine, histories, disturbances",
    )
    group.addoption("--conformance-seed", metavar="N", type=int, help="seed of random programs and loads")
    group.addoption(
        "--conformance-budget",
        metavar="SECONDS",
        type=float,
        help="skip tests that have not started within this time",
    )
    group.addoption(
        "--conformance-report",
        metavar="DIR",
        help="write report.md, report.json and report.html to this directory",
    )
    group.addoption(
        "--conformance-xfails",
        metavar="FILE",
        help="file of known failures, one per line: test | guarantee | reason | link",
    )


def pytest_configure(config: pytest.Config) -> None:
    # pytest-timeout defines this marker; without that plugin it must not count as unknown.
    config.addinivalue_line("markers", "timeout(seconds): time limit of a test")
    options = config.option
    if options.conformance_profile or options.conformance_seed is not None or options.conformance_brokers:
        from asynq_conformance import profiles, selection

        # A nested run in the same process, as in tests of plugins, must not change the outer run's choices.
        before, backends = profiles.chosen(), selection.selected()
        config.add_cleanup(lambda: profiles.choose(profile=before.profile, seed=before.seed))
        config.add_cleanup(lambda: selection.restore(backends))
        try:
            profiles.choose(profile=options.conformance_profile, seed=options.conformance_seed)
            selection.select(options.conformance_brokers)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    watch = Watch(config)
    config.pluginmanager.register(watch, "asynq_conformance_watch")
    if options.conformance_xfails or options.conformance_layers:
        watch.begin()  # so that errors in these options are reported at once


class Watch:
    """Detects conformance tests, and starts a `ReportSession` only if there are any."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.run: ReportSession | None = None
        self.uncollected = 0
        """Number of files that could not be collected."""

    def begin(self) -> ReportSession:
        """Start the session if it has not started. Returns it."""
        if self.run is None:
            from asynq_conformance.report.session import ReportSession

            self.run = ReportSession(self._config)
        return self.run

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Every module that defines a law imports this module.
        if "asynq_conformance.promises" in sys.modules:
            from asynq_conformance.report.facts import fact_of

            if any(fact_of(item) for item in items):
                self.begin().select(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.run is not None:
            self.run.expect(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if self.run is None:
            return (yield)
        with self.run.around(item):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.run is not None:
            self.run.check_budget(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self.run is not None and report.failed:
            self.run.explain(item, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.run is not None or any(
            name.startswith(PROPERTY_PREFIX) for name, _ in report.user_properties
        ):
            self.begin().add(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.uncollected += report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker process of pytest-xdist sends the list of tests that it collected.
        collected = getattr(node, "workeroutput", {}).get(WORKER_OUTPUT)
        if collected:
            self.begin().take(collected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.run is not None:
            self.run.finish(session, self.uncollected)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.run is not None:
            self.run.summarize(terminalreporter)
