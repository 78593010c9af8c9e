"""Every call of the API that is served: method, path, parameters, verb."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.stripe import (
    accounts,
    catalogue,
    checkout,
    coupons,
    customers,
    endpoints,
    events,
    invoice_items,
    invoices,
    params,
    pauses,
    payment_methods,
    payments,
    portal,
    previews,
    promotion_codes,
    schedules,
    settlements,
    setup_intents,
    signups,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj

_Fields = dict[str, params.Shape | params.Required]


@dataclass(frozen=True, slots=True)
class Route:
    """One call: `answer(ctx, *ids, params)`."""

    method: str
    pattern: re.Pattern[str]
    fields: _Fields
    answer: Callable[..., Obj]


def _get(kind: str) -> Callable[..., Obj]:
    def retrieve(ctx: Context, id: str, _p: Obj) -> Obj:
        return ctx.world.get(kind, id)

    return retrieve


def _routes() -> list[Route]:
    table: list[tuple[str, str, _Fields, Callable[..., Any]]] = [
        ("GET", "account", {}, accounts.retrieve_current),
        ("GET", "accounts/:id", {}, accounts.retrieve),
        ("GET", "billing_portal/configurations", portal.LIST, portal.find_all),
        ("POST", "billing_portal/configurations", portal.CREATE, portal.create),
        ("GET", "billing_portal/configurations/:id", {}, _get("billing_portal.configuration")),
        ("POST", "billing_portal/configurations/:id", portal.UPDATE, portal.update),
        ("POST", "billing_portal/sessions", portal.SESSION, portal.open_session),
        ("GET", "charges", payments.LIST, payments.find_charges),
        ("GET", "charges/:id", {}, _get("charge")),
        ("GET", "checkout/sessions", checkout.LIST, checkout.find_all),
        ("POST", "checkout/sessions", checkout.CREATE, checkout.create),
        ("GET", "checkout/sessions/:id", {}, checkout.retrieve),
        ("POST", "checkout/sessions/:id/expire", {}, checkout.expire),
        ("GET", "coupons", coupons.LIST, coupons.find_all),
        ("POST", "coupons", coupons.CREATE, coupons.create),
        ("GET", "coupons/:id", {}, coupons.retrieve),
        ("POST", "coupons/:id", coupons.UPDATE, coupons.update),
        ("DELETE", "coupons/:id", {}, coupons.delete),
        ("GET", "customers", customers.LIST, customers.find_all),
        ("POST", "customers", customers.CREATE, customers.create),
        ("GET", "customers/:id", {}, customers.retrieve),
        ("POST", "customers/:id", customers.UPDATE, customers.update),
        ("DELETE", "customers/:id", {}, customers.delete),
        ("GET", "customers/:id/payment_methods", payment_methods.LIST, payment_methods.find_of_customer),
        ("GET", "disputes", payments.DISPUTES, payments.find_disputes),
        ("GET", "disputes/:id", {}, _get("dispute")),
        ("GET", "events", events.LIST, events.find_all),
        ("GET", "events/:id", {}, _get("event")),
        ("GET", "invoice_payments", payments.PAYMENTS, payments.find_payments),
        ("GET", "invoiceitems", invoice_items.LIST, invoice_items.find_all),
        ("POST", "invoiceitems", invoice_items.CREATE, invoice_items.create),
        ("GET", "invoiceitems/:id", {}, _get("invoiceitem")),
        ("DELETE", "invoiceitems/:id", {}, invoice_items.delete),
        ("POST", "invoices/create_preview", previews.CREATE, previews.create),
        ("GET", "invoices", invoices.LIST, invoices.find_all),
        ("GET", "invoices/:id", {}, _get("invoice")),
        ("POST", "invoices/:id", settlements.UPDATE, settlements.update),
        ("POST", "invoices/:id/finalize", settlements.FINALIZE, settlements.finalize),
        ("POST", "invoices/:id/mark_uncollectible", {}, settlements.mark_uncollectible),
        ("POST", "invoices/:id/pay", settlements.PAY, settlements.pay),
        ("POST", "invoices/:id/void", {}, settlements.void),
        ("GET", "payment_methods", payment_methods.LIST, payment_methods.find_all),
        ("GET", "payment_methods/:id", {}, _get("payment_method")),
        ("POST", "payment_methods/:id/attach", payment_methods.ATTACH, payment_methods.attach),
        ("GET", "prices", catalogue.PRICE_LIST, catalogue.find_prices),
        ("POST", "prices", catalogue.PRICE_CREATE, catalogue.create_price),
        ("GET", "prices/:id", {}, _get("price")),
        ("POST", "prices/:id", catalogue.PRICE_UPDATE, catalogue.update_price),
        ("GET", "products", catalogue.PRODUCT_LIST, catalogue.find_products),
        ("POST", "products", catalogue.PRODUCT_CREATE, catalogue.create_product),
        ("GET", "products/:id", {}, _get("product")),
        ("POST", "products/:id", catalogue.PRODUCT_UPDATE, catalogue.update_product),
        ("GET", "promotion_codes", promotion_codes.LIST, promotion_codes.find_all),
        ("POST", "promotion_codes", promotion_codes.CREATE, promotion_codes.create),
        ("GET", "promotion_codes/:id", {}, _get("promotion_code")),
        ("POST", "promotion_codes/:id", promotion_codes.UPDATE, promotion_codes.update),
        ("GET", "refunds", payments.REFUNDS, payments.find_refunds),
        ("POST", "refunds", payments.REFUND, payments.refund),
        ("GET", "setup_intents", setup_intents.LIST, setup_intents.find_all),
        ("GET", "setup_intents/:id", {}, _get("setup_intent")),
        ("GET", "subscription_schedules", schedules.LIST, schedules.find_all),
        ("POST", "subscription_schedules", schedules.CREATE, schedules.create),
        ("GET", "subscription_schedules/:id", {}, _get("subscription_schedule")),
        ("POST", "subscription_schedules/:id", schedules.UPDATE, schedules.update),
        ("POST", "subscription_schedules/:id/cancel", schedules.CANCEL, schedules.cancel),
        ("POST", "subscription_schedules/:id/release", schedules.RELEASE, schedules.release),
        ("GET", "subscriptions", subscriptions.LIST, subscriptions.find_all),
        ("POST", "subscriptions", signups.CREATE, signups.create),
        ("GET", "subscriptions/:id", {}, _get("subscription")),
        ("POST", "subscriptions/:id", subscriptions.UPDATE, subscriptions.update),
        ("POST", "subscriptions/:id/pause", pauses.PAUSE, pauses.pause),
        ("POST", "subscriptions/:id/resume", pauses.RESUME, pauses.resume),
        ("DELETE", "subscriptions/:id", subscriptions.CANCEL, subscriptions.cancel),
        ("GET", "webhook_endpoints", params.PAGE, endpoints.find_all),
        ("POST", "webhook_endpoints", endpoints.CREATE, endpoints.create),
        ("GET", "webhook_endpoints/:id", {}, _get("webhook_endpoint")),
        ("POST", "webhook_endpoints/:id", endpoints.UPDATE, endpoints.update),
        ("DELETE", "webhook_endpoints/:id", {}, endpoints.delete),
    ]
    return [Route(method, re.compile("/v1/" + path.replace(":id", "([^/]+)")), fields, answer) for method, path, fields, answer in table]


ROUTES = _routes()


def find(method: str, path: str) -> tuple[Route, list[str]] | None:
    """The call of this method and path, and the ids in the path."""
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, list(match.groups())
    return None
