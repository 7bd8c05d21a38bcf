"""What programs load before they do anything: modules are counted, because times depend on the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "attrs", "google.protobuf", "msgspec", "pydantic", "redis", "rich", "sqlite3"}


def loaded_by(script: str) -> set[str]:
    """The modules that a program has loaded at its end, without those of the interpreter itself."""
    modules = []
    for source in ("pass", script):
        program = f"import sys\ntry:\n    {source}\nfinally:\n    print('\\n', *sys.modules)"
        ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        modules.append({*ended.stdout.splitlines()[-1].split()})
    return modules[1] - modules[0]


def loaded_by_command(*arguments: str) -> set[str]:
    return loaded_by(f"from asynq.__main__ import main; sys.argv = ['asynq', *{arguments}]; main()")


BARE_COMMAND = "import typer; app = typer.Typer(); app.command()(lambda: 0); sys.argv = ['', '--help']; app()"


def heavy(loaded: set[str]) -> set[str]:
    """What is loaded, except what the help of any command loads: some versions of typer load rich."""
    return HEAVY & loaded - loaded_by(BARE_COMMAND)


def own(modules: set[str]) -> list[str]:
    return sorted(name for name in modules if name.partition(".")[0].startswith("asynq"))


def test_importing_asynq_loads_nothing_else() -> None:
    loaded = loaded_by("import asynq")
    assert own(loaded) == ["asynq"]
    assert len(loaded) <= 40, sorted(loaded)
    assert not HEAVY & loaded


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_help_of_the_command_loads_only_the_options_of_its_subcommands(option: str) -> None:
    loaded = loaded_by_command(option)
    assert "typer" in loaded
    assert len(own(loaded)) <= 15, own(loaded)
    assert not heavy(loaded)


@pytest.mark.parametrize("command", ["worker", "scheduler", "demo", "bench"])
def test_the_help_of_a_subcommand_loads_only_its_options(command: str) -> None:
    loaded = loaded_by(
        f"from asynq.__main__ import main; sys.argv = ['asynq', '{command}', '--help']; main()"
    )
    assert len(own(loaded)) <= 15, own(loaded)
    assert not heavy(loaded) - {"pydantic"}  # some versions of typer use it for options


def test_a_client_of_an_embedded_broker_needs_no_other_driver() -> None:
    loaded = loaded_by("import asynq; asynq.Client(asynq.MemoryBroker()).ping()")
    assert not {"redis", "google.protobuf", "croniter", "typer"} & loaded


def test_a_worker_loads_no_more_than_it_runs() -> None:
    loaded = loaded_by(
        "import asynq.cli.worker_process, asynq.supervisor.worker_command, asynq_redis;"
        " from asynq.protocol.message import TaskMessage; from asynq_redis.wire import task_message;"
        " task_message.encode(TaskMessage(id='', type='', queue=''))"
    )
    assert "google.protobuf.descriptor_pool" in loaded
    assert not {"typer", "rich", "pydantic", "sqlite3", "croniter", "docker"} & loaded
    # Both are needed by few: processes of handlers, and whoever writes descriptors of messages.
    assert not {"multiprocessing", "google.protobuf.descriptor_pb2"} & loaded
