"""The customer's page of Checkout: a form for a card, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.stripe import checkout, pages, setup_intents
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, Reply, Request, StripeError, decode
from sandbox.stripe.worlds import new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

REFUSED = "4000000000000002"


def answer(local: LocalStripe, request: Request) -> Reply:
    """`GET /c/pay/<secret>` and its `POST …/card`."""
    parts = request.path.split("/")[3:]
    world = next((world for world in local.worlds.values() if parts and parts[0] in world.pages), None)
    if world is None:
        return pages.problem("This link is not valid.", 404)
    ctx = Context(local=local, world=world, source="checkout", request_id=new_id("request"))
    try:
        session = checkout.visit(ctx, parts[0])
    except StripeError:
        return pages.problem("This page is no longer open. Go back and start again.", 410)
    if request.method == "POST" and parts[1:] == ["card"]:
        return _save(ctx, session, decode(request.body.decode(errors="replace")))
    return _form(ctx, session) if request.method == "GET" and len(parts) == 1 else pages.problem("There is no such page.", 404)


def _form(ctx: Context, session: Obj, error: str | None = None) -> Reply:
    shop = pages.escape(ctx.local.accounts[ctx.world.account]["business_profile"]["name"])
    back = f'<p><a href="{pages.escape(session["cancel_url"])}">Return to {shop}</a></p>' if session["cancel_url"] else ""
    path = "/c/pay/" + str(session["url"]).rpartition("/")[2]
    content = f"<h1>Save a card</h1><p>{shop} will charge it for your plan.</p>{pages.card_form(path, error)}{back}"
    return pages.page("Checkout", content, tag=f"Local Stripe · {shop}", status=400 if error else 200)


def _save(ctx: Context, session: Obj, form: Obj) -> Reply:
    number = "".join(character for character in str(form.get("number", "")) if character.isdigit())
    if not 13 <= len(number) <= 19:
        return _form(ctx, session, "Your card number is incomplete.")
    if number == REFUSED:
        setup_intents.fail(ctx, ctx.world.get("setup_intent", session["setup_intent"]))
        return _form(ctx, session, "Your card was declined.")
    return pages.redirect(checkout.complete(ctx, session, number[-4:]))
