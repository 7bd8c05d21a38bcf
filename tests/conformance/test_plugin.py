"""The plugin: its report of tests that pass, fail, are skipped, are known to fail, or never report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

# loaded once here, because every nested run would import it again
import asynq_conformance.report.files
import asynq_conformance.report.session
import asynq_conformance.selection  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]

QUICK = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:hypothesispytest")
"""Plugins that are irrelevant for these laws and slow."""

LAWS = """
import pytest
from asynq_conformance import evidence
from asynq_conformance.promises import promise


@promise("G3")
class FakeLaws:
    layer = "A"

    def test_holds(self):
        pass

    @promise("G1", "G8")
    def test_of_two_promises(self):
        {body}


class TestMine(FakeLaws):
    column = "mine"


class TestOther(FakeLaws):
    {other}


def test_of_no_promise():
    pass
"""

Run: TypeAlias = "Callable[..., tuple[pytest.RunResult, dict[str, Any]]]"


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run a file of laws on two backends. Returns the output and the report as JSON."""

    def start(*arguments: str, body: str = "pass", other: str = "pass") -> Any:
        pytester.makepyfile(test_laws=LAWS.format(body=body, other=other))
        written = pytester.path / "out/report.json"
        written.unlink(missing_ok=True)
        result = pytester.runpytest(*QUICK, "--conformance-report=out", *arguments)
        return result, json.loads(written.read_text()) if written.exists() else {}

    return start


def cells(document: dict[str, Any], column: str = "mine") -> dict[str, str]:
    return {row["id"]: row["cells"][column]["status"] for row in document["promises"]}


def test_a_passed_test_is_ok_and_an_unverified_promise_is_not(run: Run) -> None:
    result, document = run()
    assert result.ret == 0
    assert {name: status for name, status in cells(document).items() if status != "none"} == {
        "G1": "ok",
        "G3": "ok",
        "G8": "ok",
    }
    assert [column["name"] for column in document["columns"]] == ["mine", "other"]
    result.stdout.fnmatch_lines(
        [
            "*asynq conformance, spec *",
            "G3  a task has one holder at a time*ok",
            "xfail: 0, unknown: 0, failed: 0",
        ]
    )


def test_server_details_of_a_project_are_in_the_report(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from asynq_conformance.properties import RUN_FACTS\n"
        "def pytest_configure(config):\n"
        "    config.stash[RUN_FACTS] = {'servers': 'containers of redis:8'}\n"
    )
    result, document = run()
    assert document["headline"][0] == "servers: containers of redis:8"
    assert document["run"]["servers"] == "containers of redis:8"
    result.stdout.fnmatch_lines(["servers: containers of redis:8", "layer A*"])


def test_a_test_without_a_promise_is_in_no_cell(run: Run) -> None:
    _, document = run()
    assert document["headline"][0].startswith("layer A, laws: 4 ok")


def test_a_class_may_stay_out_of_the_table(run: Run) -> None:
    _, document = run(other="column = None")
    assert [column["name"] for column in document["columns"]] == ["mine"]


def test_a_failure_is_reported_with_the_command_that_repeats_it(run: Run) -> None:
    result, document = run("--conformance-seed=7", body="assert 1 == 2")
    assert result.ret == 1
    assert cells(document)["G8"] == "failed"
    assert cells(document)["G3"] == "ok"
    failure = document["failures"][0]
    assert "assert 1 == 2" in failure["reason"]
    assert failure["repeat"].endswith("test_of_two_promises --conformance-profile=ci --conformance-seed=7")
    result.stdout.fnmatch_lines(["*to repeat it*", f"*{failure['repeat']}*"])


def test_the_repeating_command_works_from_the_directory_of_invocation(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]")
    below = pytester.mkdir("below")
    (below / "test_laws.py").write_text(LAWS.format(body="assert 1 == 2", other="pass"))
    monkeypatch.chdir(below)
    result = pytester.runpytest(*QUICK, "--conformance-report=out")
    assert result.ret == 1
    repeat = json.loads((below / "out/report.json").read_text())["failures"][0]["repeat"]
    assert repeat.startswith("python -m pytest test_laws.py::TestMine::test_of_two_promises ")


