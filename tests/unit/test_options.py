from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asynq.client.options import Options, options_of

SECOND = timedelta(seconds=1)
AWARE = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("queue", "", ValueError),
        ("queue", " \t", ValueError),
        ("queue", "}scattered", ValueError),
        ("queue", b"bytes", TypeError),
        ("queue", "lone \ud800 surrogate", ValueError),
        ("task_id", "", ValueError),
        ("task_id", 7, TypeError),
        ("task_id", "\udfff", ValueError),
        ("group", " ", ValueError),
        ("group", 1, TypeError),
        ("max_retry", -1, ValueError),
        ("max_retry", 2**31, ValueError),
        ("max_retry", True, TypeError),
        ("max_retry", 1.0, TypeError),
        ("max_retry", "3", TypeError),
        ("timeout", timedelta(0), ValueError),
        ("timeout", -SECOND, ValueError),
        ("timeout", 30, TypeError),
        ("timeout", timedelta.max, ValueError),
        ("retention", -SECOND, ValueError),
        ("retention", 3600, TypeError),
        ("retention", timedelta.max, ValueError),
        ("process_in", timedelta(microseconds=-1), ValueError),
        ("process_in", 5, TypeError),
        ("process_in", True, TypeError),
        ("process_at", datetime(2030, 1, 1), ValueError),  # noqa: DTZ001 - naive on purpose
        ("process_at", 1_700_000_000, TypeError),
        ("process_at", SECOND, TypeError),
        ("deadline", datetime(2030, 1, 1), ValueError),  # noqa: DTZ001 - naive on purpose
        ("deadline", AWARE.date(), TypeError),
        ("deadline", SECOND, TypeError),
        ("deadline", datetime(1970, 1, 1, tzinfo=UTC), ValueError),
        ("unique", timedelta(milliseconds=999), ValueError),
        ("unique", -SECOND, ValueError),
        ("unique", True, TypeError),
        ("unique_until", "never", ValueError),
        ("keep_unique", 1, TypeError),
        ("debounce", timedelta(0), ValueError),
        ("debounce", 30, TypeError),
        ("throttle", timedelta(milliseconds=999), ValueError),
        ("key", " ", ValueError),
        ("key", 7, TypeError),
        ("on_conflict", "replace", ValueError),
        ("headers", ["a"], TypeError),
        ("headers", "a=b", TypeError),
        ("headers", {"a": 1}, TypeError),
        ("headers", {1: "a"}, TypeError),
        ("headers", {"a": "\ud800"}, ValueError),
    ],
)
def test_an_invalid_value_is_refused_with_the_name_of_its_option(
    name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=name):
        Options(**{name: value})  # type: ignore[arg-type]


def test_an_unknown_option_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match="qeue"):
        Options(qeue="low")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "says"),
    [("max_retries", "did you mean 'max_retry'"), ("retries", "options are queue, task_id, max_retry, ")],
)
def test_an_unknown_keyword_is_refused_with_the_valid_options(name: str, says: str) -> None:
    with pytest.raises(TypeError, match=rf"enqueue\(\) got an unexpected option '{name}'; {says}"):
        options_of("enqueue", {name: 3})


def test_process_at_and_process_in_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="process_at or process_in"):
        Options(process_at=AWARE, process_in=SECOND)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue", "mail:{eu} ✉"),
        ("queue", " padded "),
        ("task_id", "{}:\n"),
        ("max_retry", 0),
        ("max_retry", 2**31 - 1),
        ("timeout", timedelta(microseconds=1)),
        ("retention", timedelta(0)),
        ("process_in", timedelta(0)),
        ("process_at", datetime(1, 1, 2, tzinfo=UTC)),
        ("deadline", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("unique", SECOND),
        ("headers", {}),
    ],
)
def test_a_boundary_value_is_accepted(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    assert getattr(Options(**options), name) == value


def test_later_options_override_earlier_ones_unless_none() -> None:
    merged = Options(queue="low", max_retry=3) | Options(queue="high", max_retry=None, timeout=SECOND)
    assert merged == Options(queue="high", max_retry=3, timeout=SECOND)


def test_zero_overrides_an_earlier_value() -> None:
    assert (Options(max_retry=3) | Options(max_retry=0)).max_retry == 0


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Options(process_at=AWARE), Options(process_in=SECOND)),
        (Options(process_in=SECOND), Options(process_at=AWARE)),
    ],
)
def test_process_at_and_process_in_are_one_option_when_overridden(earlier: Options, later: Options) -> None:
    assert earlier | later == later


def test_headers_accumulate_and_later_ones_win() -> None:
    merged = Options(headers={"a": "1", "b": "1"}) | Options(headers={"b": "2", "c": "2"})
    assert merged.headers == {"a": "1", "b": "2", "c": "2"}


def test_a_mapping_of_headers_changed_later_does_not_change_the_options() -> None:
    headers = {"a": "1"}
    options = Options(headers=headers)
    headers["a"] = "2"
    assert options.headers == {"a": "1"}


def test_the_repr_shows_the_given_options() -> None:
    assert repr(Options(queue="low", max_retry=0)) == "Options(queue='low', max_retry=0)"
