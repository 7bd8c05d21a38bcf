"""The shape of the project, as CONTRIBUTING.md states it: who may import whom, and how big things may get."""

from __future__ import annotations

import ast
import configparser
import importlib
import pkgutil
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asynq
from asynq.protocol.ops import all_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.protocol.broker import Broker

ROOT = Path(__file__).parents[2]
CORE = ROOT / "asynq"
BACKENDS = {"asynq_lmdb", "asynq_redis", "asynq_sqlite"}
PACKAGES = {
    "asynq": CORE,
    "asynq_redis": ROOT / "backends/asynq_redis",
    "asynq_sqlite": ROOT / "backends/asynq_sqlite",
    "asynq_lmdb": ROOT / "examples/asynq_lmdb/asynq_lmdb",
    "asynq_conformance": ROOT / "conformance/asynq_conformance",
    "asynq_topologies": ROOT / "conformance/asynq_topologies",
    "asynq_mutants": ROOT / "conformance/asynq_mutants",
}
VENDORS = {
    "redis": {"asynq_redis", "asynq_topologies", "asynq_mutants"},
    "google": {"asynq_redis"},
    "sqlite3": {"asynq_sqlite", "asynq_mutants"},
    "lmdb": {"asynq_lmdb"},
    "docker": {"asynq_topologies"},
}
"""Who alone may import a store's driver, or that of the engine that runs it."""

DRIVERS = "asynq/bench/drivers/"
"""Programs that `asynq bench` runs, some of them in environments of their own; no module imports them."""

FLOORS = {
    "asynq": (
        {"clock", "durations", "ids", "instants", "result_types", "task_state"},
        {"checks"},
        {"errors"},
        {"cron", "protocol"},
        {"info", "runtime"},
        {"monitoring"},
        {"brokerkit", "client", "supervisor"},
        {"handlers", "inspector", "scheduler"},
        {"bench", "dash", "demo", "metrics", "migration", "opentelemetry", "testing", "worker"},
        {"pytest_plugin", "server", "web"},
        {"cli"},
        {"__main__"},
    ),
    "asynq_redis": (
        {"lua", "url", "wire"},
        {"transport"},
        {"events", "operations", "shared_calls"},
        {"base_broker"},
        {"brokers"},
        {"harness"},
    ),
    "asynq_sqlite": (
        {"store"},
        {"database", "events", "operations"},
        {"broker"},
        {"harness"},
    ),
}
"""The folders and single modules of a package, floor by floor: each imports from lower floors only."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LARGEST_EXAMPLE = 400


parsed = cache(lambda path: ast.parse(path.read_text()))


def sources(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of all that a module imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def imports_of(package: str) -> dict[str, set[str]]:
    return {shown(path): set(imported(parsed(path))) for path in sources(PACKAGES[package])}


def test_the_core_imports_no_backend() -> None:
    forbidden = BACKENDS | {"asynq_conformance", "asynq_topologies"}
    offenders = {
        path: sorted(names & forbidden)
        for path, names in imports_of("asynq").items()
        if names & forbidden and path != "asynq/__init__.py"
    }
    assert offenders == {}


def test_the_public_package_names_backends_without_importing_them() -> None:
    tree = ast.parse((CORE / "__init__.py").read_text())
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not BACKENDS & set(imported(ast.Module(body=list(at_once), type_ignores=[])))


@pytest.mark.parametrize("package", sorted(BACKENDS | {"asynq_conformance", "asynq_topologies"}))
def test_a_backend_or_suite_imports_only_the_core(package: str) -> None:
    others = PACKAGES.keys() - {"asynq", package}
    offenders = {
        path: sorted(names & others)
        for path, names in imports_of(package).items()
        if names & others and not path.endswith("/harness.py")
    }
    assert offenders == {}


@pytest.mark.parametrize("package", sorted(BACKENDS))
def test_only_the_conformance_suite_may_use_the_harness_of_a_backend(package: str) -> None:
    harness = PACKAGES[package] / "harness.py"
    if harness.exists():
        assert set(imported(parsed(harness))) & PACKAGES.keys() <= {
            "asynq",
            "asynq_conformance",
            package,
        }
    importers = [
        shown(path) for path in sources(PACKAGES[package]) if f"{package}.harness" in path.read_text()
    ]
    assert importers == []


def modules_imported(path: Path, package: str) -> Iterator[str]:
    """Modules of the package that a file imports, also under TYPE_CHECKING, as `client.task`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module] if node.module != package else [f"{package}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.partition(".")[2] for name in names if name.startswith(f"{package}."))


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_a_folder_imports_only_from_lower_floors(package: str) -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS[package]) for room in rooms}
    offenders = [
        f"{shown(path)} imports {module}"
        for path in sources(PACKAGES[package])
        if (room := path.relative_to(PACKAGES[package]).parts[0].removesuffix(".py")) != "__init__"
        for module in modules_imported(path, package)
        if (other := module.partition(".")[0]) != room and floor_of.get(other, -1) >= floor_of[room]
    ]
    assert offenders == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_folder_has_a_floor(package: str) -> None:
    names = {
        path.relative_to(PACKAGES[package]).parts[0].removesuffix(".py")
        for path in sources(PACKAGES[package])
    }
    assert names - {"__init__"} == set().union(*FLOORS[package])


