"""The glossary is in alphabetical order and defines each term once."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/glossary.md"
TERM = re.compile(r"^- \*\*(.+?)\*\*: ", re.MULTILINE)


def test_glossary_terms_are_unique_and_sorted() -> None:
    terms = [term.casefold() for term in TERM.findall(PAGE.read_text())]
    assert terms == sorted(set(terms))
    assert len(terms) == PAGE.read_text().count("\n- ")
