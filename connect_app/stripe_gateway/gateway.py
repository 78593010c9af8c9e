"""Stripe in one mode: the platform's own verbs, and the way to each connected account."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connect_app.stripe_gateway import answers, objects, wire
from connect_app.stripe_gateway.account import EVENT_TYPES_PER_CALL, AccountGateway
from connect_app.stripe_gateway.answers import Page, Read
from connect_app.stripe_gateway.errors import Refused

if TYPE_CHECKING:
    import stripe

__all__ = ["API_VERSION", "EVENT_TYPES_PER_CALL", "REQUIRED_EVENTS", "AccountGateway", "Gateway", "Page", "Read"]

API_VERSION = wire.API_VERSION
# What the mirror and the connection's health need to hear of; the endpoint is registered for exactly these.
REQUIRED_EVENTS = (
    *(f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")),
    *(f"customer.subscription.pending_update_{what}" for what in ("applied", "expired")),
    *(f"customer.{what}" for what in ("created", "updated", "deleted")),
    *(f"customer.discount.{what}" for what in ("created", "updated", "deleted")),
    *(f"invoice.{what}" for what in ("created", "finalized", "updated", "paid", "payment_failed", "voided", "marked_uncollectible")),
    *(f"{thing}.{what}" for thing in ("product", "price", "coupon") for what in ("created", "updated", "deleted")),
    "charge.refunded",
    "charge.refund.updated",
    *(f"charge.dispute.{what}" for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")),
    "payment_method.attached",
    *(f"subscription_schedule.{what}" for what in ("created", "updated", "released", "canceled", "completed", "aborted")),
    *(f"billing_portal.configuration.{what}" for what in ("created", "updated")),
    "account.updated",
    "account.application.deauthorized",
)


class Gateway:
    """Stripe in one mode (`test` or `live`). Shared by all threads; every call is one attempt, and fails as one of `errors`' four kinds."""

    def __init__(
        self,
        *,
        mode: str,
        secret_key: str,
        client_id: str,
        api_base: str | None,
        connect_base: str | None,
        connect_timeout: float,
        read_timeout: float,
        http_client: "stripe.HTTPClient | None" = None,
    ) -> None:
        """The bases are None for the real Stripe; timeouts are in seconds; an `http_client` replaces the network and its timeouts."""
        if secret_key[2:8] in ("_live_", "_test_") and secret_key[3:7] != mode:  # sk_live_…, rk_test_…
            raise ValueError(f"a key of the other mode was given for mode {mode!r}")
        self.mode = mode
        self._client_id = client_id
        self._wire = wire.Wire(
            secret_key=secret_key,
            api_base=api_base,
            connect_base=connect_base,
            timeout=(connect_timeout, read_timeout),
            http_client=http_client,
        )

    def account(self, account_id: str) -> "AccountGateway":
        """The verbs on one connected account; costs nothing to make."""
        return AccountGateway(self._wire, account_id)

    def deauthorize(self, account_id: str) -> bool:
        """Give up our access to the account. False when there was none to give up: that counts as done, too."""
        params = {"client_id": self._client_id, "stripe_user_id": account_id}
        try:
            self._wire.ask("post", "/oauth/deauthorize", params, base="connect")
        except Refused as refusal:
            if refusal.code == "invalid_client":
                return False
            raise
        return True

    def register_webhook_endpoint(self, url: str, events: Iterable[str] = REQUIRED_EVENTS) -> tuple[str, str]:
        """Make a Connect endpoint in our API version (it can't be changed later) -> (id, signing secret, told only this once)."""
        params = {"url": url, "enabled_events": list(events), "connect": True, "api_version": API_VERSION}
        endpoint = objects.read_webhook_endpoint(self._wire.ask("post", wire.path("webhook_endpoints"), params).body)
        return endpoint.id, endpoint.secret or ""

    def webhook_endpoints(self) -> Read[tuple[objects.WebhookEndpoint, ...]]:
        """The platform's endpoints in this mode (Stripe allows 16), without their secrets."""
        page = answers.list_page(self._wire, None, "webhook_endpoints", objects.read_webhook_endpoint, {"limit": 100})
        return Read(value=page.value.items, as_of=page.as_of, request_id=page.request_id)
