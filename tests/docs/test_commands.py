"""Every documented command line is valid, and the quick start of the README works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

import asynq
from asynq.protocol.ops import GetQueueStats, GetTask
from tests.docs.command_lines import parse

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
def test_every_documented_command_is_valid(command: str) -> None:
    parse(shlex.split(command))


def installing(page: str) -> list[str]:
    """The commands of a page that install this project, without the prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if "pip install" in line]


def test_the_readme_installs_into_a_virtual_environment() -> None:
    """The Python of Debian, Ubuntu or Homebrew refuses installations, and may not be called `python`."""
    commands = installing("README.md")
    begin = "python3 -m venv .venv && . .venv/bin/activate && python -m pip install "
    assert len(commands) == 2
    assert all(command.startswith(begin) for command in commands)
    assert commands[0].endswith(" && asynq demo")
    for command in commands:
        subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_readme_names_every_extra_for_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = (ROOT / "README.md").read_text().partition("| Extra | For |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    [everything] = extras["all"]
    assert sorted(everything.removeprefix("asynq-py[").removesuffix("]").split(",")) == sorted(named)


def test_the_test_command_is_the_same_everywhere() -> None:
    _, command = installing("README.md")
    assert installing("CONTRIBUTING.md") == [command]
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == command


def test_the_first_command_activates_a_virtual_environment(tmp_path: Path) -> None:
    """Without the installation, which needs the network."""
    first, _, rest = installing("README.md")[0].partition("python -m pip install . && asynq demo")
    assert rest == ""
    first = first.replace("python3", shlex.quote(sys.executable)).replace(
        "venv .venv", "venv --without-pip .venv"
    )
    show = 'import os, sys; print(os.path.realpath(sys.prefix) == os.path.realpath(".venv"))'
    ended = subprocess.run(
        ["sh", "-c", f"{first} python -c {shlex.quote(show)}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "True\n"


def test_the_first_task_of_the_readme_takes_few_lines() -> None:
    readme = (ROOT / "README.md").read_text()
    first, *_ = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    lines = [line for line in first.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 6


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
