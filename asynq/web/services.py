"""`Services`: what the endpoints and pages of one web interface share."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynq.inspector.inspector import AsyncInspector
from asynq.web.audit import AuditLog
from asynq.web.jobs import Jobs
from asynq.web.live.rates import RatedReader
from asynq.web.live.topics import LiveTopics, Topic
from asynq.web.security.rate_limit import RateLimit
from asynq.web.writability import Writability

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker
    from asynq.web.settings import WebSettings


class Services:
    """The broker with an inspector of it, and what the web interface remembers.

    Args:
        broker: The broker.
        settings: Settings of the web interface.
    """

    def __init__(self, broker: Broker, settings: WebSettings) -> None:
        self.broker = broker
        self.settings = settings
        self.inspector = AsyncInspector(broker)
        self.audit = AuditLog(settings.audit_size, lambda: datetime.now(UTC))
        self.jobs = Jobs(self.audit, settings.max_jobs)
        self.writability = Writability(self.inspector.broker_info, time.monotonic)
        self.bulk_rate = RateLimit(settings.bulk_rate, time.monotonic)
        self.kept_entries: frozenset[str] = frozenset()
        """Ids of entries that are or were those of kept schedules, as long as a scheduler names them."""
        self.overview = Topic(
            "overview", RatedReader(self.inspector.overview, interval=settings.live_interval)
        )
        """All queues and servers, and how fast the queues are."""
        self.live = LiveTopics(
            settings.live_interval, max_watchers=settings.max_watchers, max_topics=settings.max_topics
        )

    async def aclose(self) -> None:
        """End what is under way: streams and jobs."""
        self.live.close()
        await self.jobs.aclose()
