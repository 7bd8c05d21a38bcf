"""Selection of the mutants of a run."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from asynq_mutants.scripts.sources import FOLDER

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asynq_mutants.scripts.operators import Mutation


def changed_files(base: str) -> set[str]:
    """Names of scripts that differ from a commit; none if git does not know it."""
    command = ["git", "diff", "--name-only", base, "--", FOLDER]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - git
    paths = [Path(line) for line in ended.stdout.splitlines() if line.endswith(".lua")]
    return {str(path.relative_to(FOLDER).with_suffix("")) for path in paths}


def chosen(
    mutations: Sequence[Mutation], sources: Mapping[str, str], files: Collection[str], one_in: int
) -> list[Mutation]:
    """All mutants of these files, and one in `one_in` of the others."""
    return [
        mutation
        for mutation in mutations
        if mutation.file in files or _number(mutation, sources[mutation.file]) % one_in == 0
    ]


def _number(mutation: Mutation, source: str) -> int:
    text = "\n".join((mutation.file, *mutation.shown(source)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
