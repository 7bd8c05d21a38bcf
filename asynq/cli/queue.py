"""`asynq queue`: list, inspect, pause, empty and delete queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import usage_error
from asynq.cli.command_group import command_group
from asynq.cli.completion import STATES, queue_names
from asynq.cli.session import FAILED, JSON, BrokerURL, Yes, inspecting
from asynq.errors import AsynqError, BrokerUnavailable, UnsupportedOperationError
from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.info import QueueInfo
    from asynq.inspector.inspector import Inspector
    from asynq.protocol.broker_info import QueuePlace

app = command_group("List and change queues.")

OPTIONAL = ("aggregating", "completed", "failed", "today", "latency", "scheduled", "size")
"""Columns that are left out on a narrow terminal, the first ones first."""
Names = Annotated[
    list[str], typer.Argument(metavar="QUEUE", autocompletion=queue_names, help="Names of queues.")
]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUEUE", autocompletion=queue_names, help="Names of queues, or patterns such as 'tenant-*'."
    ),
]
All = Annotated[bool, typer.Option("--all", help="All queues.")]
Days = Annotated[
    int, typer.Option("--days", "-x", metavar="NUMBER", min=1, max=90, help="How many days, today included.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Also if it contains tasks.")]


@app.command("ls")
@app.command("list", hidden=True)
def ls(*, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """List the queues with their sizes."""
    from asynq.cli.terminal.output import Output
    from asynq.runtime.plain import plain
    from asynq.runtime.short_texts import percent, short_duration

    columns = ["queue", "size", *STATES, "latency", "today", "failed", "state"]

    def row(info: QueueInfo) -> list[object]:
        place = places.get(info.queue)
        return [
            info.queue,
            info.size,
            *(getattr(info, state) for state in STATES),
            short_duration(info.latency),
            info.processed,
            percent(info.failed, info.processed),
            "paused" if info.paused else "",
            *([str(place.slot), place.node or "none"] if place else ["", ""]),
        ][: len(headings)]

    with inspecting(broker) as inspector:
        read = inspector.overview(memory=True)
        places = _places(inspector, [info.queue for info in read.queues])
        headings = [*columns, "slot", "node"] if places else columns
        output = Output(as_json=as_json)
        if as_json:
            for info in read.queues:
                place = places.get(info.queue)
                where = {"slot": place.slot, "node": place.node} if place else {}
                output.json(plain(info) | where)
        else:
            output.each(
                headings,
                read.queues,
                row,
                empty="" if read.unreadable else "There is no queue yet.",
                right=columns[1:-1],
                optional=OPTIONAL,
            )
        for error in read.unreadable.values():
            raise error


def _places(inspector: Inspector, names: Sequence[str]) -> dict[str, QueuePlace]:
    """Where the queues of a cluster are; nothing elsewhere, as all of them are in one place."""
    try:
        info = inspector.broker_info(names)
    except UnsupportedOperationError:
        return {}
    return {place.queue: place for place in info.places if place.slot is not None}


@app.command()
def inspect(names: Names, *, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Show all statistics of queues."""
    from asynq.cli.terminal.output import Output
    from asynq.runtime.short_texts import percent, short_duration, size

    output = Output(as_json=as_json)
    with inspecting(broker) as inspector:
        for number, name in enumerate(names):
            info = inspector.queue_info(name)
            if as_json:
                output.json(info)
                continue
            if number:
                output.say("")
            output.details(
                [
                    ("queue", info.queue),
                    ("state", "paused" if info.paused else "running"),
                    ("size", info.size),
                    *((state, getattr(info, state)) for state in STATES),
                    ("groups", info.groups),
                    ("latency", short_duration(info.latency)),
                    ("memory", size(info.memory)),
                    ("processed today", info.processed),
                    ("failed today", f"{info.failed:,} {percent(info.failed, info.processed)}".strip()),
                    ("processed in all", info.processed_total),
                    ("failed in all", info.failed_total),
                ]
            )


