"""Names and texts in any script, and payloads of any bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.waits import in_state
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.sides import Side

NAMES = ["тип:задачи", "任务", "a b\tc", "quo\"te's", "back\\slash", "per%cent:{brace", "😀", "e\u0301"]
PAYLOADS = {
    "empty": b"",
    "nul": b"\x00",
    "no text": b"\xff\xfe\x00\x80",
    "one megabyte": bytes(range(256)) * 4096,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script_is_the_same_in_both_languages(here: Side, there: Side, name: str) -> None:
    worker = there.worker(queues={name: 1})
    here.enqueue(f"ok:{name}", b"", task_id=name, queue=name, headers={name: name}, retention=600)
    [run] = eventually(lambda: worker.runs(name))
    assert (run.type, run.queue, run.headers) == (f"ok:{name}", name, {name: name})
    done = in_state(here, "completed", name, queue=name)
    assert done == there.task(name, name)
    assert here.queues() == there.queues() == [name]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_in_any_script_is_the_same_in_both_languages(here: Side, there: Side, name: str) -> None:
    there.worker()
    here.enqueue("skip", name.encode(), task_id="a")
    shown = in_state(here, "archived", "a")
    assert name in shown.last_err
    assert shown.last_err == there.task("default", "a").last_err


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_of_any_bytes_arrives_whole(here: Side, there: Side, payload: bytes) -> None:
    worker = there.worker()
    here.enqueue("result", payload, task_id="a", retention=600)
    [run] = eventually(lambda: worker.runs("a"))
    assert run.payload == payload
    done = in_state(here, "completed", "a")
    assert (done.payload, done.result) == (payload, payload)
