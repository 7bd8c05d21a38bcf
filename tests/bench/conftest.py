"""Prints the figures at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for key, value in report.user_properties
        if key == "line"
    ]
    if lines:
        terminalreporter.section("tasks per second")
        terminalreporter.write("\n".join([*sorted(lines), ""]))
