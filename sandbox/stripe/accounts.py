"""Stripe accounts, and which of them are connected to the platform, in which mode and scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.stripe import events
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError
from sandbox.stripe.worlds import new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe


def make(local: LocalStripe, name: str, email: str, *, country: str = "US", currency: str = "usd", controlled: bool = False) -> Obj:
    """A new account with both its modes empty; `controlled` by another platform it can't be connected."""
    empty_requirements: Obj = {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": [],
        "disabled_reason": None,
        "errors": [],
        "eventually_due": [],
        "past_due": [],
        "pending_verification": [],
    }
    account: Obj = {
        "id": new_id("account"),
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "5734",
            "minority_owned_business_designation": None,
            "name": name,
            "product_description": None,
            "support_address": None,
            "support_email": email,
            "support_phone": None,
            "support_url": None,
            "url": f"https://{email.partition('@')[2]}",
        },
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"is_controller": False, "type": "application"} if controlled else {"type": "account"},
        "country": country,
        "created": local.clock.now() - 400 * 86400,
        "default_currency": currency,
        "details_submitted": True,
        "email": email,
        "future_requirements": dict(empty_requirements),
        "metadata": {},
        "payouts_enabled": True,
        "requirements": empty_requirements,
        "settings": {
            "bacs_debit_payments": {"display_name": None, "service_user_number": None},
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_issuing": {"tos_acceptance": {"date": None, "ip": None, "user_agent": None}},
            "card_payments": {
                "decline_on": {"avs_failure": False, "cvc_failure": False},
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": name, "timezone": "America/New_York"},
            "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": "offer"},
            "payments": {
                "statement_descriptor": name.upper()[:22],
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "sepa_debit_payments": {},
        },
        "type": "standard",
    }
    local.accounts[account["id"]] = account
    if controlled:
        local.controlled.add(account["id"])
    return account


def retrieve(ctx: Context, id: str, _p: Obj) -> Obj:
    """`GET /v1/accounts/:id`: the platform asks for a connected one, or anybody for itself."""
    if id not in ctx.local.accounts or (id != ctx.world.account and (id, ctx.livemode) not in ctx.local.connections):
        raise no_access(ctx.local.keys[ctx.livemode], id)
    return ctx.local.accounts[id]


def retrieve_current(ctx: Context, _p: Obj) -> Obj:
    """`GET /v1/account`."""
    return ctx.local.accounts[ctx.world.account]


def no_access(key: str, account: str) -> StripeError:
    """403 `account_invalid`: never connected, or not any more."""
    shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
    return StripeError(
        403,
        f"The provided key '{shown}' does not have access to account '{account}' (or that account does not exist). "
        "Application access may have been revoked.",
        code="account_invalid",
        is_saved=False,
    )


def application(local: LocalStripe, livemode: bool) -> Obj:
    """The platform as its connected accounts see it."""
    return {"id": local.client_ids[livemode], "object": "application", "name": local.platform_name}


def connect(local: LocalStripe, account: str, livemode: bool, scope: str) -> None:
    """From now on the platform may act for this account in this mode."""
    local.connections[(account, livemode)] = scope
    ctx = Context(local=local, world=local.world(account, livemode), source="dashboard")
    events.send(ctx, "account.application.authorized", application(local, livemode))


def disconnect(local: LocalStripe, account: str, livemode: bool) -> bool:
    """Access ends and the platform is told; no if there was none."""
    if (account, livemode) not in local.connections:
        return False
    ctx = Context(local=local, world=local.world(account, livemode), source="dashboard")
    events.send(ctx, "account.application.deauthorized", application(local, livemode))
    del local.connections[(account, livemode)]
    local.tokens = {token: owner for token, owner in local.tokens.items() if owner != (account, livemode)}
    return True
