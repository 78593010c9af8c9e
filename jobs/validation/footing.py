"""Where a session's customer stands, by the mirror: still here, leaving, gone, or back with another subscription."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Double, cast, exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from connect_app.models import Action, Connection, FlowSession, Invoice, Outcome, Subscription
from connect_app.stripe_gateway import objects
from jobs.validation import doors, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A subscription as the mirror has it."""

    subscription: objects.Subscription
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A session in which the same customer came again, and what has become of it."""

    id: str
    subscription: str
    shown_at: datetime
    state: str


def held(session: Session, row: FlowSession) -> Held | None:
    """The session's own subscription; None where the mirror has none, or it was deleted."""
    found = select(Subscription.raw, Subscription.as_of).where(
        Subscription.connection_id == row.connection_id, Subscription.id == row.subscription, Subscription.is_deleted.is_(False)
    )
    line = session.execute(found).one_or_none()
    return Held(subscription=objects.read_subscription(line.raw), as_of=line.as_of) if line is not None else None


def has_left(subscription: objects.Subscription) -> bool:
    """Over, unpaid for good, or set to end."""
    return subscription.is_ended or subscription.is_scheduled_to_cancel or subscription.status is objects.Status.UNPAID


def of(
    session: Session,
    row: FlowSession,
    connection: Connection,
    held: Held | None,
    *,
    is_missing: bool,
) -> tuple[table.Standing | None, objects.Subscription | None]:
    """Where the customer stands, and the subscription that says so; (None, None) where nobody knows of one."""
    if held is None:
        gone = session.execute(
            select(Subscription.as_of).where(Subscription.connection_id == connection.id, Subscription.id == row.subscription)
        ).scalar_one_or_none()
        known = is_missing or gone is not None
        return (table.Standing(kind="missing", as_of=gone or row.last_activity_at) if known else None), None
    own = held.subscription
    if not has_left(own):
        return _shown(session, connection, held), own
    left = table.Left(at=_left_at(own) or held.as_of, door=_door(session, own, connection))
    after = successor(session, row, own)
    if after is None:
        kind: table.Kind = "leaving" if own.is_scheduled_to_cancel and own.status is not objects.Status.UNPAID else "ended"
        return table.Standing(kind=kind, as_of=held.as_of, left_at=left.at, door=left.door), own
    # Stripe's deadline for coming back runs from the end, not from the day it was decided.
    left = table.Left(at=own.ended_at or left.at, door=left.door)
    return _shown(session, connection, after, successor_at=after.subscription.created, predecessor=left), after.subscription


def _shown(
    session: Session,
    connection: Connection,
    held: Held,
    *,
    successor_at: datetime | None = None,
    predecessor: table.Left | None = None,
) -> table.Standing:
    one = held.subscription
    tries, collection = Invoice.raw["attempt_count"].as_string(), Invoice.raw["collection_method"].as_string()
    invoices = select(Invoice.status, Invoice.created_at, tries.label("tries"), collection.label("collection")).where(
        Invoice.connection_id == connection.id,
        Invoice.subscription == one.id,
        Invoice.is_deleted.is_(False),
        Invoice.status.is_distinct_from("draft"),
    )
    made = session.execute(invoices.order_by(Invoice.created_at.desc(), Invoice.id.desc())).all()
    asked = [invoice for invoice in made if not _is_let_go(invoice.status, invoice.tries, invoice.collection)]
    # An invoice that nobody wants paid is not owed; but where there are no others, nothing shows that they pay.
    is_owing = bool(made) and (not asked or asked[0].status != "paid")
    kind: table.Kind = "paying"
    if has_left(one):
        kind = "leaving" if one.is_scheduled_to_cancel and one.status is not objects.Status.UNPAID else "ended"
    elif one.is_paused:
        kind = "paused"
    elif is_owing or one.status not in (objects.Status.ACTIVE, objects.Status.TRIALING):
        kind = "owing"
    return table.Standing(
        kind=kind,
        as_of=held.as_of,
        left_at=_left_at(one) if has_left(one) else None,
        door=_door(session, one, connection) if has_left(one) else None,
        charged_at=max((invoice.created_at for invoice in made if invoice.status == "paid"), default=None),
        successor_at=successor_at,
        predecessor=predecessor,
    )


