"""The daily comparison: Stripe's lists and a random sample against the mirror; what differs is counted as drift, and repaired."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.answers import Page, Read
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import alerts, budget, work
from jobs.backfill import stages
from webhooks import projections

log = structlog.get_logger()

# The newest of each list are looked at, and where that is not all of it, a page from some random time and some random ones of ours.
NEWEST_PAGES = 3
SAMPLE = 10
# Drift worth an alert: of what was compared, and never for one lonely object of many.
_TOO_MUCH = 0.01


@dataclass(slots=True, kw_only=True)
class Drift:
    """Of one kind: how many objects Stripe `listed`, how many of them the mirror lacked or held otherwise, and how many it still held
    that Stripe has no more. `is_whole` when the whole list was compared, and not a part of it."""

    stripe: int = 0
    missing: int = 0
    differing: int = 0
    gone: int = 0
    is_whole: bool = False

    @property
    def total(self) -> int:
        return self.missing + self.differing + self.gone


def compare(rt: Runtime, claim: work.Claim) -> work.End:
    """Compare the connection `claim.row_id` with its account, kind by kind, within the account's rate budget."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
    if connection is None or connection.state != "connected" or connection.reconciled_at is None:
        return work.Done()
    found: dict[str, Drift] = {}
    try:
        for stage in stages.PLAIN:
            found[stage.name] = _Comparison(rt, claim, connection, stage).run()
    except AccessLost as loss:
        return work.GiveUp(problem=str(loss))
    except Transient as failure:
        return work.Again(problem=str(failure))
    except (Missing, Refused) as refusal:
        return work.GiveUp(problem=str(refusal))
    with rt.transaction(claim.tenant) as session:
        connections.compared(session, connection.id, at=rt.now(), drift={name: asdict(drift) for name, drift in found.items()})
        connections.publish(session, connection.id, drift={name: drift.total for name, drift in found.items()})
        _judge(rt, session, connection, found.values())
        claim.fence(session)
    log.info("compared", connection=connection.id, drift={name: drift.total for name, drift in found.items()})
    return work.Done()


def _judge(rt: Runtime, session: Session, connection: Connection, found: Iterable[Drift]) -> None:
    drifts = list(found)
    differing, compared = sum(drift.total for drift in drifts), sum(drift.stripe + drift.gone for drift in drifts)
    if differing and differing >= compared * _TOO_MUCH:
        alerts.open(rt, session, connection, "drift", {"differing": differing, "compared": compared})
    else:
        alerts.close(rt, session, connection, "drift")


