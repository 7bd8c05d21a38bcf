# ruff: noqa: INP001 - a program
"""Checks that an installed wheel holds every file of the source tree: `installed_files.py ROOT`.

Run by `tox -e wheel`, outside the source tree, so that the imports are those of the wheel.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

FOLDERS = ("asynq", "backends/asynq_redis", "backends/asynq_sqlite", "conformance/asynq_conformance")


def missing(source: Path) -> list[str]:
    """Files of a package of the source tree that its installation does not have: code, pages, scripts."""
    spec = find_spec(source.name)
    if spec is None or spec.origin is None or (installed := Path(spec.origin).parent) == source:
        return [f"{source}: the package is not installed from a wheel"]
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [str(path) for path in files if not (installed / path.relative_to(source)).is_file()]


if __name__ == "__main__":
    found = [path for folder in FOLDERS for path in missing(Path(sys.argv[1]).resolve() / folder)]
    sys.exit("\n".join(["the wheel lacks:", *found]) if found else 0)
