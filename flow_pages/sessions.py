"""The verbs of a session: minted once a bundle, answered until its one choice is made, kept by *Never mind*, undone while possible."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import facts, ids
from connect_app.errors import InvalidRequest, NotFound
from connect_app.models import Answer, Choice, Connection, FlowSession, FlowVersion, LinkLookup
from connect_app.models.base import Json
from connect_app.preferences import Preferences
from connect_app.stripe_gateway import objects
from flow_pages import steps, versions, visits
from flow_pages.document import DiscountOffer
from flow_pages.visits import Visit
from jobs import actions, queues

LINK_LASTS = timedelta(hours=24)
# A customer who has waited this long for Stripe is promised an email instead of being kept.
PROMISED_AFTER = timedelta(seconds=20)
COMMENT_LENGTH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """A customer handed over: verified, and still to be given a session. `bundle` is what makes two hand-offs the same."""

    mode: str
    customer: str
    subscription: str
    bundle: str
    origin: str
    return_url: str | None = None
    cancel_url: str | None = None
    embed_origin: str | None = None
    locale: str | None = None
    custom: Json | None = None
    portal_link_id: str | None = None


def mint(
    session: Session,
    workspace_id: str,
    handoff: Handoff,
    *,
    preferences: Preferences,
    connection: Connection | None,
    subscription: objects.Subscription | None,
    now: datetime,
) -> FlowSession:
    """The session of this hand-off: a new one, or the one that the same bundle was given before, whose extras then stay as they were.

    Which flow it walks through is decided from what the mirror knows, and once more at the first look (`pin`).
    """
    reason = control_reason(preferences, connection, subscription)
    version = flow_version(session, workspace_id, reason)
    row = insert(FlowSession).values(
        id=ids.new("ses"),
        workspace_id=workspace_id,
        mode=handoff.mode,
        connection_id=connection.id if connection else None,
        flow_version_id=version.id,
        origin=handoff.origin,
        portal_link_id=handoff.portal_link_id,
        is_control=reason is not None,
        control_reason=reason,
        customer=handoff.customer,
        subscription=handoff.subscription,
        bundle=handoff.bundle,
        minted_at=now,
        expires_at=now + LINK_LASTS,
        last_activity_at=now,
        return_url=handoff.return_url,
        cancel_url=handoff.cancel_url,
        embed_origin=handoff.embed_origin,
        locale=handoff.locale,
        custom=handoff.custom or {},
        variables={},
    )
    made = session.execute(
        row.on_conflict_do_nothing(index_elements=["workspace_id", "bundle"]).returning(FlowSession)
    ).scalar_one_or_none()
    if made is None:
        return session.execute(
            select(FlowSession).where(FlowSession.workspace_id == workspace_id, FlowSession.bundle == handoff.bundle)
        ).scalar_one()
    session.add(LinkLookup(link_id=made.id, workspace_id=workspace_id))
    return made


def control_reason(preferences: Preferences, connection: Connection | None, subscription: objects.Subscription | None) -> str | None:
    """Why this customer gets the control flow; None where they get the default one."""
    if connection is None or connection.state != "connected":
        return "not_connected"
    if subscription is None:
        return "unknown_subscription"
    return "plain" if preferences.plain_cancel_only else None


def reason_now(visit: Visit, subscription: objects.Subscription | None) -> str | None:
    """`control_reason` for this visit, should this be its subscription."""
    return control_reason(visit.preferences, visit.connection, subscription)


def flow_version(session: Session, workspace_id: str, reason: str | None) -> FlowVersion:
    """The published version for a customer with this control reason; the control flow where the default one is not published."""
    version = versions.published(session, workspace_id, "default") if reason is None else None
    version = version or versions.published(session, workspace_id, "control")
    if version is None:
        raise NotFound(code="flow_not_published", message="This workspace has no published cancel flow.", param="workspace")
    return version


def pin(session: Session, visit: Visit, *, variables: Mapping[str, Any], subscription: objects.Subscription | None) -> None:
    """Settle at the first look which version and which values this session keeps; later looks change nothing."""
    row = visit.row
    reason = reason_now(visit, subscription)
    values: dict[str, Any] = {"variables": dict(variables), "control_reason": reason, "is_control": reason is not None}
    if reason != row.control_reason:
        values["flow_version_id"] = flow_version(session, row.workspace_id, reason).id
    session.execute(
        update(FlowSession).where(FlowSession.id == row.id, FlowSession.state == "open", FlowSession.variables == {}).values(**values)
    )


def shown(session: Session, visit: Visit, now: datetime) -> bool:
    """A person has this session before them: from here its link lasts its 24 hours. False when it was over or chosen already."""
    row, is_first = visit.row, visit.row.shown_at is None
    touched = session.execute(
        update(FlowSession)
        .where(*_open(row.id, now))
        .values(shown_at=func.coalesce(FlowSession.shown_at, now), last_activity_at=now)
        .returning(FlowSession.shown_at)
    ).scalar_one_or_none()
    if touched is None:
        return False
    if is_first and touched == now:
        facts.record(session, row.workspace_id, row.id, "session.started", now)
    return True


def seen(session: Session, visit: Visit, step: steps.Step, now: datetime) -> None:
    """A page was sent out; whether to a person or to a scanner, `shown` tells."""
    row = visit.row
    if isinstance(step, steps.OfferStep):
        facts.record(session, row.workspace_id, row.id, "offer.shown", now, {"offer": step.offer.id})
    else:
        facts.record(session, row.workspace_id, row.id, "screen.seen", now, {"step": step.name})


def answer(session: Session, visit: Visit, *, reason: str | None, comment: str | None, now: datetime) -> bool:
    """The survey's answer, which replaces an earlier one and takes back a *Cancel now*. Raises InvalidRequest for a reason not in it."""
    row = visit.row
    if reason is not None and visit.flow.reason(reason) is None:
        raise InvalidRequest(code="no_such_reason", message="Please choose one of the reasons on the page.", param="reason")
    if not shown(session, visit, now):
        return False
    session.execute(delete(Answer).where(Answer.session_id == row.id, Answer.step == steps.SKIP))
    _keep(session, row, steps.SURVEY, {"reason": reason, "comment": clean(comment)}, now)
    facts.record(session, row.workspace_id, row.id, "answer.given", now, {"step": steps.SURVEY, "reason": reason})
    return True


