from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from asynq import CronError, EntryNotFoundError, Task
from asynq.client.go_options import option_texts
from asynq.client.options import Options
from asynq.scheduler.entries import Entry, Registry

UTC_ZONE = ZoneInfo("UTC")
HOUR = timedelta(hours=1)


def entry(spec: str = "@hourly", task: Task | None = None, zone: str = "UTC", **options: Any) -> Entry:
    return Entry.of(spec, task or Task("t"), Options(**options), ZoneInfo(zone))


DIFFERENT = [
    entry(),
    entry("@daily"),
    entry(zone="Europe/Berlin"),
    entry(task=Task("u")),
    entry(task=Task("t", b"")),
    entry(task=Task("t", b"x")),
    entry(task=Task("t", headers={"a": "1"})),
    entry(task=Task("t", headers={"a": "2"})),
    entry(task=Task("t", max_retry=3)),
    entry(max_retry=4),
    entry(timeout=HOUR),
    entry(retention=HOUR),
    entry(queue="low"),
    entry(group="low"),
    entry(process_at=datetime(2030, 1, 1, tzinfo=UTC)),
]


def test_different_entries_have_different_ids() -> None:
    assert len({each.id for each in DIFFERENT}) == len(DIFFERENT)


def test_the_id_of_an_entry_does_not_depend_on_how_options_are_given() -> None:
    assert entry(max_retry=3).id == entry(task=Task("t", max_retry=3)).id
    assert entry(headers={"a": "1", "b": "2"}).id == entry(headers={"b": "2", "a": "1"}).id


def test_an_entry_has_the_same_id_in_every_process() -> None:
    script = (
        "from asynq import Task; from asynq.scheduler.entries import Entry\n"
        "from asynq.client.options import Options\n"
        "from zoneinfo import ZoneInfo\n"
        "print(Entry.of('@hourly', Task('t', b'x', headers={'a': '1'}), Options(), ZoneInfo('UTC')).id)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert printed.strip() == entry(task=Task("t", b"x", headers={"a": "1"})).id


def test_a_task_with_its_own_id_replaces_the_finished_one() -> None:
    assert entry(task_id="x").over.on_conflict == "replace_finished"
    assert entry(task_id="x", on_conflict="reject").over.on_conflict == "reject"
    assert entry().over.on_conflict is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("not a spec", Task("t"), Options()), CronError),
        (("@every 0s", Task("t"), Options()), CronError),
        (("@every -5s", Task("t"), Options()), CronError),
        (("@hourly", "t", Options()), TypeError),
        ((5, Task("t"), Options()), TypeError),
        (("@hourly", Task("t"), Options(keep_unique=True)), ValueError),
    ],
)
def test_misuse_is_refused(arguments: tuple[Any, Any, Options], error: type[Exception]) -> None:
    with pytest.raises(error):
        Entry.of(*arguments, UTC_ZONE)


def test_equal_entries_are_numbered_and_removed_individually() -> None:
    registry = Registry()
    first, second = registry.add(entry()), registry.add(entry())
    assert second == f"{first}-2"
    registry.remove(first)
    assert list(registry.all()) == [second]
    with pytest.raises(EntryNotFoundError) as refused:
        registry.remove(first)
    assert refused.value.entry_id == first


def test_replacing_entries_keeps_the_unchanged_ones() -> None:
    registry = Registry()
    changes: list[int] = []
    registry.changed = lambda: changes.append(len(registry))
    assert registry.replace([entry(), entry(), entry(queue="low")]) == (3, 0)
    assert registry.replace([entry(queue="low"), entry()]) == (0, 1)
    assert registry.replace([entry(), entry(queue="low")]) == (0, 0)
    assert changes == [3, 2]


def test_options_are_written_in_the_notation_of_go() -> None:
    options = Options(
        queue="low",
        max_retry=2,
        timeout=timedelta(seconds=90),
        deadline=datetime(2033, 5, 18, 5, 33, 19, tzinfo=ZoneInfo("Europe/Berlin")),
        unique=timedelta(minutes=1),
        process_at=datetime(2030, 1, 1, tzinfo=UTC),
        retention=HOUR,
        task_id="fixed-id",
        group='g"ö',
        headers={"a": "b"},
    )
    assert set(option_texts(options)) == {
        'Queue("low")',
        "MaxRetry(2)",
        "Timeout(1m30s)",
        "Deadline(Wed May 18 03:33:19 UTC 2033)",
        "Unique(1m0s)",
        "ProcessAt(Tue Jan  1 00:00:00 UTC 2030)",
        "Retention(1h0m0s)",
        'TaskID("fixed-id")',
        'Group("g\\"ö")',
        'Header(["a","b"])',
    }
    assert option_texts(Options(process_in=timedelta(seconds=30))) == ("ProcessIn(30s)",)
    assert option_texts(Options()) == ()


@pytest.mark.parametrize("spec", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "CRON_TZ=Asia/Tokyo 0 0 31 feb ?"])
def test_a_schedule_that_is_never_due_is_refused(spec: str) -> None:
    with pytest.raises(CronError, match="is never due: none of its months has such a day"):
        entry(spec)


@pytest.mark.parametrize("spec", ["0 0 29 2 *", "0 0 31 2,3 *", "0 0 30 2 mon", "@every 9999h"])
def test_a_schedule_that_is_rarely_due_is_accepted(spec: str) -> None:
    assert entry(spec).spec == spec
