"""A workspace's audiences: kept by name, said in words, and counted over the customers of a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from connect_app import audit, ids, money
from connect_app.admin import offers
from connect_app.errors import NotFound
from connect_app.models import Audience, Customer, Subscription
from connect_app.money import Money
from webhooks import audiences, catalogue, mapping
from webhooks.audiences import Condition, Count, Rule, Verb

# All of them are counted in one walk over the customers.
MOST = 100
LONGEST_NAME = 100
DEEPEST = audiences.DEEPEST

VERBS = {
    Verb.IS: "is",
    Verb.IS_NOT: "is not",
    Verb.CONTAINS: "contains",
    Verb.STARTS_WITH: "starts with",
    Verb.IS_ONE_OF: "is one of",
    Verb.IS_LESS_THAN: "is less than",
    Verb.IS_AT_MOST: "is at most",
    Verb.IS_MORE_THAN: "is more than",
    Verb.IS_AT_LEAST: "is at least",
    Verb.IS_BEFORE: "is before",
    Verb.IS_AFTER: "is after",
    Verb.IN_LAST: "is within the last",
    Verb.IN_NEXT: "is within the next",
    Verb.IS_TRUE: "is true",
    Verb.IS_FALSE: "is false",
    Verb.IS_KNOWN: "is known",
    Verb.IS_NOT_KNOWN: "is not known",
}


class NotKept(ValueError):
    """An audience that could not be saved, and why, in words for the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An audience. `rule` is None where what was kept can no longer be read."""

    id: str
    name: str
    rule: Rule | None
    changed_at: datetime

    @property
    def sentence(self) -> str:
        return sentence(self.rule) if self.rule is not None else "This rule can no longer be read. Build it anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One customer whom an audience means, with the subscription it is true with."""

    customer: str
    subscription: str
    name: str | None


def listing(session: Session, workspace_id: str) -> list[Listed]:
    """All audiences, by name."""
    rows = session.execute(select(Audience).where(Audience.workspace_id == workspace_id).order_by(func.lower(Audience.name), Audience.id))
    return [_listed(row) for row in rows.scalars()]


def one(session: Session, workspace_id: str, audience_id: str) -> Listed:
    """One audience. Raises NotFound for one that is not this workspace's."""
    row = session.execute(select(Audience).where(Audience.workspace_id == workspace_id, Audience.id == audience_id)).scalar_one_or_none()
    if row is None:
        raise NotFound(code="not_found", message="There is no such audience in this workspace.")
    return _listed(row)


def save(session: Session, workspace_id: str, audience_id: str | None, name: str, rule: Rule, now: datetime, by: str) -> str:
    """Keep an audience, a new one where there is no id yet; gives its id. Raises NotKept, and NotFound for a foreign id."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise NotKept(f"Write a name of at most {LONGEST_NAME} characters.")
    if audience_id is None:
        if session.execute(select(func.count()).where(Audience.workspace_id == workspace_id)).scalar_one() >= MOST:
            raise NotKept(f"A workspace has at most {MOST} audiences. Delete one that is no longer needed.")
        row = Audience(id=ids.new("aud"), workspace_id=workspace_id, created_at=now)
    else:
        row = _row(session, workspace_id, audience_id)
    try:
        with session.begin_nested():
            row.name, row.rule, row.changed_at = name, audiences.as_json(rule), now
            session.add(row)
    except IntegrityError:
        raise NotKept("There is an audience of this name already.") from None
    verb = "audience.made" if audience_id is None else "audience.changed"
    audit.record(session, workspace_id, actor=by, verb=verb, at=now, target=row.id, details={"name": name, "rule": row.rule})
    return row.id


def remove(session: Session, workspace_id: str, audience_id: str, now: datetime, by: str) -> str:
    """Delete an audience; gives its name. Raises NotFound, and NotKept while an offer is for it."""
    row = _row(session, workspace_id, audience_id)
    if named := offers.naming(session, workspace_id, audience_id):
        raise NotKept(f"“{row.name}” is the audience of {', '.join(f'“{one}”' for one in named)}. Choose another one there first.")
    session.execute(delete(Audience).where(Audience.workspace_id == workspace_id, Audience.id == audience_id))
    details = {"name": row.name, "rule": row.rule}
    audit.record(session, workspace_id, actor=by, verb="audience.deleted", at=now, target=audience_id, details=details)
    return row.name


def used(session: Session, workspace_id: str, listed: Sequence[Listed]) -> dict[str, list[str]]:
    """The names of the offers that are for each of these audiences, by id."""
    every = offers.listing(session, workspace_id)
    return {audience.id: [one.name for one in every if one.offer.audience == audience.id] for audience in listed}


def counts(session: Session, workspace_id: str, connection_id: str | None, listed: Sequence[Listed], now: datetime) -> dict[str, Count]:
    """How many customers of the connection each of these audiences means, by id, from one walk within a second or so."""
    asked = {audience.id: audience.rule for audience in listed if audience.rule is not None}
    return audiences.count(session, workspace_id, connection_id, asked, now) if connection_id and asked else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a rule means right now. `count` is None where there is no rule yet, or no account to count on.

    `variables` are those there are, with their types; `handed` are those of the rule that only a hand-off brings, so nobody has them here;
    `changed` are gone, or of another type than when the rule was written.
    """

    variables: Mapping[str, str]
    count: Count | None
    sample: list[Found]
    handed: list[str]
    changed: list[str]


