"""All that is known of one customer: mapped fields and where each comes from, subscriptions, sessions, actions, invoices."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from connect_app.admin import customers, mappings, offers, sessions, stripe_links
from connect_app.errors import NotFound
from connect_app.models import Action, Customer, FlowSession, Invoice, Subscription
from connect_app.money import Money
from connect_app.stripe_gateway import objects
from webhooks import catalogue, mapping

LOCALE = "en"
# The latest of each; more is in the lists, and at Stripe.
MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A variable of the subscription that is looked at. `reason` says why the fallback stands there, None where it does not.

    `as_of` is from when the value is, by Stripe's clock, or when the hand-off brought it.
    """

    name: str
    type: str
    text: str
    source: str
    reason: str | None
    as_of: datetime | None
    is_of_hand_off: bool

    @property
    def origin(self) -> str:
        """Where the value comes from, for people."""
        return mappings.origin(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A subscription in a line. `ends_at` is the end that is scheduled, or that was; `discounts` are in words."""

    id: str
    name: str | None
    state: str
    amount: Money | None
    mrr: Money | None
    next_charge: datetime | None
    ends_at: datetime | None
    is_ended: bool
    discounts: tuple[str, ...]
    as_of: datetime | None
    link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """An invoice in a line."""

    id: str
    created_at: datetime
    status: str | None
    total: Money
    paid: Money
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """One customer. `is_mirrored` is false for one that only sessions or subscriptions name; `chosen` is whose fields are shown."""

    id: str
    name: str | None
    email: str | None
    created_at: datetime | None
    as_of: datetime | None
    is_mirrored: bool
    is_deleted: bool
    link: str
    chosen: str
    fields: list[Field]
    plans: list[Plan]
    visits: list[sessions.Row]
    actions: list[Action]
    bills: list[Bill]


def read(session: Session, workspace_id: str, mode: str, connection_id: str | None, customer: str, chosen: str, now: datetime) -> Dossier:
    """A customer of one mode, with the fields of their subscription `chosen`, else of the newest that runs.

    A fixed number of queries. Raises NotFound for one whom neither the mirror nor any session of this mode knows.
    """
    known = session.get(Customer, (connection_id, customer)) if connection_id else None
    owned = _subscriptions(session, connection_id, customer)
    visits = _visits(session, workspace_id, mode, connection_id, customer)
    if known is None and not owned and not visits:
        raise NotFound(code="not_found", message="There is no such customer in this mode of this workspace.")
    subjects = catalogue.load(session, connection_id, [(customer, id) for id in owned or [""]]) if connection_id else []
    looked_at = next((one for one in subjects if one.subscription_id == chosen), subjects[0] if subjects else None)
    if looked_at is None:
        looked_at = catalogue.Subject(customer_id=customer, subscription_id=visits[0].subscription if visits else "")
    handed = next((visit for visit in visits if visit.subscription == looked_at.subscription_id), None)
    looked_at = replace(looked_at, custom=handed.custom) if handed else looked_at
    resolved = mapping.resolve(mapping.of_workspace(session, workspace_id), looked_at, now)
    return Dossier(
        id=customer,
        name=known.name if known else None,
        email=known.email if known else None,
        created_at=known.created_at if known else None,
        as_of=known.as_of if known else None,
        is_mirrored=known is not None,
        is_deleted=known is not None and known.is_deleted,
        link=stripe_links.customer(mode, customer),
        chosen=looked_at.subscription_id,
        fields=[_field(one, handed) for one in resolved.values()],
        plans=[_plan(one, one.subscription, mode, now) for one in subjects if one.subscription is not None],
        visits=sessions.of_visits(session, workspace_id, [visit.id for visit in visits], now),
        actions=_actions(session, workspace_id, mode, customer),
        bills=_bills(session, connection_id, mode, customer),
    )


def _subscriptions(session: Session, connection_id: str | None, customer: str) -> list[str]:
    """Running ones first, newest first."""
    if connection_id is None:
        return []
    query = (
        select(Subscription.id)
        .where(Subscription.connection_id == connection_id, Subscription.customer == customer, Subscription.is_deleted.is_(False))
        .order_by(Subscription.status.in_(("canceled", "incomplete_expired")), Subscription.created_at.desc(), Subscription.id)
        .limit(MOST)
    )
    return list(session.execute(query).scalars())


def _visits(session: Session, workspace_id: str, mode: str, connection_id: str | None, customer: str) -> list[FlowSession]:
    """The latest sessions; those from before there was a connection too."""
    of_mode: ColumnElement[bool] = FlowSession.connection_id.is_(None)
    if connection_id is not None:
        of_mode = or_(of_mode, FlowSession.connection_id == connection_id)
    query = (
        select(FlowSession)
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode, FlowSession.customer == customer, of_mode)
        .order_by(FlowSession.minted_at.desc(), FlowSession.id.desc())
        .limit(MOST)
    )
    return list(session.execute(query).scalars())


def _actions(session: Session, workspace_id: str, mode: str, customer: str) -> list[Action]:
    query = (
        select(Action)
        .where(Action.workspace_id == workspace_id, Action.customer == customer, Action.mode == mode)
        .order_by(Action.asked_at.desc(), Action.id.desc())
        .limit(MOST)
    )
    return list(session.execute(query).scalars())


def _bills(session: Session, connection_id: str | None, mode: str, customer: str) -> list[Bill]:
    if connection_id is None:
        return []
    query = (
        select(Invoice.id, Invoice.created_at, Invoice.status, Invoice.total, Invoice.amount_paid, Invoice.currency)
        .where(Invoice.connection_id == connection_id, Invoice.customer == customer, Invoice.is_deleted.is_(False))
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(MOST)
    )
    return [
        Bill(
            id=row.id,
            created_at=row.created_at,
            status=row.status,
            total=Money(row.total, row.currency),
            paid=Money(row.amount_paid, row.currency),
            link=stripe_links.of(mode, f"invoices/{row.id}"),
        )
        for row in session.execute(query)
    ]


def _field(resolved: mapping.Resolved, visit: FlowSession | None) -> Field:
    is_of_hand_off = catalogue.is_handed_over(resolved.source)
    return Field(
        name=resolved.name,
        type=resolved.type,
        text=mapping.write(resolved, LOCALE),
        source=resolved.source,
        reason=resolved.reason,
        as_of=visit.minted_at if is_of_hand_off and visit is not None else resolved.as_of,
        is_of_hand_off=is_of_hand_off,
    )


def _plan(subject: catalogue.Subject, subscription: objects.Subscription, mode: str, now: datetime) -> Plan:
    name, worth = catalogue.value(subject, "plan_name", now), catalogue.value(subject, "mrr", now)
    return Plan(
        id=subscription.id,
        name=name if isinstance(name, str) else None,
        state=customers.state_of(subscription),
        amount=subscription.amount,
        mrr=worth if isinstance(worth, Money) else None,
        next_charge=subscription.next_charge,
        ends_at=subscription.ended_at if subscription.is_ended else subscription.ends_at,
        is_ended=subscription.is_ended,
        discounts=tuple(_in_words(one) for one in subject.discounts if one.ends_at is None or one.ends_at > now),
        as_of=subject.as_of.get("subscription"),
        link=stripe_links.subscription(mode, subscription.id),
    )


def _in_words(discount: objects.Discount) -> str:
    """`25% off for 3 months, until 5 Mar 2030`, or the coupon's id where its terms are not known."""
    if discount.terms is None or discount.terms.is_deleted:
        what = f"coupon {discount.coupon}" if discount.coupon else "a discount whose terms are not known"
    else:
        what = offers.terms(discount.terms)
    return f"{what}, until {discount.ends_at:%-d %b %Y}" if discount.ends_at else what