def modules_of(package: str) -> dict[str, Path]:
    """The modules of a package by name; a folder is named as its `__init__`."""
    paths = {path.relative_to(PACKAGES[package]).with_suffix(""): path for path in sources(PACKAGES[package])}
    return {
        ".".join((package, *(part for part in name.parts if part != "__init__"))): path
        for name, path in paths.items()
    }


def imports_between(modules: dict[str, Path]) -> dict[str, set[str]]:
    """For each module those it imports: also under TYPE_CHECKING, also inside functions."""
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                members = [f"{node.module}.{alias.name}" for alias in node.names]
                names |= {member if member in modules else node.module for member in members}
        found[module] = (names & modules.keys()) - {module}
    return found


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_import_circle_between_modules_of_a_package(package: str) -> None:
    try:
        TopologicalSorter(imports_between(modules_of(package))).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_an_import_circle_is_detected(tmp_path: Path) -> None:
    for name, text in {
        "a": "if TYPE_CHECKING:\n    from p.b import B",
        "b": "def f():\n    from p import c",
        "c": "import p.a",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = imports_between({f"p.{name}": tmp_path / f"{name}.py" for name in "abc"})
    assert found == {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}}


def public_classes(package: str) -> list[tuple[str, str]]:
    """Name and file of the classes that modules define at their top."""
    return [
        (node.name, shown(path))
        for path in sources(PACKAGES[package])
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_class_of_the_conformance_packages_has_the_name_of_another_class() -> None:
    files: dict[str, set[str]] = {}
    for package in PACKAGES:
        for name, path in public_classes(package):
            files.setdefault(name, set()).add(path)
    offenders = {
        name: sorted(paths)
        for name, paths in files.items()
        if len(paths) > 1 and any(path.startswith("conformance/") for path in paths)
    }
    assert offenders == {}


def test_loggers_are_the_ones_whose_records_are_safe() -> None:
    makers = {
        shown(path)
        for package in PACKAGES
        for path in sources(PACKAGES[package])
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in {"getLogger", "getChild", "LoggerAdapter"}
    }
    assert makers == {"asynq/runtime/logs.py"}


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_a_driver_is_imported_only_by_its_backend(vendor: str) -> None:
    importers = {
        path
        for package in PACKAGES
        if package not in VENDORS[vendor]
        for path, names in imports_of(package).items()
        if vendor in names and not path.startswith(DRIVERS)
    }
    assert importers == set()


def test_no_sql_numbers_its_placeholders() -> None:
    # Python 3.12.0 to 3.12.3 warn about `?1` with a sequence of values: names, or `?` alone, work everywhere.
    numbered = {
        f"{shown(path)}:{node.lineno}"
        for package in PACKAGES
        for path in sources(PACKAGES[package])
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\?\d", node.value)
    }
    assert numbered == set()


@pytest.mark.parametrize(
    "module", ["redis", "google.protobuf", "sqlite3", "typer", "rich", "croniter", "opentelemetry"]
)
def test_importing_asynq_imports_nothing_slow(module: str) -> None:
    code = f"import sys, asynq; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def broker_of(package: str) -> Broker:
    backend = importlib.import_module(package)
    brokers: dict[str, Callable[[], Broker]] = {
        "asynq_redis": lambda: backend.RedisBroker("redis://127.0.0.1"),
        "asynq_sqlite": lambda: backend.MemoryBroker(clock=None),
        "asynq_lmdb": lambda: backend.LmdbBroker("never-opened"),
    }
    return brokers[package]()


@pytest.mark.parametrize(
    ("package", "table"),
    [
        ("asynq_redis", "asynq_redis.operations.execution:HANDLERS"),
        ("asynq_sqlite", "asynq_sqlite.operations.execution:HANDLERS"),
        ("asynq_lmdb", "asynq_lmdb.store:Store.HANDLERS"),
    ],
)
def test_every_operation_has_a_handler_or_is_declared_unsupported(package: str, table: str) -> None:
    broker = broker_of(package)
    handled = set(pkgutil.resolve_name(table))
    assert set(all_operations()) - handled == set(broker.capabilities.unsupported)


def test_every_lua_file_is_a_script_whose_header_is_its_type() -> None:
    scripts = importlib.import_module("asynq_redis.lua.scripts")
    names = {value.name for value in vars(scripts).values() if isinstance(value, scripts.LuaScript)}
    files = {path.stem: path.read_text() for path in (PACKAGES["asynq_redis"] / "lua").glob("*.lua")}
    assert names == files.keys()
    parts = ("-- KEYS: ", "-- ARGV: ", "-- answers: ")
    assert [name for name, text in files.items() if not all(f"\n{part}" in text for part in parts)] == []


def test_every_lua_snippet_is_included_by_a_script() -> None:
    lua = PACKAGES["asynq_redis"] / "lua"
    lines = re.findall(
        r"^-- @include (.+)$", "\n".join(path.read_text() for path in lua.glob("*.lua")), re.MULTILINE
    )
    assert set(" ".join(lines).split()) == {path.stem for path in (lua / "lib").glob("*.lua")}


def test_files_have_a_maximum_length() -> None:
    lengths = {
        shown(path): len(path.read_text().splitlines())
        for path in sources(*PACKAGES.values(), ROOT / "tests")
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_have_a_maximum_length() -> None:
    long = {
        f"{shown(path)}:{node.name}": lines
        for path in sources(*PACKAGES.values(), ROOT / "tests")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


def test_the_example_of_a_backend_stays_small() -> None:
    """Every line counts, also a blank one: it is read as a whole."""
    lines = sum(len(path.read_text().splitlines()) for path in sources(PACKAGES["asynq_lmdb"]))
    assert lines < LARGEST_EXAMPLE


def documented_values(tree: ast.Module) -> set[str]:
    """Names of a module that are assigned and followed by a docstring, such as type aliases."""
    return {
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        for node, after in pairwise(tree.body)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr)
    }


def test_every_public_name_has_a_docstring() -> None:
    described = {name for path in sources(CORE) for name in documented_values(parsed(path))}
    silent = [name for name in asynq.__all__ if not (getattr(asynq, name).__doc__ or name.startswith("__"))]
    assert [name for name in silent if name not in described] == []


def test_there_are_no_todo_comments() -> None:
    note = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    files = [*sources(*PACKAGES.values()), *(ROOT / "backends").rglob("*.lua")]
    assert [shown(path) for path in files if note.search(path.read_text())] == []


def test_every_folder_of_tests_belongs_to_one_tox_environment() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = [f"testenv:{name.strip()}" for name in tox["tox"]["env_list"].split(",")]
    commands = " ".join(tox[name].get("commands", "") for name in environments)
    run = sorted(re.findall(r"tests/\w+", commands))
    assert run == sorted({shown(path.parent) for path in (ROOT / "tests").rglob("test_*.py")})


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    command = "python -m pytest"
    [documented] = [line for line in (ROOT / "README.md").read_text().splitlines() if command in line]
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == documented
