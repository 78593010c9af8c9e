"""Pausing without the flow: the pause offers of the published default flow, within their bounds and limits, taken as the flow takes them.

Each is a session that nobody walked through: it was never shown, so no report counts it as a save; its choice counts for the limits.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import facts, ids
from connect_app.models import Choice, FlowSession
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import offers, portals, sessions, spoken, versions, wording
from flow_pages.document import PauseOffer
from flow_pages.portal.guests import Guest
from flow_pages.visits import Visit
from jobs import actions, queues
from jobs.outbound import telling
from webhooks import catalogue, mapping


def offered(session: Session, guest: Guest, subscription: objects.Subscription, now: datetime) -> offers.Made | None:
    """The first pause offer that can be made to this customer for this subscription now; None where there is none."""
    visit = _visit(session, guest, subscription, now)
    if visit is None:
        return None
    made = offers.among(session, visit, _pauses(visit), now)
    return next((made[offer.id] for offer in _pauses(visit) if offer.id in made), None)


def take(session: Session, rt: Runtime, guest: Guest, subscription: objects.Subscription, offer_id: str, way: str) -> bool:
    """The customer takes this pause in this length; False where it cannot be made to them (any more).

    Raises jobs.actions.InFlight while another change of the subscription is under way.
    """
    now = rt.now()
    visit = _visit(session, guest, subscription, now)
    offer = next((one for one in _pauses(visit) if one.id == offer_id), None) if visit is not None else None
    found = offers.held(session, visit, offer, way, now) if visit is not None and offer is not None else None
    if visit is None or offer is None or found is None:
        return False
    made, option = found
    row = visit.row
    session.add(row)
    session.flush()
    headline = wording.render(offer.headline, visit.words)
    cost = offers.cost(offer, option, subscription, made.known)
    told: Json = {
        **offers.particulars(offer, option),
        "id": offer.id,
        "kind": offer.kind,
        "picked": option.key,
        "coupon": None,
        "headline": headline,
        "terms": [list(term) for term in offers.terms(offer, option, subscription, made.known, spoken.LANGUAGE, now)],
        "cost": {"amount": cost.amount, "currency": cost.currency} if cost is not None else None,
    }
    choice = Choice(
        id=ids.new("cho"), workspace_id=row.workspace_id, session_id=row.id, verb="accept", offer=told, reason=None, feedback=None,
        comment=None, made_at=now,
    )  # fmt: skip
    session.add(choice)
    session.flush()
    facts.record(session, row.workspace_id, row.id, "choice.made", now, {"choice": choice.id, "verb": "accept", "offer": offer.id})
    telling.accepted(session, row, choice)
    action = actions.ask(
        session,
        workspace_id=row.workspace_id,
        mode=row.mode,
        connection_id=row.connection_id,
        customer=row.customer,
        subscription=row.subscription,
        verb="pause",
        intent={**option.intent, "headline": headline},
        now=now,
        choice_id=choice.id,
        session_id=row.id,
        portal_link_id=guest.link.id,
        **({"state": "requested", "code": actions.YOURS} if _is_theirs(visit, offer) else {}),
    )
    queues.enqueue(session, "action_promise", action.id, row.workspace_id, due_at=now + sessions.PROMISED_AFTER)
    # Where it can be taken back, for as long as that is possible.
    ends = datetime.fromisoformat(str(option.intent["resumes_at"]))
    portals.mint(session, row.workspace_id, mode=row.mode, customer=row.customer, connection_id=row.connection_id, now=now, until=ends)
    return True


def _pauses(visit: Visit) -> list[PauseOffer]:
    return [offer for offer in visit.flow.offers if isinstance(offer, PauseOffer)]


def _is_theirs(visit: Visit, offer: PauseOffer) -> bool:
    """Whether the business's own system changes Stripe for this."""
    whose = visit.flow.offers_by or ("holdfast" if visit.preferences.manage_offers else "business")
    return "business" in (offer.by, whose)


def _visit(session: Session, guest: Guest, subscription: objects.Subscription, now: datetime) -> Visit | None:
    """A visit to the default flow as it would be, not kept yet; None where this customer gets no flow with offers."""
    link, connection = guest.link, guest.account
    # A trial costs nothing yet, what is open stays due whatever is paused, and who is leaving decides about that first.
    if subscription.status is not objects.Status.ACTIVE or subscription.is_scheduled_to_cancel:
        return None
    if connection is None or sessions.control_reason(guest.preferences, connection, subscription) is not None:
        return None
    version = versions.published(session, link.workspace_id, "default")
    flow = versions.read(version.document) if version is not None else None
    if version is None or flow is None or not any(isinstance(offer, PauseOffer) for offer in flow.offers):
        return None
    [subject] = catalogue.load(session, connection.id, [(link.customer, subscription.id)])
    resolved = mapping.resolve(mapping.of_workspace(session, link.workspace_id), subject, now)
    session_id = ids.new("ses")
    row = FlowSession(
        id=session_id, workspace_id=link.workspace_id, mode=link.mode, connection_id=connection.id, flow_version_id=version.id,
        origin="portal", portal_link_id=link.id, is_control=False, control_reason=None, customer=link.customer,
        subscription=subscription.id, bundle=session_id, state="chosen", epoch=1, minted_at=now, expires_at=now + sessions.LINK_LASTS,
        shown_at=None, save_interval_days=guest.preferences.save_interval_days, last_activity_at=now, custom={},
        variables=mapping.keep(resolved, spoken.LANGUAGE),
    )  # fmt: skip
    return Visit(
        row=row,
        workspace_name=guest.business,
        preferences=guest.preferences,
        connection=connection,
        flow=flow,
        subscription=subscription,
        customer=subject.customer,
        as_of=None,
        is_doubtful=False,
        subject=subject,
        mappings=(),
        answers={},
        choice=None,
    )
