"""Brokers that break what is promised of values larger than they store. See `asynq_mutants`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.errors import BrokerRefusedError
from asynq.protocol.ops import Enqueue
from asynq.protocol.value_sizes import too_large
from asynq_mutants.defects import caught_by
from asynq_sqlite.store.store import Store

if TYPE_CHECKING:
    from asynq.protocol.ops import Op

SMALL: Final = "no value of a program is large"


@caught_by("test_a_payload_above_the_limit_is_refused_and_its_neighbours_land", beyond_programs=SMALL)
@caught_by("test_a_new_payload_above_the_limit_leaves_the_one_before", beyond_programs=SMALL)
@caught_by("test_a_tick_whose_task_is_above_the_limit_is_not_decided", beyond_programs=SMALL)
class StoresWhateverItGets(Store):
    def check_size(self, op: Op[Any]) -> None: ...


@caught_by("test_a_result_above_the_limit_leaves_the_run_to_be_settled", beyond_programs=SMALL)
@caught_by("test_a_written_result_above_the_limit_leaves_the_one_before", beyond_programs=SMALL)
@caught_by("test_an_aggregate_above_the_limit_leaves_the_set_held", beyond_programs=SMALL)
class LimitsEnqueuesOnly(Store):
    def check_size(self, op: Op[Any]) -> None:
        if isinstance(op, Enqueue):
            super().check_size(op)


@caught_by("test_headers_count_with_the_payload", beyond_programs=SMALL)
class LimitsPayloadsOnly(Store):
    def check_size(self, op: Op[Any]) -> None:
        if not isinstance(op, Enqueue) or len(op.message.payload) > self.max_value_bytes:
            super().check_size(op)


@caught_by("test_a_payload_above_the_limit_is_refused_and_its_neighbours_land", beyond_programs=SMALL)
class RefusesWhatComesAfterwards(Store):
    _refusing = False

    def check_size(self, op: Op[Any]) -> None:
        self._refusing |= too_large(op, self.max_value_bytes) is not None
        super().check_size(op)
        if self._refusing and isinstance(op, Enqueue):
            raise BrokerRefusedError("a batch with a payload that is too large")
