from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any, assert_type

import pytest

from asynq import Client, PayloadError, Task, TaskType
from asynq.protocol.message import TaskMessage


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ("grün", "grün".encode()),
        ("", b""),
        ({"user_id": 42}, b'{"user_id":42}'),
        ([1, None, True], b"[1,null,true]"),
        (0, b"0"),
        (False, b"false"),
        (None, b""),
    ],
)
def test_a_payload_is_stored_as_bytes(payload: object, stored: bytes) -> None:
    assert Task("t", payload).payload == stored


def test_a_later_change_of_the_payload_does_not_change_the_task() -> None:
    payload = bytearray(b"ab")
    task = Task("t", payload)
    payload[0] = 0
    assert task.payload == b"ab"


@pytest.mark.parametrize("payload", [object(), {"a": object()}, float("nan"), {"x": float("inf")}])
def test_a_payload_that_json_cannot_represent_is_refused_with_its_type(payload: object) -> None:
    with pytest.raises((TypeError, ValueError), match="payload"):
        Task("t", payload)


def test_a_payload_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="payload"):
        Task("t", "\ud800")


@pytest.mark.parametrize(
    ("type_", "error"), [("", ValueError), (" ", ValueError), ("\ud800", ValueError), (None, TypeError)]
)
def test_an_invalid_type_is_refused(type_: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="type"):
        Task(type_)


def test_options_of_a_task_are_checked_at_construction() -> None:
    with pytest.raises(ValueError, match="max_retry"):
        Task("t", max_retry=-1)


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="retries"):
        Task("t", retries=3)  # type: ignore[call-arg]


def test_tasks_with_a_missing_and_an_empty_payload_differ() -> None:
    assert Task("t") != Task("t", b"")
    assert not Task("t").has_payload
    assert Task("t", b"").has_payload


def test_tasks_are_equal_if_all_fields_are_equal() -> None:
    assert Task("t", {"a": 1}, queue="low", headers={"h": "1"}) == Task(
        "t", b'{"a":1}', queue="low", headers={"h": "1"}
    )
    assert Task("t", queue="low") != Task("t")
    assert Task("t", headers={"h": "1"}) != Task("t")


def test_a_task_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Task("t").type = "u"  # type: ignore[misc]


def test_json_returns_the_given_payload() -> None:
    assert Task("t", {"a": [1, "ü"]}).json() == {"a": [1, "ü"]}
    assert Task("t").json() is None


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"[" * 100_000])
def test_json_of_an_invalid_payload_raises_a_payload_error_with_the_type(payload: bytes) -> None:
    with pytest.raises(PayloadError, match="email:deliver"):
        Task("email:deliver", payload).json()


@pytest.mark.parametrize("payload", ["abc", b"abc"])
def test_json_of_a_text_payload_says_how_to_read_it(payload: Any) -> None:
    with pytest.raises(PayloadError, match=r"read it with task\.text or task\.payload"):
        Task("t", payload).json()


def test_text_returns_the_given_str() -> None:
    assert Task("t", "grün").text == "grün"
    assert Task("t").text == ""
    with pytest.raises(PayloadError, match="email:deliver"):
        Task("email:deliver", b"\xff").text  # noqa: B018


def test_a_handler_sees_type_payload_and_headers_of_the_message() -> None:
    task = Task.from_message(
        TaskMessage(id="1", type="t", queue="low", payload=b"x", headers={"h": "1"}, max_retry=3)
    )
    assert (task.type, task.payload, task.headers) == ("t", b"x", {"h": "1"})


def test_a_message_with_invalid_names_from_a_peer_becomes_a_task() -> None:
    assert Task.from_message(TaskMessage(id="1", type=" ", queue="q")).type == " "


def test_the_repr_shows_the_fields_and_shortens_the_payload() -> None:
    assert repr(Task("t", b"x", max_retry=3, timeout=timedelta(seconds=1))) == (
        "Task('t', b'x', max_retry=3, timeout=datetime.timedelta(seconds=1))"
    )
    assert repr(Task("t")) == "Task('t')"
    assert len(repr(Task("t", b"x" * 1_000_000))) < 200


def test_a_task_can_be_pickled() -> None:
    task = Task("t", b"x", queue="low", headers={"h": "1"})
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("name", "why"),
    [("retry", "did you mean 'max_retry'"), ("ttl", "unexpected option 'ttl'"), ("Queue", "'queue'")],
)
def test_an_unknown_option_is_refused_with_the_name_of_the_called_function(name: str, why: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=rf"^Task\(\) .*{why}"):
        Task("t", **options)
    with Client("memory://options") as client:
        with pytest.raises(TypeError, match=rf"^enqueue\(\) .*{why}"):
            client.enqueue(Task("t"), **options)
        with pytest.raises(TypeError, match=rf"^enqueue_many\(\) .*{why}"):
            client.enqueue_many([], **options)


def test_a_task_with_other_options_overrides_its_own() -> None:
    welcome = TaskType("welcome", int, result=str, queue="mail", max_retry=5, headers={"a": "1"})
    task = welcome(7).with_options(max_retry=3, task_id="welcome-7", headers={"b": "2"})
    assert_type(task, Task[str, bytes])
    expected = {"queue": "mail", "max_retry": 3, "task_id": "welcome-7", "headers": {"a": "1", "b": "2"}}
    assert task.options.given() == expected
    assert (task.type, task.payload, task.result_types) == ("welcome", b"7", welcome.result_types)
    assert not Task("t").with_options(queue="low").has_payload


def test_an_unknown_option_of_a_task_is_refused() -> None:
    wrong: Any = {"retries": 3}
    with pytest.raises(TypeError, match=r"with_options\(\) got an unexpected option 'retries'"):
        Task("t").with_options(**wrong)
