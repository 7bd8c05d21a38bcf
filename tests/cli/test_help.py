"""The help of the command, which knows its subcommands without importing them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from asynq import Client, Task
from asynq.cli.main import SUBCOMMANDS, app
from tests.programs import program_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_the_help_says_the_same_as_that_of_the_subcommand(name: str) -> None:
    help_text = SUBCOMMANDS[name].load(name).help
    assert help_text is not None
    assert help_text.partition("\n\n")[0].replace("\n", " ") == SUBCOMMANDS[name].help


def test_the_help_names_every_subcommand_but_hidden_ones() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for name, each in SUBCOMMANDS.items():
        assert (f"  {name} " in shown) is not each.hidden


@pytest.mark.parametrize("name", ["worker", "scheduler", "stats", "enqueue"])
def test_the_help_names_values_in_the_words_of_users(name: str) -> None:
    options = CliRunner().invoke(app, [name, "--help"]).stdout.partition("Options:")[2]
    assert not re.findall(r"<[a-z]+ range>|<list\[\w+\]>|<str>|<int>", options)


def test_what_is_no_value_is_not_called_an_invalid_one() -> None:
    ended = CliRunner().invoke(app, ["dash", "--broker", "memory://help"])
    assert ended.exit_code == 2
    assert ended.stderr.splitlines()[-1].startswith("Error: a dashboard needs a terminal")


def test_the_help_imports_no_subcommand() -> None:
    program = "import sys; from asynq.cli.main import app; print(*sorted(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=program_environment(), capture_output=True, text=True, check=True
    )
    loaded = ended.stdout.split()
    assert [name for name in loaded if name.startswith("asynq.cli.")] == ["asynq.cli.main"]
    assert "rich" not in loaded


def test_a_command_that_is_misspelt_is_an_error_that_names_the_nearest() -> None:
    ended = CliRunner().invoke(app, ["ques"])
    assert ended.exit_code == 2
    assert "queue" in ended.stderr


def test_a_worker_may_be_called_server_as_in_the_original() -> None:
    ended = CliRunner().invoke(app, ["server", "app:mux", "--concurrency", "0"])
    assert ended.exit_code == 2
    assert "asynq worker" in ended.stderr
    assert "--concurrency" in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_for_each_shell(shell: str) -> None:
    ended = CliRunner().invoke(app, [], env={"_ASYNQ_COMPLETE": f"source_{shell}"}, prog_name="asynq")
    assert (ended.exit_code, f"complete_{shell}" in ended.stdout) == (0, True)


def test_server_ls_is_no_worker_when_a_url_follows() -> None:
    ended = CliRunner().invoke(app, ["server", "ls", "--broker", "memory://names"])
    assert (ended.exit_code, ended.output) == (0, "No server is online.\n")


def completed(words: str, url: str) -> list[str]:
    """What bash completes at the end of these words."""
    variables = {
        "_ASYNQ_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "ASYNQ_BROKER": url,
    }
    return CliRunner().invoke(app, [], env=variables, prog_name="asynq").stdout.split()


def test_states_and_queues_are_completed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    with Client(url) as client:
        for queue in ("low", "later", "high"):
            client.enqueue(Task("t"), queue=queue)
    assert completed("asynq task ls --state a", url) == ["active", "aggregating", "archived"]
    assert completed("asynq task ls --queue l", url) == ["later", "low"]
    assert completed("asynq queue pause h", url) == ["high"]


def test_a_broker_that_cannot_be_asked_completes_nothing(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/typo.db", "nosql://x"):
        assert completed("asynq task ls --queue l", url) == []
    assert list(tmp_path.iterdir()) == []
