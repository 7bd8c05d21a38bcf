"""`asynq web`: what it refuses, and a server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest
from typer.testing import CliRunner

from asynq.cli.main import app
from asynq.web.security.auth_file import read_authentication

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def refused(*args: str, **environment: str) -> str:
    """The message of a command line that is refused."""
    ended = CliRunner().invoke(app, ["web", "--broker", "memory://web", *args], env=environment)
    assert ended.exit_code == 2, ended.output
    return " ".join(ended.stderr.replace("│", " ").split())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
def test_other_machines_need_authentication(host: str) -> None:
    assert "users must authenticate" in refused("--host", host)


def test_arguments_without_a_meaning(tmp_path: Path) -> None:
    assert "root_path" in refused("--root-path", "asynq")
    assert "prometheus_url" in refused("--prometheus", "file:///etc/passwd")
    assert "No such file" in refused("--auth-file", str(tmp_path / "nope"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "is not TOML"),
        ("", "names no users"),
        ("a = 1", "no setting 'a'"),
        ("users = 1", "has password and role"),
        ("[users.a]\nrole = 'operator'", "must have a password"),
        ("[users.a]\npassword = 'hunter2'\nrole = 'root'", "viewer, operator"),
        ("[users.a]\npassword = 'hunter2'\nextra = 1", "nothing else"),
        ("[tokens.a]\npassword = 'hunter2'", "has token and role"),
        ("[proxy]\nheader = 'X'", "has addresses"),
        ("[proxy]\naddresses = ['no address']", "no address"),
    ],
)
def test_a_file_without_a_meaning(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "web.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_authentication(file, {})
    assert "hunter2" not in str(caught.value)


def test_users_come_from_the_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "web.toml"
    file.write_text("[users.a]\npassword = 'x'\n[proxy]\naddresses = ['10.0.0.1']\n")
    assert [type(way).__name__ for way in read_authentication(file, {"ASYNQ_WEB_TOKEN": "t"})] == [
        "BasicAuthentication",
        "BearerAuthentication",
        "ProxyAuthentication",
    ]
    assert read_authentication(None, {}) == ()


@contextmanager
def serving(*args: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command until the end of the block. The address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "asynq", "web", "--port", "0", *args],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stderr is not None
    try:
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        yield found[0], process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_server_answers_until_it_is_stopped(shared_url: str) -> None:
    with serving("--broker", shared_url, "--read-only") as (address, process):
        session = httpx2.get(f"{address}api/session").json()
        assert (session["user"], session["read_only"]) == ("local", True)
        assert "<h1>" in httpx2.get(address).text
        with httpx2.stream("GET", f"{address}live/overview", timeout=20) as stream:
            lines = stream.iter_lines()
            assert "event: overview" in lines
            process.send_signal(signal.SIGTERM)
            list(lines)  # the stream ends, and the server with it
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_as_it_starts_succeeds(shared_url: str, stop: signal.Signals) -> None:
    with serving("--broker", shared_url) as (_, process):
        process.send_signal(stop)
        assert process.wait(timeout=20) == 0


def test_a_server_asks_for_the_token_of_the_environment(shared_url: str) -> None:
    with serving("--broker", shared_url, ASYNQ_WEB_TOKEN="secret") as (address, _):
        bearer = {"Authorization": "Bearer secret"}
        assert httpx2.get(address).status_code == 401
        assert httpx2.get(f"{address}api/session", headers=bearer).json()["role"] == "operator"
        assert httpx2.get(address, headers={"Host": "evil.example"} | bearer).status_code == 421
