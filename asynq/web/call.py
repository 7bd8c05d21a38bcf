"""`WebCall`: what an endpoint knows of the one who asks, and what it uses to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from asynq.web.audit import Outcome
    from asynq.web.security.users import User
    from asynq.web.services import Services


@define
class WebCall:
    """One request to an endpoint."""

    web: Services
    user: User
    csrf_token: str = ""
    """The token of this user against cross-site requests."""
    outcome: Outcome | None = None
    """What an endpoint that changes something notes for the audit."""

    @property
    def noted(self) -> Outcome:
        """The outcome, of an endpoint that changes something."""
        if self.outcome is None:
            raise RuntimeError("this endpoint changes nothing")
        return self.outcome

    @property
    def operates(self) -> bool:
        """Whether the user may change anything here."""
        return self.refusal is None

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Why the user may not change anything here: a code and a sentence. None if they may."""
        if self.web.settings.read_only:
            return "read_only", "this web interface is read-only"
        if not self.user.operates:
            return "not_an_operator", f"{self.user.name} may only read: operators can do this"
        if reason := self.web.writability.reason:
            return "read_only_replica", reason
        return None
