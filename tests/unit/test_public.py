from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import asynq
import asynq.errors

SOURCE = Path(asynq.__file__)


def declared_for_type_checkers() -> set[str]:
    """The names `asynq/__init__.py` imports or declares under TYPE_CHECKING."""
    names: set[str] = set()
    for node in ast.parse(SOURCE.read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom):
                    names |= {alias.asname or alias.name for alias in inner.names}
                elif isinstance(inner, ast.AnnAssign):
                    names.add(ast.unparse(inner.target))
    return names


@pytest.mark.parametrize("name", asynq.__all__)
def test_a_public_name_exists(name: str) -> None:
    assert getattr(asynq, name) is not None


def test_type_checkers_see_the_same_names_as_users() -> None:
    assert declared_for_type_checkers() == set(asynq.__all__)


def test_every_error_is_public() -> None:
    errors = {
        name
        for name, value in vars(asynq.errors).items()
        if isinstance(value, type) and issubclass(value, asynq.AsynqError)
    }
    assert errors <= set(asynq.__all__)


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Taks'"):
        asynq.Taks  # noqa: B018


def test_the_reference_has_each_public_name_once() -> None:
    pages = (Path(__file__).parents[2] / "docs/reference").glob("*.md")
    names = [
        name for page in pages for name in re.findall(r"^::: asynq\.(\w+)$", page.read_text(), re.MULTILINE)
    ]
    assert sorted([*names, "__version__"]) == sorted(asynq.__all__)
