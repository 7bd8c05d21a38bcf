"""The suite on harnesses selected by name, in any package."""

from __future__ import annotations

import json
import shlex

import pytest

# loaded once here, because every nested run would import it again
import asynq_conformance.report.files
import asynq_conformance.report.session
import asynq_conformance.selection  # noqa: F401

pytest_plugins = ["pytester"]

QUICK = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:hypothesispytest")
"""Plugins that are irrelevant for these laws and slow."""

HARNESSES = """
from asynq_conformance import Harness
from asynq_sqlite import MemoryBroker


class OneHarness(Harness):
    def open(self, clock):
        return MemoryBroker(clock=clock)


class OtherHarness(OneHarness):
    pass
"""


def test_the_suite_runs_on_a_named_harness(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(theirs=HARNESSES)
    pytester.syspathinsert()
    result = pytester.runpytest(
        *(
            *QUICK,
            "--pyargs",
            "asynq_conformance",
            "-k",
            "stale_worker_cannot_write",
            "--conformance-report=out",
        ),
        *("--broker=theirs:OneHarness", "--broker=theirs:OtherHarness"),
    )
    result.assert_outcomes(passed=4)
    document = json.loads((pytester.path / "out/report.json").read_text())
    columns = [(column["name"], column["backend"]) for column in document["columns"]]
    assert columns == [("one", "memory"), ("other", "memory")]


def test_the_suite_needs_no_other_plugin_where_markers_are_strict(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
    pytester.makepyfile(theirs=HARNESSES)
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess(  # in a process without any registered marker
        *(*QUICK, "-p", "no:timeout", "--pyargs", "asynq_conformance", "-k", "stale_worker_cannot_write"),
        "--broker=theirs:OneHarness",
    )
    result.assert_outcomes(passed=2)


FACTORY = """
import pytest
from asynq_conformance import BrokerConformance, Harness
from asynq_sqlite import MemoryBroker


class TheirHarness(Harness):
    opened = False

    def open(self, clock):
        self.opened = True
        return MemoryBroker(clock=clock)

    def factory(self):
        assert self.opened
        return None


class TestTheirs(BrokerConformance):
    @pytest.fixture
    def harness(self):
        return TheirHarness()
"""


def test_the_factory_is_requested_after_the_store_is_open(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FACTORY)
    result = pytester.runpytest(*QUICK, "-k", "at_once_no_acknowledged or work_goes_on")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*3 tests: no other process can open this store*"])


BROKEN = """
from asynq_conformance import Harness


class BrokenHarness(Harness):
    def open(self, clock):
        raise RuntimeError("no store")
"""


def test_a_failure_of_a_packaged_law_is_repeated_by_its_module_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(theirs=BROKEN)
    pytester.syspathinsert()
    chosen = ("-k", "stale_worker_cannot_write and plain", "--conformance-report=out")
    pytester.runpytest(*QUICK, "--pyargs", "asynq_conformance", *chosen, "--broker=theirs:BrokenHarness")
    repeat = json.loads((pytester.path / "out/report.json").read_text())["failures"][0]["repeat"]
    _, _, _, *words = shlex.split(repeat)
    assert words[:1] == ["--pyargs"]
    pytester.runpytest(*QUICK, *words).assert_outcomes(errors=1)


@pytest.mark.parametrize("broker", ["theirs:NoHarness", "nowhere:Harness", "nothing", "gopher://host"])
def test_a_broker_that_cannot_be_found_stops_the_run(pytester: pytest.Pytester, broker: str) -> None:
    pytester.makepyfile(theirs=HARNESSES)
    pytester.syspathinsert()
    result = pytester.runpytest(*QUICK, "--pyargs", "asynq_conformance", f"--broker={broker}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert broker.partition(":")[0] in result.stderr.str()
    assert ("`python -m pytest` also searches" in result.stderr.str()) is broker.startswith("nowhere")


def test_the_suite_requires_a_broker(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest(*QUICK, "--pyargs", "asynq_conformance")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*no broker is selected: add --broker package.module:Harness*"])
