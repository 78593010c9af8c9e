"""A shop on a local Stripe: the sample business, connected, with the real SDK in front of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe

from sandbox.stripe import accounts, seed
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from sandbox.stripe.wire import Reply, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The seeded account in test mode, and ways to ask for things."""

    local: LocalStripe
    seeded: dict[str, Any]
    client: stripe.StripeClient

    @property
    def account(self) -> str:
        return str(self.seeded["account"])

    @property
    def here(self) -> Any:
        """SDK options that act for the connected account."""
        return {"stripe_account": self.account}

    def keyed(self, key: str) -> Any:
        return {**self.here, "idempotency_key": key}

    def subscription(self, shape: str) -> str:
        return str(self.row(shape)["subscription"])

    def row(self, shape: str) -> dict[str, Any]:
        return dict(next(row for row in self.seeded["customers"] if row["shape"] == shape))

    def effects(self, shape: str) -> list[str]:
        return [row["kind"] for row in self.local.effects if row["subscription"] == self.subscription(shape)]

    def news(self) -> list[str]:
        return [event["type"] for event in self.local.events(self.account)]

    def ask(self, method: str, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Reply:
        """One raw request for the connected account, without the SDK."""
        encoded = urlencode(form or {})
        sent = {"authorization": f"Bearer {self.local.keys[False]}", "stripe-account": self.account}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.local.answer(
            Request(
                method=method,
                path=path,
                query="" if method == "POST" else encoded,
                headers=sent,
                body=encoded.encode() if method == "POST" else b"",
            )
        )


@pytest.fixture
def shop() -> Shop:
    local = LocalStripe()
    seeded = seed.plant(local)
    accounts.connect(local, seeded["account"], False, "read_write")
    return Shop(local=local, seeded=seeded, client=client_of(local))


def client_of(local: LocalStripe, key: str | None = None) -> stripe.StripeClient:
    return stripe.StripeClient(key or local.keys[False], client_id=local.client_ids[False], http_client=LocalClient(local))
