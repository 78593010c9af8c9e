"""What a variable may come from: the fields every account has, those seen on this one, and the hand-off's own, with samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import CatalogueField, FlowSession, Subscription
from connect_app.money import Money
from webhooks.catalogue import reading, subjects
from webhooks.catalogue.known import FIELDS, Group, Type
from webhooks.catalogue.subjects import Subject
from webhooks.catalogue.values import Value, of_hand_off

_SAMPLES = 3
_SAMPLE_LENGTH = 80
_HAND_OFFS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place a variable may come from; `samples` are the owner's own data, as short text.

    `label` is empty where nothing better than the path is known: a metadata key has the owner's own name.
    """

    path: str
    group: Group
    label: str
    type: Type
    samples: tuple[str, ...] = ()


def sources(
    session: Session, workspace_id: str, mode: str, connection_id: str | None, subscribers: Sequence[Subject], now: datetime
) -> list[Source]:
    """Every source of this workspace, by group and path; samples are taken from `subscribers` first. Two queries."""
    found = {path: Source(path=path, group=one.group, label=one.label, type=one.type) for path, one in FIELDS.items()}
    seen: dict[str, list[str]] = {}
    if connection_id is not None:
        rows = select(CatalogueField).where(CatalogueField.workspace_id == workspace_id, CatalogueField.connection_id == connection_id)
        for row in session.execute(rows).scalars():
            found.setdefault(row.path, Source(path=row.path, group="stripe", label="", type=_type(row.type)))
            seen[row.path] = list(row.samples)
    told: dict[str, list[str]] = {}
    for subscriber in subscribers:
        for path, value in reading.fields(subscriber, now).items():
            found.setdefault(path, Source(path=path, group=_group(path), label="", type=type_of(value)))
            _add(told.setdefault(path, []), value)
    for path, value in _handed_over(session, workspace_id, mode):
        found.setdefault(path, Source(path=path, group="handoff", label="", type=type_of(value)))
        _add(told.setdefault(path, []), value)
    order: dict[Group, int] = {"stripe": 0, "handoff": 1, "computed": 2}
    return [
        replace(one, samples=tuple(dict.fromkeys([*told.get(path, ()), *seen.get(path, ())]))[:_SAMPLES])
        for path, one in sorted(found.items(), key=lambda item: (order[item[1].group], item[0]))
    ]


def recent(session: Session, workspace_id: str, mode: str, connection_id: str, limit: int = 10) -> list[Subject]:
    """The subscribers that a preview is shown on: those of the latest sessions, then others, always the same. Three queries.

    Only such as the mirror has: a hand-off may name anything.
    """
    visits = (
        select(FlowSession.customer, FlowSession.subscription, FlowSession.custom)
        .join(Subscription, (Subscription.id == FlowSession.subscription) & (Subscription.customer == FlowSession.customer))
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode)
        .where(Subscription.connection_id == connection_id, Subscription.is_deleted.is_(False))
        .order_by(FlowSession.minted_at.desc())
        .limit(limit * 5)
    )
    chosen: dict[tuple[str, str], dict[str, object]] = {}
    for customer, subscription, custom in session.execute(visits):
        chosen.setdefault((customer, subscription), custom)
    if len(chosen) < limit:
        others = (
            select(Subscription.customer, Subscription.id)
            .where(Subscription.connection_id == connection_id, Subscription.is_deleted.is_(False))
            .order_by(Subscription.id)
            .limit(limit)
        )
        for customer, id in session.execute(others):
            chosen.setdefault((customer, id), {})
    wanted = list(chosen)[:limit]
    return [replace(one, custom=chosen[pair]) for pair, one in zip(wanted, subjects.load(session, connection_id, wanted), strict=True)]


def type_of(value: Value) -> Type:
    """The data type that fits a value by itself."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case Decimal():
            return "decimal"
        case datetime():
            return "date"
        case Money():
            return "money"
        case _:
            return "text"


def sample(value: Value) -> str:
    """A value as a short text beside its path; for people who look for a field, in no particular locale."""
    match value:
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = value.strftime("%Y-%m-%d")
        case Money():
            text = f"{value.decimal} {value.currency.upper()}"
        case Decimal():
            text = f"{value:f}"
        case int():
            text = str(Decimal(value))
        case _:
            text = value
    return text if len(text) <= _SAMPLE_LENGTH else text[: _SAMPLE_LENGTH - 1] + "…"


def _handed_over(session: Session, workspace_id: str, mode: str) -> Iterable[tuple[str, Value]]:
    latest = (
        select(FlowSession.custom)
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode)
        .order_by(FlowSession.minted_at.desc())
        .limit(_HAND_OFFS)
    )
    for custom in session.execute(latest).scalars():
        yield from of_hand_off(custom, "custom")


def _add(samples: list[str], value: Value) -> None:
    if len(samples) < _SAMPLES and (text := sample(value)) not in samples and text:
        samples.append(text)


def _group(path: str) -> Group:
    return "handoff" if reading.is_handed_over(path) else "stripe"


def _type(kept: str) -> Type:
    match kept:
        case "date" | "decimal" | "integer" | "boolean" | "money" | "email" | "url":
            return kept
        case _:
            return "text"
