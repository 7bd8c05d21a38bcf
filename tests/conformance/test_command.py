"""`python -m asynq_conformance`: a table for the store at a URL, and checks of recorded histories."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asynq
from asynq_conformance.__main__ import BROKEN, REFUSED, explain
from asynq_conformance.histories.history import REMAINS
from asynq_conformance.histories.record import EventKind, HistoryEvent, write
from asynq_conformance.report import text
from asynq_conformance.report.outcomes import ConformanceReport, Fact, LawOutcome

if TYPE_CHECKING:
    from tests.servers import RedisServer

FEW = ("--only", "stale_worker_cannot_write or second_task_with_the_lock")


def conformance(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "asynq_conformance", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, cwd=cwd, env=environment
    )


def test_a_table_is_printed_for_the_store_at_a_url(tmp_path: Path) -> None:
    ran = conformance("memory://", *FEW, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "G4  a unique task has no duplicate until its lock ends" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert "10/10 tests" in ran.stderr


def test_a_table_for_a_url_names_no_servers_that_the_tests_of_a_repository_would_start() -> None:
    ran = conformance("memory://", *FEW, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "asynq conformance" in ran.stdout
    assert "servers:" not in ran.stdout


def test_a_store_in_use_is_refused_without_force(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    with asynq.Client(url) as client:
        client.enqueue(asynq.Task("kind", b""), task_id="precious")
    ran = conformance(url, *FEW, cwd=tmp_path)
    assert ran.returncode == REFUSED
    assert "is in use: it has 1 queue, such as 'default'" in ran.stderr
    with asynq.Inspector(url) as inspector:
        assert inspector.task("default", "precious").id == "precious"
    ran = conformance(url, *FEW, "--force", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["columns"][0]["name"] == "sqlite"
    assert list(tmp_path.glob("tasks.db*")) == []


def test_a_redis_database_is_empty_afterwards(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.client.set("other", "people's")
    ran = conformance(redis_server.url, *FEW, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert redis_server.client.keys("*") == [b"other"]


@pytest.mark.parametrize("url", ["gopher://elsewhere", "redis://127.0.0.1:1"])
def test_an_unusable_store_is_reported(tmp_path: Path, url: str) -> None:
    ran = conformance(url, *FEW, cwd=tmp_path)
    assert ran.returncode == REFUSED
    assert "Traceback" not in ran.stderr
    assert "asynq_conformance: " in ran.stderr


def test_a_history_that_was_not_drained_is_not_ok(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    write(path, [])
    ran = conformance("check", str(path), cwd=tmp_path)
    assert ran.returncode == BROKEN
    assert "incomplete: the run was not drained" in ran.stdout


def test_a_history_without_a_violation_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    write(path, [HistoryEvent("drain", -1, 2, EventKind.NOTE, REMAINS, {"quiesced_at": 1, "drained": True})])
    ran = conformance("check", str(path), "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["state"] == "ok"


def test_a_truncated_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    write(path, [HistoryEvent("drain", -1, 2, EventKind.NOTE, REMAINS, {"quiesced_at": 1, "drained": True})])
    path.write_bytes(path.read_bytes()[:-20])
    ran = conformance("check", str(path), cwd=tmp_path)
    assert ran.returncode == REFUSED
    assert "Traceback" not in ran.stderr


def test_each_failed_law_is_printed_once_with_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fact = Fact(column="redis", layer="A", promises=("G3",))
    outcomes = [
        LawOutcome(
            test=f"test_broker.py::TestBroker::test_{law}[{face}]", fact=fact, status="failed", reason=face
        )
        for law in "abcdefg"
        for face in ("plain", "awaited")
    ]
    options = argparse.Namespace(url="redis://:hunter2@host", profile="ci")
    explain(ConformanceReport(outcomes=outcomes, columns=["redis"]), options)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "\ntest_a[plain]\nplain\n"
        "to repeat it: python -m asynq_conformance 'redis://***@host' --only test_a --profile ci\n\n"
        "test_b[plain]\n"
    )
    assert "test_f" not in printed
    assert "and 2 more laws" in printed


def test_messages_of_laws_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fact = Fact(column="[red]mine", layer="A", promises=("G3",))
    said = "two\nlines\x1b[2J\u202e"
    outcomes = [
        LawOutcome(test="test_a", fact=fact, status="failed", reason=said),
        LawOutcome(test="test_b", fact=fact, status="skipped", reason=said),
    ]
    report = ConformanceReport(outcomes=outcomes, columns=["[red]mine"])
    explain(report, argparse.Namespace(url="redis://host", profile="smoke"))
    told = capsys.readouterr().out
    assert "\ntwo\nlines\\x1b[2J\\u202e\n" in told
    for page in (text.plain(report), text.coloured(report, 200)):
        assert "[red]mine" in page
        assert "two\\nlines\\x1b[2J" in page
        assert "\x1b[2J" not in page


def test_a_file_that_is_not_a_history_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("{}\n")
    ran = conformance("check", str(path), cwd=tmp_path)
    assert ran.returncode == REFUSED
    assert "not an event" in ran.stderr
