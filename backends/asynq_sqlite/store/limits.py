"""The steps of limits: slots that are held, tokens that were taken. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from asynq_sqlite.store.connection import StoreConnection


class LimitSteps(StoreConnection):
    """A slot is held until its time ends; a token is remembered as long as it counts."""

    def free_ended_slots(self, scope: str, now: int) -> None:
        """Forget holders whose time has ended."""
        self.connection.execute("DELETE FROM slots WHERE scope = ? AND held_until <= ?", (scope, now))

    def holders(self, scope: str) -> dict[str, int]:
        """Who has a slot, and until when."""
        return dict(self.fetch("SELECT holder, held_until FROM slots WHERE scope = ?", scope))

    def hold_slot(self, scope: str, holder: str, held_until: int) -> None:
        """Let the holder have a slot until then."""
        values = (scope, holder, held_until)
        self.connection.execute("INSERT OR REPLACE INTO slots VALUES (?, ?, ?)", values)

    def free_slot(self, scope: str, holder: str) -> bool:
        """Forget a holder; whether it had a slot."""
        sql = "DELETE FROM slots WHERE scope = ? AND holder = ?"
        return self.connection.execute(sql, (scope, holder)).rowcount > 0

    def token_taken(self, scope: str, place: int) -> int | None:
        """When the token was taken that is so many places before the latest."""
        sql = "SELECT at FROM tokens WHERE scope = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        found = self.fetch(sql, scope, place)
        return int(found[0][0]) if found else None

    def take_token(self, scope: str, now: int, still_counts: int) -> None:
        """Remember a token taken now, and forget those taken before that instant."""
        self.connection.execute("DELETE FROM tokens WHERE scope = ? AND at <= ?", (scope, still_counts))
        self.connection.execute("INSERT INTO tokens VALUES (?, ?)", (scope, now))
