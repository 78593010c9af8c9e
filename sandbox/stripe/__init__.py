"""A local Stripe: a stateful stand-in for Stripe's wire, API 2026-10-28.endive, with a control door for tests and demos."""

from sandbox.stripe.local import LocalStripe
from sandbox.stripe.server import Server, wsgi

__all__ = ["LocalStripe", "Server", "wsgi"]
