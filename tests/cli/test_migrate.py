"""`asynq migrate`: every kind of task between every pair of stores, conflicts, and what the command says."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from asynq import Client, DuplicateTaskError, QueueNotFoundError, Schedules, Task, connect
from asynq.migration import MigrationRunningError, amigrate, migrate, migrate_schedules
from asynq.migration.engine import BATCH_BYTES
from asynq.protocol.ops import (
    Archive,
    ClaimTransfer,
    Complete,
    Dequeue,
    Done,
    ExportTask,
    GetQueueStats,
    ImportTask,
    ListGroups,
    ListParked,
    ListQueues,
    ListTasks,
    Ping,
    ReleaseTask,
    Retry,
    TakeGroup,
    UnpauseQueue,
)
from asynq.protocol.transfer import PARKED
from asynq.task_state import TaskState
from tests.cli.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery, StoredTask

Q = "default"
HOUR = timedelta(hours=1)


@frozen
class Pair:
    """Two empty stores."""

    source: Broker
    destination: Broker
    run: Commands
    """Runs commands on the destination."""
    urls: tuple[str, str]

    def migrate(self, *options: str, status: int = 0) -> Any:
        """Run the command with --yes and --json. Returns what it printed."""
        ended = self.run("migrate", *self.urls, "--yes", "--json", *options)
        assert ended.status == status, ended
        return ended.objects


@pytest.fixture(params=["sqlite redis", "redis sqlite", "redis cluster"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two stores of different kinds."""
    urls = []
    for kind in request.param.split():
        if kind == "sqlite":
            urls.append(f"sqlite:///{tmp_path}/tasks.db")
        else:
            urls.append(request.getfixturevalue("redis_server" if kind == "redis" else "cluster").url)
    source, destination = connect(urls[0]), connect(urls[1])
    for broker in (source, destination):
        broker.execute(Ping())
    yield Pair(source, destination, Commands(urls[1], destination), (urls[0], urls[1]))
    source.close()
    destination.close()


def take(broker: Broker, queue: str = Q) -> Delivery:
    (delivery,) = broker.execute(Dequeue(orders=((queue,),), token="token", lease=60_000))
    return delivery


def everything(broker: Broker, queue: str = Q) -> dict[str, StoredTask]:
    """All tasks of a queue by id."""
    found: dict[str, StoredTask] = {}
    for state in TaskState:
        names = [""]
        if state is TaskState.AGGREGATING:
            names = [group.name for group in broker.execute(ListGroups(queue=queue)).groups]
        for group in names:
            page = broker.execute(ListTasks(queue=queue, state=state, group=group, limit=1000))
            found |= {task.message.id: task for task in page}
    return found


def fill(broker: Broker, queue: str = Q) -> dict[str, StoredTask]:
    """A task of each kind. Returns all of them."""
    client = Client(broker)
    for name, settle in (
        ("completed", lambda run: Complete(delivery=run, result=b"\xffdone")),
        ("archived", lambda run: Archive(delivery=run, error="no \N{SNOWMAN}")),
        ("retry", lambda run: Retry(delivery=run, delay=3600_000, error="again")),
    ):
        client.enqueue(Task(name, {"x": 1}, task_id=name), queue=queue, retention=HOUR, max_retry=3)
        broker.execute(settle(take(broker, queue)))
    client.enqueue(Task("scheduled", task_id="scheduled"), queue=queue, process_in=HOUR)
    client.enqueue(Task("grouped", task_id="grouped"), queue=queue, group="g")
    client.enqueue(Task("locked", b"1", task_id="locked"), queue=queue, unique=HOUR)
    client.enqueue(Task("plain", bytes(range(256)), task_id="plain", headers={"a": "b"}), queue=queue)
    for number in range(3):
        client.enqueue(Task("in order", number, task_id=f"seq{number}"), queue=queue, sequence="s")
    parent = Task("parent", task_id="parent", then=[Task("child", task_id="child")])
    client.enqueue(parent, queue=queue, retention=HOUR)
    members = [Task("member", number, queue=queue) for number in range(2)]
    client.enqueue_join(members, then=Task("last", task_id="last", queue=queue))
    return everything(broker, queue)


