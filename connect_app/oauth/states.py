"""One-shot states: which browser began which round trip, for ten minutes, and taken before its code is exchanged."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from connect_app.models import OauthState
from connect_app.modes import Mode
from connect_app.oauth.setbacks import Setback

LASTS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A round trip that came back to where it began. `workspace_id` is None for an install or a sign-in."""

    mode: Mode
    workspace_id: str | None


def begin(session: Session, *, mode: Mode, workspace_id: str | None, browser: str, now: datetime) -> str:
    """Write down that a round trip begins; gives the state to send along, 256 bits of chance of which only a hash is kept."""
    session.execute(delete(OauthState).where(OauthState.expires_at <= now - LASTS))
    state = secrets.token_urlsafe(32)
    session.add(
        OauthState(
            state_hash=_hash(state),
            browser_hash=_hash(browser),
            mode=mode,
            workspace_id=workspace_id,
            created_at=now,
            expires_at=now + LASTS,
        )
    )
    return state


def take(session: Session, state: str, browser: str, now: datetime) -> Trip:
    """The round trip of this state, which is used up with it, whatever comes of it.

    Raises Setback for a state that is none, was used, is too old, or was begun in another browser; the last one is left as it was.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", state, re.ASCII):
        raise Setback("used")
    mine = delete(OauthState).where(OauthState.state_hash == _hash(state), OauthState.browser_hash == _hash(browser))
    row = session.execute(mine.returning(OauthState.mode, OauthState.workspace_id, OauthState.expires_at)).first()
    if row is None:
        theirs = session.execute(select(OauthState.mode).where(OauthState.state_hash == _hash(state))).first()
        raise Setback("another_browser" if theirs else "used")
    if row.expires_at <= now:
        raise Setback("expired")
    return Trip(mode=Mode(row.mode), workspace_id=row.workspace_id)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
