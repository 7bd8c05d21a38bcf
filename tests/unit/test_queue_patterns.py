"""Which queues a server serves whose names are patterns, with which weights and limits."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from asynq import MemoryBroker, Server
from asynq.worker.pending_queues import PendingQueues
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_patterns import is_pattern, literal, matches
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.served_queues import ServedQueues


def serving(queues: Any, *, strict: bool = False, **limits: dict[str, int]) -> ServedQueues:
    preference = QueuePriority.of(queues, strict=strict)
    return ServedQueues(preference, QueueLimits.of(limits.get("own"), limits.get("shared"), preference))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("tenant-*", "tenant-1", True),
        ("tenant-*", "tenant-", True),
        ("tenant-*", "a tenant-1", False),
        ("*", "anything\nat all", True),
        ("*-low", "a-low", True),
        ("*-low", "a-low-b", False),
        ("a*b*c", "a-b-b-c", True),
        ("a?*", "a?x", True),
        ("a?*", "abx", False),
        ("a[bc]*", "ab", False),
        ("a[bc]*", "a[bc]d", True),
        ("a.*", "a.b", True),
        ("a.*", "axb", False),
        ("[*]*", "*x", True),
        ("[*]*", "x", False),
        ("TENANT-*", "tenant-1", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("a*b*b", "ab", False),
        ("a*b*b", "abb", True),
        ("**", "", True),
        ("*b*ab*", "bab", True),
        ("*ab*b*", "ab", False),
        ("[*]*[*]", "*", False),
        ("[*]*[*]*[*]", "*a**", True),
    ],
)
def test_an_asterisk_is_any_text_and_all_else_stands_for_itself(
    pattern: str, name: str, *, expected: bool
) -> None:
    assert is_pattern(pattern)
    assert matches(pattern, name) is expected


@pytest.mark.parametrize("last", ["-", "prod"])
def test_a_long_name_is_compared_with_many_asterisks_at_once(last: str) -> None:
    pattern, name = "*-" * 20 + f"*{last}", "-" * 100_000
    began = time.thread_time()
    assert matches(pattern, name) is (last == "-")
    assert time.thread_time() - began < 0.2


@pytest.mark.parametrize(
    ("text", "name"),
    [("a[*]b", "a*b"), ("[*]", "*"), ("x[[*]]", "x[*]"), ("plain", "plain"), ("a[b]?", "a[b]?")],
)
def test_an_asterisk_in_brackets_is_no_pattern(text: str, name: str) -> None:
    assert not is_pattern(text)
    assert literal(text) == name
    assert QueuePriority.of([text]).names == (name,)


def test_queues_come_and_go_and_the_named_ones_stay() -> None:
    served = serving({"default": 2, "tenant-*": 1})
    assert (list(served), served.settled) == (["default"], False)
    assert served.follow(["other", "tenant-b", "tenant-a"]) == ["tenant-a", "tenant-b"]
    assert (list(served), served.settled) == (["default", "tenant-a", "tenant-b"], True)
    assert served.follow(["tenant-b", "tenant-a", "default"]) is None
    assert served.follow(["tenant-0", "tenant-b"]) == ["tenant-0"]
    assert list(served) == ["default", "tenant-b", "tenant-0"]
    assert served.follow([]) == []
    assert list(served) == ["default"]


def test_each_matching_queue_has_the_weight_of_its_pattern_and_a_named_one_its_own() -> None:
    served = serving({"tenant-*": 3, "*": 1, "tenant-vip": 9})
    served.follow(["tenant-vip", "tenant-1", "mail"])
    assert served.preference.weights == {"tenant-vip": 9, "tenant-1": 3, "mail": 1}
    assert list(served) == ["tenant-vip", "tenant-1", "mail"]


def test_the_first_of_several_patterns_counts() -> None:
    served = serving({"a*": 1, "*b": 5})
    served.follow(["ab"])
    assert served.preference.weights == {"ab": 1}


def test_first_choices_follow_the_weights_of_patterns() -> None:
    served = serving({"a-*": 2, "b": 1})
    served.follow(["a-1", "a-2"])
    orders = served.preference.orders(8000, Random(1))
    first = Counter(order[0] for order in orders)
    assert [round(first[name] / 8000, 1) for name in ("a-1", "a-2", "b")] == [0.4, 0.4, 0.2]


def test_strict_priority_holds_between_patterns() -> None:
    served = serving({"low-*": 1, "high-*": 2}, strict=True)
    served.follow(["low-1", "high-1", "high-2"])
    assert served.preference.orders(1, Random(1)) == (("high-1", "high-2", "low-1"),)


def test_a_queue_whose_name_no_server_can_serve_is_not_followed() -> None:
    served = serving(["*"])
    served.follow(["}", "}x", "x}"])
    assert list(served) == ["x}"]


def test_a_server_would_serve_queues_that_do_not_exist_yet() -> None:
    served = serving(["default", "tenant-*"])
    assert [served.would_serve(name) for name in ("default", "tenant-9", "other")] == [True, True, False]


def test_a_limit_of_a_pattern_applies_to_each_queue() -> None:
    served = serving(
        ["tenant-*", "mail"], own={"tenant-*": 2, "tenant-vip": 5}, shared={"mail": 1, "tenant-*": 7}
    )
    assert (served.limits.own, served.limits.shared) == ({}, {"mail": 1})
    served.follow(["tenant-1", "tenant-vip"])
    assert served.limits.own == {"tenant-1": 2, "tenant-vip": 5}
    assert served.limits.shared == {"mail": 1, "tenant-1": 7, "tenant-vip": 7}


@pytest.mark.parametrize("limits", [{"other": 1}, {"other-*": 1}, {"tenant-*": 0}, {"tenant[*]": 1}])
def test_a_limit_of_what_is_not_served_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="queue_limits"):
        Server(MemoryBroker(), queues=["tenant-*"], queue_limits=limits)


@pytest.mark.parametrize("queues", [{"tenant-*": 0}, ["a-*", "a-*"], ["}*"]])
def test_invalid_patterns_are_refused(queues: Any) -> None:
    with pytest.raises(ValueError, match="queues"):
        Server(MemoryBroker(), queues=queues)


def test_an_override_keeps_patterns_and_their_limits() -> None:
    server = Server(MemoryBroker(), queues={"tenant-*": 3, "mail[*]": 1}, queue_limits={"tenant-*": 2})
    server.override(strict_priority=True, lease=timedelta(seconds=9))
    kept = server._settings.preference
    assert (kept.patterns, kept.weights, kept.strict) == (
        {"tenant-*": 3},
        {"mail*": 1},
        True,
    )
    assert server._settings.limits.own == {"tenant-*": 2}
    server.override(queues=["other-*"])
    assert server._settings.preference.patterns == {"other-*": 1}
    assert server._settings.limits.own == {}


def test_a_fetch_asks_new_queues_and_no_longer_those_that_are_gone() -> None:
    served = serving(["a", "t-*"])
    pending = PendingQueues(served.preference, served.limits, Random(1))
    asked = pending.orders(1, ())
    assert asked == (("a",),)
    served.follow(["t-1", "t-2"])
    pending.serve(served.preference, served.limits)
    assert set(pending.orders(1, ())[0]) == {"t-1", "t-2"}
    pending.suspect()
    asked = pending.orders(1, ())
    served.follow(["t-2"])
    pending.serve(served.preference, served.limits)
    pending.found_all(asked)  # the reply of a fetch that was sent before
    pending.mark("t-1")
    assert set(pending.orders(1, ())[0]) == {"a", "t-2"}


def test_the_first_queues_of_a_pattern_are_asked() -> None:
    served = serving(["t-*"])
    pending = PendingQueues(served.preference, served.limits, Random(1))
    assert pending.orders(3, ()) == ()
    names = [f"t-{number:03}" for number in range(300)]
    served.follow(names)
    pending.serve(served.preference, served.limits)
    assert set(pending.orders(1, ())[0]) == set(names)
