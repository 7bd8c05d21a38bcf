"""Every block of Python in the README and in docs/ runs as it stands.

The blocks of a page run one after the other in one module, in an empty folder, and may use `await`. A block
whose first line is a comment with a file's name is also that file. The URL of the local Redis stands for the
test server. Programs that wait for a worker process run in `tests/docs/programs.py`. Blocks of `py` are
programs for other libraries, and do not run.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.docs.programs import started_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+\.py)\n")
LOCAL_REDIS = "redis://127.0.0.1:6379"
NEEDED = {
    "fastapi": ["fastapi", "httpx2"],
    "django": ["django"],
    "flask": ["flask"],
    "traces": ["opentelemetry.sdk"],
}
"""What the blocks of a page import beside this project. They are dependencies of the tests."""
ON_SQLITE = [
    "api",
    "groups",
    "handlers",
    "howto/migrate-from-arq",
    "howto/migrate-from-celery",
    "howto/migrate-from-go",
    "howto/migrate-from-rq",
    "inspection",
    "limits",
    "periodic",
    "results",
    "tasks",
]
"""Pages whose examples work on every broker."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """The Python blocks of a page, each with the number of lines above it."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        yield text.count("\n", 0, block.start(1)), block[1]


def run(source: str, page: Path, above: int, module: ModuleType, runner: asyncio.Runner) -> None:
    """Run one block. A traceback shows the lines of the page."""
    code = compile("\n" * above + source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(_awaited(eval(code, module.__dict__)))  # noqa: S307 - the project's own documents
    else:
        exec(code, module.__dict__)  # noqa: S102 - the project's own documents


async def _awaited(coroutine: object) -> None:
    assert inspect.isawaitable(coroutine)
    await coroutine


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=named)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    run_page(page, redis_server.url, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", ON_SQLITE)
def test_the_blocks_of_a_page_run_on_sqlite(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(ROOT / f"docs/{page}.md", f"sqlite:///{tmp_path}/page.db", tmp_path, monkeypatch)


def test_the_example_of_the_testing_page_passes_in_a_new_project(tmp_path: Path) -> None:
    _, block = next(blocks(ROOT / "docs/testing.md"))
    (tmp_path / "test_page.py").write_text(block)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "test_page.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def run_page(page: Path, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run all blocks of a page with this URL in place of the local Redis."""
    if not os.environ.get("CI"):  # where a missing package is an error
        for name in NEEDED.get(page.stem, ()):
            pytest.importorskip(name)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("ASYNQ_BROKER", "sqlite:///tasks.db")
    programs = started_programs(page.read_text())
    module = ModuleType(f"page_{page.stem.lower()}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with asyncio.Runner() as runner:
        for above, block in blocks(page):
            source = block.replace(LOCAL_REDIS, url)
            if file := FILE_NAME.match(source):
                Path(file[1]).write_text(source)
                monkeypatch.delitem(sys.modules, file[1].removesuffix(".py"), raising=False)
                if file[1] in programs and "client.wait(" in source:
                    continue
            run(source, page, above, module, runner)