def test_no_password_is_in_a_report(run: Run) -> None:
    _, document = run("--broker=redis://:hunter2@127.0.0.1:1/0", body="assert 1 == 2")
    assert "hunter2" not in json.dumps(document)
    assert "--broker=redis://***@127.0.0.1:1/0" in document["failures"][0]["repeat"]
    assert "redis://***@127.0.0.1:1/0" in document["run"]["command"]


def test_a_long_failure_message_is_truncated_in_the_report(run: Run) -> None:
    _, document = run(body="raise ValueError('the begin' 'ning' + 2_000 * chr(10) + 3_000 * 'words ')")
    reason = document["failures"][0]["reason"]
    assert reason.startswith("E ")
    assert "the beginning" in reason.splitlines()[0]
    assert reason.endswith("\n...")


def test_an_error_before_or_after_a_test_is_a_failure(run: Run) -> None:
    broken = "pass\n\n    @pytest.fixture(autouse=True)\n    def closes(self):\n        yield\n        1 / 0"
    _, document = run(other=broken)
    assert cells(document, "other")["G3"] == "failed"
    assert cells(document)["G3"] == "ok"


def test_a_skip_is_reported_with_its_reason(run: Run) -> None:
    result, document = run(body="pytest.skip('no way in')")
    assert cells(document)["G1"] == "skipped"
    assert document["skipped"] == [
        {"column": column, "reason": "no way in", "tests": 1} for column in ("mine", "other")
    ]
    result.stdout.fnmatch_lines(["G1*skip 1*", "skipped, mine: 1 tests: no way in"])


def test_skipped_tests_are_counted_in_a_cell_that_is_ok(run: Run) -> None:
    other = "@promise('G3')\n    def test_more(self):\n        pytest.skip('not here')"
    result, document = run(other=other)
    assert cells(document, "other")["G3"] == "ok"
    result.stdout.fnmatch_lines(["G3*ok *ok -1"])


def test_a_weaker_promise_is_reported_only_if_it_was_verified(run: Run) -> None:
    _, document = run(body="evidence.weaker('loss only in the window')")
    assert cells(document)["G1"] == "weaker"
    assert document["weaker"][0]["reason"] == "loss only in the window"
    _, document = run(body="evidence.weaker('loss only in the window'); assert False")
    assert cells(document)["G1"] == "failed"


@pytest.mark.parametrize("then", ["pass", "pytest.skip('enough')"])
def test_an_unknown_result_is_never_ok(run: Run, then: str) -> None:
    result, document = run(body=f"evidence.unknown('not drained'); {then}")
    assert cells(document)["G1"] == "unknown"
    assert document["ok"] is False
    assert result.ret == 1


def test_figures_are_added_up(run: Run) -> None:
    _, document = run(body="evidence.count(steps=700, transitions=12, transitions_reached=11)")
    line = next(line for line in document["headline"] if line.startswith("layer A"))
    assert "1 400 steps, 22/24 transitions reached" in line


def test_the_timeline_of_a_violation_is_drawn(run: Run, pytester: pytest.Pytester) -> None:
    span = "evidence.Span('w1', 0.0, None, 'Done', 'info', 'which <task>', True)"
    _, document = run(body=f"evidence.timeline('two holders', [{span}]); assert False")
    [timeline] = document["failures"][0]["timelines"]
    assert timeline["spans"][0]["op"] == "Done"
    page = (pytester.path / "out/report.html").read_text()
    assert '<svg class="timeline"' in page
    assert "which &lt;task&gt;" in page


@pytest.mark.parametrize("name", ["report.md", "report.html", "report.json"])
def test_files_are_written(run: Run, pytester: pytest.Pytester, name: str) -> None:
    run(body="assert 'a|b' == '<b>'")
    text = (pytester.path / "out" / name).read_text()
    assert "within a queue, tasks start in the order they became pending" in text
    assert "a|b" in text


def test_the_html_page_is_self_contained(run: Run, pytester: pytest.Pytester) -> None:
    run()
    page = (pytester.path / "out/report.html").read_text()
    assert not any(word in page for word in ("src=", "@import", "url(", "<link", "http"))


# --- known failures -------------------------------------------------------------------------------------


def known(pytester: pytest.Pytester, *lines: str) -> str:
    path = pytester.path / "xfails.txt"
    path.write_text("# test | guarantee | reason | link\n\n" + "\n".join(lines))
    return f"--conformance-xfails={path}"


