"""A workspace's variables as its owner sets them up: the list, what may be picked, what they come to, and what uses them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from connect_app import audit, ids
from connect_app.errors import NotFound
from connect_app.models import Audience, FieldMapping, Flow, FlowVersion
from flow_pages import spoken, wording
from jobs import purchases, queues
from webhooks import audiences, catalogue, mapping

PER_PAGE = 50
GROUPS: Mapping[catalogue.Group, str] = {"stripe": "Stripe", "handoff": "Your hand-off", "computed": "Computed by Holdfast"}
_ORIGINS: Mapping[catalogue.Group, str] = {"stripe": "Stripe", "handoff": "Your hand-off", "computed": "Computed"}
TYPES: Mapping[str, str] = {
    "text": "Text",
    "date": "Date",
    "decimal": "Decimal",
    "email": "Email",
    "url": "URL",
    "integer": "Whole number",
    "boolean": "Yes or no",
    "money": "Money",
}
# Words of Liquid, which no variable can be called by.
_TAKEN = frozenset(
    ("true", "false", "nil", "null", "none", "empty", "blank", "and", "or", "not", "contains", "in", "if", "unless", "else", "case", "when")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A variable in the list; `id` is None for those that are there without anybody having set them up."""

    id: str | None
    name: str
    type: str
    source: str
    label: str
    fallback: str | None
    is_fixed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the list, numbered from 1; the fixed ones and the defaults stand on the first."""

    rows: tuple[Listed, ...]
    number: int
    total: int
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What a variable comes to for one subscriber: `text` as they would read it; `reason` where that is the fallback."""

    who: str
    text: str
    reason: str | None
    as_of: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The sources of one group that were looked for; `more` were left out."""

    title: str
    sources: tuple[catalogue.Source, ...]
    more: int


def page(session: Session, workspace_id: str, *, number: int, search: str) -> Page:
    """The variables whose name or source holds `search`, by name."""
    number = max(1, number)
    found = select(FieldMapping).where(FieldMapping.workspace_id == workspace_id)
    if search:
        found = found.where(FieldMapping.name.contains(search, autoescape=True) | FieldMapping.source.contains(search, autoescape=True))
    total = session.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    rows = session.execute(found.order_by(FieldMapping.name).limit(PER_PAGE + 1).offset((number - 1) * PER_PAGE)).scalars().all()
    shown = [_listed(row.id, _mapping(row)) for row in rows[:PER_PAGE]]
    first = []
    if number == 1:
        names = {one.name for one in mapping.DEFAULTS}
        own = set(
            session.execute(
                select(FieldMapping.name).where(FieldMapping.workspace_id == workspace_id, FieldMapping.name.in_(names))
            ).scalars()
        )
        there = [one for one in (*mapping.FIXED, *mapping.DEFAULTS) if one.name not in own]
        first = [_listed(None, one) for one in there if not search or search in one.name or search in one.source]
    return Page(rows=(*first, *shown), number=number, total=total + len(first), has_more=len(rows) > PER_PAGE)


def origin(source: str) -> str:
    """Where a variable's value comes from, for people."""
    if source == mapping.HAND_OFF:
        return "The hand-off itself"
    whose = catalogue.origin(source)
    return f"{_ORIGINS[whose] if whose else 'No such source'}, {source}"


def is_seen(source: str, sources: Iterable[catalogue.Source]) -> bool:
    """Whether anything of this account's has a value at this path, as far as `sources` know; what is computed can always be looked for."""
    return source == mapping.HAND_OFF or any(one.path == source for one in sources)


def names(session: Session, workspace_id: str) -> list[str]:
    """What copy may name."""
    return list(types(session, workspace_id))


def types(session: Session, workspace_id: str) -> dict[str, catalogue.Type]:
    """What copy may name, each with its type, by name."""
    return {one.name: one.type for one in mapping.of_workspace(session, workspace_id)}


def one(session: Session, workspace_id: str, id: str) -> FieldMapping:
    """One that the owner has set up. Raises NotFound."""
    row = session.execute(select(FieldMapping).where(FieldMapping.workspace_id == workspace_id, FieldMapping.id == id)).scalar_one_or_none()
    if row is None:
        raise NotFound(code="not_found", message="There is no such field.")
    return row


def default(name: str) -> mapping.Mapping | None:
    """The variable of this name that is there without anybody having set it up, where there is one that may be changed."""
    return next((one for one in mapping.DEFAULTS if one.name == name), None)


