"""Codes by email: an old link alone does not cancel or pause, its holder types six digits that only the customer was sent.

What is kept (`portal_links.code`): `{epoch, kid, nonce, sent, tries, verified_until}`. The digits are derived, like links; nothing stored
tells them. `sent` are the times of the last day's letters, `nonce` is null once the code is spent.
"""

import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import tokens
from connect_app.models import PortalLink
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from flow_pages.portal.guests import Guest
from jobs import mail, owners
from webhooks import mirror

# A link that is younger than this came from the business's own pages a moment ago.
TRUSTED_FOR = timedelta(days=1)
LASTS, TRIES = timedelta(minutes=10), 5
VERIFIED_FOR = timedelta(minutes=30)
# Letters: one a minute, and in a day so many that guessing is hopeless.
_APART, _DAY, _A_DAY = timedelta(minutes=1), timedelta(days=1), 10


def is_needed(session: Session, guest: Guest, now: datetime) -> bool:
    """Whether this link has to be proven first. Where nobody has an address for the customer, no code could ever reach them: then never."""
    link = guest.link
    if not guest.preferences.portal_code or now - link.minted_at < TRUSTED_FOR or address(session, guest) is None:
        return False
    until = _of(link).get("verified_until")
    return until is None or datetime.fromisoformat(until) <= now


def address(session: Session, guest: Guest) -> str | None:
    """Where codes go: to the customer, in test mode to the workspace's first owner."""
    if guest.link.mode == "test":
        return owners.first(session, guest.link.workspace_id)
    customer = mirror.customer(session, guest.connection_id, guest.link.customer) if guest.connection_id else None
    return customer.email if customer is not None and customer.email else None


def masked(email: str) -> str:
    """`a…@example.com`: enough to know one's own address by."""
    name, _, host = email.rpartition("@")
    return f"{name[:1]}…@{host}"


def send(session: Session, rt: Runtime, guest: Guest) -> Literal["sent", "again", "enough"]:
    """Ask for a letter with a new code, which takes the place of the one before; not `again` within a minute, nor when it is `enough`."""
    link, now, to = _hold(session, guest.link), rt.now(), address(session, guest)
    kept = _of(link)
    sent = [at for at in kept.get("sent", ()) if datetime.fromisoformat(at) > now - _DAY]
    if sent and datetime.fromisoformat(sent[-1]) > now - _APART:
        return "again"
    if len(sent) >= _A_DAY or to is None:
        return "enough"
    nonce, kid = secrets.token_hex(8), rt.ring.newest.kid
    link.code = {"epoch": link.epoch, "kid": kid, "nonce": nonce, "sent": [*sent, now.isoformat()], "tries": 0, "verified_until": None}
    is_test = link.mode == "test"
    lines = [
        "Hello,",
        f"The code for your subscriptions with {guest.business} is:",
        "{code}",
        "It is good for ten minutes. If you did not ask for it, somebody else has the link to your subscriptions:"
        f" nothing has been changed, and without this code nothing will be. Please tell {guest.business}.",
        guest.business,
        *([f"[Test mode: in live mode, this letter goes to the customer {link.customer}.]"] if is_test else []),
    ]
    mail.ask(
        session,
        workspace_id=link.workspace_id,
        topic=f"portal/{link.id}/code/{nonce}",
        to=to,
        subject=f"{'[Test] ' if is_test else ''}Your code for {guest.business}",
        text="\n\n".join(lines) + "\n",
        now=now,
        code={"kid": kid, "row_id": link.id, "nonce": nonce},
    )
    session.flush()
    return "sent"


def check(session: Session, rt: Runtime, guest: Guest, typed: str) -> Literal["ok", "wrong", "over"]:
    """Whether these are the digits of the code that was sent last. Five tries, ten minutes, and each code once."""
    link, now = _hold(session, guest.link), rt.now()
    kept = _of(link)
    is_alive = bool(kept.get("nonce")) and datetime.fromisoformat(kept["sent"][-1]) > now - LASTS and kept["tries"] < TRIES
    digits = tokens.code(rt.ring, kept["kid"], link.id, kept["nonce"]) if is_alive else None
    if digits is None:
        return "over"
    if not hmac.compare_digest(re.sub(r"[\s-]", "", typed)[:12].encode(), digits.encode()):
        link.code = {**kept, "tries": kept["tries"] + 1}
        session.flush()
        return "wrong"
    link.code = {**kept, "nonce": None, "verified_until": (now + VERIFIED_FOR).isoformat()}
    session.flush()
    return "ok"


def _hold(session: Session, link: PortalLink) -> PortalLink:
    """The row as it is now: of parallel tries each counts."""
    held = select(PortalLink).where(PortalLink.id == link.id).with_for_update().execution_options(populate_existing=True)
    return session.execute(held).scalar_one()


def _of(link: PortalLink) -> Json:
    """What is kept of this link's code; a revoked link's code is none of the next one's."""
    kept = link.code or {}
    return kept if kept.get("epoch") == link.epoch else {"sent": kept.get("sent", [])}