def test_a_moved_queue_is_as_it_was(pair: Pair) -> None:
    before = fill(pair.source)
    assert len(before) == 14
    [done] = pair.migrate("--move")
    assert (done["transferred"], done["present"], done["refused"]) == (14, 0, [])
    assert everything(pair.destination) == before
    assert everything(pair.source) == {}
    stats = pair.source.execute(GetQueueStats(queue=Q))
    assert (stats.size, stats.paused) == (0, True)
    assert not pair.destination.execute(GetQueueStats(queue=Q)).paused
    # A lock holds on the other side, and a sequence runs in its order.
    with pytest.raises(DuplicateTaskError):
        Client(pair.destination).enqueue(Task("locked", b"1"), unique=HOUR)
    run: list[str] = []
    while deliveries := pair.destination.execute(Dequeue(orders=((Q,),), token=str(len(run)), lease=60_000)):
        run.append(deliveries[0].message.id)
        pair.destination.execute(Done(delivery=deliveries[0]))
    assert [name for name in run if name.startswith("seq")] == ["seq0", "seq1", "seq2"]


@pytest.mark.parametrize("move", [False, True])
def test_a_queue_that_is_nowhere_is_an_error_and_not_paused(pair: Pair, move: bool) -> None:
    fill(pair.source)
    with pytest.raises(QueueNotFoundError, match="'typo'"):
        migrate(pair.source, pair.destination, queues=[Q, "typo"], move=move)
    with pytest.raises(TypeError, match="queues must be a collection of names, not 'default'"):
        migrate(pair.source, pair.destination, queues=Q, move=move)
    with pytest.raises(TypeError, match="queues"):
        migrate_schedules(pair.source, pair.destination, queues=Q, move=move)
    assert pair.destination.execute(ListQueues()) == ()
    for broker in (pair.source, pair.destination):
        for queue in ("typo", Q, *Q):
            assert broker.execute(UnpauseQueue(queue=queue)) is False


def test_a_copied_queue_is_in_both_brokers_and_paused_in_the_new_one(pair: Pair) -> None:
    before = fill(pair.source)
    [done] = pair.migrate()
    assert (done["transferred"], done["present"]) == (14, 0)
    assert everything(pair.destination) == before
    assert everything(pair.source) == before
    assert pair.destination.execute(GetQueueStats(queue=Q)).paused
    assert not pair.source.execute(GetQueueStats(queue=Q)).paused
    [again] = pair.migrate()
    assert again["transferred"] == 0
    assert again["refused"] == []
    assert everything(pair.destination) == before


def test_a_move_back_and_forth_changes_nothing(pair: Pair) -> None:
    before = fill(pair.source)
    pair.migrate("--move")
    back = pair.run("migrate", *reversed(pair.urls), "--move", "--yes")
    assert "14 tasks moved." in back.out
    assert everything(pair.source) == before


def test_an_active_task_is_left_to_its_worker_and_keeps_its_sequence(pair: Pair) -> None:
    client = Client(pair.source)
    for number in range(3):
        client.enqueue(Task("t", task_id=f"s{number}"), sequence="s")
    client.enqueue(Task("t", task_id="other"))
    held = take(pair.source)
    ended = pair.run("migrate", *pair.urls, "--move", "--yes")
    assert ended.status == 1
    assert "1 task moved, 1 active left to their workers, 2 held up by others." in ended.out
    assert everything(pair.destination).keys() == {"other"}
    pair.source.execute(Retry(delivery=held, delay=0, error="again"))
    [done] = pair.migrate("--move", "--wait")
    assert (done["transferred"], done["active"], done["held"]) == (3, 0, 0)
    assert everything(pair.source) == {}


def test_tasks_of_an_aggregation_are_left_to_it(pair: Pair) -> None:
    client = Client(pair.source)
    for name in "ab":
        client.enqueue(Task("t", task_id=name), group="g")
    taken = pair.source.execute(TakeGroup(queue=Q, group="g", set_id="s", grace=0, max_size=1))
    assert taken is not None
    pair.migrate("--move")
    assert len(everything(pair.destination)) == 1
    assert pair.source.execute(GetQueueStats(queue=Q)).aggregating == 1


def test_a_conflict_is_reported_and_nothing_is_overwritten(pair: Pair) -> None:
    Client(pair.source).enqueue_many([Task("t", number, task_id=str(number)) for number in range(5)])
    Client(pair.source).enqueue(Task("locked", task_id="a"), unique=HOUR)
    Client(pair.destination).enqueue(Task("other", task_id="3"))
    Client(pair.destination).enqueue(Task("locked", task_id="b"), unique=HOUR)
    ended = pair.run("migrate", *pair.urls, "--move", "--yes", "--json")
    assert ended.status == 1
    assert "Error: TO refused task 3: its id is taken by another task" in ended.err
    assert "Error: TO refused task a: its unique lock is held by" in ended.err
    [done] = ended.objects
    assert (done["transferred"], {task["id"] for task in done["refused"]}) == (4, {"3", "a"})
    assert everything(pair.source).keys() == {"3", "a"}
    assert everything(pair.source)["3"].state is TaskState.PENDING
    assert everything(pair.destination)["3"].message.type == "other"


