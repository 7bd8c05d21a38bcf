from __future__ import annotations

import pytest

from asynq.errors import HandlerNotFoundError, RevokeTask, SkipRetry
from asynq.errors.text import MAX_ERROR_TEXT, error_text


class Silent(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit


class NotText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]  # noqa: PLE0307


class Faceless(Exception):  # noqa: N818
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "SystemExit: 3"),
        (HandlerNotFoundError("t"), "handler not found for task 't'"),
        (SkipRetry("bad address"), "bad address"),
        (RevokeTask(), "RevokeTask"),
        (ValueError("a\0b"), "ValueError: a\\x00b"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (ValueError("grün"), "ValueError: grün"),
        (Silent(), "Silent (which cannot be shown: it raised SystemExit)"),
        (NotText(), "NotText (which cannot be shown: it raised TypeError)"),
        (
            ExceptionGroup("2", [OSError(), ExceptionGroup("x", [KeyError()])]),
            "ExceptionGroup: 2 (2 sub-exceptions) [OSError; ExceptionGroup: x (1 sub-exception) [KeyError]]",
        ),
    ],
)
def test_every_error_has_a_readable_text(error: BaseException, text: str) -> None:
    assert error_text(error) == text


def test_an_error_that_raises_when_inspected_has_a_text() -> None:
    # Not a parameter of a test, because pytest would inspect it.
    assert error_text(Faceless("boom")) == "Faceless (which cannot be shown: it raised RuntimeError)"


def test_a_cause_is_left_out() -> None:
    error = ValueError("boom")
    error.__cause__ = KeyError("hidden")
    assert error_text(error) == "ValueError: boom"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 1_000_000),
        ValueError("\ud800" * 1_000_000),
        ValueError("\0" * 1_000_000),
        ExceptionGroup("many", [ValueError("y" * 5_000)] * 1_000),
    ],
    ids=["long", "surrogates", "nul", "group"],
)
def test_the_text_is_bounded_and_valid(error: BaseException) -> None:
    text = error_text(error)
    assert len(text) == MAX_ERROR_TEXT
    assert text.encode().decode() == text
    assert text.endswith("…")
