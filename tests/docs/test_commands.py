"""Every command line of the documents is one, and the quick start of the README does what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer

import asynq
from asynq.cli.main import app
from asynq.ops import GetQueueStats, GetTask

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
COMMANDS = sorted(
    {
        command
        for page in PAGES
        for command in re.findall(r"(?:^\$ |&& |`)(asynq [^`\n]+)", page.read_text(), re.MULTILINE)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documents_is_understood(command: str) -> None:
    main = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    if words[-1] == "--help":
        words.pop()
    context = main.make_context("asynq", words)
    assert isinstance(main, typer.core.TyperGroup)
    name, subcommand, rest = main.resolve_command(context, words)
    assert subcommand is not None
    assert subcommand.make_context(name, rest, parent=context, resilient_parsing=not rest)


def test_the_quick_start_of_the_readme_works(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    [command] = re.findall(r"^\$ (asynq worker .*)$", readme, re.MULTILINE)
    subprocess.run([sys.executable, "send.py"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", *shlex.split(command)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        printed = [worker.stdout.readline() for _ in range(2)]
        worker.terminate()
    assert printed == ["welcome, user 42\n"] * 2
    assert worker.returncode == 0
    with closing(asynq.SQLiteBroker(tmp_path / "tasks.db")) as broker:
        kept = broker.execute(GetTask(queue="default", task_id="welcome-42"))
        assert kept.state is asynq.TaskState.COMPLETED
        assert broker.execute(GetQueueStats(queue="reminders")).scheduled == 1
