"""Pass-through URLs: an address with variables in its path and query, filled in for one action and signed as a whole."""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.crypto import KeyRing, SealBroken
from connect_app.models import Action, Choice, Endpoint, FlowSession
from connect_app.models.base import Json
from connect_app.money import Money
from jobs import plans
from jobs.outbound import endpoints, publishing
from webhooks import mapping

log = structlog.get_logger()

ACTION, TIMESTAMP, SIGNATURE = "holdfast_action", "holdfast_timestamp", "holdfast_signature"
# What is known of a session before any choice, and what every pass-through URL may name, beside the workspace's own variables.
OF_SESSION = ("session_id", "customer_id", "subscription_id")
FIXED = (
    *OF_SESSION,
    *("action_id", "verb", "when", "reason"),
    *("offer_id", "coupon", "price", "item", "resumes_at", "trial_end"),
    *("discount_percent", "discount_amount", "discount_currency", "discount_duration", "discount_months"),
    *("proration", "invoice_now", "prorate", "open_invoices"),
)

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_AUTHORITY = re.compile(r"https?://[^/?#{}]+")
# How much of an ISO 8601 time is its day.
_DAY = 10
_DOTS = re.compile(r"(\.|%2e){1,2}", re.IGNORECASE)


class Wrong(ValueError):
    """The template cannot be used, or not with these values; the text says why, to the person who typed it."""


def check(template: str, known: Collection[str]) -> str:
    """An example of what the template comes to, for the egress guard to look at. Raises Wrong."""
    head = _AUTHORITY.match(template)
    if head is None or template[head.end() : head.end() + 1] not in ("/", "?", ""):
        raise Wrong("Begin with https:// and a host. Variables may stand in the path and the query only.")
    names = named(template)
    if "#" in template:
        raise Wrong("Leave out the fragment (#…): it never reaches a server.")
    if unknown := sorted(set(names) - set(known) - set(FIXED)):
        raise Wrong(f"There is no variable called {unknown[0]}.")
    query = template.partition("?")[2]
    if any(name in query for name in (ACTION, TIMESTAMP, SIGNATURE)):
        raise Wrong("The parameters that begin with holdfast_ are added by Holdfast.")
    return fill(template, dict.fromkeys(names, "x"))


def named(template: str) -> list[str]:
    """The variables that it names. Raises Wrong for braces that are none."""
    rest = _VARIABLE.sub("", template)
    if "{" in rest or "}" in rest:
        raise Wrong("Write variables as {{ name }}, without filters.")
    return _VARIABLE.findall(template)


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
        "coupon": intent.get("coupon") or (plans.coupon_of(intent) if action.verb == "discount" else None),
        "price": intent.get("price"),
        "item": intent.get("item"),
        "resumes_at": str(intent.get("resumes_at") or "")[:_DAY],
        "trial_end": str(intent.get("trial_end") or "")[:_DAY],
        **_minted(action),
        **{name: _text(intent.get(name)) for name in ("proration", "invoice_now", "prorate", "open_invoices")},
    }
    return {**_mapped(row), **{name: str(value) if value else "" for name, value in fixed.items()}}


def _minted(action: Action) -> dict[str, object]:
    """The terms of a coupon that is to be made for this customer; its amount in their subscription's currency, where that is known."""
    mint = action.intent.get("mint")
    if not mint:
        return {}
    amounts = mint.get("amounts") or {}
    currency = ((action.call or {}).get("before") or {}).get("currency") or next(iter(amounts), None)
    return {
        "discount_percent": mint.get("percent_off"),
        "discount_amount": amounts.get(currency),
        "discount_currency": currency if amounts else None,
        "discount_duration": mint.get("duration"),
        "discount_months": mint.get("duration_in_months"),
    }


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def of_session(row: FlowSession) -> dict[str, str]:
    """The values that there are before any choice, written as `about` writes them."""
    fixed = {"session_id": row.id, "customer_id": row.customer, "subscription_id": row.subscription or ""}
    return {**_mapped(row), **fixed}


def introduced(url: str, row: FlowSession, secrets: Sequence[str], now: datetime) -> str:
    """The address of a link offer with who comes, and when, signed as `signed` does; a fragment stays at its end."""
    base, mark, fragment = url.partition("#")
    who = {"customer": row.customer, "subscription": row.subscription or "", "session": row.id}
    query = "&".join(f"holdfast_{name}={quote(value, safe='')}" for name, value in who.items())
    return signed(f"{base}{'&' if '?' in base else '?'}{query}", secrets, now) + mark + fragment


