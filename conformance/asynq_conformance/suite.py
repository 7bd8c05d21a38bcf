"""All laws in one class, which the test class of a backend inherits."""

from __future__ import annotations

from typing import Final

from asynq_conformance.disturbances.laws import DisturbanceLaws
from asynq_conformance.histories.laws import HistoryLaws
from asynq_conformance.laws.aggregation import AggregationLaws
from asynq_conformance.laws.concurrent import ConcurrentLaws
from asynq_conformance.laws.consume import ConsumeLaws
from asynq_conformance.laws.control import ControlLaws
from asynq_conformance.laws.deletion import DeletionLaws
from asynq_conformance.laws.displace import DisplaceLaws
from asynq_conformance.laws.failures import FailureLaws
from asynq_conformance.laws.followers import FollowerLaws
from asynq_conformance.laws.groups import GroupLaws
from asynq_conformance.laws.inspect import InspectLaws
from asynq_conformance.laws.joins import JoinLaws
from asynq_conformance.laws.lease import LeaseLaws
from asynq_conformance.laws.limits import LimitLaws
from asynq_conformance.laws.listen import ListenLaws
from asynq_conformance.laws.manage import ManageLaws
from asynq_conformance.laws.presence import PresenceLaws
from asynq_conformance.laws.produce import ProduceLaws
from asynq_conformance.laws.recover import RecoverLaws
from asynq_conformance.laws.schedule import ScheduleLaws
from asynq_conformance.laws.schedules import StoredScheduleLaws
from asynq_conformance.laws.sequence_moves import SequenceMoveLaws
from asynq_conformance.laws.sequences import SequenceLaws
from asynq_conformance.laws.settle import SettleLaws
from asynq_conformance.laws.sizes import SizeLaws
from asynq_conformance.laws.transfer import TransferLaws
from asynq_conformance.laws.transfer_belongings import TransferredBelongingsLaws
from asynq_conformance.laws.transfer_claims import TransferClaimLaws
from asynq_conformance.laws.unique import UniqueLaws
from asynq_conformance.laws.update import UpdateLaws
from asynq_conformance.laws.upkeep import UpkeepLaws
from asynq_conformance.laws.watch import WatchLaws
from asynq_conformance.machine.laws import MachineLaws


class BrokerConformance(
    ProduceLaws,
    UniqueLaws,
    DisplaceLaws,
    UpdateLaws,
    ConsumeLaws,
    LeaseLaws,
    SettleLaws,
    RecoverLaws,
    FailureLaws,
    UpkeepLaws,
    LimitLaws,
    GroupLaws,
    AggregationLaws,
    PresenceLaws,
    ScheduleLaws,
    StoredScheduleLaws,
    SequenceLaws,
    SequenceMoveLaws,
    FollowerLaws,
    JoinLaws,
    ControlLaws,
    InspectLaws,
    ManageLaws,
    DeletionLaws,
    TransferLaws,
    TransferredBelongingsLaws,
    TransferClaimLaws,
    SizeLaws,
    ConcurrentLaws,
    WatchLaws,
    ListenLaws,
    MachineLaws,
    HistoryLaws,
    DisturbanceLaws,
):
    """Subclass this as Test..., with a fixture `harness` that returns a Harness. The subclass runs all laws.

    The attribute `disturbances` lists the disturbances of the store (see `asynq_conformance.disturbances`).
    Laws cannot be overridden: a subclass that defines a test with the name of a law is refused.
    """

    def __init_subclass__(cls) -> None:
        overridden = sorted(
            name for name in vars(cls) if name.startswith("test_") and hasattr(BrokerConformance, name)
        )
        if overridden:
            raise TypeError(f"{cls.__name__} overrides laws: {', '.join(overridden)}")


LAWS: Final = BrokerConformance.__bases__
"""The classes of laws: one per section of the contract, and one per layer."""
