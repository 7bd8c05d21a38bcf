"""Formats of log lines on stderr: text, JSON, or colours. A task of the record is part of each."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from asynq.runtime.log_format import FORMAT_VARIABLE, LogFormat
from asynq.runtime.safe_text import shown, shown_lines, shown_traceback

TEXT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
TASK_FIELDS = ("task_id", "task_type", "task_queue", "task_attempt", "trace_id", "span_id")
"""Attributes of records that a task has: see `asynq.handlers.task_logs`."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def chosen_format() -> LogFormat:
    """The format that the environment names; text if it names none, or one that does not exist."""
    name = os.environ.get(FORMAT_VARIABLE, "").lower()
    return LogFormat(name) if name in list(LogFormat) else LogFormat.TEXT


def stderr_handler(log_format: LogFormat) -> logging.Handler:
    """A handler that writes records to stderr. Colours need a terminal, else the lines are text."""
    if log_format is LogFormat.RICH and sys.stderr.isatty():
        return _rich_handler()
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if log_format is LogFormat.JSON else TextFormatter(TEXT))
    return handler


class SafeFormatter(logging.Formatter):
    """Bounds and escapes the tracebacks of all loggers."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """The traceback."""
        return super().formatException(ei) if ei[1] is None else shown_traceback(ei[1])


class TextFormatter(SafeFormatter):
    """Appends the task of a record to its line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback."""
        first, newline, rest = super().format(record).partition("\n")
        return first + _suffix(record) + newline + rest


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, process, the task, `extra`, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": instant.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **task_of(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line and name not in TASK_FIELDS:
                line[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = record.exc_text or shown_traceback(record.exc_info[1])
        elif record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=shown)


def task_of(record: logging.LogRecord) -> dict[str, object]:
    """What is known of the task of a record."""
    values = ((name, getattr(record, name, None)) for name in TASK_FIELDS)
    return {name: value for name, value in values if value not in (None, "")}


def _suffix(record: logging.LogRecord) -> str:
    if record.name.startswith("asynq."):
        return ""  # our own messages name the task
    task = task_of(record)
    return "".join(f" {name}={shown(value, 200)}" for name, value in task.items())


def _rich_handler() -> logging.Handler:
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.text import Text

    class SafeRichHandler(RichHandler):
        """Escapes what a record says, and shows tracebacks as asynq does."""

        def render_message(self, record: logging.LogRecord, message: str) -> Text:
            """The message, then the task in grey."""
            text = Text(shown_lines(message))
            text.append(_suffix(record), style="dim")
            return text

    handler = SafeRichHandler(console=Console(stderr=True), show_path=False, markup=False)
    handler.setFormatter(SafeFormatter("%(name)s: %(message)s"))
    return handler
