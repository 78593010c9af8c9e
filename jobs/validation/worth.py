"""What a session was worth: monthly revenue at stake, saved and lost, and what was paid since. docs/revenue.md says it for people.

The shape of `outcomes.revenue`, every amount `{amount, currency}` in minor units, `amount` null where it cannot be said:
`{stake?: amount + {read_at}, fired?: amount + {status, read_at}, ended?: amount + {status, read_at}, saved: amount|null, lost: amount|null,
decided_at?, told_in?: session|null, paid?: {<currency>: {paid, refunded, disputed}}, paid_read_at?}`. `stake`, `fired`, `ended` and
`decided_at` (when it was first saved) are frozen when first known; `paid` is of the last look. Where `told_in` names a later session,
all but `paid` is counted there and not here.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from connect_app.models import Charge, Invoice
from connect_app.models.base import Json
from connect_app.stripe_gateway import objects
from jobs.validation import footing, table
from webhooks import mirror, revenue

_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
_HERE = ("watch", "paused", "saved")
# In these, the disputed money is with us: won, or an inquiry that has taken none.
_UNDISPUTED = ("won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed")


def weighed(
    session: Session,
    connection_id: str,
    known: Json,
    outcome: table.Outcome,
    shown: objects.Subscription | None,
    *,
    before: objects.Subscription | None,
    subscriptions: Sequence[str],
    since: datetime,
    until: datetime | None,
    now: datetime,
) -> Json:
    """What is known of the session's worth by now: what was frozen stays, the rest is read from the mirror.

    `shown` is the subscription that billing shows, `before` how it was before what was chosen changed it, `since` when the session began,
    `until` when the customer's next one did.
    """
    weight = dict(known)
    present = _monthly(session, connection_id, shown, now) if shown is not None else None
    if present is not None and shown is not None:
        at_stake = _monthly(session, connection_id, before, now) if before is not None else present
        weight.setdefault("stake", {**(at_stake or present), "read_at": now.isoformat()})
        if outcome.state != "open":
            weight.setdefault("fired", {**present, "status": str(shown.status), "read_at": now.isoformat()})
        if outcome.state == "saved":
            weight.setdefault("decided_at", now.isoformat())
        if outcome.state == "saved" and not known.get("saved"):
            weight["ended"] = {**present, "status": str(shown.status), "read_at": now.isoformat()}
    weight["saved"] = _amount(weight.get("ended")) if outcome.state == "saved" else None
    weight["lost"] = _amount(weight.get("stake")) if outcome.state in ("lost", "canceled") else None
    weight["paid"] = paid_since(session, connection_id, subscriptions, since, until)
    weight["paid_read_at"] = now.isoformat()
    return weight


def told_in(subscription: str, outcome: table.Outcome, later: Sequence[footing.Later], decided_at: datetime | None) -> str | None:
    """The session in whose amounts those of this one (about `subscription`) are, so that sums have them once; None: they are its own.

    That is the last one that was lost to the same departure; or, of who is still here, the last one that began before this one was first
    saved, at `decided_at`. Only one by which its case is told.
    """
    for place, one in reversed(list(enumerate(later))):
        if _is_passed(one, later[place + 1 :]):
            continue
        if outcome.state in ("lost", "canceled"):
            # A subscription has one departure at a time; one that followed it was left after the session about that began.
            is_same = one.subscription == subscription or one.shown_at.replace(microsecond=0) <= outcome.since
            if one.state in ("lost", "canceled") and is_same:
                return one.id
        elif (
            outcome.state in _HERE and one.state in _HERE and (outcome.state != "saved" or decided_at is None or one.shown_at < decided_at)
        ):
            return one.id
    return None


def _is_passed(one: footing.Later, following: Sequence[footing.Later]) -> bool:
    """Whether a later session tells of the case of this one."""
    joins_until = one.joins_until
    for each in following:
        if each.subscription != one.subscription:
            continue
        if each.shown_at > joins_until:
            return False
        if each.state not in ("open", "unknown"):
            return True
        joins_until = each.joins_until
    return False


def paid_since(
    session: Session, connection_id: str, subscriptions: Sequence[str], since: datetime, until: datetime | None
) -> dict[str, dict[str, int]]:
    """What these subscriptions' invoices brought between the two, and how much of it was given back or is disputed, by currency.

    Free time brings no paid invoice, and so counts for nothing here.
    """
    begun, ended = span(since, until)
    of_them = (
        Invoice.connection_id == connection_id,
        Invoice.subscription.in_(subscriptions),
        Invoice.is_deleted.is_(False),
        Invoice.status == "paid",
        Invoice.paid_at >= begun,
        Invoice.paid_at < ended,
    )
    sums: dict[str, dict[str, int]] = {}
    for line in session.execute(
        select(Invoice.currency, func.sum(Invoice.amount_paid).label("paid")).where(*of_them).group_by(Invoice.currency)
    ):
        sums[line.currency] = {"paid": int(line.paid), "refunded": 0, "disputed": 0}
    charges = (
        select(Charge.currency, Charge.amount, Charge.amount_refunded, Charge.dispute_status, Charge.amount_disputed)
        .join(Invoice, (Invoice.connection_id == Charge.connection_id) & (Invoice.id == Charge.invoice))
        .where(*of_them, Charge.is_deleted.is_(False))
    )
    for charge in session.execute(charges):
        entry = sums.setdefault(charge.currency, {"paid": 0, "refunded": 0, "disputed": 0})
        entry["refunded"] += charge.amount_refunded
        if charge.dispute_status is not None and charge.dispute_status not in _UNDISPUTED:
            # A payment is lost once, however it is taken back.
            entry["disputed"] += max(0, min(charge.amount_disputed, charge.amount - charge.amount_refunded))
    return sums


def span(since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
    """Where the payments of a session begin and end. Stripe's times are whole seconds: one session's end is the next one's beginning."""
    return since.replace(microsecond=0), _FOREVER if until is None else until.replace(microsecond=0)


def unlinked(session: Session, connection_id: str, customer: str) -> list[tuple[str, str]]:
    """The (charge, payment intent) of this customer's that were given back or are disputed, and of which nobody knows what they paid."""
    found = select(Charge.id, Charge.payment_intent).where(
        Charge.connection_id == connection_id,
        Charge.customer == customer,
        Charge.invoice.is_(None),
        Charge.payment_intent.is_not(None),
        or_(Charge.amount_refunded > 0, Charge.dispute_status.is_not(None)),
    )
    return [(line.id, line.payment_intent) for line in session.execute(found.order_by(Charge.id))]


def _monthly(session: Session, connection_id: str, subscription: objects.Subscription | None, now: datetime) -> dict[str, object] | None:
    if subscription is None:
        return None
    discounts = mirror.discounts_of(session, connection_id, [subscription.id]).get(subscription.id, ())
    monthly = revenue.mrr(subscription, discounts, now)
    return {"amount": monthly.amount if monthly is not None else None, "currency": subscription.currency}


def _amount(frozen: Mapping[str, object] | None) -> dict[str, object] | None:
    return {"amount": frozen["amount"], "currency": frozen["currency"]} if frozen else None
