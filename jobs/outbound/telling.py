"""What happened, as the business's webhooks are told of it: sessions, choices, actions, outcomes and connections."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connect_app.models import Action, Alert, Answer, Choice, Connection, Endpoint, FlowSession, Pause
from connect_app.models.base import Json
from jobs.outbound import messages, publishing
from jobs.plans import pauses


def started(session: Session, row: FlowSession, now: datetime) -> None:
    """A person has opened the flow."""
    publishing.publish(
        session,
        row.workspace_id,
        row.mode,
        "session.started",
        now,
        lambda: messages.SessionStarted(**_visit(row), is_control=row.is_control, started_at=messages.seconds(now)),
    )


def accepted(session: Session, row: FlowSession, choice: Choice) -> None:
    """An offer was accepted."""
    offer = choice.offer or {}
    publishing.publish(
        session,
        row.workspace_id,
        row.mode,
        "offer.accepted",
        choice.made_at,
        lambda: messages.OfferAccepted(
            **_visit(row),
            reason=choice.reason,
            feedback=choice.feedback,
            comment=choice.comment,
            choice=choice.id,
            offer=str(offer.get("id", "")),
            kind=str(offer.get("kind", "")),
            picked=str(offer.get("picked", "")),
            coupon=offer.get("coupon"),
            price=offer.get("price"),
            duration=messages.Duration(**offer["duration"]) if offer.get("duration") else None,
            resumes_at=_seconds(offer.get("resumes_at")),
            trial_end=_seconds(offer.get("trial_end")),
            payload=dict(offer.get("payload") or {}),
            headline=str(offer.get("headline", "")),
            terms=tuple((str(label), str(value)) for label, value in offer.get("terms", ())),
            accepted_at=messages.seconds(choice.made_at),
        ),
    )


def action(session: Session, row: Action, now: datetime) -> None:
    """An action is `requested`, `verified`, `manual` or `failed`, in the transaction that makes it so."""
    publishing.publish(
        session,
        row.workspace_id,
        row.mode,
        f"action.{row.state}",
        now,
        lambda: messages.Action(**of_action(row)),
    )


def of_action(row: Action) -> Json:
    """What is said of an action, whoever is told: the fields of messages.Asked."""
    return {
        "workspace": row.workspace_id,
        "livemode": messages.is_live(row.mode),
        "action": row.id,
        "session": row.session_id,
        "choice": row.choice_id,
        "customer": row.customer,
        "subscription": row.subscription or None,
        "verb": row.verb,
        "state": row.state,
        "code": row.code,
        "message": row.message,
        "intent": row.intent,
        "stripe_request_id": row.stripe_request_id,
        "asked_at": messages.seconds(row.asked_at),
        "changed_at": messages.seconds(row.changed_at),
    }


def decided(
    session: Session,
    row: FlowSession,
    *,
    was: tuple[str, str | None],
    state: str,
    how: str | None,
    door: str | None,
    since: datetime,
    interval_ends_at: datetime | None,
    revenue: Json,
    now: datetime,
) -> None:
    """The outcome of a session has changed, from `was` (state, how)."""
    kind = _kind(was, state, how)
    if kind is None:
        return
    publishing.publish(
        session,
        row.workspace_id,
        row.mode,
        kind,
        now,
        lambda: messages.SessionOutcome(
            **_visit(row),
            **_answers(session, row),
            outcome=state,  # type: ignore[arg-type]
            how=how,  # type: ignore[arg-type]
            door=door,
            since=messages.seconds(since),
            interval_ends_at=messages.seconds(interval_ends_at) if interval_ends_at else None,
            at_stake=_amount(revenue.get("stake")),
            saved=_amount(revenue.get("saved")),
            lost=_amount(revenue.get("lost")),
        ),
    )


def pause(session: Session, kind: str, of: Action, row: Pause, now: datetime) -> None:
    """A pause has `pause.started`, is `pause.ending` or has `pause.ended`, in the transaction that keeps it so."""
    told: Json = {
        "workspace": of.workspace_id,
        "livemode": messages.is_live(of.mode),
        "action": of.id,
        "session": of.session_id,
        "customer": of.customer,
        "subscription": of.subscription,
        "behavior": pauses.BEHAVIORS[of.verb],
        "resumes_at": messages.seconds(row.resumes_at) if row.resumes_at else None,
    }
    if row.ended_at is not None:
        told |= {"how": row.how, "ended_at": messages.seconds(row.ended_at)}
    publishing.publish(session, of.workspace_id, of.mode, kind, now, lambda: messages.TYPES[kind](**told))


def connection(session: Session, row: Connection, now: datetime) -> bool:
    """How a connection stands, where that differs from what was last told; whether it did."""
    opened = select(Alert.kind).where(Alert.connection_id == row.id, Alert.closed_at.is_(None)).order_by(Alert.kind)
    stands: Json = {
        "state": row.state,
        "reason": row.disconnect_reason,
        "can_read": row.can_read,
        "can_write": row.can_write,
        "alerts": list(session.execute(opened).scalars()),
    }
    if row.told == stands:
        return False
    session.execute(update(Connection).where(Connection.id == row.id).values(told=stands))
    publishing.publish(
        session,
        row.workspace_id,
        row.mode,
        "connection.updated",
        now,
        lambda: messages.ConnectionState(
            workspace=row.workspace_id, livemode=messages.is_live(row.mode), connection=row.id, account=row.account, **stands
        ),
    )
    return True


def test(session: Session, endpoint: Endpoint, now: datetime) -> None:
    """A message of its own type, to this endpoint alone."""
    publishing.publish(
        session,
        endpoint.workspace_id,
        endpoint.mode,
        "endpoint.test",
        now,
        lambda: messages.Test(
            workspace=endpoint.workspace_id,
            livemode=messages.is_live(endpoint.mode),
            endpoint=endpoint.id,
            text="This is a test. Nothing has happened.",
        ),
        only=endpoint.id,
    )


def _kind(was: tuple[str, str | None], state: str, how: str | None) -> str | None:
    """The type of message for this change; None for one that the list has no type for."""
    if state == "watch":
        if was == ("watch", how):
            return None  # the interval has another end
        return "session.abandoned" if how == "abandoned" else "session.saved"
    if was[0] == state:
        return None
    return {"canceled": "session.canceled", "saved": "save.validated", "lost": "save.lost"}.get(state)


def _visit(row: FlowSession) -> Json:
    return {
        "workspace": row.workspace_id,
        "livemode": messages.is_live(row.mode),
        "session": row.id,
        "customer": row.customer,
        "subscription": row.subscription or None,
    }


def _answers(session: Session, row: FlowSession) -> Json:
    """What the customer said: with the choice if one was made, else in the survey as far as they came."""
    choice = session.execute(select(Choice).where(Choice.session_id == row.id)).scalar_one_or_none()
    if choice is not None:
        return {"reason": choice.reason, "feedback": choice.feedback, "comment": choice.comment}
    said = session.execute(select(Answer.value).where(Answer.session_id == row.id, Answer.step == "survey")).scalar_one_or_none() or {}
    return {"reason": said.get("reason"), "feedback": None, "comment": said.get("comment")}


def _amount(value: Json | None) -> messages.Amount | None:
    return None if not value else messages.Amount(amount=value.get("amount"), currency=str(value.get("currency", "")))


def _seconds(text: str | None) -> int | None:
    return messages.seconds(datetime.fromisoformat(text)) if text else None
