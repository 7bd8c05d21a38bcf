"""Every relative link of the documentation has a target, and every page is reachable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("[a-z]*/README.md"),
        *ROOT.glob("examples/*/README.md"),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:asynq|backends|conformance|docs|examples|tests)/[\w./-]+|[\w./-]+\.(?:py|lua))`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: Path) -> set[str]:
    return {link for link in LINK.findall(page.read_text()) if "://" not in link}


def anchor(heading: str) -> str:
    """The anchor of a heading on GitHub and in common renderers."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_have_targets(page: Path) -> None:
    broken = set()
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        # The fragment of an image, such as only-light, is an instruction to the theme of the site.
        headings = HEADING.findall(target.read_text()) if target.suffix == ".md" and target.exists() else []
        has_anchor = target.suffix == ".webp" or fragment in map(anchor, headings)
        if not target.exists() or (fragment and not has_anchor):
            broken.add(link)
    assert broken == set()


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        if page.suffix == ".md":
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert [page for page in PAGES if page not in reached] == []


def test_every_page_has_a_place_in_the_navigation_of_the_site() -> None:
    entries = set(re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {
        str(page.relative_to(ROOT / "docs"))
        for page in (ROOT / "docs").rglob("*.md")
        if page.parent.name != "decisions"
    }
    assert pages - entries == set()


def named_files(page: Path) -> set[str]:
    """Files and folders named in the text of a page, as `asynq/server.py`, `asynq/cli/` or `server.py`."""
    return set(FILE.findall(CODE.sub("", page.read_text())))


@pytest.mark.parametrize(
    "page", [ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem
)
def test_every_file_named_for_contributors_exists(page: Path) -> None:
    tree = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-z]*/**/*")]
    named = named_files(page)
    assert len(named) > 10
    missing = [
        name
        for name in named
        if not (ROOT / name).exists() and not any(f"/{path}".endswith(f"/{name}") for path in tree)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nested_lists_are_indented_for_the_site_too(page: Path) -> None:
    """The site wants four spaces, where GitHub is content with two."""
    assert re.findall(r"^ {1,3}[-*] .+", CODE.sub("", page.read_text()), re.MULTILINE) == []
