"""The mirror's rows: what is kept of an object, and the guard that lets only what is provably newer replace what is there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from connect_app import db
from connect_app.models import Customer, Discount, PortalLink
from connect_app.stripe_gateway import objects
from jobs import queues
from webhooks import attribution
from webhooks.projections import glance, tables
from webhooks.projections.owed import refetch, refetch_all, refetch_id
from webhooks.projections.rows import KINDS, Mirrored, Row, discount_ids, discounts, newest, read_row, row
from webhooks.projections.tables import TABLES, Model

__all__ = [
    "CARD_UPDATE_WINDOW",
    "TABLES",
    "Mirrored",
    "Model",
    "Row",
    "apply",
    "apply_read",
    "apply_reads",
    "glance",
    "keep_discounts",
    "mark_deleted",
    "newest",
    "read_row",
    "refetch",
    "refetch_all",
    "refetch_id",
    "row",
    "with_unknown_discounts",
]

log = structlog.get_logger()

# How long after a customer was sent to update their card a change of it is taken for theirs.
CARD_UPDATE_WINDOW = timedelta(hours=2)


def apply_read(session: Session, workspace_id: str, connection_id: str, object: Mirrored, as_of: datetime) -> bool:
    """Keep what a read from Stripe brought (`as_of` is the read's). Whether the mirror says as much afterwards.

    When it says otherwise and the two cannot be put in order, reading again has been asked for.
    """
    doubtful = apply_reads(session, workspace_id, connection_id, [object], as_of)
    return not doubtful


def apply_reads(session: Session, workspace_id: str, connection_id: str, found: Iterable[Mirrored], as_of: datetime) -> int:
    """Keep a page of what a read brought; gives how many are in doubt and will be read again. What cannot be kept is left out."""
    rows, subscriptions = [], []
    for one in found:
        try:
            rows.append(read_row(one, as_of))
        except ValueError as problem:
            log.warning("mirror.not_kept", connection=connection_id, object=str(one.id)[:100], problem=str(problem)[:300])
            continue
        if isinstance(one, objects.Subscription):
            subscriptions.append(one)
    doubtful = apply(session, workspace_id, connection_id, rows)
    settled = {one.id for one in subscriptions} - {each.id for each in doubtful}
    keep_discounts(session, workspace_id, connection_id, [one for one in subscriptions if one.id in settled], as_of)
    refetch_all(session, workspace_id, connection_id, {(each.kind, each.id): as_of + timedelta(seconds=1) for each in doubtful})
    return len(doubtful)


def apply(session: Session, workspace_id: str, connection_id: str, rows: Sequence[Row]) -> list[Row]:
    """Keep each row that is newer than what is there (one row an object); gives those that are not, and say something else.

    In the order of kinds and ids, so that two transactions never wait for each other's rows in a circle.
    """
    doubtful: list[Row] = []
    customers: set[str] = set()
    subscriptions: list[str] = []
    ordered = sorted(rows, key=lambda each: (each.kind, each.id))
    for kind, group in groupby(ordered, key=lambda each: each.kind):
        wanted = list(group)
        before = _default_payment_methods(session, connection_id, wanted) if kind == "customer" else {}
        kept = tables.keep(session, TABLES[kind], workspace_id, connection_id, wanted)
        if len(kept) < len(wanted):
            doubtful += _contradicting(session, connection_id, kind, [each for each in wanted if each.id not in kept])
        if kind in attribution.DECIDING:
            customers.update(str(whose) for each in wanted if each.id in kept and (whose := each.columns["customer"]) is not None)
        if kind == "subscription":
            subscriptions = sorted(kept)
        if kind == "customer":
            _follow_cards(session, workspace_id, connection_id, [each for each in wanted if each.id in kept], before)
    if customers:
        attribution.noticed(
            session, workspace_id, connection_id, customers, max(each.as_of for each in ordered), subscriptions=subscriptions
        )
    return doubtful


def keep_discounts(
    session: Session, workspace_id: str, connection_id: str, subscriptions: Sequence[objects.Subscription], as_of: datetime
) -> None:
    """Keep the discounts that a read brought inside these subscriptions, which the mirror agrees with; what else it had of theirs is over.

    Discounts cannot be read by themselves, and their news only say whose to read again: so they are kept by reads alone.
    """
    if not subscriptions:
        return
    rows = {each.id: each for one in subscriptions for each in discounts(one, as_of)}
    named = {id for one in subscriptions for id in discount_ids(one.raw)}
    apply(session, workspace_id, connection_id, list(rows.values()))
    session.execute(
        delete(Discount).where(
            Discount.connection_id == connection_id,
            Discount.subscription == db.any_of(one.id for one in subscriptions),
            Discount.id.not_in(named),
            Discount.as_of < as_of,
        )
    )


def with_unknown_discounts(session: Session, connection_id: str, rows: Iterable[Row]) -> set[str]:
    """The subscriptions among these rows that name a discount of which the mirror has no more than this id."""
    named = {each.id: each.discounts for each in rows if each.discounts}
    if not named:
        return set()
    held = select(Discount.id).where(
        Discount.connection_id == connection_id, Discount.id == db.any_of({id for ids in named.values() for id in ids})
    )
    known = set(session.execute(held).scalars())
    return {id for id, ids in named.items() if not ids <= known}


def mark_deleted(session: Session, workspace_id: str, connection_id: str, kind: str, id: str, as_of: datetime) -> bool:
    """Stripe has no such object any more. False when the mirror holds something that may be newer."""
    if KINDS[kind].gone is not None:
        return not apply(session, workspace_id, connection_id, [row(kind, {"id": id}, as_of, is_deleted=True)])
    model = TABLES[kind].model
    here = model.connection_id == connection_id, model.id == id
    session.execute(update(model).where(*here, model.as_of < as_of).values(is_deleted=True, as_of=as_of))
    return session.execute(select(model.id).where(*here, model.is_deleted.is_(False))).first() is None


def _contradicting(session: Session, connection_id: str, kind: str, rows: list[Row]) -> list[Row]:
    """Which of these say something else than what is kept. What says the same proves nothing new, and needs no proof."""
    if not rows:
        return []
    model = TABLES[kind].model
    held = select(model.id, model.raw, model.is_deleted).where(
        model.connection_id == connection_id, model.id == db.any_of(each.id for each in rows)
    )
    kept = {line.id: line for line in session.execute(held)}
    return [each for each in rows if each.is_deleted != kept[each.id].is_deleted or each.raw != kept[each.id].raw]


def _default_payment_methods(session: Session, connection_id: str, rows: list[Row]) -> dict[str, str | None]:
    customers = select(Customer.id, Customer.default_payment_method).where(
        Customer.connection_id == connection_id, Customer.id == db.any_of(each.id for each in rows)
    )
    return {line.id: line.default_payment_method for line in session.execute(customers)}


def _follow_cards(session: Session, workspace_id: str, connection_id: str, rows: list[Row], before: Mapping[str, str | None]) -> None:
    """A new default card, soon after its owner was sent to Stripe to give one: their subscriptions are to follow it."""
    changed = {
        each.id: each.as_of
        for each in rows
        if each.columns["default_payment_method"] and each.columns["default_payment_method"] != before.get(each.id)
    }
    if not changed:
        return
    links = select(PortalLink.id, PortalLink.customer, PortalLink.card_update_at).where(
        PortalLink.connection_id == connection_id, PortalLink.customer == db.any_of(changed), PortalLink.card_update_at.is_not(None)
    )
    for link in session.execute(links).all():
        if link.card_update_at >= changed[link.customer] - CARD_UPDATE_WINDOW:
            queues.enqueue(session, "follow_card", link.id, workspace_id, due_at=changed[link.customer])
