"""The site of the documentation is built without a warning, and shows the docstrings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = "".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
ELSEWHERE = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="?https?://', re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("material") is None:
        if os.environ.get("CI"):
            pytest.fail("the extra `docs` is not installed")
        pytest.skip("the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_reference_has_all_operations_of_the_broker_protocol() -> None:
    modules = {path.stem for path in (ROOT / "asynq/protocol/ops").glob("[a-z]*.py")}
    assert set(re.findall(r"^::: asynq\.protocol\.ops\.(\w+)$", REFERENCE, re.MULTILINE)) == modules


def test_the_site_is_built_without_a_warning_and_shows_what_else_there_is(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "cli/index.html").read_text())
    assert "Files for deployment" in page  # a page beside it in the navigation


def test_the_reference_shows_docstrings_of_fields_and_generated_signatures(site: Path) -> None:
    tasks = (site / "reference/tasks/index.html").read_text()
    assert "Number of retries so far." in tasks
    operations = re.sub(r"<[^>]+>", "", (site / "reference/protocol/index.html").read_text())
    assert re.search(r"Enqueue\(\s*\*,\s*message: TaskMessage", operations)


def test_links_to_files_outside_of_docs_lead_to_pages_of_the_site(site: Path) -> None:
    text = (site / "protocol/index.html").read_text()
    assert "../repository/asynq/protocol/ops/produce.py/" in text
    assert (site / "repository/asynq/protocol/ops/produce.py/index.html").is_file()
    assert 'href="../concepts/"' in (site / "repository/index.html").read_text()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """Except for Mermaid: where its server cannot be reached, a diagram is shown as text."""
    assert [page for page in site.rglob("*.html") if ELSEWHERE.search(page.read_text())] == []
