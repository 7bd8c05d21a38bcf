"""Steps for slots of semaphores and tokens of rate limits. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from asynq_sqlite.store.connection import StoreConnection


class LimitSteps(StoreConnection):
    """Steps for limits. A slot is held until it expires; a token is kept while it counts."""

    def free_ended_slots(self, scope: str, now: int) -> None:
        """Delete expired slots."""
        self.connection.execute("DELETE FROM slots WHERE scope = ? AND held_until <= ?", (scope, now))

    def holders(self, scope: str) -> dict[str, int]:
        """Return when the slot of each holder expires."""
        return dict(self.fetch("SELECT holder, held_until FROM slots WHERE scope = ?", scope))

    def hold_slot(self, scope: str, holder: str, held_until: int) -> None:
        """Give the holder a slot until that instant."""
        values = (scope, holder, held_until)
        self.connection.execute("INSERT OR REPLACE INTO slots VALUES (?, ?, ?)", values)

    def free_slot(self, scope: str, holder: str) -> bool:
        """Delete the slot of a holder. Returns whether it had one."""
        sql = "DELETE FROM slots WHERE scope = ? AND holder = ?"
        return self.connection.execute(sql, (scope, holder)).rowcount > 0

    def token_taken(self, scope: str, place: int) -> int | None:
        """Return when the token was taken that is `place` places before the latest; None if there is none."""
        sql = "SELECT at FROM tokens WHERE scope = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        found = self.fetch(sql, scope, place)
        return int(found[0][0]) if found else None

    def take_token(self, scope: str, now: int, still_counts: int) -> None:
        """Record a token taken now, and delete those taken at `still_counts` or before."""
        self.connection.execute("DELETE FROM tokens WHERE scope = ? AND at <= ?", (scope, still_counts))
        self.connection.execute("INSERT INTO tokens VALUES (?, ?)", (scope, now))
