"""An offer as a real customer would read it, tried on subscriptions of different shapes; nothing is kept and Stripe is not asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.admin.offers import verdicts
from connect_app.models.base import Json
from connect_app.stripe_gateway.objects import Subscription
from flow_pages import offer_pages, offers, spoken, wording
from flow_pages.document import Offer
from jobs.plans import Refused
from webhooks import catalogue, mapping, mirror

# So many to choose from; whoever wants another names it in the address.
_SHAPES = 10
_OUT_OF = 3000
_SAMPLES = text(
    """
select distinct on (s.status, s.is_paused, s.cancel_at_period_end, p.interval, s.currency)
  s.id, s.customer, s.status, s.is_paused, s.cancel_at_period_end, s.currency, p.interval, r.name as product, c.name, c.email
from (
  select id, customer, status, is_paused, cancel_at_period_end, currency, price, connection_id, created_at from subscriptions
  where connection_id = :connection and not is_deleted and status not in ('canceled', 'incomplete_expired') limit :most
) s
left join prices p on p.connection_id = s.connection_id and p.id = s.price
left join products r on r.connection_id = p.connection_id and r.id = p.product
left join customers c on c.connection_id = s.connection_id and c.id = s.customer
order by s.status, s.is_paused, s.cancel_at_period_end, p.interval, s.currency, s.created_at desc, s.id
"""
)
_EVERY = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A subscription to try an offer on, with what tells it from the others: `Pro, yearly, EUR: Jonas Lindqvist`."""

    subscription: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of trying: the ways to take it, or the refusal. `reader` is the locale that this customer's page is written for."""

    subscription: Subscription
    made: offers.Made | None
    refusal: str | None
    variables: Json
    reader: str

    @property
    def words(self) -> dict[str, wording.Word]:
        return wording.words(self.variables, self.reader)


def samples(session: Session, connection_id: str | None) -> list[Sample]:
    """A few running subscriptions of different shapes; those that are simply active come first."""
    if connection_id is None:
        return []
    rows = session.execute(_SAMPLES, {"connection": connection_id, "most": _OUT_OF}).all()
    plain = sorted(rows, key=lambda row: (row.status != "active" or row.is_paused or row.cancel_at_period_end, row.status))
    return [Sample(subscription=row.id, label=_label(row)) for row in plain[:_SHAPES]]


def tried(
    session: Session, workspace_id: str, connection_id: str, offer: Offer, mode: str, subscription_id: str, now: datetime
) -> Tried | None:
    """The offer to the customer of this subscription, as the mirror has it; None for a subscription that it does not have."""
    subscription = mirror.subscription(session, connection_id, subscription_id)
    if subscription is None:
        return None
    [subject] = catalogue.load(session, connection_id, [(subscription.customer, subscription_id)])
    reader = spoken.reader(None, subject.customer)
    on = verdicts.ground(session, workspace_id, connection_id, offer, mode)
    discounts = mirror.discounts_of(session, connection_id, [subscription_id]).get(subscription_id, ())
    verdict = verdicts.of(on, subscription, subject, discounts, now)
    made = None if isinstance(verdict, Refused) else offers.Made(offer=offer, options=verdict, known=on.known)
    return Tried(
        subscription=subscription,
        made=made,
        refusal=verdict.message if isinstance(verdict, Refused) else None,
        variables=mapping.keep(mapping.resolve(mapping.of_workspace(session, workspace_id), subject, now), reader),
        reader=reader,
    )


def drawn(found: Tried, mode: str, now: datetime) -> str:
    """The page itself, in the customer's own frame, for an offer that can be made. Its buttons lead nowhere."""
    assert found.made is not None  # noqa: S101  # the caller has looked
    shared, ways = offer_pages.told(found.made, found.subscription, {}, found.reader, now)
    words = found.words
    frame = {
        "path": "",
        "form_token": "",
        "of": 0,
        "at": 1,
        "test_text": "Test mode" if mode == "test" else None,
        "say": lambda copy: wording.render(copy, words),
    }
    return offer_pages.drawn(found.made.offer, shared, ways, frame)


def _label(row: Sequence[object]) -> str:
    kept = row._mapping  # type: ignore[attr-defined]  # a Row's own name for it
    standing = [
        str(kept["product"] or "Subscription"),
        _EVERY.get(str(kept["interval"]), ""),
        str(kept["currency"] or "").upper(),
        "" if kept["status"] == "active" else str(kept["status"]).replace("_", " "),
        "paused" if kept["is_paused"] and kept["status"] != "paused" else "",
        "canceling" if kept["cancel_at_period_end"] else "",
    ]
    return f"{', '.join(filter(None, standing))}: {kept['name'] or kept['email'] or kept['customer']}"
