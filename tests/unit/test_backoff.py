"""Back-off: increasing pauses, and one log line per change of state."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING

from asynq.errors import BrokerRefusedError, BrokerUnavailable
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter, Outage, shared_outage

if TYPE_CHECKING:
    import pytest


def test_pauses_double_up_to_the_cap_with_jitter_below() -> None:
    backoff = Backoff(Random(1), first=0.1, cap=1.0)
    for span in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert span / 2 <= backoff.pause() <= span


def test_a_success_resets_the_pause() -> None:
    backoff = Backoff(Random(1), first=0.1, cap=1.0)
    for _ in range(5):
        backoff.pause()
    backoff.reset()
    assert backoff.pause() <= 0.1


def test_an_outage_is_logged_at_its_start_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    errors = ErrorReporter(logging.getLogger("test"), "fetching")
    for key in ("", "a"):
        errors.worked(key)
    for _ in range(3):
        errors.failed(BrokerUnavailable("away"), "a")
    errors.failed(BrokerUnavailable("away"), "b")
    for _ in range(3):
        errors.worked("a")
    assert [(record.levelname, record.message.split(":")[0]) for record in caplog.records] == [
        ("WARNING", "fetching of queue 'a' failed, retrying"),
        ("WARNING", "fetching of queue 'b' failed, retrying"),
        ("INFO", "fetching of queue 'a' works again"),
    ]


def test_a_first_success_is_not_logged_as_working_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log, away = logging.getLogger("test"), BrokerUnavailable("away")
    errors, outage = ErrorReporter(log, "fetching"), Outage(log)
    for _ in range(2):
        errors.failed(away)
        errors.worked()
        outage.began("a part", away)
        outage.ended("a part")
    told = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert told == [
        "fetching works now",
        "the broker is reachable now",
        "fetching works again",
        "the broker is reachable again",
    ]


def test_a_recovery_is_logged_if_the_failure_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The last failure was an outage, which is logged only once for all parts."""
    caplog.set_level(logging.INFO)
    log = logging.getLogger("test")
    errors = ErrorReporter(log, "fetching")
    token = shared_outage.set(Outage(log))
    try:
        errors.worked()
        errors.failed(BrokerRefusedError("no"))
        errors.failed(BrokerUnavailable("away"))
        errors.worked()
        errors.failed(BrokerUnavailable("away"))
        errors.worked()
    finally:
        shared_outage.reset(token)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "fetching failed, retrying",
        "cannot reach the broker, retrying",
        "fetching works again",
        "the broker is reachable again",
        "cannot reach the broker, retrying",
        "the broker is reachable again",
    ]


def test_an_outage_logged_without_a_reason_logs_the_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("test"), logged=True, with_reason=False)
    for who in ("a part", "another"):
        outage.began(who, BrokerUnavailable("no such host"))
    for who in ("a part", "another"):
        outage.ended(who)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot reach the broker, retrying: the broker is unavailable: no such host",
        "the broker is reachable now",
    ]


def test_a_success_without_the_broker_does_not_end_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = logging.getLogger("test")
    token = shared_outage.set(Outage(log, logged=True))
    try:
        asking, idle = ErrorReporter(log, "fetching"), ErrorReporter(log, "cleaning")
        idle.worked(broker_answered=False)
        assert caplog.records == []
        asking.worked()
    finally:
        shared_outage.reset(token)
    assert [record.getMessage() for record in caplog.records] == ["the broker is reachable now"]
