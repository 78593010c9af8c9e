"""Stripe's own customer portal: its configurations, and sessions with a page that can change the card."""

from __future__ import annotations

import time

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, new_id, word

_UNUSED_SECONDS, _IDLE_SECONDS, _TOTAL_SECONDS = 300, 3600, 7200

_REASONS = ("customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused")
_SWITCH = params.record(enabled=params.boolean)
_FEATURES = params.record(
    customer_update=params.record(
        enabled=params.boolean,
        allowed_updates=params.clearable(params.many(params.one_of("address", "email", "name", "phone", "shipping", "tax_id"))),
    ),
    invoice_history=_SWITCH,
    payment_method_update=_SWITCH,
    subscription_cancel=params.record(
        enabled=params.boolean,
        mode=params.one_of("at_period_end", "immediately"),
        proration_behavior=params.one_of("always_invoice", "create_prorations", "none"),
        cancellation_reason=params.record(enabled=params.boolean, options=params.clearable(params.many(params.one_of(*_REASONS)))),
    ),
    subscription_pause=_SWITCH,
    subscription_update=_SWITCH,
)
_PROFILE = params.record(
    headline=params.clearable(params.at_most(60)),
    privacy_policy_url=params.clearable(params.text),
    terms_of_service_url=params.clearable(params.text),
)
UPDATE: dict[str, params.Shape | params.Required] = {
    "active": params.boolean,
    "business_profile": _PROFILE,
    "default_return_url": params.clearable(params.text),
    "features": _FEATURES,
    "login_page": params.record(enabled=params.Required(params.boolean)),
    "metadata": params.metadata,
    "name": params.clearable(params.text),
}
CREATE: dict[str, params.Shape | params.Required] = {
    **{key: shape for key, shape in UPDATE.items() if key != "active"},
    "features": params.Required(_FEATURES),
}
LIST: dict[str, params.Shape | params.Required] = {**params.PAGE, "active": params.boolean, "is_default": params.boolean}

_REDIRECT = params.record(return_url=params.Required(params.text))
SESSION: dict[str, params.Shape | params.Required] = {
    "customer": params.Required(params.text),
    "configuration": params.text,
    "return_url": params.text,
    "locale": params.text,
    "flow_data": params.record(
        type=params.Required(params.one_of("payment_method_update")),
        after_completion=params.record(
            type=params.Required(params.one_of("hosted_confirmation", "portal_homepage", "redirect")),
            redirect=_REDIRECT,
            hosted_confirmation=params.record(custom_message=params.text),
        ),
    ),
}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/billing_portal/configurations`; the account's first one is its default."""
    configuration: Obj = {
        "id": new_id("billing_portal.configuration"),
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": ctx.now,
        "default_return_url": None,
        "features": {
            "customer_update": {"allowed_updates": [], "enabled": False},
            "invoice_history": {"enabled": False},
            "payment_method_update": {"enabled": False, "payment_method_configuration": None},
            "subscription_cancel": {
                "cancellation_reason": {"enabled": False, "feedback_options": None, "options": list(_REASONS[4:])},
                "enabled": False,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": [],
                "enabled": False,
                "products": None,
                "proration_behavior": "none",
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": not ctx.world.table("billing_portal.configuration"),
        "livemode": ctx.livemode,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": ctx.now,
    }
    _apply(ctx, configuration, p)
    ctx.world.put(configuration)
    events.tell(ctx, "created", configuration)
    return configuration


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/billing_portal/configurations/:id`."""
    configuration = ctx.world.get("billing_portal.configuration", id)
    if p.get("active") is False and configuration["is_default"]:
        raise refused("You cannot deactivate the default configuration.", "active")
    before = clone(configuration)
    _apply(ctx, configuration, p)
    if configuration != before:
        configuration["updated"] = ctx.now
    events.tell(ctx, "updated", configuration, before)
    return configuration


def _apply(ctx: Context, configuration: Obj, p: Obj) -> None:
    for key in ("active", "default_return_url", "name"):
        if key in p:
            configuration[key] = p[key]
    if "metadata" in p:
        configuration["metadata"] = params.merged(configuration["metadata"], p["metadata"])
    configuration["business_profile"] |= p.get("business_profile", {})
    for name, change in p.get("features", {}).items():
        feature = configuration["features"][name]
        reason = change.pop("cancellation_reason", {})
        if "options" in reason:
            reason["options"] = reason["options"] or []
        if "allowed_updates" in change:
            change["allowed_updates"] = change["allowed_updates"] or []
        feature |= change
        if reason:
            feature["cancellation_reason"] |= reason
    if "login_page" in p:
        enabled = p["login_page"]["enabled"]
        configuration["login_page"] = {
            "enabled": enabled,
            "url": f"{ctx.local.base_url}/p/login/{configuration['id']}" if enabled else None,
        }


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/billing_portal/configurations`."""
    having = {key: p[key] for key in ("active", "is_default") if key in p}
    return listing.page("/v1/billing_portal/configurations", ctx.world.all("billing_portal.configuration", **having), p)


def open_session(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/billing_portal/sessions`: a page for one customer, for five minutes until it is opened, then for an hour from each use."""
    customer = ctx.world.get("customer", p["customer"], "customer")
    if "configuration" in p:
        configuration = ctx.world.get("billing_portal.configuration", p["configuration"], "configuration")
    else:
        default = next(ctx.world.all("billing_portal.configuration", is_default=True), None)
        if default is None:
            mode = "live" if ctx.livemode else "test"
            raise refused(
                "You can't create a portal session until you save your customer portal settings in "
                f"{mode} mode at https://dashboard.stripe.com/settings/billing/portal."
            )
        configuration = default
    flow = None
    if wanted := p.get("flow_data"):
        done = wanted.get("after_completion", {"type": "portal_homepage"})
        if (done["type"] == "redirect") != ("redirect" in done):
            raise refused("Missing required param: flow_data[after_completion][redirect].", "flow_data[after_completion][redirect]")
        if not configuration["features"]["payment_method_update"]["enabled"]:
            raise refused("This payment method update flow in the portal configuration is disabled.", "flow_data[type]")
        flow = {
            "after_completion": {"hosted_confirmation": None, "redirect": None} | done,
            "customer_update": None,
            "subscription_cancel": None,
            "subscription_pause": None,
            "subscription_update": None,
            "subscription_update_confirm": None,
            "type": wanted["type"],
        }
    secret = ("live_" if ctx.livemode else "test_") + word(60)
    session: Obj = {
        "id": new_id("billing_portal.session"),
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": configuration["id"],
        "created": ctx.now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": flow,
        "livemode": ctx.livemode,
        "locale": p.get("locale"),
        "on_behalf_of": None,
        "return_url": p.get("return_url") or configuration["default_return_url"],
        "url": f"{ctx.local.base_url}/p/session/{secret}",
    }
    now = time.time()
    ctx.world.sessions[secret] = {"session": session, "made": now, "until": now + _UNUSED_SECONDS}
    events.tell(ctx, "created", session)
    return session


def visit(ctx: Context, secret: str) -> Obj:
    """The session behind a page's secret, good for another hour. Raises 404 when it is unknown or over."""
    kept = ctx.world.sessions.get(secret)
    now = time.time()
    if kept is None or now > kept["until"]:
        raise missing("billing_portal.session", secret)
    kept["until"] = min(now + _IDLE_SECONDS, kept["made"] + _TOTAL_SECONDS)
    session: Obj = kept["session"]
    return session
