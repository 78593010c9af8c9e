"""The event that everyone is given: a `customer.subscription.updated` of 5.1 KB as Stripe writes it, never twice with the same id."""

import hmac
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

SECRET = "whsec_bench"  # noqa: S105  no secret: it signs what the load generator invents
API_VERSION = "2026-10-28.endive"
SIZE = 5100
_BORN = 1_770_825_529

Json = dict[str, Any]


def account(number: int) -> str:
    return f"acct_1Bench{number:010d}"


def subscription_id(number: int) -> str:
    return f"sub_1Bench{number:018d}"


def customer_id(number: int) -> str:
    return f"cus_Bench{number:09d}"


PRICE, PRODUCT = "price_1Bench0000000000000001", "prod_Bench00000001"


def price() -> Json:
    """The price that all subscriptions are on."""
    return {
        "id": PRICE,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": _BORN,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": "Pro monthly",
        "product": PRODUCT,
        "recurring": {"interval": "month", "interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"},
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 2900,
        "unit_amount_decimal": "2900",
    }


def plan() -> Json:
    """The same price in the words of old."""
    return {
        "id": PRICE,
        "object": "plan",
        "active": True,
        "amount": 2900,
        "amount_decimal": "2900",
        "billing_scheme": "per_unit",
        "created": _BORN,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "meter": None,
        "nickname": "Pro monthly",
        "product": PRODUCT,
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def product() -> Json:
    return {
        "id": PRODUCT,
        "object": "product",
        "active": True,
        "created": _BORN,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": "Pro",
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": _BORN,
        "url": None,
    }


def customer(id: str) -> Json:
    """A customer as the API shows it."""
    return {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": _BORN,
        "currency": "usd",
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": f"{id.lower()}@example.com",
        "invoice_prefix": "BENCH",
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "livemode": False,
        "metadata": {},
        "name": "Robin Example",
        "next_invoice_sequence": 2,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def subscription(id: str, customer: str, period_end: int) -> Json:
    """A monthly subscription as Stripe's API renders it in API_VERSION."""
    item: Json = {
        "id": f"si_{id[-14:]}",
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": _BORN,
        "current_period_end": period_end,
        "current_period_start": period_end - 30 * 86400,
        "discounts": [],
        "metadata": {},
        "plan": plan(),
        "price": price(),
        "quantity": 2,
        "subscription": id,
        "tax_rates": [],
    }
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": _BORN,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": None},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": _BORN,
        "currency": "usd",
        "customer": customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {"object": "list", "data": [item], "has_more": False, "url": f"/v1/subscription_items?subscription={id}"},
        "latest_invoice": None,
        "livemode": False,
        "metadata": {"plan": "pro", "team": "0000"},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": _BORN,
        "status": "active",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


class Maker:
    """Makes distinct events of `subscriptions` subscriptions in turn, spread over `accounts`; none: events without an account."""

    def __init__(self, *, subscriptions: int, accounts: Sequence[str], secret: str = SECRET, first: int = 0) -> None:
        self._accounts = tuple(accounts) or ("",)
        self._subscriptions = subscriptions
        self._first = first
        self._key = secret.encode()
        self._run = secrets.token_hex(5)
        self._number = 0
        self._templates = {name: _template(name) for name in self._accounts}

    def body(self, created: int | None = None) -> bytes:
        """The next event's bytes; it happened at `created` (Unix seconds), else now."""
        number = self._number
        self._number += 1
        who = self._first + number % self._subscriptions
        when = int(time.time()) if created is None else created
        # A subscription belongs to one account, whichever event it is.
        template = self._templates[self._accounts[who % len(self._accounts)]]
        return template % {
            b"event": b"evt_1%s%012d" % (self._run.encode(), number),
            b"created": b"%010d" % when,
            b"sub": subscription_id(who).encode(),
            b"item": subscription_id(who)[-14:].encode(),
            b"cus": customer_id(who).encode(),
            b"team": b"%04d" % (number % 10000),
        }

    def sign(self, body: bytes) -> bytes:
        """The `Stripe-Signature` of these bytes, signed now."""
        when = b"%d" % int(time.time())
        return b"t=%s,v1=%s" % (when, hmac.digest(self._key, when + b"." + body, "sha256").hex().encode())

    def bodies(self, count: int, created: int) -> Iterator[bytes]:
        """So many events; each time round all subscriptions they are a second newer, so that no two of one are of the same second."""
        for number in range(count):
            yield self.body(created + number // self._subscriptions)


def _template(account: str) -> bytes:
    end = _BORN + 400 * 86400
    event: Json = {
        "id": "%(event)s",
        "object": "event",
        **({"account": account} if account else {}),
        "api_version": API_VERSION,
        "created": 123454321,
        "data": {
            "object": subscription("%(sub)s", "%(cus)s", end),
            "previous_attributes": {"metadata": {"team": "none"}},
        },
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_Bench000000001", "idempotency_key": "b7f5dbb2-8c8b-4a38-a09f-e5d1b87ce6a2"},
        "type": "customer.subscription.updated",
    }
    event["data"]["object"]["metadata"]["team"] = "%(team)s"
    event["data"]["object"]["items"]["data"][0]["id"] = "si_%(item)s"
    short = SIZE - len(_filled(json.dumps(event, indent=2)))
    event["data"]["object"]["metadata"]["note"] = "x" * max(0, short - len('\n        "note": "",') - 1)
    text = json.dumps(event, indent=2)
    return text.replace("123454321", "%(created)s").encode()


def _filled(text: str) -> str:
    """The template as long as an event will be."""
    return text.replace("%(event)s", "e" * 27).replace("%(sub)s", "s" * 28).replace("%(cus)s", "c" * 18).replace("%(item)s", "i" * 14)