def problem_with_name(name: str) -> str | None:
    """Why a variable cannot be called this; None where it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        return "Write small letters, digits and underscores, beginning with a letter: plan_name."
    if name in _TAKEN:
        return f"{name} is a word of Liquid’s own."
    if name in {one.name for one in mapping.FIXED}:
        return f"{name} is there already and always is what the hand-off says."
    return None


def add(session: Session, workspace_id: str, new: mapping.Mapping, *, connections: Iterable[str], now: datetime, by: str) -> bool:
    """Set up a variable; False where there is one of that name. A default of the same name gives way to it."""
    row = upsert(FieldMapping).values(id=ids.new("map"), workspace_id=workspace_id, created_at=now, changed_at=now, **_fields(new))
    made = session.execute(
        row.on_conflict_do_nothing(index_elements=[FieldMapping.workspace_id, FieldMapping.name]).returning(FieldMapping.id)
    ).scalar_one_or_none()
    if made is None:
        return False
    audit.record(session, workspace_id, actor=by, verb="field.added", at=now, target=made, details=_fields(new))
    _ask(session, workspace_id, new, connections, now)
    return True


def change(
    session: Session, workspace_id: str, id: str, new: mapping.Mapping, *, connections: Iterable[str], now: datetime, by: str
) -> None:
    """Change all but its name, which copy goes by. Raises NotFound."""
    row = one(session, workspace_id, id)
    changed = {name: value for name, value in _fields(new).items() if name != "name" and value != getattr(row, name)}
    if not changed:
        return
    session.execute(update(FieldMapping).where(FieldMapping.id == id).values(**changed, changed_at=now))
    audit.record(session, workspace_id, actor=by, verb="field.changed", at=now, target=id, details={"name": row.name, **changed})
    _ask(session, workspace_id, new, connections, now)


def remove(session: Session, workspace_id: str, id: str, *, now: datetime, by: str) -> str:
    """Take a variable away; gives its name. Raises NotFound."""
    row = one(session, workspace_id, id)
    session.execute(delete(FieldMapping).where(FieldMapping.workspace_id == workspace_id, FieldMapping.id == id))
    audit.record(session, workspace_id, actor=by, verb="field.removed", at=now, target=id, details={"name": row.name})
    return row.name


def uses(session: Session, workspace_id: str, name: str) -> list[str]:
    """Where this variable is named, in words: published copy, and audiences."""
    published = (
        select(Flow.name, FlowVersion.document)
        .join(FlowVersion, (FlowVersion.workspace_id == Flow.workspace_id) & (FlowVersion.id == Flow.published_version_id))
        .where(Flow.workspace_id == workspace_id)
        .order_by(Flow.created_at)
    )
    found = []
    for row in session.execute(published):
        if any(name in wording.names(text) for text in _texts(row.document)):
            found.append(f"the copy of {row.name}")
    rules = select(Audience.name, Audience.rule).where(Audience.workspace_id == workspace_id).order_by(Audience.name)
    for row in session.execute(rules):
        try:
            asked = audiences.conditions(audiences.parse(row.rule))
        except audiences.RuleRefused:
            continue
        if any(condition.field == name for condition in asked):
            found.append(f"the audience {row.name}")
    return found


def subscribers(session: Session, workspace_id: str, mode: str, connection_id: str | None) -> list[catalogue.Subject]:
    """Those a preview is shown on, and samples are taken from; none where nothing is mirrored yet."""
    return [] if connection_id is None else catalogue.recent(session, workspace_id, mode, connection_id)


def preview(wanted: mapping.Mapping, subjects: Sequence[catalogue.Subject], now: datetime) -> list[Previewed]:
    """What the variable comes to for each of them."""
    found = []
    for subject in subjects:
        resolved = mapping.resolve([wanted], subject, now)[wanted.name]
        who = (subject.customer.name or subject.customer.email if subject.customer else None) or subject.customer_id
        text = mapping.write(resolved, spoken.reader(None, subject.customer))
        found.append(Previewed(who=who, text=text[: mapping.LONGEST], reason=resolved.reason, as_of=resolved.as_of))
    return found


def choices(sources: Sequence[catalogue.Source], search: str, limit: int = 60) -> list[Choice]:
    """The sources whose path, name or samples hold every word of `search`, by group."""
    words = search.lower().split()
    groups = []
    for group, title in GROUPS.items():
        fitting = [one for one in sources if one.group == group and _holds(one, words)]
        groups.append(Choice(title=title, sources=tuple(fitting[:limit]), more=max(0, len(fitting) - limit)))
    return groups


def _holds(source: catalogue.Source, words: Sequence[str]) -> bool:
    text = " ".join((source.path, source.label, *source.samples)).lower()
    return all(word in text for word in words)


def _listed(id: str | None, one: mapping.Mapping) -> Listed:
    known = catalogue.FIELDS.get(one.source)
    label = known.label if known else "The hand-off itself" if one.source == mapping.HAND_OFF else ""
    return Listed(id=id, name=one.name, type=TYPES[one.type], source=one.source, label=label, fallback=one.fallback, is_fixed=one.is_fixed)


def _mapping(row: FieldMapping) -> mapping.Mapping:
    return mapping.Mapping(name=row.name, type=mapping.type_named(row.type), source=row.source, fallback=row.fallback)


def _fields(new: mapping.Mapping) -> dict[str, object]:
    return {"name": new.name, "type": new.type, "source": new.source, "fallback": new.fallback}


def _ask(session: Session, workspace_id: str, new: mapping.Mapping, connections: Iterable[str], now: datetime) -> None:
    """What this variable needs that nobody has asked Stripe for so far."""
    if new.source == purchases.FIELD:
        for connection_id in connections:
            queues.enqueue(session, "first_purchases", connection_id, workspace_id, due_at=now)


def _texts(document: object) -> Iterable[str]:
    """Every text in a flow's document."""
    match document:
        case str():
            yield document
        case dict():
            for part in document.values():
                yield from _texts(part)
        case list():
            for part in document:
                yield from _texts(part)