def test_queues_and_states_can_be_chosen(pair: Pair) -> None:
    fill(pair.source, "a")
    fill(pair.source, "b")
    (done,) = pair.migrate("--queue", "a", "--state", "archived", "--state", "completed", "--move")
    assert (done["queue"], done["transferred"]) == ("a", 2)
    assert everything(pair.destination, "a").keys() == {"archived", "completed"}
    assert {done["queue"] for done in pair.migrate("--move")} == {"a", "b"}
    assert pair.run("migrate", *pair.urls, "-q", "none", "--yes").status == 1
    assert pair.run("migrate", *pair.urls, "-s", "active", "--yes").status == 2


def test_it_counts_first_and_asks(pair: Pair) -> None:
    fill(pair.source)
    dry = pair.run("migrate", *pair.urls, "--move", "--dry-run")
    assert "Up to 14 tasks of queue 'default' would be moved from" in dry.out
    assert "Those that are there already, or collide with others there, are not." in dry.out
    assert "Queue 'default' would be paused in FROM" in dry.out
    assert pair.migrate("--dry-run") == [{"queue": "default", "selected": 14, "paused_in": "TO"}]
    assert not pair.source.execute(GetQueueStats(queue=Q)).paused
    asked = pair.run("migrate", *pair.urls, "--move")
    assert asked.status == 2
    assert "move 14 tasks of queue 'default' from" in asked.err
    assert len(everything(pair.source)) == 14
    assert pair.run("migrate", pair.urls[0], pair.urls[0]).status == 2
    assert pair.run("migrate", *pair.urls, "--wait").status == 2
    assert "TO: " in pair.run("migrate", pair.urls[0], "nothing").err


def test_what_would_happen_to_schedules_is_counted_too(pair: Pair) -> None:
    schedules = Schedules(pair.source)
    schedules.set("nightly", "0 3 * * *", Task("clean"))
    schedules.set("other", "0 3 * * *", Task("clean"), queue="other")
    fill(pair.source)
    dry = pair.run("migrate", *pair.urls, "-q", Q, "--dry-run")
    assert "1 schedule would be copied: 'nightly'. Paused in TO." in " ".join(dry.out.split())
    assert pair.migrate("--move", "--dry-run", "-q", Q)[-1] == {"schedules": ["nightly"]}
    assert len(pair.migrate("--dry-run", "--state", "pending")) == 1


def test_it_says_what_is_paused_and_how_to_resume_it(pair: Pair) -> None:
    Client(pair.source).enqueue(Task("t", task_id="a"))
    Client(pair.destination).enqueue(Task("other", task_id="a"))
    for option, side, url in (("--move", "FROM", pair.urls[0]), ("--yes", "TO", pair.urls[1])):
        ended = pair.run("migrate", *pair.urls, option, "--yes")
        assert ended.status == 1
        assert f"Queue 'default' is paused in {side}." in ended.out
        assert f"asynq queue unpause default --broker {url}" in ended.out
    [done] = pair.migrate("--move", status=1)
    assert (done["transferred"], done["paused_in"]) == (0, "FROM")


def test_many_refused_tasks_are_told_together(pair: Pair) -> None:
    names = [f"{number:02}" for number in range(25)]
    Client(pair.source).enqueue_many([Task("t", task_id=name) for name in names])
    Client(pair.destination).enqueue_many([Task("other", task_id=name) for name in names])
    ended = pair.run("migrate", *pair.urls, "--yes")
    (line,) = ended.err.splitlines()
    reason = "its id is taken by another task"
    assert line == f"Error: TO refused 25 tasks, each because {reason}: {', '.join(names[:10])} and 15 more"
    [done] = pair.migrate(status=1)
    assert len(done["refused"]) == 25


