"""What goes into the business's own program: snippets filled in for the workspace, and a test of them without writing any."""

import secrets
from dataclasses import dataclass

from flask import render_template
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import preferences
from connect_app.errors import NotFound
from connect_app.models import Connection, Customer, Subscription
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from flow_pages import links, sessions
from webhooks import mirror

LANGUAGES = {"node": "Node", "python": "Python", "ruby": "Ruby", "php": "PHP", "go": "Go", "curl": "curl"}
KINDS = ("cancel", "portal")
# Among the first so many there is one of each kind, and a menu of more is no menu.
_TO_TRY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of program for one language; `needs` is what it must be given in the environment."""

    kind: str
    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A mirrored test subscription that the flow can be tried on."""

    subscription: str
    customer: str
    label: str


def snippet(rt: Runtime, slug: str, kind: str, language: str) -> Snippet:
    """The snippet for a hand-off to the flow (`cancel`) or the portal. Unknown names give the first of their kind."""
    kind = kind if kind in KINDS else KINDS[0]
    language = language if language in LANGUAGES else next(iter(LANGUAGES))
    text = render_template(f"admin/snippets/{kind}.{language}.txt", origin=rt.settings.base_url, slug=slug)
    return Snippet(kind=kind, language=language, text=text.strip() + "\n")


def bundle_snippet(rt: Runtime, slug: str) -> str:
    """The older form for Node: a signed bundle in the body instead of a signed body."""
    return render_template("admin/snippets/bundle.node.txt", origin=rt.settings.base_url, slug=slug).strip() + "\n"


def candidates(session: Session, workspace_id: str, connection: Connection | None) -> list[Candidate]:
    """Test subscriptions to try the flow on; none in live mode, where a test would cancel somebody."""
    if connection is None or connection.mode != Mode.TEST or connection.state != "connected":
        return []
    rows = session.execute(
        select(Subscription.id, Subscription.customer, Subscription.status, Customer.name, Customer.email)
        .outerjoin(
            Customer,
            (Customer.workspace_id == Subscription.workspace_id)
            & (Customer.connection_id == Subscription.connection_id)
            & (Customer.id == Subscription.customer),
        )
        .where(
            Subscription.workspace_id == workspace_id,
            Subscription.connection_id == connection.id,
            Subscription.is_deleted.is_(False),
            Subscription.ended_at.is_(None),
        )
        .order_by(Subscription.created_at.desc(), Subscription.id)
        .limit(_TO_TRY)
    )
    return [
        Candidate(
            subscription=row.id,
            customer=row.customer,
            label=f"{row.name or row.email or row.customer} · {row.status.replace('_', ' ')} · {row.id}",
        )
        for row in rows
    ]


def try_flow(session: Session, rt: Runtime, workspace_id: str, connection: Connection | None, subscription_id: str) -> str:
    """Mint a session as a hand-off would, of origin `test`, for a mirrored test subscription; gives its address.

    Raises NotFound for a subscription that cannot be tried.
    """
    subscription = mirror.subscription(session, connection.id, subscription_id) if connection else None
    if connection is None or subscription is None or connection.mode != Mode.TEST:
        raise NotFound(code="not_found", message="There is no such test subscription to try the flow on.")
    row = sessions.mint(
        session,
        workspace_id,
        sessions.Handoff(
            mode=Mode.TEST,
            customer=subscription.customer,
            subscription=subscription.id,
            bundle=f"test:{secrets.token_hex(16)}",
            origin="test",
        ),
        preferences=preferences.read(session, workspace_id),
        connection=connection,
        subscription=subscription,
        now=rt.now(),
    )
    return links.cancel_path(rt, row)