@app.command()
def history(names: Names, *, days: Days = 10, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Show the runs of the last days (UTC)."""
    from asynq.cli.terminal.output import Output
    from asynq.runtime.short_texts import percent

    with inspecting(broker) as inspector:
        Output(as_json=as_json).each(
            ["queue", "date", "processed", "failed", "share"],
            (day for name in names for day in inspector.history(name, days=days)),
            lambda day: [
                day.queue,
                day.date,
                day.processed,
                day.failed,
                percent(day.failed, day.processed),
            ],
            right=["processed", "failed", "share"],
        )


@app.command()
def pause(
    names: Patterns = None,
    *,
    all_queues: All = False,
    yes: Yes = False,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Let workers take no more tasks from queues. Everything else continues."""

    def one(inspector: Inspector, name: str) -> tuple[str, dict[str, object]]:
        inspector.queue_info(name)
        changed = inspector.pause(name)
        text = f"Queue {name!r} is paused." if changed else f"Queue {name!r} was already paused."
        return text, {"queue": name, "paused": True, "changed": changed}

    _for_each(
        _matching(names or [], broker, "pause", all_queues=all_queues, yes=yes), broker, one, as_json=as_json
    )


@app.command()
@app.command("resume", hidden=True)
def unpause(
    names: Patterns = None,
    *,
    all_queues: All = False,
    yes: Yes = False,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Let workers take tasks from queues again."""

    def one(inspector: Inspector, name: str) -> tuple[str, dict[str, object]]:
        changed = inspector.unpause(name)
        if not changed:
            inspector.queue_info(name)
        text = f"Queue {name!r} is no longer paused." if changed else f"Queue {name!r} was not paused."
        return text, {"queue": name, "paused": False, "changed": changed}

    _for_each(
        _matching(names or [], broker, "unpause", all_queues=all_queues, yes=yes),
        broker,
        one,
        as_json=as_json,
    )


@app.command("rm")
@app.command("remove", hidden=True)
@app.command("delete", hidden=True)
def rm(
    names: Names,
    *,
    force: Force = False,
    yes: Yes = False,
    broker: BrokerURL = None,
    as_json: JSON = False,
) -> None:
    """Delete queues: without --force, only those without tasks."""
    from asynq.cli.terminal.confirm import confirm
    from asynq.runtime.short_texts import plural

    with inspecting(broker) as inspector:
        sizes = {name: inspector.queue_info(name).size for name in names}
    listed = ", ".join(f"queue {name!r} with {plural(count, 'task')}" for name, count in sizes.items())
    if force or not any(sizes.values()):
        confirm(f"delete {listed}", yes=yes)

    def one(inspector: Inspector, name: str) -> tuple[str, dict[str, object]]:
        deleted = inspector.delete_queue(name, force=force)
        text = f"Queue {name!r} was deleted, with {plural(deleted, 'task')}."
        return text, {"queue": name, "deleted": deleted}

    _for_each(names, broker, one, as_json=as_json)


@app.command()
def purge(names: Names, *, yes: Yes = False, broker: BrokerURL = None, as_json: JSON = False) -> None:
    """Delete all tasks of queues but the active ones. The queues remain."""
    from asynq.cli.terminal.confirm import confirm
    from asynq.cli.terminal.progress import progress
    from asynq.runtime.short_texts import plural

    with inspecting(broker) as inspector:
        infos = [inspector.queue_info(name) for name in names]
    sizes = {info.queue: info.size - info.active for info in infos}
    listed = ", ".join(f"{plural(count, 'task')} of queue {name!r}" for name, count in sizes.items())
    confirm(f"delete {listed}", yes=yes)

    def one(inspector: Inspector, name: str) -> tuple[str, dict[str, object]]:
        with progress(f"deleting from {name}", sizes[name]) as update:
            deleted = inspector.purge(name, progress=update)
        return f"{plural(deleted, 'task')} of queue {name!r} deleted.", {"queue": name, "deleted": deleted}

    _for_each(names, broker, one, as_json=as_json)


def _matching(
    texts: Sequence[str], broker: str | None, verb: str, *, all_queues: bool, yes: bool
) -> Sequence[str]:
    """The queues that names and patterns stand for. Asks, unless all are given by their names."""
    from asynq.cli.terminal.confirm import confirm
    from asynq.runtime.short_texts import plural
    from asynq.worker.queue_patterns import is_pattern, literal, matches

    if bool(texts) is all_queues:
        raise usage_error("give the names of queues, patterns such as 'tenant-*', or --all")
    wanted = ["*"] if all_queues else texts
    if not any(map(is_pattern, wanted)):
        return [literal(text) for text in wanted]
    with inspecting(broker) as inspector:
        known = inspector.queues()
    chosen: dict[str, None] = {}
    for text in wanted:
        found = [name for name in known if matches(text, name)] if is_pattern(text) else [literal(text)]
        if not found:
            typer.echo(f"Error: no queue matches {shown(text)!r}", err=True)
            raise typer.Exit(FAILED)
        chosen |= dict.fromkeys(found)
    confirm(f"{verb} {plural(len(chosen), 'queue')}: {', '.join(map(repr, chosen))}", yes=yes)
    return [*chosen]


def _for_each(
    names: Sequence[str],
    broker: str | None,
    one: Callable[[Inspector, str], tuple[str, dict[str, object]]],
    *,
    as_json: bool,
) -> None:
    """Do something for each queue. One that fails does not keep the others from it; the status tells."""
    from asynq.cli.session import tell
    from asynq.cli.terminal.output import Output

    output = Output(as_json=as_json)
    failed = False
    with inspecting(broker) as inspector:
        for name in names:
            try:
                text, item = one(inspector, name)
            except BrokerUnavailable:
                raise
            except AsynqError as error:
                tell(error, inspector)
                failed = True
            else:
                output.done(text, item)
    if failed:
        raise typer.Exit(FAILED)