def test_hostile_names_and_large_payloads_are_moved(pair: Pair) -> None:
    queue, name = "q:{a}*\N{SNOWMAN}\n", "id {x}:\n \N{SNOWMAN}'\""
    large = bytes(BATCH_BYTES // 2 + 1)
    client = Client(pair.source)
    client.enqueue(Task("t\n", large, task_id=name), queue=queue, sequence="s {:}")
    client.enqueue(Task("t", large, task_id="b"), queue=queue, group="g:{\n}")
    client.enqueue_many([Task("t", large, task_id=f"{number}") for number in range(6)], queue=queue)
    before = everything(pair.source, queue)
    assert len(before) == 8
    [done] = pair.migrate("--move")
    assert (done["queue"], done["transferred"]) == (queue, 8)
    assert everything(pair.destination, queue) == before


def test_more_tasks_than_a_batch_keep_their_order(pair: Pair) -> None:
    names = [f"{number:04}" for number in range(700)]
    Client(pair.source).enqueue_many([Task("t", task_id=name) for name in names])
    [done] = pair.migrate("--move")
    assert done["transferred"] == 700
    page = pair.destination.execute(ListTasks(queue=Q, state=TaskState.PENDING, limit=1000))
    assert [task.message.id for task in page] == names


def test_schedules_go_along(pair: Pair) -> None:
    schedules = Schedules(pair.source)
    schedules.set("nightly", "0 3 * * *", Task("clean", b"x"))
    schedules.set("weekly", "0 3 * * 0", Task("report"))
    schedules.pause("weekly")
    Schedules(pair.destination).set("weekly", "5 5 * * 0", Task("report"))
    ended = pair.run("migrate", *pair.urls, "--move", "--yes", "--json")
    assert ended.status == 1
    assert ended.objects[-1] == {"schedules": ["nightly"], "present": [], "refused": ["weekly"]}
    assert [(each.name, each.paused) for each in Schedules(pair.source).list()] == [("weekly", True)]
    kept = {each.name: each for each in Schedules(pair.destination).list()}
    assert (kept["nightly"].spec, kept["nightly"].paused) == ("0 3 * * *", False)
    assert kept["weekly"].spec == "5 5 * * 0"


def test_a_second_migration_of_a_queue_is_refused(pair: Pair) -> None:
    Client(pair.source).enqueue(Task("t", task_id="t"))
    claim = ClaimTransfer(queue=Q, holder="another", hold=60_000)
    assert pair.destination.execute(claim)
    with pytest.raises(MigrationRunningError, match="default"):
        migrate(pair.source, pair.destination, move=True)
    assert everything(pair.source)["t"].due_at != PARKED


async def test_programs_migrate_on_an_event_loop(pair: Pair) -> None:
    before = fill(pair.source)
    counts: list[int] = []
    [report] = await amigrate(*pair.urls, move=True, progress=lambda _, count: counts.append(count))
    assert (report.transferred, counts[-1]) == (14, 14)
    assert everything(pair.destination) == before


KILLED = {"parked in the source": 1, "imported": 2, "deleted in the source": 3, "restored": 4}
"""How many steps a move has taken when it is killed."""


def begin(pair: Pair, steps: int) -> None:
    """Take the first steps of a move of task t."""
    brokers = (pair.source, pair.destination)
    stores = [broker.execute(ClaimTransfer(queue=Q, holder="killed", hold=1)) for broker in brokers]
    away, arriving = f">{stores[1]}", f"<{stores[0]}"
    image = pair.source.execute(ExportTask(queue=Q, task_id="t", park=True, transfer=away))
    if steps > 1:
        pair.destination.execute(ImportTask(image=image, transfer=arriving))
    if steps > 2:
        pair.source.execute(ReleaseTask(queue=Q, task_id="t", to="deleted", transfer=away))
    if steps > 3:
        pair.destination.execute(ReleaseTask(queue=Q, task_id="t", to="restored", transfer=arriving))


@pytest.mark.parametrize("kind", ["plain", "scheduled", "of a sequence", "of a group"])
@pytest.mark.parametrize("steps", KILLED.values(), ids=KILLED)
def test_a_move_goes_on_where_a_killed_one_ended(pair: Pair, steps: int, kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "scheduled": {"process_in": HOUR},
        "of a sequence": {"sequence": "s"},
        "of a group": {"group": "g"},
    }
    Client(pair.source).enqueue(Task("t", task_id="t", **options[kind]))
    before = everything(pair.source)
    begin(pair, steps)
    pair.migrate("--move")
    assert everything(pair.source) == {}
    assert everything(pair.destination) == before


def test_a_copy_leaves_alone_what_a_killed_move_has_imported(pair: Pair) -> None:
    Client(pair.source).enqueue(Task("t", task_id="t"))
    begin(pair, 2)
    pair.migrate("--state", "archived")
    assert pair.destination.execute(ListParked(queue=Q)) == ("t",)


def test_one_store_by_two_urls_is_refused(pair: Pair) -> None:
    Client(pair.source).enqueue(Task("t", task_id="t"))
    same = connect(pair.urls[0])
    with pytest.raises(MigrationRunningError, match="the same store"):
        migrate(pair.source, same, move=True)
    same.close()
    assert everything(pair.source)["t"].state is TaskState.PENDING
