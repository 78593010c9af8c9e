"""Telling the business: its webhooks and pass-through URLs, asked for in a transaction and delivered at least once."""

from jobs.outbound.sending import send

__all__ = ["send"]
