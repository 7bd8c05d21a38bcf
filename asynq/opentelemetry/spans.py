"""Names and attributes of spans, and the context that the headers of a task carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, Status, StatusCode

from asynq.errors.text import error_text
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from asynq.protocol.message import TaskMessage

log = get_logger("asynq.traces")

CREATE: Final = "create"
SEND: Final = "send"
PROCESS: Final = "process"

ERROR_TYPE: Final = "error.type"
OUTCOME: Final = "messaging.asynq.outcome"


_SILENT: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
"""Providers whose tracers record nothing. The first one stands for an SDK that is not configured yet."""


def is_silent(provider: TracerProvider | None) -> bool:
    """True if this provider, or else the global one, records nothing."""
    return type(provider or trace.get_tracer_provider()) in _SILENT


def span_name(operation: str, queue: str | None) -> str:
    """The name of a span, as the conventions have it. None: the operation concerns several queues."""
    return operation if queue is None else f"{operation} {queue}"


def operation_attributes(operation: str, queue: str | None) -> dict[str, AttributeValue]:
    """The attributes of every span."""
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "asynq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if queue is not None:
        attributes["messaging.destination.name"] = queue
    return attributes


def batch_attributes(
    operation: str, queue: str | None, messages: Sequence[object]
) -> dict[str, AttributeValue]:
    """The attributes of a span about several tasks."""
    return {**operation_attributes(operation, queue), "messaging.batch.message_count": len(messages)}


def message_attributes(operation: str, message: TaskMessage) -> dict[str, AttributeValue]:
    """The attributes of a span about one task."""
    return {
        **operation_attributes(operation, message.queue),
        "messaging.message.id": message.id,
        "messaging.asynq.task.type": message.type,
    }


def extracted(headers: Mapping[str, str]) -> Context:
    """The context in the headers of a task: its trace, if there is one, and its baggage."""
    return propagate.extract(headers)


def creation_context(context: Context) -> SpanContext | None:
    """The span in a context. None if there is none."""
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def links_to(contexts: Sequence[SpanContext | None]) -> list[Link]:
    """Links to these spans."""
    return [Link(each) for each in contexts if each is not None]


def end(span: Span) -> None:
    """End a span. An error of the program's own span processor is logged."""
    try:
        span.end()
    except Exception:
        log.exception("a span was not recorded")


def kind_of(error: BaseException) -> str:
    """The name of the class of an error: as a program imports it, if it is one of ours."""
    module, name = type(error).__module__, type(error).__qualname__
    if module == "builtins":
        return name
    return f"asynq.{name}" if module.startswith("asynq.") else f"{module}.{name}"


def set_error(span: Span, error: BaseException) -> None:
    """Note the error that a span ended with."""
    if not span.is_recording():
        return
    name = kind_of(error)
    set_failure(span, name, error_text(error))
    try:
        span.record_exception(error)
    except Exception as unreadable:  # noqa: BLE001 - of the error's own methods
        span.add_event("exception", {"exception.type": name, "exception.message": error_text(unreadable)})


def set_failure(span: Span, kind: str, description: str) -> None:
    """Note that a span failed."""
    span.set_attribute(ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, description))