def decline(session: Session, visit: Visit, offer_id: str, now: datetime) -> bool:
    """*No thanks* to one offer. Raises InvalidRequest for an offer that this customer was not shown."""
    row = visit.row
    offer_on_the_way(visit, offer_id)
    if not shown(session, visit, now):
        return False
    _keep(session, row, steps.offer_key(offer_id), {"declined": True}, now)
    facts.record(session, row.workspace_id, row.id, "offer.declined", now, {"offer": offer_id})
    return True


def skip(session: Session, visit: Visit, now: datetime) -> bool:
    """*Cancel now*: straight on to the confirmation."""
    row = visit.row
    if not shown(session, visit, now):
        return False
    _keep(session, row, steps.SKIP, {}, now)
    facts.record(session, row.workspace_id, row.id, "answer.given", now, {"step": steps.SKIP})
    return True


def never_mind(session: Session, visit: Visit, now: datetime) -> bool:
    """The customer keeps the subscription. The session stays open: they may still come back to it."""
    row = visit.row
    if not shown(session, visit, now):
        return False
    session.execute(update(FlowSession).where(FlowSession.id == row.id).values(kept_at=now))
    facts.record(session, row.workspace_id, row.id, "session.kept", now)
    return True


def accept(
    session: Session, visit: Visit, offer: DiscountOffer, *, headline: str, terms: Sequence[tuple[str, str]], now: datetime
) -> str | None:
    """The offer is taken, as the pinned version has it: nothing the browser sent decides its terms.

    `headline` and `terms` are what the customer read. Gives the choice's id, or None where another choice was first.
    """
    coupon = offer.coupons.of(visit.row.mode)
    frozen = {"id": offer.id, "kind": offer.kind, "coupon": coupon, "headline": headline, "terms": [list(term) for term in terms]}
    intent = {"offer_id": offer.id, "coupon": coupon, "headline": headline}
    return _choose(session, visit, "accept", frozen, verb="discount", intent=intent, now=now)


def cancel(session: Session, visit: Visit, now: datetime) -> str | None:
    """The cancellation is confirmed; gives the choice's id, or None where another choice was first."""
    return _choose(session, visit, "cancel", None, verb="cancel", intent={"when": "period_end"}, now=now)


