"""The programs of the documentation, run as a reader runs them: files, and the commands that the page shows.

A Python block whose first line is a comment with a file's name is that file. The lines after a command are
what it prints.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/tasks.md", "docs/results.md", "docs/workflows.md", "docs/periodic.md"]
"""Pages whose programs run on every broker."""
URLS = re.compile(r"redis://127\.0\.0\.1:6379|sqlite:///tasks\.db")
FILE = re.compile(r"^```python\n# (\w+\.py)\n.*?^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^\$ python (\w+\.py)$", re.MULTILINE)


def write_files(page: str, url: str, folder: Path) -> list[str]:
    """Write the files of a page with this URL of the broker. Returns their names."""
    names = []
    for block in FILE.finditer((ROOT / page).read_text()):
        names.append(block[1])
        source = block[0].removeprefix("```python\n").removesuffix("```")
        (folder / block[1]).write_text(URLS.sub(url, source))
    return names


def started_programs(text: str) -> set[str]:
    """The files that a command of the page runs."""
    return set(PROGRAM.findall("".join(CONSOLE.findall(text))))


def run_commands(page: str, url: str, folder: Path) -> None:
    """Run the commands of a page in its order: workers and schedulers beside the programs.

    Each must print what the page shows, and end with status 0.
    """
    with contextlib.ExitStack() as running:
        waits = []
        for words, output in _commands(page, url):
            if words[0] == "python":
                ended = subprocess.run(
                    [sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
                )
                assert ended.returncode == 0, ended.stderr
                assert output in ("", ended.stdout)
            else:
                waits.append((running.enter_context(_beside(words, folder)), output))
        for printed, output in waits:
            eventually(lambda: printed.read_text().startswith(output), explain=printed.read_text)  # noqa: B023


def _commands(page: str, url: str) -> Iterator[tuple[list[str], str]]:
    for console in CONSOLE.findall((ROOT / page).read_text()):
        for command, output in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", URLS.sub(url, console), re.MULTILINE):
            words = shlex.split(command)
            if words[:2] in (["asynq", "worker"], ["asynq", "scheduler"]) or words[0] == "python":
                yield words, output


@contextlib.contextmanager
def _beside(words: list[str], folder: Path) -> Iterator[Path]:
    """A process that runs meanwhile, and the file of what it prints. A signal must end it with status 0."""
    printed = folder / f"{words[1]}-{words[2].partition(':')[0]}.out"
    errors = printed.with_suffix(".err")
    with (
        printed.open("w") as out,
        errors.open("w") as err,
        subprocess.Popen([sys.executable, "-u", "-m", *words], cwd=folder, stdout=out, stderr=err) as process,
    ):
        try:
            eventually(errors.read_text)  # its first log line: signals are handled from there on
            yield printed
        finally:
            process.terminate()
    assert process.returncode == 0, errors.read_text()
