"""Portal links: one for each customer and mode, the same for 90 days, revocable at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import ids
from connect_app.models import Customer, LinkLookup, PortalLink, Workspace

LINK_LASTS = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A link as it is kept, whose it is, and whether Stripe has deleted the customer meanwhile."""

    link: PortalLink
    business: str
    is_customer_gone: bool


def find(session: Session, link_id: str) -> Kept | None:
    """A link of the transaction's workspace, in whatever state."""
    found = session.execute(
        select(PortalLink, Workspace.name, Customer.is_deleted)
        .join(Workspace, Workspace.id == PortalLink.workspace_id)
        .outerjoin(Customer, (Customer.connection_id == PortalLink.connection_id) & (Customer.id == PortalLink.customer))
        .where(PortalLink.id == link_id)
    ).first()
    return None if found is None else Kept(link=found.PortalLink, business=found.name, is_customer_gone=bool(found.is_deleted))


def mint(
    session: Session,
    workspace_id: str,
    *,
    mode: str,
    customer: str,
    connection_id: str | None,
    now: datetime,
    until: datetime | None = None,
) -> PortalLink:
    """The customer's link, good until then at least. One that is over comes back under a new epoch, so that what was sent out before stays
    dead.
    """
    over = or_(PortalLink.revoked_at.is_not(None), PortalLink.expires_at <= now)
    row = insert(PortalLink).values(
        id=ids.new("plk"),
        workspace_id=workspace_id,
        mode=mode,
        connection_id=connection_id,
        customer=customer,
        minted_at=now,
        expires_at=max(now + LINK_LASTS, until or now),
    )
    kept = session.execute(
        row.on_conflict_do_update(
            index_elements=["workspace_id", "mode", "customer"],
            set_={
                "epoch": case((over, PortalLink.epoch + 1), else_=PortalLink.epoch),
                "minted_at": case((over, row.excluded.minted_at), else_=PortalLink.minted_at),
                "expires_at": case((over, row.excluded.expires_at), else_=func.greatest(PortalLink.expires_at, until)),
                "revoked_at": None,
                "connection_id": row.excluded.connection_id,
            },
        ).returning(PortalLink),
        execution_options={"populate_existing": True},
    ).scalar_one()
    session.execute(insert(LinkLookup).values(link_id=kept.id, workspace_id=workspace_id).on_conflict_do_nothing())
    return kept


def revoke(session: Session, link_id: str, now: datetime) -> bool:
    """End a link at once; False where it was over already."""
    ended = session.execute(
        update(PortalLink)
        .where(PortalLink.id == link_id, PortalLink.revoked_at.is_(None))
        .values(revoked_at=now, epoch=PortalLink.epoch + 1)
        .returning(PortalLink.id)
    )
    return ended.first() is not None


def card_update_begun(session: Session, link_id: str, now: datetime) -> None:
    """The customer was sent to Stripe's page for a new card: news of one within two hours is theirs, and the subscriptions follow."""
    session.execute(update(PortalLink).where(PortalLink.id == link_id).values(card_update_at=now))
