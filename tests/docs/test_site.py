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


def built(folder: Path) -> Path:
    """The site, in this folder. It takes 10 seconds of a processor, so only one test builds it."""
    if find_spec("material") is None:
        if os.environ.get("CI"):
            pytest.fail("the extra `docs` is not installed")
        pytest.skip("the extra `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    build = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


def text(page: Path) -> str:
    """What a reader sees of a page."""
    return re.sub(r"<[^>]+>", "", page.read_text())


def test_the_reference_has_all_operations_of_the_broker_protocol() -> None:
    modules = {path.stem for path in (ROOT / "asynq/protocol/ops").glob("[a-z]*.py")}
    assert set(re.findall(r"^::: asynq\.protocol\.ops\.(\w+)$", REFERENCE, re.MULTILINE)) == modules


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    site = built(tmp_path)
    # An index page of a folder has a place in the navigation, as other pages have.
    assert "Files for deployment" in text(site / "cli/index.html")
    # Docstrings of fields, and signatures that attrs and msgspec generate.
    assert "Number of retries so far." in text(site / "reference/tasks/index.html")
    operations = text(site / "reference/protocol/index.html")
    assert re.search(r"Enqueue\(\s*\*,\s*message: TaskMessage", operations)
    # Links to files outside of docs/, and links from there.
    source = "repository/asynq/protocol/ops/produce.py/"
    assert f'href="../{source}"' in (site / "protocol/index.html").read_text()
    assert (site / source / "index.html").is_file()
    assert 'href="../concepts/"' in (site / "repository/index.html").read_text()
    # Nothing is loaded from elsewhere except Mermaid; without it, a diagram is shown as text.
    assert [page for page in site.rglob("*.html") if ELSEWHERE.search(page.read_text())] == []