def preview(session: Session, workspace_id: str, connection_id: str | None, rule: Rule | None, now: datetime) -> Preview:
    """Whom a rule means among the customers of a connection, within a second or so."""
    variables = {one.name: one for one in mapping.of_workspace(session, workspace_id)}
    types = {name: str(one.type) for name, one in variables.items()}
    asked = {condition.field: condition for condition in audiences.conditions(rule)} if rule is not None else {}
    count = None
    if rule is not None and connection_id is not None:
        count = audiences.count(session, workspace_id, connection_id, {"": rule}, now)[""]
    return Preview(
        variables=types,
        count=count,
        sample=_sample(session, connection_id, count) if count is not None and connection_id is not None else [],
        handed=sorted(name for name in asked if name in variables and catalogue.is_handed_over(variables[name].source)),
        changed=sorted(name for name in asked if types.get(name) != asked[name].type),
    )


def ground(session: Session, workspace_id: str, connection_id: str | None) -> tuple[dict[str, str], str]:
    """What rules are built on: the variables with their types, and the currency that most amounts will be in."""
    types = {one.name: str(one.type) for one in mapping.of_workspace(session, workspace_id)}
    paid_in = select(Subscription.currency).where(Subscription.connection_id == connection_id, Subscription.currency.is_not(None)).limit(1)
    return types, session.execute(paid_in).scalar_one_or_none() or "usd"


def _sample(session: Session, connection_id: str, count: Count) -> list[Found]:
    wanted = {customer for customer, _ in count.sample}
    named = select(Customer.id, Customer.name, Customer.email).where(Customer.connection_id == connection_id, Customer.id.in_(wanted))
    names = {row.id: row.name or row.email for row in session.execute(named)}
    return [Found(customer=customer, subscription=id, name=names.get(customer)) for customer, id in count.sample]


def verbs_of(type: str) -> Sequence[Verb]:
    """What may be asked of a variable of this type; nothing of a type there is not."""
    return audiences.VERBS.get(type, ())


def sentence(rule: Rule, *, is_inner: bool = False) -> str:
    """A rule as people say it: `plan_name is one of Pro, Team and none of (mrr is less than $50.00)`."""
    if isinstance(rule, Condition):
        return f"{rule.field} {VERBS[rule.verb]} {_operand(rule)}".strip()
    parts = [sentence(inner, is_inner=True) for inner in rule.rules]
    if rule.match is audiences.Match.NONE:
        return f"none of ({'; '.join(parts)})"
    said = (" and " if rule.match is audiences.Match.ALL else " or ").join(parts)
    return f"({said})" if is_inner and len(parts) > 1 else said


def _operand(condition: Condition) -> str:
    match condition.value:
        case None:
            return ""
        case tuple():
            return ", ".join(condition.value)
        case Money():
            return money.format(condition.value, "en")
        case date():
            return f"{condition.value:%-d %b %Y}"
        case Decimal():
            return format(condition.value, "f")
        case int() if condition.verb in (Verb.IN_LAST, Verb.IN_NEXT):
            return "day" if condition.value == 1 else f"{condition.value} days"
        case _:
            return str(condition.value)


def _row(session: Session, workspace_id: str, audience_id: str) -> Audience:
    query = select(Audience).where(Audience.workspace_id == workspace_id, Audience.id == audience_id).with_for_update()
    row = session.execute(query).scalar_one_or_none()
    if row is None:
        raise NotFound(code="not_found", message="There is no such audience in this workspace.")
    return row


def _listed(row: Audience) -> Listed:
    try:
        rule = audiences.parse(row.rule)
    except audiences.RuleRefused:
        rule = None
    return Listed(id=row.id, name=row.name, rule=rule, changed_at=row.changed_at)
