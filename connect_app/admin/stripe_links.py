"""Addresses in Stripe's own dashboard."""

from connect_app.modes import Mode

_DASHBOARD = "https://dashboard.stripe.com"


def of(mode: str, path: str) -> str:
    """A page of Stripe's dashboard in this mode, such as `of("test", "subscriptions/sub_1")`."""
    return f"{_DASHBOARD}/{path}" if mode == Mode.LIVE else f"{_DASHBOARD}/test/{path}"


def subscription(mode: str, subscription_id: str) -> str | None:
    """The subscription there; None for what is no id of Stripe's, since the hand-off takes any text."""
    is_id = subscription_id.startswith("sub_") and subscription_id.removeprefix("sub_").isalnum() and subscription_id.isascii()
    return of(mode, f"subscriptions/{subscription_id}") if is_id else None


def customer(mode: str, customer_id: str) -> str:
    return of(mode, f"customers/{customer_id}")


def portal_settings(mode: str) -> str:
    """Where cancelling through Stripe's own customer portal is turned off."""
    return of(mode, "settings/billing/portal")
