"""The versions that tox tests are the ones that pyproject.toml declares."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    return parser


def test_each_declared_python_has_a_tox_environment() -> None:
    declared = [
        found[1]
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    tested = [
        f"3.{found[1]}" for name in tox().sections() if (found := re.fullmatch(r"testenv:py3(\d+)", name))
    ]
    assert tested == declared
    assert PROJECT["project"]["requires-python"] == f">={declared[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{declared[0].replace('.', '')}"
    assert tox()["testenv:oldest"]["base_python"] == f"python{declared[0]}"


def test_the_oldest_declared_redis_py_has_a_tox_environment() -> None:
    [lowest] = [
        found[1]
        for line in PROJECT["project"]["dependencies"]
        if (found := re.fullmatch(r"redis\[hiredis\]>=([\d.]+),<\d+", line))
    ]
    assert tox()["testenv:redispy-oldest"]["deps"] == f"redis=={lowest}.0"


def test_every_environment_of_the_label_runs_the_same_tests() -> None:
    labels = tox()["tox"]["labels"].strip()
    names = labels.removeprefix("versions = ").split(", ")
    assert {name for name in names if tox()[f"testenv:{name}"]["commands"] != "{[versions]commands}"} == set()
    pythons = {name.removeprefix("testenv:") for name in tox().sections() if name.startswith("testenv:py")}
    assert set(names) == pythons | {"redispy-oldest", "redispy-newest", "oldest"}
