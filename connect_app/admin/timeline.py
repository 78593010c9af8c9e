"""One session from hand-off to proof: what happened when, every conversation with Stripe, and where each value came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.admin import revenue, sessions, stripe_news
from connect_app.errors import NotFound
from connect_app.models import Action, Answer, Attempt, Delivery, FlowSession, FlowVersion, Outcome, Receipt, SessionFact
from flow_pages import document, steps, versions

# More than any honest visit has; a loop of refreshes must not make a page without end.
_LONGEST = 500

_VERBS = {
    "discount": "discount",
    "cancel": "cancel at period end",
    "item_cancel": "cancel one item",
    "undo_cancel": "undo the cancellation",
    "payment_method": "change the card",
}
_ACTIONS = {
    "action.queued": ("clock", "waiting", "Queued: {verb}"),
    "action.applied": ("bolt", "waiting", "Stripe accepted: {verb}"),
    "action.requested": ("alert", "attention", "Left to your team: {verb}"),
    "action.verified": ("check-circle", "ok", "Read back from Stripe as planned: {verb}"),
    "action.manual": ("alert", "attention", "Put into the manual queue: {verb}"),
    "action.failed": ("x", "failed", "Could not be done: {verb}"),
}
_ATTEMPTS = {
    "precheck": ("search", "Read the subscription before changing it"),
    "coupon": ("tag", "Read the coupon before changing anything"),
    "write": ("bolt", "Asked Stripe for the change"),
    "read_back": ("eye", "Read the subscription back"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline. `kind` is a badge's: ok waiting attention failed neutral."""

    at: datetime
    icon: str
    kind: str
    title: str
    details: tuple[tuple[str, str], ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An action of the session with its receipt, once there is one."""

    action: Action
    verb: str
    receipt: Receipt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A session's page."""

    row: sessions.Row
    visit: FlowSession
    version: int
    entries: list[Entry]
    changes: list[Change]
    outcome: Outcome | None
    worth: list[revenue.Line]
    door: str | None


def read(session: Session, workspace_id: str, session_id: str, now: datetime) -> Story:
    """The whole story in nine queries, however long it is. Raises NotFound for an id that is not this workspace's."""
    visit = session.execute(
        select(FlowSession).where(FlowSession.workspace_id == workspace_id, FlowSession.id == session_id)
    ).scalar_one_or_none()
    if visit is None:
        raise NotFound(code="not_found", message="There is no such session in this workspace.")
    row = sessions.page(session, workspace_id, visit.mode, now=now, search=session_id).rows[0]
    version = session.execute(select(FlowVersion).where(FlowVersion.id == visit.flow_version_id)).scalar_one()
    actions = session.execute(select(Action).where(Action.session_id == session_id).order_by(Action.asked_at, Action.id)).scalars().all()
    receipts = {
        receipt.action_id: receipt
        for receipt in session.execute(select(Receipt).where(Receipt.action_id.in_([action.id for action in actions]))).scalars()
    }
    entries = [_handed_over(visit), *_facts(session, visit, versions.read(version.document)), *_attempts(session, actions)]
    entries.extend(_frozen(action) for action in actions if "key" in (action.call or {}))
    entries.extend(_letters(session, workspace_id, actions))
    kept = session.execute(select(Outcome).where(Outcome.session_id == session_id)).scalar_one_or_none()
    return Story(
        row=row,
        visit=visit,
        version=version.number,
        entries=sorted(entries, key=lambda entry: entry.at),
        changes=[Change(action=action, verb=verb_of(action.verb), receipt=receipts.get(action.id)) for action in actions],
        outcome=kept,
        worth=revenue.lines(kept),
        door=revenue.door(kept),
    )


def verb_of(verb: str) -> str:
    """An action's verb in words."""
    return _VERBS.get(verb, verb.replace("_", " "))


def _handed_over(visit: FlowSession) -> Entry:
    title = {
        "embed": "Your server handed the customer over, with a valid signature",
        "portal": "The customer came from the portal",
        "test": "A member of your team opened a test",
    }.get(visit.origin, "Handed over")
    return Entry(at=visit.minted_at, icon="key" if visit.origin == "embed" else "door", kind="neutral", title=title)


def _facts(session: Session, visit: FlowSession, flow: document.Flow) -> Iterator[Entry]:
    found = select(SessionFact).where(SessionFact.session_id == visit.id).order_by(SessionFact.at, SessionFact.id).limit(_LONGEST)
    rows = stripe_news.telling(session.execute(found).scalars())
    survey = session.execute(select(Answer.value).where(Answer.session_id == visit.id, Answer.step == steps.SURVEY)).scalar_one_or_none()
    for fact in rows:
        yield _fact(fact, flow, survey or {})


def _fact(fact: SessionFact, flow: document.Flow, survey: Mapping[str, object]) -> Entry:
    data = fact.data
    offer = flow.offer(str(data.get("offer")))
    headline = (("Offer", offer.headline),) if offer else ()
    if fact.kind in _ACTIONS:
        icon, kind, title = _ACTIONS[fact.kind]
        # The request id stands with the attempt that it belongs to, and here, where the proof is.
        return Entry(
            at=fact.at,
            icon=icon,
            kind=kind,
            title=title.format(verb=verb_of(str(data.get("verb")))),
            details=(("Because", str(data["code"])),) if data.get("code") else (),
            request_id=data.get("stripe_request_id"),
        )
    if fact.kind in stripe_news.KINDS:
        icon, kind, title, told = stripe_news.line(fact)
        return Entry(at=stripe_news.at(fact), icon=icon, kind=kind, title=title, details=told)
    match fact.kind, data.get("step"):
        case "session.started", _:
            return Entry(at=fact.at, icon="user", kind="neutral", title="The customer opened the flow")
        case "screen.seen", step:
            return Entry(at=fact.at, icon="eye", kind="neutral", title=f"Page sent: {step}")
        case "offer.shown", _:
            return Entry(at=fact.at, icon="tag", kind="neutral", title="Page sent: offer", details=headline)
        case "offer.declined", _:
            return Entry(at=fact.at, icon="x", kind="neutral", title="Declined the offer", details=headline)
        case "offer.taken", _:
            return Entry(at=fact.at, icon="arrow-right", kind="neutral", title="Followed the offer’s link", details=headline)
        case "answer.given", "skip":
            return Entry(at=fact.at, icon="arrow-right", kind="neutral", title="Pressed Cancel now")
        case "answer.given", _:
            reason = flow.reason(data.get("reason"))
            details = [("Reason", reason.label if reason else "left open")]
            if survey.get("comment") and survey.get("reason") == data.get("reason"):
                details.append(("In their words", str(survey["comment"])))
            return Entry(at=fact.at, icon="message", kind="neutral", title="Answered the survey", details=tuple(details))
        case "session.kept", _:
            return Entry(at=fact.at, icon="check-circle", kind="ok", title="Never mind: kept the subscription")
        case "choice.made", _:
            is_cancel = data.get("verb") == "cancel"
            return Entry(
                at=fact.at,
                icon="check",
                kind="neutral" if is_cancel else "ok",
                title="Confirmed the cancellation" if is_cancel else "Accepted the offer",
                details=headline,
            )
        case "undo.asked", _:
            return Entry(at=fact.at, icon="undo", kind="ok", title="Pressed Undo")
        case "promise.made", _:
            return Entry(at=fact.at, icon="mail", kind="waiting", title="Not settled after 20 seconds: an email was promised")
    return Entry(at=fact.at, icon="dot", kind="neutral", title=fact.kind.replace(".", " ").replace("_", " ").capitalize())


def _frozen(action: Action) -> Entry:
    """The call as it stood before it was first sent: known even where a worker died in the middle of sending it."""
    call = action.call or {}
    return Entry(
        at=datetime.fromisoformat(call["planned_at"]),
        icon="key",
        kind="neutral",
        title="Frozen: the call and its key were written down before the first try",
        details=(("Idempotency key", str(call["key"])), *((("Given up with it", str(call["loses"])),) if "loses" in call else ())),
    )


def _attempts(session: Session, actions: Sequence[Action]) -> Iterator[Entry]:
    rows = session.execute(
        select(Attempt).where(Attempt.action_id.in_([action.id for action in actions])).order_by(Attempt.id).limit(_LONGEST)
    ).scalars()
    for row in rows:
        icon, title = _ATTEMPTS.get(row.step, ("dot", row.step))
        details = [("Took", f"{row.took_ms} ms")]
        if row.idempotency_key:
            details.append(("Idempotency key", row.idempotency_key))
        if row.problem:
            details.append(("Problem", row.problem))
        yield Entry(
            at=row.at,
            icon=icon,
            kind="attention" if row.problem else "neutral",
            title=title,
            details=tuple(details),
            request_id=row.stripe_request_id,
        )


def _letters(session: Session, workspace_id: str, actions: Sequence[Action]) -> Iterator[Entry]:
    """Letters to the customer about these actions."""
    wanted = [f"action/{action.id}/{topic}" for action in actions for topic in ("settled", "received")]
    rows = session.execute(select(Delivery).where(Delivery.workspace_id == workspace_id, Delivery.topic.in_(wanted))).scalars()
    for row in rows:
        to = ("To", str(row.payload.get("to")))
        if row.state == "delivered":
            yield Entry(
                at=row.delivered_at or row.asked_at, icon="mail", kind="ok", title=f"Emailed: {row.payload.get('subject')}", details=(to,)
            )
        else:
            title = "An email is on its way" if row.state == "queued" else "An email could not be sent"
            details = (("Problem", row.problem),) if row.problem else ()
            yield Entry(
                at=row.asked_at, icon="mail", kind="waiting" if row.state == "queued" else "attention", title=title, details=details
            )
