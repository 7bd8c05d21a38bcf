"""The reference sections of the documentation are complete: option tables and the list of public names."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import asynq

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \| \S.* \|$", re.MULTILINE)
NAMES = {"timedelta": timedelta, "ZoneInfo": ZoneInfo}
"""Names that defaults in a table may use."""


def section(page: str, heading: str) -> str:
    _, _, rest = (DOCS / page).read_text().partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def documented_options(page: str, heading: str) -> list[tuple[str, object]]:
    """Name and default of each row in the order of the page."""
    return [(name, eval(default, NAMES)) for name, default in ROW.findall(section(page, heading))]  # noqa: S307 - our own page


@pytest.mark.parametrize(
    ("kind", "page", "heading"),
    [
        (asynq.Server, "handlers.md", "Server options"),
        (asynq.Scheduler, "periodic.md", "Scheduler options"),
    ],
)
def test_option_table_matches_the_signature(kind: type, page: str, heading: str) -> None:
    parameters = inspect.signature(kind).parameters.values()
    keywords = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert documented_options(page, heading) == [(each.name, each.default) for each in keywords]


def test_api_page_lists_every_public_name() -> None:
    listed = section("api.md", "Classes and functions") + section("api.md", "Exceptions")
    names = set(re.findall(r"`(\w+)(?:\(\))?`", listed))
    assert [name for name in asynq.__all__ if name not in names] == []
