"""The customer's pages of Stripe's portal: see plans, change the card, cancel where the owner left that open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.stripe import customers, pages, payment_methods, portal, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, Reply, Request, StripeError, decode
from sandbox.stripe.worlds import new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

_REFUSED = "4000000000000002"


def answer(local: LocalStripe, request: Request) -> Reply:
    """`GET /p/session/<secret>` and its `POST …/card` and `POST …/cancel`."""
    parts = request.path.split("/")[3:]
    for world in local.worlds.values():
        if parts and parts[0] in world.sessions:
            ctx = Context(local=local, world=world, source="portal", request_id=new_id("request"))
            break
    else:
        return pages.problem("This link is not valid.", 404)
    try:
        session = portal.visit(ctx, parts[0])
        verbs: dict[tuple[str, ...], Callable[[Context, Obj, Obj], Reply]] = {("card",): _save_card, ("cancel",): _cancel}
        if request.method == "POST" and (verb := verbs.get(tuple(parts[1:]))):
            return verb(ctx, session, decode(request.body.decode(errors="replace")))
    except StripeError as error:
        expired = error.status == 404
        return pages.problem("This link has expired. Go back and open it again." if expired else error.message, 410 if expired else 400)
    return _home(ctx, session) if request.method == "GET" and len(parts) == 1 else pages.problem("There is no such page.", 404)


def _path(session: Obj) -> str:
    return "/p/session/" + str(session["url"]).rpartition("/")[2]


def _features(ctx: Context, session: Obj) -> Obj:
    features: Obj = ctx.world.get("billing_portal.configuration", session["configuration"])["features"]
    return features


def _home(ctx: Context, session: Obj, error: str | None = None) -> Reply:
    customer = ctx.world.get("customer", session["customer"])
    shop = pages.escape(ctx.local.accounts[ctx.world.account]["business_profile"]["name"])
    back = f'<p><a href="{pages.escape(session["return_url"])}">Return to {shop}</a></p>' if session["return_url"] else ""
    features = _features(ctx, session)
    form = pages.card_form(_path(session), error) if features["payment_method_update"]["enabled"] else ""
    tag = f"Local Stripe · {shop}"
    status = 400 if error else 200
    if session["flow"] is not None:
        return page_of("Update payment method", f"<h1>Update payment method</h1>{_card(ctx, customer)}{form}{back}", tag, status)
    rows = "".join(
        _row(ctx, session, s, features["subscription_cancel"]["enabled"]) for s in ctx.world.all("subscription", customer=customer["id"])
    )
    paid = [] if not features["invoice_history"]["enabled"] else list(ctx.world.all("invoice", customer=customer["id"]))[::-1][:12]
    invoices = "".join(
        f"<li><span>{pages.escape(i['number'] or 'Draft')}</span><span>{i['total'] / 100:.2f} {pages.escape(i['currency'].upper())}"
        f"<small>{i['status']}</small></span></li>"
        for i in paid
    )
    history = f"<h2>Invoices</h2><ul>{invoices}</ul>" if paid else ""
    content = f"<h1>{pages.escape(customer['name'] or customer['email'])}</h1><h2>Plans</h2><ul>{rows}</ul><h2>Payment method</h2>"
    return page_of("Customer portal", content + _card(ctx, customer) + form + history + back, tag, status)


def page_of(title: str, content: str, tag: str, status: int) -> Reply:
    """A page of the portal."""
    return pages.page(title, content, tag=tag, status=status)


def _card(ctx: Context, customer: Obj) -> str:
    card = ctx.world.find("payment_method", customer["invoice_settings"]["default_payment_method"] or "")
    return f"<p>Now: {pages.escape(card['card']['brand'].title())} ending {card['card']['last4']}</p>" if card else "<p>No card yet.</p>"


def _row(ctx: Context, session: Obj, subscription: Obj, may_cancel: bool) -> str:
    names = ", ".join(ctx.world.get("product", item["price"]["product"])["name"] for item in subscription["items"]["data"])
    ending = subscription["cancel_at"] is not None
    button = ""
    if may_cancel and not ending and subscription["status"] not in subscriptions.ENDED:
        button = (
            f'<form method="post" action="{pages.escape(_path(session))}/cancel">{pages.hidden({"subscription": subscription["id"]})}'
            "<button>Cancel plan</button></form>"
        )
    state = "ends soon" if ending else subscription["status"].replace("_", " ")
    return f"<li><span>{pages.escape(names)}<small>{pages.escape(state)}</small></span>{button}</li>"


def _save_card(ctx: Context, session: Obj, form: Obj) -> Reply:
    if not _features(ctx, session)["payment_method_update"]["enabled"]:
        return pages.problem("Cards can't be changed here.", 403)
    number = "".join(character for character in str(form.get("number", "")) if character.isdigit())
    if not 13 <= len(number) <= 19:
        return _home(ctx, session, "Your card number is incomplete.")
    if number == _REFUSED:
        return _home(ctx, session, "Your card was declined.")
    customer = ctx.world.get("customer", session["customer"])
    card = payment_methods.make_card(ctx, number[-4:], name=customer["name"], email=customer["email"])
    payment_methods.attach(ctx, card["id"], {"customer": customer["id"]})
    customers.update(ctx, customer["id"], {"invoice_settings": {"default_payment_method": card["id"]}})
    done: Obj = session["flow"]["after_completion"] if session["flow"] else {"type": "portal_homepage"}
    if done["type"] == "redirect":
        return pages.redirect(done["redirect"]["return_url"])
    if done["type"] == "hosted_confirmation":
        message = (done["hosted_confirmation"] or {}).get("custom_message") or "Your payment method was updated."
        return pages.page("Done", f"<h1>All set</h1><p>{pages.escape(message)}</p>")
    return pages.redirect(_path(session))


def _cancel(ctx: Context, session: Obj, form: Obj) -> Reply:
    feature = _features(ctx, session)["subscription_cancel"]
    subscription = ctx.world.get("subscription", str(form.get("subscription")), "subscription")
    if not feature["enabled"] or subscription["customer"] != session["customer"]:
        return pages.problem("Plans can't be canceled here.", 403)
    if feature["mode"] == "immediately":
        subscriptions.cancel(ctx, subscription["id"], {})
    elif subscription["billing_mode"]["type"] == "flexible":  # the portal leaves the boolean alone there
        subscriptions.update(ctx, subscription["id"], {"cancel_at": "min_period_end"})
    else:
        subscriptions.update(ctx, subscription["id"], {"cancel_at_period_end": True})
    return pages.redirect(_path(session))
