"""One-shot ways in: links that confirm an owner's address, sign a member in, or let the operator in."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from connect_app import audit, db, ids, tokens
from connect_app.crypto import KeyRing
from connect_app.models import Login
from connect_app.runtime import Runtime
from connect_app.workspaces import directory, members
from connect_app.workspaces.directory import Place
from jobs import mail

Purpose = Literal["confirm_owner", "sign_in", "operator"]
LASTS: dict[Purpose, timedelta] = {
    "confirm_owner": timedelta(hours=24),
    "sign_in": timedelta(minutes=20),
    "operator": timedelta(hours=24),
}

# What a person may type: one @, a dot behind it, nothing that could end a header. Whether it exists is shown by its letter arriving.
_ADDRESS = re.compile(r"[^\s@<>\"',;:\\()\[\]\x00-\x1f\x7f]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A login as its row says; `email` is None for the operator."""

    id: str
    purpose: str
    email: str | None
    workspace_id: str | None


def address(text: str) -> str | None:
    """An email address as typed, without the space around it, or None where it cannot be one."""
    text = text.strip()
    found = _ADDRESS.fullmatch(text) if len(text) <= 254 else None
    return text if found and "." in text.partition("@")[2] and ".." not in text else None


def confirm_owner(session: Session, place: Place, email: str, now: datetime) -> None:
    """Send the letter whose link makes its reader the workspace's first owner, inside the workspace's transaction.

    A letter to another address, sent before, no longer works: that one was a slip.
    """
    earlier = delete(Login).where(Login.workspace_id == place.id, Login.purpose == "confirm_owner")
    session.execute(earlier.where(func.lower(Login.email) != email.lower()))
    _send(
        session,
        place.id,
        "confirm_owner",
        email,
        now,
        subject=f"Confirm that you own {place.name} on Holdfast",
        text=(
            f"Somebody who has access to the Stripe account of {place.name} has connected it to Holdfast,\n"
            "and gave this address as the owner's.\n\n"
            "If that was you, open this link within 24 hours and press Sign in:\n\n"
            "{link}\n\n"
            "It works once. If it was not you, ignore this letter: nothing happens without the link.\n"
        ),
    )


def sign_in(session: Session, email: str, now: datetime) -> None:
    """Send a way in to a member's address; to any other address nothing is sent, and the caller is not told which it was.

    Takes a transaction without a tenant; it becomes that of the workspace which the letter goes out for.
    """
    user_id = members.user_of(session, email)
    places = members.places_of(session, user_id) if user_id else []
    if not places:
        return
    db.tenant(session, places[0].id)
    _send(
        session,
        places[0].id,
        "sign_in",
        email,
        now,
        subject="Your link to sign in to Holdfast",
        text=(
            "Open this link within 20 minutes and press Sign in:\n\n"
            "{link}\n\n"
            "It works once. If you did not ask for it, ignore this letter: nobody gets in without the link.\n"
        ),
    )


def look(session: Session, ring: KeyRing, token: str, now: datetime) -> Way | None:
    """The login that a link leads to while it is good, without using it up; needs no tenant."""
    parsed = tokens.parse(token)
    if parsed is None or not tokens.verify(ring, parsed, "login", 1):
        return None
    row = session.execute(select(Login).where(Login.id == parsed.row_id, Login.expires_at > now)).scalar_one_or_none()
    return _way(row) if row else None


def take(session: Session, ring: KeyRing, token: str, now: datetime) -> Way | None:
    """Use a link up: the first to ask gets the login, everybody after gets None; needs no tenant."""
    parsed = tokens.parse(token)
    if parsed is None or not tokens.verify(ring, parsed, "login", 1):
        return None
    row = session.execute(delete(Login).where(Login.id == parsed.row_id, Login.expires_at > now).returning(Login)).scalar_one_or_none()
    return _way(row) if row else None


def forget(session: Session, workspace_id: str) -> None:
    """End every way in to a workspace that was sent or printed and not yet used."""
    session.execute(delete(Login).where(Login.workspace_id == workspace_id))


def admin_link(rt: Runtime, slug: str | None = None) -> str:
    """A URL that lets the operator into a workspace once, within a day: the named one, or the only one.

    Raises LookupError, with a sentence for the terminal, where that names none or several.
    """
    now, login_id = rt.now(), ids.new("lgn")
    with rt.transaction() as session:
        place = directory.named(session, slug)
        db.tenant(session, place.id)
        session.add(
            Login(
                id=login_id,
                purpose="operator",
                email=None,
                workspace_id=place.id,
                created_at=now,
                expires_at=now + LASTS["operator"],
            )
        )
        audit.record(session, place.id, actor="operator", verb="operator_link.made", at=now, target=login_id)
    return f"{rt.settings.base_url}/sign-in/{tokens.make(rt.ring, 'login', login_id, 1)}"


def _send(session: Session, workspace_id: str, purpose: Purpose, email: str, now: datetime, *, subject: str, text: str) -> None:
    # A handful of links to one address is enough: the newest three stay good.
    mine = select(Login.id).where(func.lower(Login.email) == email.lower(), Login.purpose == purpose)
    session.execute(delete(Login).where(Login.id.in_(mine.order_by(Login.created_at.desc()).offset(2))))
    session.execute(delete(Login).where(Login.expires_at <= now))
    login_id = ids.new("lgn")
    session.add(
        Login(
            id=login_id,
            purpose=purpose,
            email=email,
            workspace_id=workspace_id if purpose == "confirm_owner" else None,
            created_at=now,
            expires_at=now + LASTS[purpose],
        )
    )
    link = {"purpose": "login", "row_id": login_id, "epoch": 1, "path": "/sign-in/{token}"}
    mail.ask(session, workspace_id=workspace_id, topic=f"login:{login_id}", to=email, subject=subject, text=text, now=now, link=link)


def _way(row: Login) -> Way:
    return Way(id=row.id, purpose=row.purpose, email=row.email, workspace_id=row.workspace_id)
