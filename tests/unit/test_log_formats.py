from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from asynq import TaskLogFilter
from asynq.runtime.log_format import LogFormat
from asynq.runtime.log_formats import TEXT, JSONFormatter, TextFormatter, chosen_format


def record(name: str = "app", message: str = "hello", **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "msg": message, "levelname": "INFO", "process": 1, **extra})


def filtered(one: logging.LogRecord) -> logging.LogRecord:
    assert TaskLogFilter().filter(one)
    return one


def test_a_record_outside_of_a_run_has_no_task() -> None:
    one = filtered(record())
    assert (one.task_id, one.task_type, one.task_queue, one.task_attempt) == ("", "", "", "")  # type: ignore[attr-defined]
    assert TextFormatter(TEXT).format(one).endswith("app: hello")


def test_a_record_that_names_a_task_keeps_it() -> None:
    assert filtered(record(task_id="mine")).task_id == "mine"  # type: ignore[attr-defined]


def test_json_has_what_extra_gives_and_cannot_be_broken() -> None:
    line = JSONFormatter().format(filtered(record(message="a\n\x1b", order=7, thing=object())))
    assert line.count("\n") == 0
    item = json.loads(line)
    assert (item["message"], item["order"], item["level"]) == ("a\n\x1b", 7, "info")
    assert item["thing"].startswith("<object")
    assert "\x1b" not in line


def test_values_of_tasks_cannot_forge_a_line() -> None:
    line = TextFormatter(TEXT).format(record(task_id="x\n2026 INFO forged"))
    assert line.count("\n") == 0
    assert r"\n2026" in line


@pytest.mark.parametrize(
    ("text", "expected"), [("json", "json"), ("JSON", "json"), ("xml", "text"), ("", "text")]
)
def test_the_format_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("ASYNQ_LOG_FORMAT", text)
    assert chosen_format() is LogFormat(expected)
