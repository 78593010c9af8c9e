"""What happens to a subscription that nobody asks for over the API: refunds, disputes, cards that fail, cancels in Stripe's own portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.stripe import collection, customers, dashboard, knobs, payment_methods, payments, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, invalid, missing
from sandbox.stripe.worlds import clone, new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

KINDS = ("refund", "dispute", "dispute_won", "dispute_lost", "payment_failure", "card_declines", "card_works", "portal_cancel")
_NAMES = ("kind", "subscription", "amount", "cancels", "immediately")


def befall(local: LocalStripe, wanted: Any) -> Obj:
    """`{subscription, kind, amount?, cancels?, immediately?}`; gives the object it happened to.

    `refund` gives back the newest payment (or `amount` of it); `dispute` disputes it, `dispute_won` and `dispute_lost` close that, and with
    `cancels` Stripe ends the subscription because of it. `card_declines` and `card_works` are about the card from now on;
    `payment_failure` is the end of all retries. `portal_cancel` is the customer's click in Stripe's portal.
    """
    asked = knobs.record(wanted, _NAMES, "kind")
    kind = asked.get("kind")
    if kind not in KINDS:
        raise invalid(f"`kind` is one of {', '.join(KINDS)}.", "kind")
    world, subscription = dashboard.find(local, knobs.text(asked.get("subscription"), "subscription"))
    if subscription["object"] != "subscription":
        raise invalid("That is no subscription.", "subscription")
    by_hand = Context(local=local, world=world, source="dashboard", request_id=new_id("request"))
    by_itself = Context(local=local, world=world, source="clock")
    match kind:
        case "refund":
            charge = _newest(by_hand, subscription)
            amount = {"amount": knobs.whole(asked["amount"], "amount", 1, 10**12)} if "amount" in asked else {}
            payments.refund(by_hand, {"charge": charge["id"], **amount})
            return charge
        case "dispute":
            made = payments.dispute(by_itself, _newest(by_itself, subscription)["id"])
            if asked.get("cancels"):
                subscriptions.end(by_itself, subscription, clone(subscription), "payment_disputed")
            return made
        case "dispute_won" | "dispute_lost":
            opened = next(world.all("dispute", charge=_newest(by_itself, subscription)["id"]), None)
            if opened is None:
                raise missing("dispute", subscription["id"])
            return payments.close(by_itself, opened["id"], kind.removeprefix("dispute_"))
        case "payment_failure":
            return subscriptions.end(by_itself, subscription, clone(subscription), "payment_failed")
        case "portal_cancel":
            return _cancel_in_portal(local, world, subscription, bool(asked.get("immediately")))
        case _:
            return _change_card(by_hand, subscription, declines=kind == "card_declines")


def _newest(ctx: Context, subscription: Obj) -> Obj:
    charge: Obj | None = payments.newest(ctx, subscription)
    if charge is None:
        raise missing("charge", subscription["id"])
    return charge


def _cancel_in_portal(local: LocalStripe, world: Any, subscription: Obj, immediately: bool) -> Obj:
    ctx = Context(local=local, world=world, source="portal", request_id=new_id("request"))
    if immediately:
        return subscriptions.cancel(ctx, subscription["id"], {})
    is_flexible = subscription["billing_mode"]["type"] == "flexible"  # the portal leaves the boolean alone there
    return subscriptions.update(ctx, subscription["id"], {"cancel_at": "min_period_end"} if is_flexible else {"cancel_at_period_end": True})


def _change_card(ctx: Context, subscription: Obj, *, declines: bool) -> Obj:
    """Another card for the customer and this subscription; a working one also pays what is open."""
    last4 = payment_methods.DECLINES_LATER if declines else payment_methods.GOOD
    card = payment_methods.make_card(ctx, last4)
    payment_methods.attach(ctx, card["id"], {"customer": subscription["customer"]})
    customers.update(ctx, subscription["customer"], {"invoice_settings": {"default_payment_method": card["id"]}})
    before = subscription
    after: Obj = clone(subscription)
    after["default_payment_method"] = card["id"]
    owed = ctx.world.find("invoice", after["latest_invoice"] or "")
    if not declines and owed is not None and owed["status"] == "open":
        collection.collect(ctx, after, owed)
    subscriptions.commit(ctx, before, after)
    return after
