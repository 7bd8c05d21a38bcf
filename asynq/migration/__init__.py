"""Copying and moving queues between any two brokers: `migrate`, and `amigrate` for event loops.

Both can be interrupted at any time, even killed: calling them again goes on where they ended.
"""

from __future__ import annotations

from asynq.migration.migrate import amigrate, migrate
from asynq.migration.report import QueueMigration, RefusedTask, ScheduleMigration
from asynq.migration.schedules import amigrate_schedules, migrate_schedules
from asynq.migration.sides import MigrationRunningError

__all__ = [
    "MigrationRunningError",
    "QueueMigration",
    "RefusedTask",
    "ScheduleMigration",
    "amigrate",
    "amigrate_schedules",
    "migrate",
    "migrate_schedules",
]
