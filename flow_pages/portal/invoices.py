"""The customer's invoices as Stripe hosts them, and what is known of a new card: Stripe's own portal is never opened, it might cancel."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from connect_app import money
from flow_pages import links, outcome, spoken
from flow_pages.portal.guests import Guest
from webhooks import mirror

_MOST = 12
_STATES = {
    "paid": ("ok", "Paid"),
    "open": ("attention", "Open"),
    "void": ("neutral", "Canceled"),
    "uncollectible": ("neutral", "Not collected"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """An invoice for its reader; `url` is Stripe's page of it, None where Stripe gave none."""

    day: str
    amount: str
    state: tuple[str, str]
    url: str | None


def listing(session: Session, guest: Guest) -> list[Bill]:
    """The last ones, the newest first; drafts are no bills yet."""
    if guest.connection_id is None:
        return []
    found = mirror.invoices_of(session, guest.connection_id, customer=guest.link.customer, limit=_MOST * 2)
    return [
        Bill(
            day=spoken.day(one.created, spoken.LANGUAGE),
            amount=money.format(one.total, spoken.LANGUAGE),
            state=_STATES[one.status],
            url=_page(one.hosted_invoice_url),
        )
        for one in found
        if one.status in _STATES
    ][:_MOST]


def are_there(session: Session, guest: Guest) -> bool:
    """Whether there is anything to list."""
    return bool(listing(session, guest))


def card_note(session: Session, guest: Guest) -> tuple[str, str, str]:
    """(kind, title, text) for who comes back from Stripe's page for a new card: what is known about it by now."""
    since = guest.link.card_update_at
    state = outcome.card_state(session, guest.connection_id, guest.link.customer, since) if since else None
    if state == "verified":
        return "ok", "Your new card is in use", "Your subscription is charged to it from now on."
    return "waiting", "You have been to the page for a new card", "If you changed your card, it takes a moment to show."


def _page(url: str | None) -> str | None:
    return url if url and url.startswith("https://") and links.origin_of(url) else None
