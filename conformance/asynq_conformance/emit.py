"""Writes a failure down as a test of its own: `--conformance-emit DIR`."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Final

from asynq.broker import without_secrets
from asynq_conformance.histories.plan import Role
from asynq_conformance.machine.script import source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_conformance.histories.checkers.verdict import Violation
    from asynq_conformance.machine.lockstep import DivergenceError

ENVIRONMENT: Final = "ASYNQ_CONFORMANCE_EMIT"

_LONGEST: Final = 300
"""Of the text of one difference."""
_chosen: list[str | None] = [None]

_FILE: Final = '''\
"""{what}

Written by --conformance-emit: it fails as long as this is so. `--broker` runs it on another broker.
"""

{imports}


class TestRegression(regression_of(__file__, {origin!r})):
    def {test}({arguments}):
{body}
'''


def choose(directory: str | None) -> None:
    """From now on write to this directory; None leaves it to the environment."""
    _chosen[0] = directory


def chosen() -> str | None:
    """What was chosen last."""
    return _chosen[0]


def directory() -> Path | None:
    """Where failures are written down; None: nowhere."""
    named = _chosen[0] or os.environ.get(ENVIRONMENT)
    return Path(named).absolute() if named else None


def program(failed: type, error: DivergenceError) -> None:
    """Write down the program that told the broker of this class of tests from the model."""
    if (into := directory()) is None:
        return
    told = (_quoted(str(difference)[:_LONGEST]) for difference in error.differences[:5])
    steps = error.script.steps()
    written = "\n".join(steps)
    classes = {cls for cls in error.script.classes() if re.search(rf"\b{cls.__name__}[(.]", written)}
    _write(
        into,
        what="\n  ".join([_quoted(error.what), *told]),
        imports=_imports(classes, "Beside, regression_of", with_ops=True),
        origin=_origin(failed, into),
        test="test_a_broker_does_what_the_model_does",
        arguments="self, beside: Beside",
        body=steps,
    )


def history(failed: type, test: str, rule: str, violations: Sequence[Violation], record: Path) -> None:
    """Write down the load under which a rule was broken, and keep the record of it."""
    if (into := directory()) is None:
        return
    into.mkdir(parents=True, exist_ok=True)
    kept = into / f"history-{_digest(record.read_bytes())}.jsonl.gz"
    shutil.copyfile(record, kept)
    [role, *_] = record.parent.glob("*.role.json")
    plan = Role.from_json(role.read_text()).plan
    first = _quoted(str(violations[0]).partition("\n")[0])
    _write(
        into,
        what=f"{rule}: {first}\n\nWhat shows it: python -m asynq_conformance check {kept.name}",
        imports=_imports({type(plan)}, "record_again, regression_of", with_ops=False),
        origin=_origin(failed, into),
        test=test,
        arguments="self, harness, tmp_path",
        body=[f"plan = {source(plan, {})}", f"record_again(harness, plan, {rule!r}, tmp_path)"],
    )


def _origin(failed: type, into: Path) -> str:
    """How a file in this directory names the tests that failed: as `regression_of` wants it."""
    named: str | None = getattr(failed, "broker", None)
    if named is not None:
        return without_secrets(named) if "://" in named else named
    return f"{os.path.relpath(inspect.getfile(failed), into)}::{failed.__qualname__}"


def _write(into: Path, *, body: Sequence[str], **parts: str) -> None:
    text = _FILE.format(body=indent("\n".join(body), " " * 8), **parts)
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"test_regression_{_digest(text.encode())}.py"
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"written as a test: {path}\n")


def _imports(classes: set[type], regression: str, *, with_ops: bool) -> str:
    """The import statements a file needs that names these classes."""
    names: dict[str, set[str]] = {"asynq_conformance.regression": set(regression.split(", "))}
    if with_ops:
        names["asynq"] = {"ops"}
    for cls in classes:
        if not cls.__module__.startswith("asynq.ops"):
            names.setdefault(cls.__module__, set()).add(cls.__name__)
    plain = ["import datetime", ""] if names.pop("datetime", None) else []
    return "\n".join(
        [*plain, *(f"from {name} import {', '.join(sorted(names[name]))}" for name in sorted(names))]
    )


def _digest(text: bytes) -> str:
    return sha256(text).hexdigest()[:10]


def _quoted(text: str) -> str:
    """Text within a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
