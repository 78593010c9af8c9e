"""Where a session's customer stands, by the mirror: still here, leaving, gone, or back with another subscription."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Double, cast, exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from connect_app import db
from connect_app.models import Action, Connection, FlowSession, Invoice, Outcome, SessionFact, Subscription
from connect_app.stripe_gateway import objects
from jobs.validation import doors, table

# Nobody comes back more often than this within their intervals.
_LONGEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A subscription as the mirror has it."""

    subscription: objects.Subscription
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A session in which the same customer came again, and what has become of it; one opened until `joins_until` is of the same case."""

    id: str
    subscription: str
    shown_at: datetime
    joins_until: datetime
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


def of(session: Session, row: FlowSession, connection: Connection, chain: Sequence[Held], *, is_missing: bool) -> table.Standing | None:
    """Where the customer stands by the last of `chain`, as `chain` gives it; None where nobody knows of a subscription."""
    if not chain:
        gone = session.execute(
            select(Subscription.as_of).where(Subscription.connection_id == connection.id, Subscription.id == row.subscription)
        ).scalar_one_or_none()
        known = is_missing or gone is not None
        return table.Standing(kind="missing", as_of=gone or row.last_activity_at) if known else None
    return _shown(session, row, connection, chain[-1], successor_at=chain[1].subscription.created if len(chain) > 1 else None)


def chain(session: Session, row: FlowSession, was: table.Outcome | None, visit: table.Visit, now: datetime) -> list[Held]:
    """The session's own subscription and, after each that was given up, the one with which its customer came back in time.

    Empty where the mirror does not have their own. What has been in it stays in it.
    """
    own = held(session, row)
    found = [own] if own is not None else []
    while found and len(found) < _LONGEST and has_left(found[-1].subscription):
        left = found[-1].subscription
        left_at = _given_up_at(session, row, found[-1])
        back_at = found[1].subscription.created if len(found) > 1 else None
        by = table.back_by(was, visit, ended_at=left.ended_at or left.ends_at or left_at, back_at=back_at, now=now)
        after = _successor(session, row, [one.subscription.id for one in found], left_at, by)
        if after is None:
            break
        found.append(after)
    return found


def _shown(session: Session, row: FlowSession, connection: Connection, held: Held, *, successor_at: datetime | None) -> table.Standing:
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
        left_at=_given_up_at(session, row, held) if has_left(one) else None,
        door=_door(session, one, connection) if has_left(one) else None,
        charged_at=max((invoice.created_at for invoice in made if invoice.status == "paid"), default=None),
        successor_at=successor_at,
    )


def _is_let_go(status: str | None, tries: str | None, collection: str | None) -> bool:
    """Whether an invoice asks for nothing: voided, or free time (an extension), whose invoices are closed as uncollectible untried.

    One that was asked for and given up is not owed either, but it is their last invoice, and it was not paid.
    """
    return status == "void" or (status == "uncollectible" and tries in (None, "0") and collection != "send_invoice")


def _given_up_at(session: Session, row: FlowSession, held: Held) -> datetime:
    """When a subscription that was left was given up. Of an unpaid one Stripe does not say it: the first news that it is."""
    left = held.subscription
    told = left.canceled_at or left.ended_at
    if told is not None:
        return told
    if left.id != row.subscription:
        return left.created
    unpaid = select(func.min(SessionFact.at)).where(
        SessionFact.session_id == row.id, SessionFact.kind == "stripe.changed", SessionFact.data["status"].astext == "unpaid"
    )
    return session.execute(unpaid).scalar_one() or held.as_of


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


def later(session: Session, row: FlowSession, subscriptions: Collection[str]) -> list[Later]:
    """The customer's sessions about these subscriptions that were opened after this one, in their order."""
    opened = (
        select(FlowSession.id, FlowSession.subscription, FlowSession.shown_at, FlowSession.save_interval_days, Outcome.state)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(
            _of_customer(row),
            tuple_(FlowSession.shown_at, FlowSession.id) > (row.shown_at, row.id),
            FlowSession.subscription == db.any_of(subscriptions),
        )
        .order_by(FlowSession.shown_at, FlowSession.id)
    )
    return [
        Later(
            id=line.id,
            subscription=line.subscription,
            shown_at=line.shown_at,
            joins_until=line.shown_at + timedelta(days=line.save_interval_days),
            state=line.state or "open",
        )
        for line in session.execute(opened)
    ]


def _successor(session: Session, row: FlowSession, before: Sequence[str], left_at: datetime, by: datetime) -> Held | None:
    """The subscription with which the customer came back, once the last of `before` was given up, and not merely tried: the first.

    Who had given up several came back to the one of which they were last in the flow.
    """
    other, mine, given_up = aliased(FlowSession), aliased(FlowSession), aliased(Subscription)
    ended = func.coalesce(given_up.raw["canceled_at"].as_string(), given_up.raw["ended_at"].as_string())
    of_them = (other.workspace_id == row.workspace_id, other.connection_id == row.connection_id, other.customer == row.customer)
    came_since = exists().where(
        mine.workspace_id == row.workspace_id,
        mine.connection_id == row.connection_id,
        mine.customer == row.customer,
        mine.subscription.in_(before),
        tuple_(mine.shown_at, mine.id) > tuple_(other.shown_at, other.id),
        mine.shown_at <= Subscription.created_at,
    )
    is_anothers = exists().where(
        *of_them,
        other.subscription.not_in(before),
        other.subscription != Subscription.id,
        tuple_(other.shown_at, other.id) > (row.shown_at, row.id),
        other.shown_at <= Subscription.created_at,
        given_up.connection_id == other.connection_id,
        given_up.id == other.subscription,
        given_up.is_deleted.is_(False),
        func.to_timestamp(cast(ended, Double)) <= Subscription.created_at,
        ~came_since,
    )
    found = (
        select(Subscription.raw, Subscription.as_of)
        .where(
            Subscription.connection_id == row.connection_id,
            Subscription.customer == row.customer,
            Subscription.id.not_in(before),
            Subscription.is_deleted.is_(False),
            Subscription.created_at >= left_at,
            Subscription.created_at >= row.shown_at,
            Subscription.created_at <= by,
            Subscription.status.not_in((objects.Status.INCOMPLETE, objects.Status.INCOMPLETE_EXPIRED)),
            ~is_anothers,
        )
        .order_by(Subscription.created_at, Subscription.id)
        .limit(1)
    )
    line = session.execute(found).one_or_none()
    return Held(subscription=objects.read_subscription(line.raw), as_of=line.as_of) if line is not None else None


def _of_customer(row: FlowSession) -> ColumnElement[bool]:
    mine = (FlowSession.workspace_id == row.workspace_id) & (FlowSession.mode == row.mode) & (FlowSession.customer == row.customer)
    return mine & FlowSession.shown_at.is_not(None)
