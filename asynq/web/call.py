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
        web = self.web
        return self.user.operates and not (web.settings.read_only or web.writability.reason)
