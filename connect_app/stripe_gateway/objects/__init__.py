"""Stripe's objects as we decide on them: frozen, typed, read from the raw JSON of any API version from 2020-03-02 on; no SDK.

Each `read_…` takes the parsed JSON and either answers a complete object or raises `Malformed` with the path of what is wrong.
"""

from connect_app.stripe_gateway.objects.accounts import (
    Account,
    PortalConfiguration,
    WebhookEndpoint,
    read_account,
    read_portal_configuration,
    read_webhook_endpoint,
)
from connect_app.stripe_gateway.objects.catalogue import Coupon, Package, Price, Product, read_coupon, read_price, read_product
from connect_app.stripe_gateway.objects.charges import Charge, read_charge, read_disputed_charge, read_refunded_charge
from connect_app.stripe_gateway.objects.customers import Customer, PaymentMethod, read_customer, read_payment_method
from connect_app.stripe_gateway.objects.discounts import Discount, read_discount
from connect_app.stripe_gateway.objects.events import Event, read_event
from connect_app.stripe_gateway.objects.invoices import Invoice, Upcoming, read_invoice, read_upcoming
from connect_app.stripe_gateway.objects.schedules import Phase, Schedule, read_schedule
from connect_app.stripe_gateway.objects.shape import Malformed, Shape
from connect_app.stripe_gateway.objects.subscriptions import (
    Cancellation,
    Item,
    Pause,
    Status,
    Subscription,
    read_subscription,
)

__all__ = [
    "Account",
    "Cancellation",
    "Charge",
    "Coupon",
    "Customer",
    "Discount",
    "Event",
    "Invoice",
    "Item",
    "Malformed",
    "Package",
    "Pause",
    "PaymentMethod",
    "Phase",
    "PortalConfiguration",
    "Price",
    "Product",
    "Schedule",
    "Shape",
    "Status",
    "Subscription",
    "Upcoming",
    "WebhookEndpoint",
    "read_account",
    "read_charge",
    "read_coupon",
    "read_customer",
    "read_discount",
    "read_disputed_charge",
    "read_event",
    "read_invoice",
    "read_payment_method",
    "read_portal_configuration",
    "read_price",
    "read_product",
    "read_refunded_charge",
    "read_schedule",
    "read_subscription",
    "read_upcoming",
    "read_webhook_endpoint",
]
