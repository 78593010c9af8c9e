"""The connected business itself, and the two doors it configures at Stripe: the billing portal and our webhook endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connect_app.stripe_gateway.objects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A Stripe account; `name` is the public name of the business, else what its dashboard shows."""

    id: str
    name: str | None
    email: str | None
    country: str | None
    default_currency: str | None
    timezone: str | None
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfiguration:
    """One configuration of Stripe's billing portal; `cancel_enabled` is the way around our flow, `login_page_enabled` the way to it."""

    id: str
    is_default: bool
    active: bool
    cancel_enabled: bool
    pause_enabled: bool
    login_page_enabled: bool
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """A webhook endpoint of the platform. Stripe tells the secret only when it is made."""

    id: str
    url: str
    status: str
    api_version: str | None
    events: tuple[str, ...]
    secret: str | None = field(repr=False)


def read_account(raw: Mapping[str, object]) -> Account:
    """An `account`. Raises Malformed."""
    shape = Shape(raw)
    profile, settings = shape.maybe_part("business_profile"), shape.maybe_part("settings")
    dashboard = settings.maybe_part("dashboard") if settings else None
    return Account(
        id=shape.name(),
        name=(profile.maybe_text("name") if profile else None) or (dashboard.maybe_text("display_name") if dashboard else None),
        email=shape.maybe_text("email"),
        country=shape.maybe_text("country"),
        default_currency=shape.maybe_currency("default_currency"),
        timezone=dashboard.maybe_text("timezone") if dashboard else None,
        raw=shape.raw,
    )


def read_portal_configuration(raw: Mapping[str, object]) -> PortalConfiguration:
    """A `billing_portal.configuration`. Raises Malformed."""
    shape = Shape(raw)
    features = shape.maybe_part("features")
    if features is None:
        raise shape.wrong("features", "missing")
    return PortalConfiguration(
        id=shape.name(),
        is_default=shape.flag("is_default", default=False),
        active=shape.flag("active"),
        cancel_enabled=_is_enabled(features, "subscription_cancel"),
        pause_enabled=_is_enabled(features, "subscription_pause"),
        login_page_enabled=_is_enabled(shape, "login_page"),
        raw=shape.raw,
    )


def read_webhook_endpoint(raw: Mapping[str, object]) -> WebhookEndpoint:
    """A `webhook_endpoint`. Raises Malformed."""
    shape = Shape(raw)
    return WebhookEndpoint(
        id=shape.name(),
        url=shape.text("url"),
        status=shape.text("status"),
        api_version=shape.maybe_text("api_version"),
        events=shape.texts("enabled_events"),
        secret=shape.maybe_text("secret"),
    )


def _is_enabled(shape: Shape, feature: str) -> bool:
    """Features and the login page came one by one over the years: an absent one is off."""
    part = shape.maybe_part(feature)
    return part.flag("enabled") if part else False
