"""The mirrored customers of a connection as the dashboard lists them: found by email, name or id, or by an audience, a page at a time."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.money import Money
from connect_app.stripe_gateway import objects
from webhooks import audiences, catalogue, mapping

PER_PAGE = 50
# Customers an audience is tried on at once, and for how long one page goes on looking.
_AT_ONCE = 200
_SECONDS = 1.5
# Nobody reads more of one customer's subscriptions in a list.
_MOST_SUBSCRIPTIONS = 20

_COLUMNS = "id, email, name, created_at, is_deleted"
_BROWSE = text(
    f"""select {_COLUMNS} from customers
where connection_id = :connection and not is_deleted and (:id = '' or id < :id) order by id desc limit :most"""  # noqa: S608
)
# The ranges and the order are those of the two indexes with text_pattern_ops: by bytes, whatever the database's collation.
_IN_RANGE = "{key} ~>=~ lower(:search) and {key} ~<~ (lower(:search) || chr(1114111))"
_BY = """select {columns}, {key} as key from customers
where connection_id = :connection and not is_deleted and {in_range}
  and (:key = '' or {key} ~>=~ :key) and (:key = '' or {key} ~>~ :key or id > :id){besides}
order by {key} using ~<~, id limit :most"""
_BY_EMAIL = text(_BY.format(columns=_COLUMNS, key="email_key", in_range=_IN_RANGE.format(key="email_key"), besides=""))
_NOT_BY_EMAIL = f"\n  and ({_IN_RANGE.format(key='email_key')}) is not true"
_BY_NAME = text(_BY.format(columns=_COLUMNS, key="name_key", in_range=_IN_RANGE.format(key="name_key"), besides=_NOT_BY_EMAIL))
_BY_ID = text(
    f"""select {_COLUMNS} from customers where connection_id = :connection and id = :id
union all
select :id, null, null, null, false where not exists(select 1 from customers where connection_id = :connection and id = :id) and (
  exists(select 1 from subscriptions where connection_id = :connection and customer = :id)
  or exists(select 1 from sessions where connection_id = :connection and customer = :id))"""  # noqa: S608
)
_OWNER = text("select customer from subscriptions where connection_id = :connection and id = :id")
_SUBSCRIPTIONS = text(
    """
