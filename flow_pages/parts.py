"""The parts of a subscription: which of its several items can be canceled by themselves, as the job that does it would see it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app.models.base import Json
from connect_app.modes import Mode
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Item, Subscription
from flow_pages import spoken
from flow_pages.visits import Visit
from jobs import plans
from webhooks import mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One item that can end while the others go on. `intent` is that of jobs.plans.Wish; `amount` is per period, before discounts and tax,
    None where it cannot be said.
    """

    item: Item
    name: str
    amount: Money | None
    intent: Json

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def is_at_once(self) -> bool:
        return bool(self.intent["when"] == "now")


def of(session: Session, visit: Visit, subscription: Subscription, intent: Json, now: datetime) -> tuple[Part, ...]:
    """The parts of this subscription, each canceled as `intent` has the whole; none where there is but one item. Two queries at most."""
    if len(subscription.items) < 2 or visit.connection is None or not visit.is_connected:
        return ()
    names = mirror.product_names(session, visit.connection.id, spoken.names_wanted([subscription]))
    schedule = mirror.schedule(session, visit.connection.id, subscription.schedule) if subscription.schedule else None
    situation = plans.Situation(subscription=subscription, schedule=schedule)
    kept: Json = {name: intent[name] for name in ("when", "invoice_now", "prorate", "renews_at") if name in intent}
    found = []
    for item in subscription.items:
        name = spoken.item(item, names)
        wish = plans.Wish(
            action_id="",
            verb="item_cancel",
            intent={**kept, "item": item.id, "name": name},
            customer=subscription.customer,
            subscription=subscription.id,
            mode=Mode(visit.row.mode),
        )
        if isinstance(plans.plan(wish, situation, now), plans.Plan):
            amount = item.price.amount(1 if item.quantity is None else item.quantity)
            found.append(Part(item=item, name=name, amount=amount, intent=dict(wish.intent)))
    return tuple(found)