class _Comparison:
    """One list of one account, against ours."""

    def __init__(self, rt: Runtime, claim: work.Claim, connection: Connection, stage: stages.Stage) -> None:
        self.rt, self.claim, self.connection, self.stage = rt, claim, connection, stage
        self.kind = stage.kind
        self.model = projections.TABLES[self.kind].model
        self.account: AccountGateway = rt.stripe(connection.mode).account(connection.account)
        self.drift = Drift()

    def run(self) -> Drift:
        since = {"gte": int(stages.history_begins(self.rt.now()).timestamp())} if self.stage.is_history else {}
        after, listed, began = None, set(), None
        for _ in range(NEWEST_PAGES):
            read = self._page(after, since)
            began = began or read.as_of
            listed |= self._check(read)
            after = read.value.last_id
            if not read.value.has_more or after is None:
                self.drift.is_whole = True
                break
        if self.drift.is_whole and began is not None:
            self._look_for(self._unlisted(listed, began, since))
        else:
            self._check(self._page(None, {**since, "lte": self._some_time(since)}))
            self._look_at_some(listed)
        return self.drift

    def _page(self, after: str | None, created: Mapping[str, int]) -> "Read[Page[projections.Mirrored]]":
        budget.wait(self.rt, self.connection.account, self.connection.mode)
        return self.stage.page(self.account, after, created or None)

    def _check(self, read: "Read[Page[projections.Mirrored]]") -> set[str]:
        """Count what of a page the mirror lacks or holds otherwise, and keep the page; gives its ids."""
        place = self.connection.workspace_id, self.connection.id
        with self.rt.transaction(self.claim.tenant) as session:
            held = self._held(session, [str(one.id) for one in read.value.items])
            for one in read.value.items:
                if one.id not in held:
                    self.drift.missing += 1
                else:
                    self.drift.differing += _differs(one, held[one.id], read.as_of)
            projections.apply_reads(session, *place, read.value.items, read.as_of)
            self.claim.fence(session)
        self.drift.stripe += len(read.value.items)
        return {str(one.id) for one in read.value.items}

    def _held(self, session: Session, ids: Sequence[str]) -> dict[str, Any]:
        # What the mirror takes for deleted it does not hold.
        held = select(self.model).where(
            self.model.connection_id == self.connection.id, self.model.id.in_(ids), self.model.is_deleted.is_(False)
        )
        return {row.id: row for row in session.execute(held).scalars()}  # type: ignore[attr-defined]

    def _unlisted(self, listed: set[str], began: datetime, since: Mapping[str, int]) -> list[str]:
        """What we hold and Stripe, whose whole list we have seen, did not name."""
        here = self.model.connection_id == self.connection.id, self.model.is_deleted.is_(False), self.model.as_of < began
        if since:
            here = (*here, self.model.raw["created"].as_integer() >= since["gte"])  # type: ignore[assignment]
        with self.rt.transaction(self.claim.tenant) as session:
            held = session.execute(select(self.model.id).where(*here).order_by(self.model.id)).scalars()
            return [id for id in held if id not in listed]

    def _look_at_some(self, listed: set[str]) -> None:
        """Some of ours, from a random place in the order of their ids, are read again one by one."""
        where = self.model.connection_id == self.connection.id, self.model.is_deleted.is_(False)
        with self.rt.transaction(self.claim.tenant) as session:
            low, high = session.execute(select(func.min(self.model.id), func.max(self.model.id)).where(*where)).one()
            if low is None:
                return
            some = select(self.model.id).where(*where, self.model.id >= _between(low, high)).order_by(self.model.id).limit(SAMPLE)
            ids = list(session.execute(some).scalars())
        self._look_for([id for id in ids if id not in listed])

    def _look_for(self, ids: Iterable[str]) -> None:
        """Read each of these on its own; one that Stripe has no more is marked so."""
        for id in ids:
            budget.wait(self.rt, self.connection.account, self.connection.mode)
            try:
                read = getattr(self.account, self.kind)(id)
            except Missing:
                self._gone(id)
                continue
            if getattr(read.value, "is_deleted", False):
                self._gone(id)
            else:
                page: Page[projections.Mirrored] = Page(items=(read.value,), has_more=False, last_id=id)
                self._check(Read(value=page, as_of=read.as_of, request_id=read.request_id))

    def _gone(self, id: str) -> None:
        self.drift.gone += 1
        with self.rt.transaction(self.claim.tenant) as session:
            place = self.connection.workspace_id, self.connection.id
            projections.refetch(session, *place, self.kind, id, due_at=self.rt.now())
            self.claim.fence(session)
        log.warning("mirror.gone", connection=self.connection.id, kind=self.kind, object=id)

    def _some_time(self, since: Mapping[str, int]) -> int:
        now = int(self.rt.now().timestamp())
        far = self.connection.read_in.get("far")
        oldest = max(since.get("gte", 0), far if isinstance(far, int) else 0)
        return random.randint(min(oldest, now), now)  # noqa: S311  a sample is no secret


def _differs(one: projections.Mirrored, held: Any, as_of: datetime) -> bool:
    """Whether the mirror decides on something else than what Stripe says. How the raw JSON was rendered is no difference."""
    try:
        said = projections.read_row(one, as_of)
    except ValueError:
        return False  # what cannot be kept cannot drift either
    return any(getattr(held, name) != value for name, value in said.columns.items())


def _between(low: str, high: str) -> str:
    """Some text between two ids in their order: their common beginning, then one letter between the two that follow it."""
    place = next((index for index, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), None)
    if place is None:
        return low
    letter = chr(random.randint(ord(low[place]), ord(high[place])))  # noqa: S311
    return max(low, low[:place] + letter + chr(random.randint(ord("0"), ord("z"))))  # noqa: S311
