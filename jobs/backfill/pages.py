"""Keeping what pages brought: each object once, no charge that says nothing new, and what a list cannot tell asked for on its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import db
from connect_app.models import Charge, Connection
from connect_app.stripe_gateway import objects
from webhooks import projections
from webhooks.projections import rows

_Items = Sequence[projections.Mirrored]


def keep(session: Session, connection: Connection, pages: Sequence[_Items], as_of: datetime, now: datetime) -> None:
    """Keep pages that Stripe gave in one second (`as_of`), inside the caller's transaction."""
    every = [one for page in pages for one in page]
    # Two refunds of one charge may stand on two pages: one after the other then, as what is in doubt if they differ.
    for items in [every] if len({one.id for one in every}) == len(every) else pages:
        fresh = _news(session, connection.id, items, as_of)
        projections.apply_reads(session, connection.workspace_id, connection.id, fresh, as_of)
    # A list goes no deeper than four levels, and leaves some discounts as ids.
    bare = {("subscription", id): now + timedelta(seconds=1) for id in _bare(session, connection.id, every, as_of)}
    projections.refetch_all(session, connection.workspace_id, connection.id, bare)


def _news(session: Session, connection_id: str, items: _Items, as_of: datetime) -> list[projections.Mirrored]:
    """All but charges that the mirror has like this. Under a new time, an old refund would be told to sessions that began after it."""
    charges = {row.id: row for one in items if isinstance(one, objects.Charge) and (row := _read(one, as_of))}
    if not charges:
        return list(items)
    held = select(Charge.id, Charge.raw, Charge.is_deleted).where(Charge.connection_id == connection_id, Charge.id == db.any_of(charges))
    known = {line.id for line in session.execute(held) if not rows.differs(charges[line.id], line.raw, line.is_deleted)}
    return [one for one in items if one.id not in known]


def _bare(session: Session, connection_id: str, items: Iterable[projections.Mirrored], as_of: datetime) -> set[str]:
    """The subscriptions that name discounts of which the mirror has no more than the id."""
    discounted = [one for one in items if isinstance(one, objects.Subscription) and rows.discount_ids(one.raw)]
    return projections.with_unknown_discounts(session, connection_id, [row for one in discounted if (row := _read(one, as_of))])


def _read(one: projections.Mirrored, as_of: datetime) -> projections.Row | None:
    try:
        return projections.read_row(one, as_of)
    except ValueError:
        return None  # it was not kept either, and that is logged