LINE = "TestMine::test_of_two_promises | G1 | loses every third | https://example.org/7"


def test_a_known_failure_is_counted_and_not_ok(run: Run, pytester: pytest.Pytester) -> None:
    body = "assert type(self).__name__ != 'TestMine'"
    result, document = run(known(pytester, LINE), body=body)
    assert result.ret == 0
    assert (cells(document)["G1"], cells(document, "other")["G1"]) == ("known", "ok")
    assert document["headline"][-1] == "xfail: 1, unknown: 0, failed: 0"
    result.stdout.fnmatch_lines(["xfail, mine: *loses every third*"])


def test_a_known_failure_that_passes_is_a_failure(run: Run, pytester: pytest.Pytester) -> None:
    result, document = run(known(pytester, LINE))
    assert result.ret == 1
    assert cells(document)["G1"] == "failed"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (LINE.replace("of_two", "of_three"), "names a test that does not exist"),
        (LINE.replace("G1", "G4"), "verifies G1 G8, not G4"),
    ],
)
def test_an_outdated_line_fails_the_run(
    run: Run, pytester: pytest.Pytester, line: str, complaint: str
) -> None:
    result, document = run(known(pytester, line), body="assert type(self).__name__ != 'TestMine'")
    assert result.ret == 1
    assert complaint in document["complaints"][0]


def test_a_line_for_tests_that_were_not_collected_is_ignored(run: Run, pytester: pytest.Pytester) -> None:
    result, _ = run(known(pytester, LINE.replace("TestMine", "TestElsewhere")))
    assert result.ret == 0


@pytest.mark.parametrize("line", ["TestMine::test_x | G1 | no link", LINE.replace("G1", "G12")])
def test_a_malformed_line_stops_the_run(run: Run, pytester: pytest.Pytester, line: str) -> None:
    result, _ = run(known(pytester, line))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*line 3*"])


# --- what is run ------------------------------------------------------------------------------------------


def test_layers_can_be_selected(run: Run) -> None:
    result, document = run("--conformance-layers=A", other="layer = 'B'\n    test_holds = None")
    result.assert_outcomes(passed=4)
    _, document = run("--conformance-layers=B", other="pass")
    assert document == {}
    result, _ = run("--conformance-layers=E")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_an_unknown_profile_stops_the_run(run: Run) -> None:
    result, _ = run("--conformance-profile=lazy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*lazy*smoke, ci, nightly*"])


def test_tests_beyond_the_time_budget_are_skipped(run: Run) -> None:
    result, document = run("--conformance-budget=0")
    result.assert_outcomes(passed=1, skipped=4)
    assert document["skipped"][0]["reason"] == "the time budget of 0 s is used up"


def test_a_test_that_never_reports_is_unknown(run: Run) -> None:
    result, document = run("-x", body="assert False")
    assert result.ret == 1
    assert cells(document)["G1"] == "failed"
    assert cells(document, "other") == {**cells(document, "other"), "G1": "unknown", "G3": "unknown"}


def test_a_file_that_cannot_be_collected_is_reported(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_broken="1 / 0")
    result, document = run("--continue-on-collection-errors")
    assert result.ret != 0
    assert "1 files could not be collected" in document["complaints"][0]


def test_outcomes_of_other_processes_are_collected(run: Run) -> None:
    result, document = run("-n", "2", body="evidence.weaker('there')")
    assert result.ret == 0
    assert (cells(document)["G1"], cells(document, "other")["G3"]) == ("weaker", "ok")


def test_the_tests_of_a_crashed_process_stay_in_the_table(run: Run) -> None:
    result, document = run("-n", "2", body="import os; os._exit(3)", other="test_of_two_promises = None")
    assert result.ret == 1
    assert (cells(document)["G1"], cells(document)["G3"]) == ("failed", "ok")


def test_a_run_without_laws_prints_no_table(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_something(): pass")
    result = pytester.runpytest(*QUICK, "--conformance-report=out")
    result.stdout.no_fnmatch_line("*conformance*")
    assert not (pytester.path / "out").exists()


def test_quiet_mode_omits_the_table(run: Run) -> None:
    result, _ = run("-q")
    result.stdout.no_fnmatch_line("G1 *")
    result.stdout.fnmatch_lines(["layer A, laws: 4 ok*"])
