"""`TaskLogFilter`: records that a handler logs say which task it runs."""

from __future__ import annotations

import logging
import sys

from asynq.handlers.context import current_run


class TaskLogFilter(logging.Filter):
    """Gives records the attributes `task_id`, `task_type`, `task_queue` and `task_attempt`.

    They are those of the task whose handler logs, in async handlers, in threads and in handler processes; ""
    elsewhere. The first attempt is 1. With OpenTelemetry, also `trace_id` and `span_id` of the current span.
    The worker's own log has this filter; add it to handlers of your own configuration. It lets every record
    through.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes, unless the record has them."""
        if not hasattr(record, "task_id"):
            context = current_run.get(None)
            delivery = None if context is None else context.control.delivery
            record.task_id = delivery.message.id if delivery else ""
            record.task_type = delivery.message.type if delivery else ""
            record.task_queue = delivery.message.queue if delivery else ""
            record.task_attempt = delivery.message.retried + 1 if delivery else ""
        if not hasattr(record, "trace_id"):
            record.trace_id, record.span_id = _current_span()
        return True


def _current_span() -> tuple[str, str]:
    """The ids of the current span in hexadecimal; "" without one. Does not load OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return "", ""
    context = trace.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else ("", "")