def undo(session: Session, visit: Visit, now: datetime) -> str:
    """Ask for the scheduled cancellation to be taken back; gives the action's id, also where that is under way already."""
    row = visit.row
    facts.record(session, row.workspace_id, row.id, "undo.asked", now)
    try:
        return actions.ask(
            session,
            workspace_id=row.workspace_id,
            mode=row.mode,
            connection_id=row.connection_id,
            customer=row.customer,
            subscription=row.subscription,
            verb="undo_cancel",
            intent={},
            now=now,
            session_id=row.id,
            **_state(visit),
        ).id
    except actions.InFlight as flight:
        return flight.action_id


def clean(text: str | None) -> str | None:
    """What a person typed, without what a database cannot keep, and not longer than Stripe takes."""
    kept = re.sub("[\0\ud800-\udfff]", "", text or "").strip()[:COMMENT_LENGTH]
    return kept or None


def _choose(session: Session, visit: Visit, chosen: str, offer: Json | None, *, verb: str, intent: Json, now: datetime) -> str | None:
    """One transaction: the session is closed to all other choices, and what is to be done is asked for."""
    row = visit.row
    if not shown(session, visit, now):
        return None
    won = session.execute(
        update(FlowSession).where(*_open(row.id, now)).values(state="chosen").returning(FlowSession.id)
    ).scalar_one_or_none()
    if won is None:
        return None
    # Read again under the lock of the row: the survey may have been answered meanwhile.
    survey = (
        session.execute(select(Answer.value).where(Answer.session_id == row.id, Answer.step == steps.SURVEY)).scalar_one_or_none() or {}
    )
    reason = visit.flow.reason(survey.get("reason"))
    choice = Choice(
        id=ids.new("cho"),
        workspace_id=row.workspace_id,
        session_id=row.id,
        verb=chosen,
        offer=offer,
        reason=reason.id if reason else None,
        feedback=reason.feedback if reason else None,
        comment=survey.get("comment"),
        made_at=now,
    )
    session.add(choice)
    session.flush()
    if verb == "cancel":
        intent = {**intent, "feedback": choice.feedback, "comment": choice.comment}
    facts.record(
        session, row.workspace_id, row.id, "choice.made", now, {"choice": choice.id, "verb": chosen, "offer": (offer or {}).get("id")}
    )
    action = actions.ask(
        session,
        workspace_id=row.workspace_id,
        mode=row.mode,
        connection_id=row.connection_id,
        customer=row.customer,
        subscription=row.subscription,
        verb=verb,
        intent=intent,
        now=now,
        choice_id=choice.id,
        session_id=row.id,
        **_state(visit),
    )
    queues.enqueue(session, "action_promise", action.id, row.workspace_id, due_at=now + PROMISED_AFTER)
    return choice.id


def served(visit: Visit) -> str | None:
    """Why what this customer asks for waits for the team: we cannot tell what to change, or cannot reach it. None: it is done by us."""
    if not visit.is_connected:
        return "not_connected"
    return "unknown_subscription" if visit.subscription is None else None


def _state(visit: Visit) -> dict[str, Any]:
    code = served(visit)
    return {} if code is None else {"state": "requested", "code": code}


def offer_on_the_way(visit: Visit, offer_id: str) -> DiscountOffer:
    """The offer of that id, if this customer's answers lead to it. Raises InvalidRequest for any other."""
    every = {offer.id for offer in visit.flow.offers}
    for step in steps.path(visit.flow, visit.answers, every):
        if isinstance(step, steps.OfferStep) and step.offer.id == offer_id:
            return step.offer
    raise InvalidRequest(code="offer_not_shown", message="This offer was not made to you on this page.", param="offer")


def _open(session_id: str, now: datetime) -> tuple[Any, ...]:
    return (
        FlowSession.id == session_id,
        FlowSession.state == "open",
        FlowSession.expires_at > now,
        or_(FlowSession.shown_at.is_not(None), FlowSession.minted_at > now - visits.FIRST_OPENED_WITHIN),
    )


def _keep(session: Session, row: FlowSession, step: str, value: Json, now: datetime) -> None:
    kept = insert(Answer).values(workspace_id=row.workspace_id, session_id=row.id, step=step, value=value, answered_at=now)
    session.execute(
        kept.on_conflict_do_update(
            index_elements=["session_id", "step"], set_={"value": kept.excluded.value, "answered_at": kept.excluded.answered_at}
        )
    )
