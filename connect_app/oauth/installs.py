"""The install that a browser has under way, as its own signed cookie remembers it."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from flask import session

from connect_app.oauth.arrivals import Arrival

_NAME = "install"


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Proof that this browser has just come back from Stripe with this connection, and what was seen of the account there."""

    workspace_id: str
    connection_id: str
    connected_at: datetime
    active: str | None
    email: str | None = None

    @classmethod
    def of(cls, arrival: Arrival, *, active: str | None) -> "Install":
        return cls(workspace_id=arrival.place.id, connection_id=arrival.connection_id, connected_at=arrival.connected_at, active=active)

    @classmethod
    def kept(cls) -> "Install | None":
        """What the cookie remembers."""
        kept = session.get(_NAME)
        if kept is None:
            return None
        return cls(**{**kept, "connected_at": datetime.fromisoformat(kept["connected_at"])})

    @staticmethod
    def forget() -> None:
        session.pop(_NAME, None)

    def with_email(self, email: str) -> "Install":
        return dataclasses.replace(self, email=email)

    def keep(self) -> None:
        """Let the cookie remember."""
        session[_NAME] = {**dataclasses.asdict(self), "connected_at": self.connected_at.isoformat()}
