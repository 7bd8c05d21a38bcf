"""The programs of the documentation do what the pages show, and type checkers accept them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.programs import PAGES, run_commands, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import RedisServer


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run_on_redis(page: str, tmp_path: Path, redis_server: RedisServer) -> None:
    write_files(page, redis_server.url, tmp_path)
    run_commands(page, redis_server.url, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run_on_sqlite(page: str, tmp_path: Path) -> None:
    write_files(page, f"sqlite:///{tmp_path}/page.db", tmp_path)
    run_commands(page, f"sqlite:///{tmp_path}/page.db", tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_mypy_accepts_the_programs_of_a_page(
    page: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("mypy")
    names = write_files(page, "memory://typed", tmp_path)
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", *names]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
