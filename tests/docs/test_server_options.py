"""The table of server options lists every keyword of Server with its default."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path

import asynq

PAGE = Path(__file__).parents[2] / "docs/handlers.md"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \| \S.* \|$", re.MULTILINE)


def documented() -> list[tuple[str, object]]:
    """Name and default of each row, in the order of the page."""
    _, _, section = PAGE.read_text().partition("\n## Server options\n")
    names = {"timedelta": timedelta}
    return [(name, eval(default, names)) for name, default in ROW.findall(section)]  # noqa: S307 - our own page


def test_server_options_table_matches_the_signature() -> None:
    parameters = inspect.signature(asynq.Server.__init__).parameters.values()
    keywords = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert documented() == [(each.name, each.default) for each in keywords]
