"""Whoever holds a customer's portal link, and what is theirs: every id is resolved against this customer again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import g, request
from sqlalchemy.orm import Session

from connect_app import connections, preferences, runtime
from connect_app.errors import Gone, NotFound
from connect_app.models import Connection, PortalLink
from connect_app.preferences import Preferences
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import links, portals, theme, views, visits
from webhooks import mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A good link, its business, and how that is connected."""

    link: PortalLink
    business: str
    preferences: Preferences
    connection: Connection | None

    @property
    def connection_id(self) -> str | None:
        """Whose copy is shown: the connection's, also once it is lost."""
        return self.connection.id if self.connection is not None else self.link.connection_id

    @property
    def account(self) -> Connection | None:
        """The connection, while it is connected."""
        return self.connection if self.connection is not None and self.connection.state == "connected" else None


def of(session: Session, rt: Runtime, token: str) -> Guest:
    """Raises NotFound for a link that was never ours, Gone for one that is over, and for a customer that Stripe has deleted."""
    parsed = links.parse(token, "plk_")
    visits.locate(session, parsed.row_id)
    found = portals.find(session, parsed.row_id)
    if found is None:
        raise links.unknown()
    link = found.link
    settings = preferences.read(session, link.workspace_id)
    try:
        links.check(rt, parsed, links.PORTAL, link.epoch)
    except Gone:
        # It was ours once, which a forged one never was: only that one learns nothing.
        theme.enter(found.business, settings, leave=settings.return_url)
        raise
    theme.enter(found.business, settings, leave=settings.return_url)
    if link.revoked_at is not None or rt.now() >= link.expires_at:
        raise links.over()
    if found.is_customer_gone:
        raise Gone(code="customer_gone", message=f"This account no longer exists. If that is a surprise, please contact {g.flow_business}.")
    theme.enter(found.business, settings, links.portal_path(rt, link))
    connection = connections.of_mode(session, link.workspace_id, link.mode)
    return Guest(link=link, business=found.business, preferences=settings, connection=connection)


@contextmanager
def acting(token: str) -> Iterator[tuple[Session, Guest]]:
    """The transaction of one verb, for a form that one of our pages made. Raises Forbidden for any other."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = of(session, rt, token)
        if not links.is_form_token(rt, request.form.get("token", ""), guest.link.id, guest.link.epoch):
            raise views.stale_form()
        yield session, guest


def subscriptions(session: Session, guest: Guest) -> list[objects.Subscription]:
    """Running ones first; ended ones stay to be seen."""
    held = mirror.subscriptions_of(session, guest.connection_id, guest.link.customer) if guest.connection_id else []
    return sorted(held, key=lambda one: one.is_ended)


def own(session: Session, guest: Guest, wanted: str) -> objects.Subscription:
    """The subscription that a form or an address names, if it is this customer's. Raises NotFound for anybody else's."""
    for one in subscriptions(session, guest):
        if one.id == wanted:
            return one
    raise NotFound(code="subscription_not_found", message="There is no such subscription here. Please go back and reload the page.")
