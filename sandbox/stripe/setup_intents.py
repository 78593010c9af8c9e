"""Setup intents: a card taken now, to be charged later."""

from __future__ import annotations

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import clone, new_id, word

LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "customer": params.text,
    "payment_method": params.text,
    "created": params.created,
}


def make(ctx: Context, customer: str | None, metadata: Obj, description: str | None) -> Obj:
    """One that waits for a card."""
    id = new_id("setup_intent")
    intent = ctx.world.put(
        {
            "id": id,
            "object": "setup_intent",
            "allowed_payment_method_types": None,
            "application": None,
            "attach_to_self": False,
            "automatic_payment_methods": None,
            "cancellation_reason": None,
            "client_secret": f"{id}_secret_{word(25)}",
            "created": ctx.now,
            "customer": customer,
            "customer_account": None,
            "description": description,
            "excluded_payment_method_types": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": ctx.livemode,
            "mandate": None,
            "metadata": metadata,
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": None,
            "payment_method_types": ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": "off_session",
        }
    )
    events.tell(ctx, "created", intent)
    return intent


def succeed(ctx: Context, intent: Obj, card: Obj) -> None:
    """The customer gave a card."""
    intent |= {"payment_method": card["id"], "status": "succeeded", "last_setup_error": None}
    events.tell(ctx, "succeeded", intent)


def fail(ctx: Context, intent: Obj) -> None:
    """The card was refused; another may be given."""
    intent["last_setup_error"] = {
        "code": "card_declined",
        "decline_code": "generic_decline",
        "message": "Your card was declined.",
        "type": "card_error",
    }
    events.tell(ctx, "setup_failed", intent)


def cancel(ctx: Context, intent: Obj) -> None:
    """Nobody will give a card any more."""
    before = clone(intent)
    intent |= {"status": "canceled", "cancellation_reason": "abandoned"}
    if intent != before:
        events.tell(ctx, "canceled", intent)


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/setup_intents`."""
    having = {key: p[key] for key in ("customer", "payment_method") if key in p}
    found = (
        each for each in ctx.world.all("setup_intent", **having) if "created" not in p or listing.within(each["created"], p["created"])
    )
    return listing.page("/v1/setup_intents", found, p)
