"""Accepting what a page offers, in the way its kind asks for, and confirming a cancellation; with what the letter about it will need."""

from datetime import datetime

from sqlalchemy.orm import Session

from connect_app.runtime import Runtime
from flow_pages import cancels, offers, portals, sessions, wording
from flow_pages.document import LinkOffer
from flow_pages.visits import Visit
from jobs import letters


def accept(rt: Runtime, session: Session, visit: Visit, *, offer_id: str, way: str) -> str:
    """The offer on the page is taken in one of its ways; gives where that leads, as what follows the flow's path.

    Raises InvalidRequest for an offer that this customer's answers do not lead to, jobs.actions.InFlight while another change is under way.
    """
    if visit.row.state == "chosen":
        return ""
    now = rt.now()
    offer = sessions.offer_named(visit, offer_id)
    taken = offers.taken(session, visit, offer, way, now)
    if taken is None:
        return "?gone"
    made, option = taken
    if isinstance(offer, LinkOffer):
        sessions.follow(session, visit, offer, now)
        return f"/link/{offer.id}"
    headline = wording.render(offer.headline, visit.words)
    choice_id = sessions.accept(
        session,
        visit,
        offer,
        verb=option.verb,
        intent=option.intent,
        picked=option.key,
        headline=headline,
        terms=offers.terms(offer, option, visit.subscription, made.known, visit.reader, now),
        cost=offers.cost(offer, option, visit.subscription, made.known),
        particulars=offers.particulars(offer, option),
        now=now,
    )
    if choice_id is None:
        return ""
    if option.verb is None:
        letters.passed_on(rt, session, visit.row, choice_id, headline)
    else:
        ends = option.intent.get("resumes_at")
        _reachable(session, visit, now, datetime.fromisoformat(str(ends)) if ends else None)
    return ""


def confirm(session: Session, visit: Visit, now: datetime, *, scope: str | None, told: str | None) -> str:
    """The cancellation is confirmed, of this subscription or of all (`scope`), as the page has `told` it; gives where that leads.

    Raises jobs.actions.InFlight while another change is under way.
    """
    wanted = cancels.intents(session, visit, now, scope=scope, told=told)
    if wanted is None:
        return "?changed"
    if sessions.cancel(session, visit, now, wanted) is not None:
        ends = [datetime.fromisoformat(str(intent["renews_at"])) for intent in wanted.values() if "renews_at" in intent]
        ends += [visit.subscription.current_period_end] if visit.subscription else []
        _reachable(session, visit, now, max(ends, default=None))
    return ""


def _reachable(session: Session, visit: Visit, now: datetime, until: datetime | None) -> None:
    """The letter about it leads to the portal, where it can be undone for as long as that is possible."""
    row = visit.row
    if visit.connection is not None:
        whose = {"mode": row.mode, "customer": row.customer, "connection_id": visit.connection.id}
        portals.mint(session, row.workspace_id, **whose, now=now, until=until)
