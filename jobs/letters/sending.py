"""To whom a letter goes, and what is put around it: the way to the portal, and in test mode whom it would have gone to."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Action, Customer, FlowSession, Membership, PortalLink, User, Workspace
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from jobs import mail, owners
from jobs.letters import words
from jobs.letters.words import PORTAL, Letter


def passed_on(rt: Runtime, session: Session, row: FlowSession, choice_id: str, headline: str) -> None:
    """To the owners: a customer has accepted what Holdfast cannot do, and is told that they know of it; and to the customer, just that."""
    owners.write(
        rt,
        session,
        row.workspace_id,
        row.mode,
        topic=f"choice/{choice_id}",
        subject="A customer has accepted an offer that is yours to keep",
        lines=[
            f"The customer {row.customer} has accepted: {headline}",
            "Holdfast changes nothing on Stripe for it: please see to it, and tell them.",
        ],
        page=f"/sessions/{row.id}",
        sign=f"Holdfast, {row.mode} mode",
    )
    _ask(session, row, words.passed_on(headline, business(session, row)), f"choice/{choice_id}/received", now=rt.now())


def send(session: Session, action: Action, letter: Letter, *, topic: str, now: datetime) -> None:
    """Ask for the letter once per action and topic (`settled`, `received`), to whom the action's mode allows."""
    has_ended = any(str(call["method"]).endswith(".cancel") for call in (action.call or {}).get("requests") or ())
    is_lasting = action.verb in ("cancel", "pause", "extension") or (action.verb == "item_cancel" and action.intent.get("when") != "now")
    is_undone_there = action.state == "verified" and is_lasting and not has_ended
    _ask(session, action, letter, f"action/{action.id}/{topic}", now=now, is_undone_there=is_undone_there)


def _ask(
    session: Session, whose: Action | FlowSession, letter: Letter, topic: str, *, now: datetime, is_undone_there: bool = False
) -> None:
    to, problem = addressee(session, whose)
    is_live = whose.mode == "live"
    link = _portal(session, whose, now)
    said = "You can see it, and take it back while that is possible, on this page:" if is_undone_there else "Your subscriptions are here:"
    text = letter.text.replace(PORTAL, f"{said}\n{{link}}\n\n" if link else "", 1)
    mail.ask(
        session,
        workspace_id=whose.workspace_id,
        topic=topic,
        to=to,
        subject=letter.subject if is_live else f"[Test] {letter.subject}",
        text=text if is_live else f"{text}\n{_instead_of(session, whose)}\n",
        now=now,
        link=link,
        problem=problem,
    )


def addressee(session: Session, whose: Action | FlowSession) -> tuple[str | None, str | None]:
    """(address, None) or (None, why there is none): the customer in live mode, in test mode nobody but the workspace's first owner."""
    if whose.mode == "live":
        email = _customer(session, whose)
        return (email, None) if email else (None, "the customer has no email address")
    owner = session.execute(
        select(User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.workspace_id == whose.workspace_id, Membership.role == "owner")
        .order_by(Membership.created_at, User.id)
        .limit(1)
    ).scalar_one_or_none()
    return (owner, None) if owner else (None, "no owner to send test mail to")


def _portal(session: Session, whose: Action | FlowSession, now: datetime) -> Json | None:
    """The customer's portal link as mail wants it: where the buttons are; a letter's own link changes nothing."""
    kept = session.execute(
        select(PortalLink).where(
            PortalLink.workspace_id == whose.workspace_id,
            PortalLink.mode == whose.mode,
            PortalLink.customer == whose.customer,
            PortalLink.revoked_at.is_(None),
            PortalLink.expires_at > now,
        )
    ).scalar_one_or_none()
    return {"purpose": "portal", "row_id": kept.id, "epoch": kept.epoch, "path": "/portal/{token}"} if kept is not None else None


def _customer(session: Session, whose: Action | FlowSession) -> str | None:
    return session.execute(
        select(Customer.email).where(Customer.connection_id == whose.connection_id, Customer.id == whose.customer)
    ).scalar_one_or_none()


def _instead_of(session: Session, whose: Action | FlowSession) -> str:
    """Whom a letter of test mode would have gone to."""
    email = _customer(session, whose)
    return f"[Test mode: in live mode, this letter goes to the customer {whose.customer}, {email or 'who has no email address'}.]"


def business(session: Session, whose: Action | FlowSession) -> str:
    """The name the customer knows the business by."""
    return session.execute(select(Workspace.name).where(Workspace.id == whose.workspace_id)).scalar_one()