def _is_let_go(status: str | None, tries: str | None, collection: str | None) -> bool:
    """Whether an invoice asks for nothing: voided, or free time (an extension), whose invoices are closed as uncollectible untried.

    One that was asked for and given up is not owed either, but it is their last invoice, and it was not paid.
    """
    return status == "void" or (status == "uncollectible" and tries in (None, "0") and collection != "send_invoice")


def _left_at(subscription: objects.Subscription) -> datetime | None:
    return subscription.canceled_at or subscription.ended_at


def _door(session: Session, subscription: objects.Subscription, connection: Connection) -> str:
    ours = select(Action.asked_at, Action.verified_at).where(
        Action.connection_id == connection.id,
        Action.subscription == subscription.id,
        Action.verb == "cancel",
        Action.verified_at.is_not(None),
    )
    found = [(line.asked_at, line.verified_at) for line in session.execute(ours)]
    return doors.door(subscription, found, connection.portal_cancel_open)


def earlier(session: Session, row: FlowSession) -> list[str]:
    """The sessions of the same customer that were opened before this one."""
    mine = _of_customer(row), tuple_(FlowSession.shown_at, FlowSession.id) < (row.shown_at, row.id)
    return list(session.execute(select(FlowSession.id).where(*mine)).scalars())


def later(session: Session, row: FlowSession, own: objects.Subscription | None) -> list[Later]:
    """The customer's sessions opened after this one, for its subscription or for one that may have followed it, in their order."""
    about = FlowSession.subscription == row.subscription
    if own is not None and has_left(own) and (left_at := _left_at(own)) is not None:
        about |= FlowSession.subscription.in_(select(Subscription.id).where(*_following(row, left_at)))
    opened = (
        select(FlowSession.id, FlowSession.subscription, FlowSession.shown_at, Outcome.state)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(_of_customer(row), tuple_(FlowSession.shown_at, FlowSession.id) > (row.shown_at, row.id), about)
        .order_by(FlowSession.shown_at, FlowSession.id)
    )
    return [
        Later(id=line.id, subscription=line.subscription, shown_at=line.shown_at, state=line.state or "open")
        for line in session.execute(opened)
    ]


def successor(session: Session, row: FlowSession, left: objects.Subscription) -> Held | None:
    """The subscription with which the customer came back: begun once this one was given up, and not merely tried. Running before ended.

    Who had given up several came back to the one of which they were last in the flow.
    """
    left_at = _left_at(left)
    if left_at is None:
        return None
    other, given_up = aliased(FlowSession), aliased(Subscription)
    ended = func.coalesce(given_up.raw["canceled_at"].as_string(), given_up.raw["ended_at"].as_string())
    is_anothers = exists().where(
        other.workspace_id == row.workspace_id,
        other.connection_id == row.connection_id,
        other.customer == row.customer,
        other.subscription.not_in((row.subscription, Subscription.id)),
        tuple_(other.shown_at, other.id) > (row.shown_at, row.id),
        other.shown_at <= Subscription.created_at,
        given_up.connection_id == other.connection_id,
        given_up.id == other.subscription,
        given_up.is_deleted.is_(False),
        func.to_timestamp(cast(ended, Double)) <= Subscription.created_at,
    )
    found = select(Subscription.raw, Subscription.as_of).where(*_following(row, left_at), ~is_anothers)
    held = [Held(subscription=objects.read_subscription(line.raw), as_of=line.as_of) for line in session.execute(found)]
    return min(held, key=lambda one: (has_left(one.subscription), one.subscription.created, one.subscription.id), default=None)


def _of_customer(row: FlowSession) -> ColumnElement[bool]:
    mine = (FlowSession.workspace_id == row.workspace_id) & (FlowSession.mode == row.mode) & (FlowSession.customer == row.customer)
    return mine & FlowSession.shown_at.is_not(None)


def _following(row: FlowSession, left_at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Subscription.connection_id == row.connection_id,
        Subscription.customer == row.customer,
        Subscription.id != row.subscription,
        Subscription.is_deleted.is_(False),
        Subscription.created_at >= left_at,
        Subscription.created_at >= row.shown_at,
        Subscription.status.not_in((objects.Status.INCOMPLETE, objects.Status.INCOMPLETE_EXPIRED)),
    )
