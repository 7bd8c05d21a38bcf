"""Brokers with defects in the handling of too large values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.errors import BrokerRefusedError
from asynq.protocol.ops import Enqueue
from asynq_mutants.defects import BrokenBroker, caught_by

if TYPE_CHECKING:
    from asynq.errors import AsynqError
    from asynq.protocol.ops import Op

SMALL: Final = "no value of a program is large"


@caught_by(
    "test_a_payload_above_the_limit_is_refused_and_the_rest_of_its_batch_succeeds", beyond_programs=SMALL
)
@caught_by("test_a_new_payload_above_the_limit_keeps_the_previous_one", beyond_programs=SMALL)
@caught_by("test_a_tick_with_a_task_above_the_limit_stays_undecided", beyond_programs=SMALL)
class StoresWhateverItGets(BrokenBroker):
    def refusal(self, op: Op[Any]) -> AsynqError | None:
        return None


@caught_by("test_a_result_above_the_limit_leaves_the_run_unsettled", beyond_programs=SMALL)
@caught_by("test_a_written_result_above_the_limit_keeps_the_previous_one", beyond_programs=SMALL)
@caught_by("test_an_aggregate_above_the_limit_leaves_the_set_held", beyond_programs=SMALL)
class LimitsEnqueuesOnly(BrokenBroker):
    def refusal(self, op: Op[Any]) -> AsynqError | None:
        return super().refusal(op) if isinstance(op, Enqueue) else None


@caught_by("test_headers_count_with_the_payload", beyond_programs=SMALL)
class LimitsPayloadsOnly(BrokenBroker):
    def refusal(self, op: Op[Any]) -> AsynqError | None:
        limit = self.capabilities.max_value_bytes or 0
        if isinstance(op, Enqueue) and len(op.message.payload) <= limit:
            return None
        return super().refusal(op)


@caught_by(
    "test_a_payload_above_the_limit_is_refused_and_the_rest_of_its_batch_succeeds", beyond_programs=SMALL
)
class RefusesWhatComesAfterwards(BrokenBroker):
    _refusing = False

    def refusal(self, op: Op[Any]) -> AsynqError | None:
        refused = super().refusal(op)
        self._refusing |= refused is not None
        if refused is None and self._refusing and isinstance(op, Enqueue):
            return BrokerRefusedError("a batch with a payload that is too large")
        return refused
