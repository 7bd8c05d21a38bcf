from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import typer

from asynq.cli.arguments import read_duration, read_limits, read_queues, read_size
from asynq.cli.targets import load_application
from asynq.handlers.mux import ServeMux
from asynq.supervisor.worker_command import WorkerOptions, WorkerSettings, read_settings, worker_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import asynq
from asynq import ServeMux
mux = ServeMux()
@mux.handler("t")
async def handle(ctx, task): ...
@mux.task("count")
def count(start: int): ...
class Tasks:
    mux = mux
number = 7
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """Name of a module of the user's in tmp_path."""
    name = f"app_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(APP)
    before = list(sys.path)
    yield name
    sys.path[:] = before
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8s", 8), ("1m30s", 90), ("500ms", 0.5), ("8", 8), ("2.5", 2.5), ("0", 0)]
)
def test_a_duration_is_parsed_like_in_go_or_as_seconds(text: str, seconds: float) -> None:
    assert read_duration("--lease", text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "8 s", "1.2.3", "s"])
def test_a_malformed_duration_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--lease"):
        read_duration("--lease", text)


def test_queues_have_weights_and_names_may_contain_equals_signs() -> None:
    assert read_queues(["critical=6", "default", "a=b=3"]) == {"critical": 6, "default": 1, "a=b": 3}


@pytest.mark.parametrize(
    "texts", [["=3"], [""], ["a=0"], ["a=-1"], ["a=many"], ["a="], ["a=1.5"], ["a", "a=2"]]
)
def test_a_malformed_queue_is_refused(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="--queue"):
        read_queues(texts)


def test_limits_are_numbers_by_queue() -> None:
    assert read_limits("--limit", ["low=2", "a=b=3"]) == {"low": 2, "a=b": 3}


@pytest.mark.parametrize(
    "texts", [["=3"], [""], ["a"], ["a=0"], ["a=-1"], ["a=many"], ["a="], ["a=1", "a=2"]]
)
def test_a_malformed_limit_is_refused_with_its_option(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="--shared-limit"):
        read_limits("--shared-limit", texts)


def test_each_of_several_workers_gets_all_limits() -> None:
    options = WorkerOptions(
        queue_limits={"a": 1}, shared_queue_limits={"a": 3, "b": 2}, lease=timedelta(milliseconds=1500)
    )
    settings = WorkerSettings(target="app:mux", options=options)
    assert read_settings(worker_command(settings)[-1]) == settings


@pytest.mark.parametrize("path", ["mux", "Tasks.mux"])
def test_a_mux_is_loaded_from_the_app_directory(module: str, path: str, tmp_path: Path) -> None:
    assert isinstance(load_application(f"{module}:{path}", tmp_path), ServeMux)


def test_a_plain_handler_is_loaded(module: str, tmp_path: Path) -> None:
    assert load_application(f"{module}:handle", tmp_path) is not None


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("MODULE", "MODULE:NAME"),
        (":mux", "MODULE:NAME"),
        ("MODULE:", "MODULE:NAME"),
        ("no_such_module_here:mux", "no module 'no_such_module_here'"),
        ("no_such_package_here.tasks:mux", "no module"),
        ("MODULE.sub:mux", "no module"),
        ("MODULE:mix", "has no 'mix'"),
        ("MODULE:Tasks.mix", "has no 'Tasks.mix'"),
        ("MODULE:number", "neither a server nor a handler"),
        ("MODULE:Tasks", "neither a server nor a handler"),
        ("MODULE:count", "count handles tasks of one type: pass the mux that has it"),
    ],
)
def test_a_target_without_a_handler_is_refused_with_the_reason(
    module: str, tmp_path: Path, target: str, why: str
) -> None:
    with pytest.raises(typer.BadParameter, match=why):
        load_application(target.replace("MODULE", module), tmp_path)


def test_an_error_raised_by_an_imported_module_is_shown(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("import no_such_module_here")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        load_application(f"{module}:mux", tmp_path)


@pytest.mark.parametrize("target", ["../app:mux", "app/tasks:mux", "./app.py:mux", ".app:mux", "my app:mux"])
def test_a_path_in_place_of_a_module_is_refused_with_advice(target: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"app\.tasks:mux, .* --app-dir"):
        load_application(target, tmp_path)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("1kB", 1000), ("1.5GiB", 3 * 2**29), ("500 MB", 500_000_000), ("2m", 2_000_000)],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert read_size("--max-memory", text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1TB", "1.MB"])
def test_a_malformed_size_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--max-memory"):
        read_size("--max-memory", text)
