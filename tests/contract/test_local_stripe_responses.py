"""Every answer of the local Stripe, on every route, before and after changes, is one that Stripe could have given."""

import json
from typing import Any

from sandbox.stripe import misfortunes, payments, routes
from sandbox.stripe.context import Context
from tests.contract import checks
from tests.contract.conftest import Shop

DAY = 86400


def call(shop: Shop, method: str, path: str, form: dict[str, str] | None = None) -> Any:
    reply = shop.ask(method, path, form)
    assert reply.status == 200, reply.body
    body = json.loads(reply.body)
    checks.check_response(body)
    return body


def test_every_route_answers_as_stripe_would(shop: Shop) -> None:
    visited: set[str] = set()

    def ask(method: str, path: str, form: dict[str, str] | None = None) -> Any:
        found = routes.find(method, path)
        assert found is not None, path
        visited.add(f"{method} {found[0].pattern.pattern}")
        checks.check_form(method, path, "&".join(f"{key}={value}" for key, value in (form or {}).items()))
        return call(shop, method, path, form)

    ask("GET", "/v1/account")
    ask("GET", f"/v1/accounts/{shop.account}")
    product = ask("POST", "/v1/products", {"name": "Backups", "metadata[a]": "b"})["id"]
    ask("POST", f"/v1/products/{product}", {"description": "Nightly"})
    ask("GET", f"/v1/products/{product}")
    ask("GET", "/v1/products", {"active": "true"})
    form = {"product": product, "currency": "usd", "unit_amount": "700", "recurring[interval]": "month"}
    price = ask("POST", "/v1/prices", form)["id"]
    ask("POST", f"/v1/prices/{price}", {"nickname": "Backups"})
    ask("GET", f"/v1/prices/{price}", {"expand[]": "product"})
    ask("GET", "/v1/prices", {"product": product, "type": "recurring", "expand[]": "data.product"})
    coupon = ask("POST", "/v1/coupons", {"percent_off": "12.5", "duration": "forever", "applies_to[products][]": product})["id"]
    ask("GET", f"/v1/coupons/{coupon}", {"expand[]": "applies_to"})
    ask("POST", f"/v1/coupons/{coupon}", {"name": "A little"})
    ask("GET", "/v1/coupons", {"limit": "2"})
    customer = ask("POST", "/v1/customers", {"email": "ada@mail.example", "name": "Ada"})["id"]
    ask("POST", f"/v1/customers/{customer}", {"address[country]": "DE", "preferred_locales[]": "de"})
    ask("GET", f"/v1/customers/{customer}", {"expand[]": "subscriptions"})
    ask("GET", "/v1/customers", {"email": "ada@mail.example"})
    card = ask("GET", "/v1/payment_methods", {"type": "card"})["data"][0]["id"]
    ask("GET", f"/v1/payment_methods/{card}")
    owner = ask("POST", f"/v1/payment_methods/{card}/attach", {"customer": shop_customer(shop, card)})["customer"]
    ask("GET", f"/v1/customers/{owner}/payment_methods")
    form = {"customer": owner, "items[0][price]": price, "discounts[0][coupon]": coupon, "expand[]": "discounts.source.coupon"}
    subscription = ask("POST", "/v1/subscriptions", form)["id"]
    form = {"cancel_at_period_end": "true", "cancellation_details[comment]": "bye", "expand[0]": "latest_invoice", "expand[1]": "customer"}
    ask("POST", f"/v1/subscriptions/{subscription}", form)
    ask("GET", f"/v1/subscriptions/{subscription}", {"expand[]": "items.data.price.product"})
    ask("GET", "/v1/subscriptions", {"status": "all", "limit": "100", "expand[]": "data.customer"})
    ask("DELETE", f"/v1/subscriptions/{subscription}", {"invoice_now": "true", "prorate": "true"})
    invoice = ask("GET", "/v1/invoices", {"subscription": subscription})["data"][0]["id"]
    ask("GET", f"/v1/invoices/{invoice}", {"expand[]": "customer"})
    owed = ask("GET", "/v1/invoices", {"subscription": shop.subscription("past_due"), "status": "open"})["data"][0]["id"]
    ask("POST", f"/v1/invoices/{owed}", {"auto_advance": "false", "metadata[a]": "b"})
    ask("POST", f"/v1/invoices/{owed}/mark_uncollectible")
    ask("POST", f"/v1/invoices/{owed}/void")
    ask("POST", f"/v1/subscriptions/{shop.subscription('past_due')}", {"pause_collection[behavior]": "keep_as_draft"})
    shop.local.clock.advance(31 * DAY)
    draft = ask("GET", "/v1/invoices", {"subscription": shop.subscription("past_due"), "status": "draft"})["data"][0]["id"]
    ask("POST", f"/v1/invoices/{draft}/finalize", {"auto_advance": "false"})
    ask("POST", f"/v1/invoices/{draft}/pay", {"paid_out_of_band": "true"})
    ask("POST", f"/v1/subscriptions/{shop.subscription('multi_item')}/pause", {"invoicing_behavior": "invoice"})
    ask("POST", f"/v1/subscriptions/{shop.subscription('multi_item')}/resume", {"billing_cycle_anchor[type]": "unchanged"})
    form = {"mode": "setup", "currency": "usd", "customer": owner, "success_url": "https://shop.example/back"}
    paid = ask("POST", "/v1/checkout/sessions", form)
    ask("GET", f"/v1/checkout/sessions/{paid['id']}", {"expand[]": "setup_intent"})
    ask("GET", "/v1/checkout/sessions", {"customer": owner})
    ask("POST", f"/v1/checkout/sessions/{paid['id']}/expire")
    ask("GET", f"/v1/setup_intents/{paid['setup_intent']}")
    ask("GET", "/v1/setup_intents", {"customer": owner})
    ask("GET", "/v1/charges", {"limit": "5"})
    charged = payments.newest(Context(local=shop.local, world=shop.local.world(shop.account, False)), shop_subscription(shop, "monthly"))
    assert charged is not None
    ask("GET", f"/v1/charges/{charged['id']}", {"expand[]": "customer"})
    ask("GET", "/v1/invoice_payments", {"payment[type]": "payment_intent", "payment[payment_intent]": charged["payment_intent"]})
    ask("POST", "/v1/refunds", {"charge": charged["id"], "amount": "100"})
    ask("GET", "/v1/refunds", {"charge": charged["id"]})
    made = misfortunes.befall(shop.local, {"kind": "dispute", "subscription": shop.subscription("monthly")})
    ask("GET", "/v1/disputes", {"charge": charged["id"]})
    ask("GET", f"/v1/disputes/{made['id']}")
    schedule = shop.local.world(shop.account, False).get("subscription", shop.subscription("scheduled"))["schedule"]
    ask("GET", f"/v1/subscription_schedules/{schedule}", {"expand[]": "subscription"})
    ask("GET", "/v1/subscription_schedules", {"customer": str(shop.row("scheduled")["customer"])})
    ask("POST", f"/v1/subscription_schedules/{schedule}", {"end_behavior": "cancel", "metadata[a]": "b"})
    ask("POST", f"/v1/subscription_schedules/{schedule}/release", {"preserve_cancel_date": "true"})
    made = ask("POST", "/v1/subscription_schedules", {"from_subscription": shop.subscription("yearly")})
    ask("POST", f"/v1/subscription_schedules/{made['id']}/cancel", {"invoice_now": "true", "prorate": "true"})
    waiting = ask("POST", "/v1/invoiceitems", {"customer": owner, "amount": "500", "currency": "usd", "description": "Setup"})["id"]
    ask("GET", f"/v1/invoiceitems/{waiting}", {"expand[]": "customer"})
    ask("GET", "/v1/invoiceitems", {"pending": "true"})
    form = {"subscription": shop.subscription("monthly"), "subscription_details[cancel_now]": "true"}
    ask("POST", "/v1/invoices/create_preview", form)
    ask("DELETE", f"/v1/invoiceitems/{waiting}")
    code = ask("POST", "/v1/promotion_codes", {"promotion[type]": "coupon", "promotion[coupon]": coupon, "code": "COMEBACK"})["id"]
    ask("GET", f"/v1/promotion_codes/{code}", {"expand[]": "promotion.coupon"})
    ask("POST", f"/v1/promotion_codes/{code}", {"active": "false"})
    ask("GET", "/v1/promotion_codes", {"code": "COMEBACK"})
    configuration = ask("GET", "/v1/billing_portal/configurations", {"active": "true"})["data"][0]["id"]
    ask("POST", f"/v1/billing_portal/configurations/{configuration}", {"features[subscription_cancel][enabled]": "false"})
    ask("GET", f"/v1/billing_portal/configurations/{configuration}")
    ask("POST", "/v1/billing_portal/configurations", {"features[invoice_history][enabled]": "true"})
    back = "https://shop.example/back"
    form = {"flow_data[type]": "payment_method_update", "flow_data[after_completion][type]": "redirect"}
    form |= {"flow_data[after_completion][redirect][return_url]": back, "customer": owner, "return_url": back}
    ask("POST", "/v1/billing_portal/sessions", form)
    endpoint = ask("POST", "/v1/webhook_endpoints", {"url": "https://shop.example/hook", "enabled_events[]": "*"})["id"]
    ask("POST", f"/v1/webhook_endpoints/{endpoint}", {"disabled": "true"})
    ask("GET", f"/v1/webhook_endpoints/{endpoint}")
    ask("GET", "/v1/webhook_endpoints")
    event = ask("GET", "/v1/events", {"types[]": "customer.subscription.*"})["data"][0]["id"]
    ask("GET", f"/v1/events/{event}")
    ask("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    ask("DELETE", f"/v1/coupons/{coupon}")
    ask("DELETE", f"/v1/customers/{customer}")
    ask("GET", f"/v1/customers/{customer}")
    assert visited == {f"{route.method} {route.pattern.pattern}" for route in routes.ROUTES}


def shop_subscription(shop: Shop, shape: str) -> Any:
    return shop.local.world(shop.account, False).get("subscription", shop.subscription(shape))


def shop_customer(shop: Shop, card: str) -> str:
    return str(shop.local.world(shop.account, False).get("payment_method", card)["customer"])


def assert_world_is_true_to_stripe(shop: Shop) -> None:
    for world in shop.local.worlds.values():
        for kind, table in world.tables.items():
            for obj in table.values():
                assert not (problems := checks.response_problems(obj)), (kind, problems)
    for account in shop.local.accounts.values():
        checks.check_response(account)


def test_every_seeded_object_is_one_of_stripes(shop: Shop) -> None:
    assert_world_is_true_to_stripe(shop)


def test_a_year_of_changes_leaves_only_objects_of_stripes(shop: Shop) -> None:
    update = shop.client.v1.subscriptions.update
    monthly, yearly, trialing = (shop.subscription(shape) for shape in ("monthly", "yearly", "trialing"))
    world = shop.local.world(shop.account, False)
    prices = {price["nickname"]: price["id"] for price in world.all("price")}
    now = shop.local.clock.now()
    update(monthly, {"discounts": [{"coupon": "STAY20"}, {"coupon": "TENBACK"}]}, shop.here)
    update(monthly, {"pause_collection": {"behavior": "mark_uncollectible", "resumes_at": now + 40 * DAY}}, shop.here)
    item = world.get("subscription", yearly)["items"]["data"][0]["id"]
    update(yearly, {"items": [{"id": item, "price": prices["Pro monthly"]}]}, shop.here)
    update(trialing, {"trial_end": now + 30 * DAY, "proration_behavior": "none"}, shop.here)
    update(shop.subscription("multi_item"), {"trial_end": now + 60 * DAY}, shop.here)
    for _ in range(13):
        shop.local.clock.advance(30 * DAY)
    assert_world_is_true_to_stripe(shop)
    told = {event["type"] for event in shop.local.events(shop.account)}
    assert told >= {
        "customer.subscription.trial_will_end",
        "customer.subscription.deleted",
        "customer.discount.deleted",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.voided",
        "invoice.marked_uncollectible",
        "subscription_schedule.released",
    }
