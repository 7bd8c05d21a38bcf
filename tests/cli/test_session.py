"""How commands find their broker, and what their statuses say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from asynq import Client, Task
from asynq.cli.main import app
from asynq.cli.session import broker_url
from tests.cli.test_worker import asynq
from tests.servers import RedisServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is a folder of a project."""
    folder = tmp_path / "src" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ASYNQ_BROKER", raising=False)
    return tmp_path


def test_a_read_only_replica_is_told_with_its_primary() -> None:
    with RedisServer.start() as primary, RedisServer.start() as replica:
        replica.client.replicaof("127.0.0.1", primary.port)
        eventually(lambda: replica.client.info("replication")["master_link_status"] == "up")
        ended = CliRunner().invoke(app, ["enqueue", "t", "--broker", replica.url])
    assert ended.exit_code == 3
    assert "it is a read-only replica" in ended.stderr
    assert f"Its primary is 127.0.0.1:{primary.port}" in ended.stderr


def test_the_broker_of_the_project_is_the_default(project: Path) -> None:
    url = f"sqlite:///{project}/tasks.db"
    (project / "pyproject.toml").write_text(f'[tool.asynq]\nbroker = "{url}"\n')
    with Client(url) as client:
        client.enqueue(Task("t"))
    ended = CliRunner().invoke(app, ["queue", "ls"])
    assert ended.exit_code == 0
    assert "default" in ended.stdout


def test_an_argument_goes_before_the_variable_and_this_before_the_project(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.asynq]\nbroker = "sqlite:///project.db"\n')
    assert broker_url("sqlite:///given.db") == "sqlite:///given.db"
    assert broker_url(None) == "sqlite:///project.db"


def test_an_empty_url_is_refused_wherever_it_comes_from(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://empty"
    for arguments in (["stats", "--broker", ""], ["migrate", "", url]):
        ended = CliRunner().invoke(app, arguments)
        assert (ended.exit_code, "the URL is empty" in ended.stderr) == (2, True), ended.stderr
    worker = asynq("worker", "app:mux", "--broker", "")
    assert (worker.returncode, "the URL is empty" in worker.stderr) == (2, True), worker.stderr
    monkeypatch.setenv("ASYNQ_BROKER", "")
    ended = CliRunner().invoke(app, ["stats"])
    assert ended.exit_code == 2
    assert "ASYNQ_BROKER" in ended.stderr
    assert "the URL is empty" in ended.stderr
    assert CliRunner().invoke(app, ["stats", "--broker", url]).exit_code == 0
    monkeypatch.delenv("ASYNQ_BROKER")
    (project / "pyproject.toml").write_text('[tool.asynq]\nbroker = ""\n')
    ended = CliRunner().invoke(app, ["stats"])
    assert ended.exit_code == 2
    assert "is empty" in ended.stderr


def test_an_unknown_key_of_the_project_is_refused_with_those_that_are_known(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.asynq]\nbrokr = "sqlite:///x.db"\n')
    ended = CliRunner().invoke(app, ["stats"])
    assert ended.exit_code == 2
    assert "unknown key 'brokr' in [tool.asynq] (known: broker)" in ended.stderr


@pytest.mark.parametrize("text", ["[tool.asynq]\nbroker = 3\n", "[tool]\nasynq = 3\n", "[tool"])
def test_a_project_file_that_cannot_be_used_is_a_usage_error(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    ended = CliRunner().invoke(app, ["queue", "ls"])
    assert ended.exit_code == 2
    assert "pyproject.toml" in ended.stderr


def test_without_a_project_it_is_a_redis_on_this_machine(project: Path) -> None:
    assert broker_url(None) == "redis://127.0.0.1:6379"


@pytest.mark.parametrize(("url", "status"), [("redis://127.0.0.1:1", 3), ("nosql://x", 2), ("sqlite://x", 2)])
def test_a_broker_that_cannot_be_used_is_told_by_the_status(url: str, status: int) -> None:
    ended = CliRunner().invoke(app, ["stats", "--broker", url])
    assert ended.exit_code == status
    assert "Error" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        "stats",
        "queue ls",
        "queue pause default",
        "task ls",
        "task delete x",
        "group ls",
        "server ls",
        "cron ls",
        "cron rm x --yes",
        "cron run x",
        "broker",
        "doctor",
    ],
)
def test_a_mistyped_path_is_an_error_and_creates_nothing(project: Path, command: str) -> None:
    ended = CliRunner().invoke(
        app, [*command.split(), "--broker", f"sqlite:///{project}/typo.db?max_size=9999"]
    )
    assert ended.exit_code == 1
    assert f"there is no database {project}/typo.db" in ended.stderr
    assert list(project.glob("typo.db*")) == []


def test_a_migration_from_a_mistyped_path_is_an_error_and_creates_nothing(project: Path) -> None:
    urls = [f"sqlite:///{project}/{name}.db" for name in ("typo", "new")]
    ended = CliRunner().invoke(app, ["migrate", *urls, "--yes"])
    assert ended.exit_code == 1
    assert f"there is no database {project}/typo.db" in ended.stderr
    assert list(project.glob("*.db*")) == []


@pytest.mark.parametrize("command", ["enqueue report", "cron add daily @daily report"])
def test_a_command_that_adds_something_creates_the_file(project: Path, command: str) -> None:
    ended = CliRunner().invoke(app, [*command.split(), "--broker", f"sqlite:///{project}/new.db"])
    assert ended.exit_code == 0
    assert (project / "new.db").exists()


def test_a_url_says_itself_whether_a_file_is_created(project: Path) -> None:
    for command, create in (("stats", "true"), ("stats", "false")):
        url = f"sqlite:///{project}/{create}.db?create={create}"
        ended = CliRunner().invoke(app, [command, "--broker", url])
        assert ended.exit_code == (0 if create == "true" else 1)


def test_a_malformed_url_is_shown_as_it_was_given() -> None:
    ended = CliRunner().invoke(app, ["stats", "--broker", "sqlite://x"])
    assert "create" not in ended.stderr
