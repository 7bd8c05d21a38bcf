"""Writes the files of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq_conformance.report.document import as_json
from asynq_conformance.report.html import as_html
from asynq_conformance.report.markdown import as_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_conformance.report.outcomes import ConformanceReport


def write(report: ConformanceReport, directory: Path) -> None:
    """Write report.md, report.json and report.html. The directory is created."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.md", as_markdown(report)),
        ("report.json", as_json(report)),
        ("report.html", as_html(report)),
    ):
        (directory / name).write_text(text, encoding="utf-8")
