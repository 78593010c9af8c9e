"""Webhooks and pass-through URLs as the dashboard shows them: what is wrong with an address, and the log of what was sent."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app.errors import NotFound
from connect_app.models import Delivery, DeliveryAttempt, Endpoint
from connect_app.runtime import Runtime
from flow_pages import links
from jobs import egress
from jobs.outbound import messages, pass_through

PER_PAGE = 25
KINDS = {
    "webhook": ("Webhook", "Your server is told what happens, as signed messages by Standard Webhooks."),
    "call": ("Pass-through URL, called", "When a customer cancels or accepts an offer, we call an address of yours once for each action."),
    "redirect": ("Pass-through URL, opened", "When a customer is done, the way out of the flow leads to an address of yours."),
}
CHOICES = {"cancel": "A customer cancels", "accept": "A customer accepts an offer"}
CLOSED = {
    "by_team": "Your team has switched it off.",
    "failing": "It has not accepted anything for five days, so it was switched off.",
    "gone": "It answered 410 Gone, so it was switched off.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of an endpoint's log, newest first; `failed` counts what could be replayed."""

    rows: Sequence[Delivery]
    number: int
    has_older: bool
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One delivery with its tries, the newest first, and what is sent, as people read it."""

    delivery: Delivery
    tries: Sequence[DeliveryAttempt]
    request: str


def address_problem(rt: Runtime, kind: str, url: str, *, known: Collection[str], origins: tuple[str, ...]) -> str | None:
    """Why nothing could go to this address; None where something could. Asks DNS: for outside any transaction."""
    try:
        example = url if kind == "webhook" else pass_through.check(url, known)
    except pass_through.Wrong as problem:
        return str(problem)
    if kind == "redirect":
        return None if links.is_listed(example, origins) else "Its origin is not among your allowed origins (Settings, Your site)."
    try:
        egress.of(rt).check(example)
    except egress.Forbidden as refusal:
        return str(refusal)
    return None


def log(session: Session, endpoint: Endpoint, number: int) -> Page:
    """A page of what was sent, numbered from 1."""
    number = max(1, min(number, 400))
    mine = select(Delivery).where(Delivery.endpoint_id == endpoint.id)
    rows = session.execute(mine.order_by(Delivery.id.desc()).limit(PER_PAGE + 1).offset((number - 1) * PER_PAGE)).scalars().all()
    failed = select(func.count()).select_from(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "failed")
    return Page(rows=rows[:PER_PAGE], number=number, has_older=len(rows) > PER_PAGE, failed=session.execute(failed).scalar_one())


def delivery(session: Session, endpoint: Endpoint, delivery_id: str) -> Delivery:
    """Raises NotFound for one that did not go to this endpoint."""
    found = session.execute(select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.id == delivery_id)).scalar_one_or_none()
    if found is None:
        raise NotFound(code="not_found", message="There is no such delivery.")
    return found


def told(session: Session, endpoint: Endpoint, delivery_id: str) -> Told:
    """One delivery, whole. Raises NotFound."""
    row = delivery(session, endpoint, delivery_id)
    tries = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == row.id).order_by(DeliveryAttempt.id.desc()).limit(100)
    return Told(delivery=row, tries=session.execute(tries).scalars().all(), request=_request(endpoint, row))


def waits_until(row: Delivery, now: datetime) -> datetime | None:
    """When a queued one is tried next; None where it is under way or over."""
    return row.due_at if row.state == "queued" and row.due_at is not None and row.due_at > now else None


def types() -> list[tuple[str, str]]:
    """What a webhook can choose from, with what each means."""
    return [(kind, messages.MEANINGS[kind]) for kind in messages.CHOICES]


def _request(endpoint: Endpoint, row: Delivery) -> str:
    """What is sent, but for time and signature, which are made anew for each try."""
    if row.kind == "call":
        return f"POST {row.payload['url']}&{pass_through.TIMESTAMP}=…&{pass_through.SIGNATURE}=…\nIdempotency-Key: {row.payload['id']}\n"
    body = json.dumps(json.loads(row.payload["body"]), indent=2, ensure_ascii=False)
    head = f"POST {endpoint.url}\nContent-Type: application/json\nwebhook-id: {row.payload['id']}\nwebhook-timestamp: …\n"
    return f"{head}webhook-signature: v1,…\n\n{body}\n"
