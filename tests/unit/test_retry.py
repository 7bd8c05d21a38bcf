"""The default retry delay, compared with recordings of Go asynq."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynq.handlers.retry import MAX_RETRY_DELAY, default_retry_delay

RECORDED = json.loads((Path(__file__).parents[1] / "golden/data/retry_delays.json").read_text())["delays"]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"retried-{recorded['n']}")
def test_the_default_retry_delays_equal_those_of_go(recorded: dict[str, Any]) -> None:
    rng = Random(7)
    drawn = {default_retry_delay(recorded["n"], rng).total_seconds() for _ in range(2000)}
    expected = range(recorded["sampled_min_s"], recorded["sampled_max_s"] + 1, recorded["step_s"])
    assert drawn == set(expected)
    assert len(drawn) == recorded["sampled_distinct"]


@given(retried=st.integers(0, 2**31 - 1), seed=st.integers(0, 3))
@example(retried=3048, seed=0)
@example(retried=3049, seed=0)
@example(retried=2**31 - 1, seed=0)
def test_the_default_retry_delay_accepts_any_number_of_retries(retried: int, seed: int) -> None:
    delay = default_retry_delay(retried, Random(seed))
    assert timedelta(seconds=15) <= delay <= MAX_RETRY_DELAY
    assert delay >= min(timedelta(seconds=min(retried, 240) ** 4), MAX_RETRY_DELAY)