select wanted.customer, s.id
from unnest(cast(:customers as text[])) with ordinality wanted(customer, place)
cross join lateral (
  select id, status in ('canceled', 'incomplete_expired') as is_over, created_at from subscriptions
  where connection_id = :connection and customer = wanted.customer and not is_deleted order by 2, 3 desc, id limit :most
) s
order by wanted.place, s.is_over, s.created_at desc, s.id
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A customer and what is known of each of their subscriptions: running ones first, newest first.

    `subjects` has one without a subscription where they have none. `cursor` is where a list goes on after them.
    """

    id: str
    email: str | None
    name: str | None
    created_at: datetime | None
    is_deleted: bool
    subjects: tuple[catalogue.Subject, ...]
    cursor: str

    @property
    def running(self) -> tuple[catalogue.Subject, ...]:
        """Those whose subscription has not ended."""
        return tuple(one for one in self.subjects if one.subscription is not None and not one.subscription.is_ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the list. `mrr` adds up the running subscriptions, by currency; None where one of them cannot be said."""

    id: str
    email: str | None
    name: str | None
    created_at: datetime | None
    is_deleted: bool
    state: str | None
    plan: str | None
    others: int
    mrr: tuple[Money, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Up to PER_PAGE rows. `after` is where the next page begins, None at the end; `looked_at` how many an audience was tried on."""

    rows: list[Row]
    after: str | None
    looked_at: int


def page(
    session: Session,
    workspace_id: str,
    connection_id: str,
    now: datetime,
    *,
    search: str = "",
    after: str = "",
    rule: audiences.Rule | None = None,
) -> Page:
    """A page of customers: all, by id downwards (Stripe's ids rise with time), or those that `search` finds.

    `search` is a whole customer or subscription id, or the beginning of an email address or a name. With `rule`, only whom it means; a page
    that has looked for too long ends early, and `after` goes on. A fixed number of queries for each 200 customers.
    """
    until = time.monotonic() + _SECONDS
    variables = mapping.of_workspace(session, workspace_id) if rule is not None else []
    rows: list[Row] = []
    looked_at = 0
    while True:
        people, following = batch(session, connection_id, search, after, PER_PAGE if rule is None else _AT_ONCE)
        for person in people:
            looked_at, after = looked_at + 1, person.cursor
            if rule is None or is_meant(rule, variables, person, now):
                rows.append(_row(person, now))
            if len(rows) == PER_PAGE:
                break
        is_at_end = following is None and (not people or after == people[-1].cursor)
        if is_at_end or len(rows) == PER_PAGE or time.monotonic() >= until:
            return Page(rows=rows, after=None if is_at_end else after, looked_at=looked_at)
        after = following or after


def is_meant(rule: audiences.Rule, variables: Sequence[mapping.Mapping], person: Person, now: datetime) -> bool:
    """Whether the rule is true with one of the customer's running subscriptions, as when an audience is counted."""
    return any(audiences.matches(rule, mapping.resolve(variables, subject, now), now) for subject in person.running)


def batch(session: Session, connection_id: str, search: str, after: str, size: int) -> tuple[list[Person], str | None]:
    """The next customers of a list, and where it goes on, None at its end; three or four queries, whatever the size."""
    found, is_more = _found(session, connection_id, search.strip(), _place(after), size)
    ids = [row["id"] for row, _ in found]
    owned: dict[str, list[str]] = {id: [] for id in ids}
    given = {"connection": connection_id, "customers": ids, "most": _MOST_SUBSCRIPTIONS}
    for row in session.execute(_SUBSCRIPTIONS, given) if ids else ():
        owned[row.customer].append(row.id)
    pairs = [(customer, id) for customer, theirs in owned.items() for id in theirs or [""]]
    subjects: dict[str, list[catalogue.Subject]] = {}
    for subject in catalogue.load(session, connection_id, pairs):
        subjects.setdefault(subject.customer_id, []).append(subject)
    people = [
        Person(
            id=row["id"],
            email=row["email"],
            name=row["name"],
            created_at=row["created_at"],
            is_deleted=row["is_deleted"],
            subjects=tuple(subjects[row["id"]]),
            cursor=cursor,
        )
        for row, cursor in found
    ]
    return people, people[-1].cursor if is_more else None


def state_of(subscription: objects.Subscription) -> str:
    """A subscription's state in one word, as badges know it; a scheduled end counts for more than a pause."""
    if subscription.is_scheduled_to_cancel:
        return "canceling"
    return "paused" if subscription.is_paused and not subscription.is_ended else str(subscription.status)


def price(amount: Money) -> str:
    """An amount as the dashboard writes it."""
    return money.format(amount, "en")


def _row(person: Person, now: datetime) -> Row:
    leading = person.subjects[0]
    plan = catalogue.value(leading, "plan_name", now)
    return Row(
        id=person.id,
        email=person.email,
        name=person.name,
        created_at=person.created_at,
        is_deleted=person.is_deleted,
        state=state_of(leading.subscription) if leading.subscription else None,
        plan=plan if isinstance(plan, str) else None,
        others=len(person.subjects) - 1,
        mrr=_mrr(person, now),
    )


def _mrr(person: Person, now: datetime) -> tuple[Money, ...] | None:
    by_currency: dict[str, Money] = {}
    for subject in person.running:
        worth = catalogue.value(subject, "mrr", now)
        if not isinstance(worth, Money):
            return None
        by_currency[worth.currency] = by_currency.get(worth.currency, Money(0, worth.currency)) + worth
    return tuple(by_currency.values())


# A place in a list: which query it came from, the value that query is ordered by, and the customer's id.
_Place = tuple[str, str, str]
_START: _Place = ("", "", "")


def _found(session: Session, connection_id: str, search: str, place: _Place, size: int) -> tuple[list[tuple[RowMapping, str]], bool]:
    """The next customers with the cursor of each, and whether there are more."""
    if search.startswith("sub_"):
        search = session.execute(_OWNER, {"connection": connection_id, "id": search}).scalar_one_or_none() or ""
        if not search:
            return [], False
    if search.startswith("cus_"):
        rows = session.execute(_BY_ID, {"connection": connection_id, "id": search}).mappings()
        return [(row, _cursor(("id", "", row["id"]))) for row in rows], False
    ways = (("email", _BY_EMAIL), ("name", _BY_NAME)) if search else (("all", _BROWSE),)
    names = [name for name, _ in ways]
    found: list[tuple[RowMapping, str]] = []
    for name, query in ways[names.index(place[0]) if place[0] in names else 0 :]:
        key, id = (place[1], place[2]) if name == place[0] else ("", "")
        given = {"connection": connection_id, "search": search, "key": key, "id": id, "most": size + 1 - len(found)}
        found += [(row, _cursor((name, row.get("key", ""), row["id"]))) for row in session.execute(query, given).mappings()]
        if len(found) > size:
            return found[:size], True
    return found, False


def _cursor(place: _Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _place(cursor: str) -> _Place:
    """What `_cursor` wrote; whatever it did not write is the beginning."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return _START
    is_place = isinstance(found, list) and len(found) == 3 and all(isinstance(part, str) and part.isprintable() for part in found)
    return (found[0], found[1], found[2]) if is_place else _START
