"""The format of log lines, by name."""

from __future__ import annotations

from enum import StrEnum

FORMAT_VARIABLE = "ASYNQ_LOG_FORMAT"
"""Environment variable with the format, which all processes of a worker inherit."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    """One line, then the traceback if there is one."""
    JSON = "json"
    """One object a line."""
    RICH = "rich"
    """Colours, for people at a terminal."""
