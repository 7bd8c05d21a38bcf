"""Refusals of invalid broker URLs."""

from __future__ import annotations

from typing import Any

import pytest

from asynq.errors import BrokerURLError
from asynq.protocol.connect import connect, path_of


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis:/127.0.0.1", "after 'redis:' comes '//'"),
        ("sqlite:tasks.db", "after 'sqlite:' comes '///'"),
        ("tasks.db", "no scheme; .*sqlite:///tasks.db for a file"),
        ("/var/lib/tasks.db", "no scheme"),
        ("localhost:6379", "no scheme; .*redis://127.0.0.1:6379"),
        ("", "no scheme"),
        ("mysql://localhost", "no backend is registered for scheme 'mysql'"),
    ],
)
def test_a_malformed_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(BrokerURLError, match=why):
        connect(url)


@pytest.mark.parametrize("url", [None, 42, b"redis://127.0.0.1"])
def test_a_url_that_is_not_text_is_refused(url: Any) -> None:
    with pytest.raises(TypeError, match="a broker URL must be a str, not "):
        connect(url)


@pytest.mark.parametrize(
    ("url", "path"),
    [("store:///tasks", "tasks"), ("store:////var/tasks", "/var/tasks"), ("store:///a%20b%3F", "a b?")],
)
def test_a_file_url_contains_a_path(url: str, path: str) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize(
    "url", ["store://", "store:///", "store://host/tasks", "store:///a?b=c", "store:///a#b"]
)
def test_other_parts_of_a_file_url_are_refused(url: str) -> None:
    with pytest.raises(BrokerURLError, match="store:/// and the path of a file, nothing else"):
        path_of(url)
