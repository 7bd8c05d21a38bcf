"""What `--conformance-emit` writes: tests that fail on the broker that failed, and pass on a sound one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from asynq_conformance import emit

pytest_plugins = ["pytester"]

OPTIONS = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider", "--conformance-profile=smoke")
"""Without plugins that say nothing about what is tested."""

HARNESSES = """
from pathlib import Path
from asynq_conformance import Harness
from asynq_mutants.defects import open_broken


class SoundHarness(Harness):
    defect = None

    def __init__(self, path="tasks.db"):
        self.path = path

    def open(self, clock):
        for file in Path(self.path).parent.glob(Path(self.path).name + "*"):
            file.unlink()
        return open_broken(self.defect, self.path, clock=clock)

    def factory(self):
        return "asynq_mutants.defects:open_broken", {"defect": self.defect, "path": str(self.path)}


class MiscountingHarness(SoundHarness):
    defect = "CountsTwice"
"""

LAWS = """
import pytest
from asynq_conformance import BrokerConformance
from theirs import MiscountingHarness


class TestTheirs(BrokerConformance):
    @pytest.fixture
    def harness(self, path):
        return MiscountingHarness(path)

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "tasks.db"
"""

PROGRAM = "test_a_broker_does_what_the_model_does"
HISTORY = "test_at_once_counters_count_what_happened"


@pytest.fixture
def theirs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with tests of a broker that miscounts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), *sys.path]))  # of other processes
    pytester.makepyfile(theirs=HARNESSES, test_theirs=LAWS)
    pytester.syspathinsert()
    return pytester


def run(theirs: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return theirs.runpytest(*OPTIONS, *arguments)


def emitted(theirs: pytest.Pytester) -> list[Path]:
    return sorted((theirs.path / "found").glob("test_*.py"))


@pytest.mark.timeout(300)  # it records five histories
@pytest.mark.parametrize("law", [PROGRAM, HISTORY])
def test_what_is_emitted_fails_until_the_bug_is_gone(theirs: pytest.Pytester, law: str) -> None:
    result = run(theirs, f"test_theirs.py::TestTheirs::{law}", "--conformance-emit=found")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["written as a test: *"])
    [path] = emitted(theirs)
    assert f"def {law}" in path.read_text()
    broken = run(theirs, "found").parseoutcomes()
    assert (broken.get("failed", 0) > 0, broken.get("passed", 0)) == (True, 0)
    sound = run(theirs, "found", "--broker=theirs:SoundHarness").parseoutcomes()
    assert (sound.get("failed", 0), sound.get("passed", 0) > 0) == (0, True)


def test_a_broker_that_was_named_is_named_in_what_is_emitted(theirs: pytest.Pytester) -> None:
    arguments = ("--pyargs", "asynq_conformance", "-k", PROGRAM, "-n", "1", "--conformance-emit=found")
    # pytest-xdist hands on the path its own process started with
    found = theirs.runpytest_subprocess(*OPTIONS, *arguments, "--broker=theirs:MiscountingHarness")
    found.assert_outcomes(failed=1)
    [path] = emitted(theirs)
    assert "theirs:MiscountingHarness" in path.read_text()
    run(theirs, "found").assert_outcomes(failed=2)


def test_the_environment_names_the_folder_unless_an_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "_chosen", [None])
    monkeypatch.delenv(emit.ENVIRONMENT, raising=False)
    assert emit.directory() is None
    monkeypatch.setenv(emit.ENVIRONMENT, "here")
    assert emit.directory() == Path.cwd() / "here"
    emit.choose("there")
    assert emit.directory() == Path.cwd() / "there"
