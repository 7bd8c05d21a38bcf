"""The reference sections of the documentation are complete: option tables and the list of public names."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
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


ATTRIBUTES = re.compile(r"^\| `(\w+)` \| [^|]+ \| ((?:`\w+`(?: \([^)]+\))?(?:, )?)+) \|$", re.MULTILINE)


def test_inspection_page_lists_the_attributes_of_what_an_inspector_returns() -> None:
    listed = ATTRIBUTES.findall(section("inspection.md", "List queues and tasks"))
    found = {name: re.findall(r"`(\w+)`(?!\))", attributes) for name, attributes in listed}
    assert len(found) == 14
    for name, attributes in found.items():
        kind = getattr(asynq, name)
        fields = getattr(kind, "__struct_fields__", None) or [each.name for each in attrs.fields(kind)]
        assert attributes == list(fields), name


def test_every_public_name_is_explained_on_the_page_of_its_topic() -> None:
    """The tables of the API page say where; the pages say what."""
    pages = [page for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md") if page.name != "api.md"]
    words = {word for page in pages for word in re.findall(r"\w+", page.read_text())}
    _, _, types = section("api.md", "Classes and functions").partition("### Types for annotations")
    explained = words | set(re.findall(r"`(\w+)`", types)) | {"__version__"}
    missing = [name for name in asynq.__all__ if name not in explained]
    assert missing == []


def test_api_page_lists_every_public_name() -> None:
    listed = section("api.md", "Classes and functions") + section("api.md", "Exceptions")
    names = set(re.findall(r"`(\w+)(?:\(\))?`", listed))
    assert [name for name in asynq.__all__ if name not in names] == []


def test_the_typed_examples_contain_the_code_of_the_handlers_page() -> None:
    """Type checkers verify the code of the page in a copy, without what awaits outside of functions."""
    page = (DOCS / "handlers.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    copy = (DOCS.parent / "tests/typed/handlers_page.py").read_text()
    expected = [block for block in blocks if "\nawait " not in f"\n{block}"]
    assert copy.partition("# ---\n")[2] == "\n\n".join(expected)