def _mapped(row: FlowSession | None) -> dict[str, str]:
    return {name: _plain(entry) for name, entry in (row.variables if row else {}).items()}


def asked(session: Session, action: Action, now: datetime) -> None:
    """A choice has made this action: call the pass-through URLs that are for such choices, each once."""
    if action.choice_id is None:
        return
    found = _wanting(session, action.workspace_id, action.mode, _topic(action), "call")
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
        _queue(session, endpoint, action.id, _topic(action), url, now)


def chosen(session: Session, row: FlowSession, choice: Choice, now: datetime) -> None:
    """A choice that makes no action (a custom offer): call the pass-through URLs for it; its own id stands for the action's."""
    for endpoint in _wanting(session, row.workspace_id, row.mode, choice.verb, "call"):
        try:
            url = with_action(fill(endpoint.url, _of_choice(row, choice)), choice.id)
        except Wrong:
            continue
        _queue(session, endpoint, choice.id, choice.verb, url, now)


def way_out_of(session: Session, ring: KeyRing, row: FlowSession, choice: Choice, now: datetime) -> str | None:
    """As `way_out`, for a choice that makes no action."""
    for endpoint in _wanting(session, row.workspace_id, row.mode, choice.verb, "redirect"):
        if endpoint.closed_at is not None:
            continue
        try:
            return signed(with_action(fill(endpoint.url, _of_choice(row, choice)), choice.id), endpoints.secrets(ring, endpoint, now), now)
        except (Wrong, SealBroken) as problem:
            log.warning("pass_through.no_way_out", endpoint=endpoint.id, problem=str(problem))
    return None


def way_out(session: Session, ring: KeyRing, action: Action, now: datetime) -> str | None:
    """Where the customer's browser goes when this action's choice is settled; None where no redirect is for such choices."""
    if action.choice_id is None:
        return None
    for endpoint in _wanting(session, action.workspace_id, action.mode, _topic(action), "redirect"):
        if endpoint.closed_at is not None:
            continue
        values = about(action, _session_of(session, action), _choice_of(session, action))
        try:
            return signed(with_action(fill(endpoint.url, values), action.id), endpoints.secrets(ring, endpoint, now), now)
        except (Wrong, SealBroken) as problem:
            log.warning("pass_through.no_way_out", endpoint=endpoint.id, problem=str(problem))
    return None


def with_action(url: str, action_id: str) -> str:
    """The address with the action's id, by which the other side tells a repetition."""
    return f"{url}{'&' if '?' in url else '?'}{ACTION}={action_id}"


def signed(url: str, secrets: Sequence[str], now: datetime) -> str:
    """The address with the time and, for each secret, HMAC-SHA256 in hex over everything before `&holdfast_signature=`."""
    dated = f"{url}&{TIMESTAMP}={int(now.timestamp())}"
    marks = [hmac.new(secret.encode(), dated.encode(), hashlib.sha256).hexdigest() for secret in secrets]
    return f"{dated}&{SIGNATURE}={'.'.join(marks)}"


def _queue(session: Session, endpoint: Endpoint, about_id: str, topic: str, url: str, now: datetime) -> None:
    publishing.queue(
        session,
        endpoint.workspace_id,
        endpoint.id,
        kind="call",
        topic=f"call/{about_id}/{endpoint.id}",
        payload={"id": about_id, "type": topic, "url": url},
        now=now,
        is_closed=endpoint.closed_at is not None,
    )


def _of_choice(row: FlowSession, choice: Choice) -> dict[str, str]:
    offer = choice.offer or {}
    told = {"action_id": choice.id, "verb": offer.get("kind"), "reason": choice.reason, "offer_id": offer.get("id")}
    return {**of_session(row), **{name: str(value or "") for name, value in told.items()}}


def _wanting(session: Session, workspace_id: str, mode: str, topic: str, kind: str) -> list[Endpoint]:
    wanted = select(Endpoint).where(
        Endpoint.workspace_id == workspace_id,
        Endpoint.mode == mode,
        Endpoint.kind == kind,
        Endpoint.topics.contains([topic]),
    )
    return list(session.execute(wanted.order_by(Endpoint.id)).scalars())


def _topic(action: Action) -> str:
    return "cancel" if action.verb in ("cancel", "item_cancel") else "accept"


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
