"""Pass-through URLs: an address with variables in its path and query, filled in for one action and signed as a whole."""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.crypto import KeyRing
from connect_app.models import Action, Choice, Endpoint, FlowSession
from connect_app.models.base import Json
from connect_app.money import Money
from jobs.outbound import endpoints, publishing
from webhooks import mapping

ACTION, TIMESTAMP, SIGNATURE = "holdfast_action", "holdfast_timestamp", "holdfast_signature"
# What every pass-through URL may name, beside the workspace's own variables.
FIXED = ("action_id", "session_id", "customer_id", "subscription_id", "verb", "when", "reason", "offer_id", "coupon")

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_AUTHORITY = re.compile(r"https?://[^/?#{}]+")
_DOTS = re.compile(r"(\.|%2e){1,2}", re.IGNORECASE)


class Wrong(ValueError):
    """The template cannot be used, or not with these values; the text says why, to the person who typed it."""


def check(template: str, known: Collection[str]) -> str:
    """An example of what the template comes to, for the egress guard to look at. Raises Wrong."""
    head = _AUTHORITY.match(template)
    if head is None or template[head.end() : head.end() + 1] not in ("/", "?", ""):
        raise Wrong("Begin with https:// and a host. Variables may stand in the path and the query only.")
    names = _VARIABLE.findall(template)
    if "{" in _VARIABLE.sub("", template) or "}" in _VARIABLE.sub("", template):
        raise Wrong("Write variables as {{ name }}, without filters.")
    if "#" in template:
        raise Wrong("Leave out the fragment (#…): it never reaches a server.")
    if unknown := sorted(set(names) - set(known) - set(FIXED)):
        raise Wrong(f"There is no variable called {unknown[0]}.")
    query = template.partition("?")[2]
    if any(name in query for name in (ACTION, TIMESTAMP, SIGNATURE)):
        raise Wrong("The parameters that begin with holdfast_ are added by Holdfast.")
    return fill(template, dict.fromkeys(names, "x"))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The address with its variables in it, each percent-encoded as a whole. Raises Wrong where one would walk up the path."""
    filled = _VARIABLE.sub(lambda found: quote(values.get(found[1], ""), safe=""), template)
    path = filled.partition("://")[2].partition("?")[0]
    if any(_DOTS.fullmatch(segment) for segment in path.split("/")[1:]):
        raise Wrong("A part of the path would consist of dots only.")
    return filled


def about(action: Action, row: FlowSession | None, choice: Choice | None) -> dict[str, str]:
    """The values of one action's variables: text as it is, days as 2026-01-31, money as minor units; empty where there is none."""
    intent = action.intent
    fixed = {
        "action_id": action.id,
        "session_id": action.session_id,
        "customer_id": action.customer,
        "subscription_id": action.subscription,
        "verb": action.verb,
        "when": intent.get("when"),
        "reason": choice.reason if choice else None,
        "offer_id": intent.get("offer_id"),
        "coupon": intent.get("coupon"),
    }
    mapped = {name: _plain(entry) for name, entry in (row.variables if row else {}).items()}
    return {**mapped, **{name: str(value) if value else "" for name, value in fixed.items()}}


def asked(session: Session, action: Action, now: datetime) -> None:
    """A choice has made this action: call the pass-through URLs that are for such choices, each once."""
    if action.choice_id is None:
        return
    found = _wanting(session, action, "call")
    if not found:
        return
    row, choice = _session_of(session, action), _choice_of(session, action)
    values = about(action, row, choice)
    for endpoint in found:
        try:
            url = with_action(fill(endpoint.url, values), action.id)
        except Wrong:
            # A customer's own data must not lead anywhere else, and no choice is lost for it: the webhook tells of it all the same.
            continue
        publishing.queue(
            session,
            action.workspace_id,
            endpoint.id,
            kind="call",
            topic=f"call/{action.id}/{endpoint.id}",
            payload={"id": action.id, "type": _topic(action), "url": url},
            now=now,
            is_closed=endpoint.closed_at is not None,
        )


def way_out(session: Session, ring: KeyRing, action: Action, now: datetime) -> str | None:
    """Where the customer's browser goes when this action's choice is settled; None where no redirect is for such choices."""
    if action.choice_id is None:
        return None
    for endpoint in _wanting(session, action, "redirect"):
        if endpoint.closed_at is not None:
            continue
        values = about(action, _session_of(session, action), _choice_of(session, action))
        try:
            url = with_action(fill(endpoint.url, values), action.id)
        except Wrong:
            continue
        return signed(url, endpoints.secrets(ring, endpoint, now), now)
    return None


def with_action(url: str, action_id: str) -> str:
    """The address with the action's id, by which the other side tells a repetition."""
    return f"{url}{'&' if '?' in url else '?'}{ACTION}={action_id}"


def signed(url: str, secrets: Sequence[str], now: datetime) -> str:
    """The address with the time and, for each secret, HMAC-SHA256 in hex over everything before `&holdfast_signature=`."""
    dated = f"{url}&{TIMESTAMP}={int(now.timestamp())}"
    marks = [hmac.new(secret.encode(), dated.encode(), hashlib.sha256).hexdigest() for secret in secrets]
    return f"{dated}&{SIGNATURE}={'.'.join(marks)}"


def _wanting(session: Session, action: Action, kind: str) -> list[Endpoint]:
    wanted = select(Endpoint).where(
        Endpoint.workspace_id == action.workspace_id,
        Endpoint.mode == action.mode,
        Endpoint.kind == kind,
        Endpoint.topics.contains([_topic(action)]),
    )
    return list(session.execute(wanted.order_by(Endpoint.id)).scalars())


def _topic(action: Action) -> str:
    return "cancel" if action.verb == "cancel" else "accept"


def _session_of(session: Session, action: Action) -> FlowSession | None:
    return session.execute(select(FlowSession).where(FlowSession.id == action.session_id)).scalar_one_or_none()


def _choice_of(session: Session, action: Action) -> Choice | None:
    return session.execute(select(Choice).where(Choice.id == action.choice_id)).scalar_one_or_none()


def _plain(entry: Json) -> str:
    """A variable for machines; what stood in for a value that was not there is for people, and left out."""
    if "fallback" in entry:
        return ""
    match mapping.typed(entry):
        case None:
            return ""
        case Money() as money:
            return str(money.amount)
        case bool() as flag:
            return "true" if flag else "false"
        case other:
            return other.date().isoformat() if isinstance(other, datetime) else str(other)
