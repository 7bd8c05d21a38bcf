"""Options in the notation of Go asynq, for its tools to show: Queue("low"), Timeout(1m30s)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from asynq.durations import format_duration
from asynq.instants import in_utc
from asynq.protocol.sequences import SEQUENCE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from asynq.client.options import Options


def option_texts(options: Options) -> tuple[str, ...]:
    """The options that Go asynq knows, one text each. Options that were not given are left out."""
    return tuple(_texts(options))


def _texts(options: Options) -> Iterator[str]:
    if options.queue is not None:
        yield f"Queue({_quoted(options.queue)})"
    if options.max_retry is not None:
        yield f"MaxRetry({options.max_retry})"
    yield from _durations(
        Timeout=options.timeout,
        ProcessIn=options.process_in,
        Retention=options.retention,
        Unique=options.unique,
    )
    yield from _instants(Deadline=options.deadline, ProcessAt=options.process_at)
    if options.task_id is not None:
        yield f"TaskID({_quoted(options.task_id)})"
    if options.group is not None:
        yield f"Group({_quoted(options.group)})"
    sequence = {SEQUENCE_HEADER: options.sequence} if options.sequence else {}
    for name, value in {**(options.headers or {}), **sequence}.items():
        yield f"Header([{_quoted(name)},{_quoted(value)}])"


def _durations(**values: timedelta | None) -> Iterator[str]:
    return (f"{name}({format_duration(value)})" for name, value in values.items() if value is not None)


def _instants(**values: datetime | None) -> Iterator[str]:
    return (f"{name}({_unix_date(value)})" for name, value in values.items() if value is not None)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unix_date(instant: datetime) -> str:
    """The instant in the format of date(1), in UTC and in English whatever the locale."""
    text = time.asctime(in_utc(instant).timetuple())
    return f"{text[:-4]}UTC {text[-4:]}"
