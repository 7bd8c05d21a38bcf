"""Patience: pauses that grow, and one line per change of state."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING

from asynq.backoff import Backoff, Troubles
from asynq.errors import BrokerUnavailable

if TYPE_CHECKING:
    import pytest


def test_pauses_double_up_to_the_cap_with_jitter_below() -> None:
    backoff = Backoff(Random(1), first=0.1, cap=1.0)
    for span in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert span / 2 <= backoff.pause() <= span


def test_success_begins_again_with_the_first_pause() -> None:
    backoff = Backoff(Random(1), first=0.1, cap=1.0)
    for _ in range(5):
        backoff.pause()
    backoff.reset()
    assert backoff.pause() <= 0.1


def test_trouble_is_told_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    troubles = Troubles(logging.getLogger("test"), "fetching")
    troubles.worked()
    for _ in range(3):
        troubles.failed(BrokerUnavailable("away"), "a")
    troubles.failed(BrokerUnavailable("away"), "b")
    for _ in range(3):
        troubles.worked("a")
    assert [(record.levelname, record.message.split(":")[0]) for record in caplog.records] == [
        ("WARNING", "fetching of queue 'a' fails and will be tried again"),
        ("WARNING", "fetching of queue 'b' fails and will be tried again"),
        ("INFO", "fetching of queue 'a' works again"),
    ]
