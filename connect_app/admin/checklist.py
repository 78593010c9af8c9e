"""What is left to do before every cancel goes through Holdfast; each item ticks itself when the proof is there."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app import preferences
from connect_app.admin import flows, offers
from connect_app.models import Connection, FlowSession
from jobs.backfill import progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What is proven. `portal_is_closed` is None while it could not be told."""

    last_hand_off: datetime | None
    portal_is_closed: bool | None
    has_offer: bool
    has_origins: bool
    has_return_urls: bool

    @property
    def done(self) -> int:
        return sum((self.last_hand_off is not None, self.portal_is_closed is True, self.has_offer, self.has_origins, self.has_return_urls))

    @property
    def is_all(self) -> bool:
        return self.done == 5


def ticks(session: Session, workspace_id: str, mode: str, connection: Connection | None) -> Ticks:
    """The state of each item in one mode."""
    settings = preferences.read(session, workspace_id)
    made = {one.id for one in flows.default_document(session, workspace_id).offers}
    kept = [one.offer for one in offers.listing(session, workspace_id) if one.id in made]
    is_open = connection.portal_cancel_open if connection and connection.state == "connected" else None
    return Ticks(
        last_hand_off=last_hand_off(session, workspace_id, mode),
        portal_is_closed=None if is_open is None else not is_open,
        has_offer=any(offers.is_ready(session, connection.id if connection else None, one, mode) for one in kept),
        has_origins=bool(settings.allowed_origins),
        has_return_urls=bool(settings.return_url and settings.cancel_url),
    )


def last_hand_off(session: Session, workspace_id: str, mode: str) -> datetime | None:
    """When the business's own server last handed a customer over with a valid signature."""
    return session.execute(
        select(func.max(FlowSession.minted_at)).where(
            FlowSession.workspace_id == workspace_id, FlowSession.mode == mode, FlowSession.origin == "embed"
        )
    ).scalar_one()


def read_in(connection: Connection) -> progress.Told:
    """The connection's read-in, as a bar and a sentence."""
    return progress.tell(connection.read_in)
