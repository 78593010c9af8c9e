"""The field survey: which fields an account's objects have beyond those of every account, found in batches, off the path of any webhook."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import CatalogueField, CatalogueSurvey, Connection
from connect_app.runtime import Runtime
from jobs import queues, work
from webhooks import catalogue

# The mirror's tables by the first key of their paths.
_TABLES = {
    "subscription": "subscriptions",
    "customer": "customers",
    "product": "products",
    "price": "prices",
    "coupon": "coupons",
    "invoice": "invoices",
}
_KINDS = list(_TABLES)
_BATCH = 1_000
# Stripe's own fields are all seen by then; from there on only the owner's keys can be new.
_READ_WHOLE = 5_000
# Beyond this nobody finds anything in the list; a path that is not listed can still be typed.
MOST_PATHS = 3_000
_LONGEST_PATH = 2_000
_SAMPLES = 3
# Stripe's clock and ours need not agree to the minute.
_OVERLAP = timedelta(hours=1)
# While the account is still being read in.
_WAIT = timedelta(minutes=1)
# Personal data stay where they are: their samples are taken from the latest subscribers when the page is drawn, and kept nowhere.
_PERSONAL = frozenset(("customer", "invoice"))

Found = dict[str, tuple[str, list[str]]]


def survey(rt: Runtime, claim: work.Claim) -> work.End:
    """Look on through the objects of the connection `claim.row_id` that are new since the last time; a batch and its cursor are committed
    together.
    """
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    while True:
        with rt.transaction(claim.tenant) as session:
            connection = connections.by_id(session, claim.row_id)
            if connection is None or connection.state != "connected":
                return work.Done()
            if connection.read_in.get("state") == "running":
                return _later(claim, session, rt.now() + _WAIT)
            claim.fence(session)
            is_over = _batch(session, connection, rt.now())
            if is_over:
                return work.Done()
            if time.monotonic() > until:
                # Asking anew, rather than trying again: this was progress, and progress has no last attempt.
                return _later(claim, session, rt.now())


def _later(claim: work.Claim, session: Session, due_at: datetime) -> work.End:
    claim.fence(session)
    queues.enqueue(session, claim.kind, claim.row_id, claim.tenant, due_at=due_at)
    return work.Done()


def _batch(session: Session, connection: Connection, now: datetime) -> bool:
    """Look at the next batch and keep what it had; whether that was the last."""
    survey = session.get(CatalogueSurvey, connection.id)
    if survey is None:
        place = {"workspace_id": connection.workspace_id, "connection_id": connection.id}
        survey = CatalogueSurvey(**place, kind=_KINDS[0], after="", seen=0, since=None, started_at=now)
        session.add(survey)
    elif not survey.kind:
        survey.since, survey.started_at = survey.started_at - _OVERLAP, now
        survey.kind, survey.after, survey.seen = _KINDS[0], "", 0
    kind = survey.kind
    rows = _rows(session, connection.id, survey)
    _keep(session, connection, _fields(kind, (raw for _, raw in rows if raw is not None)), now)
    survey.seen += len(rows)
    survey.after = rows[-1][0] if rows else ""
    if len(rows) < _BATCH:
        following = _KINDS.index(kind) + 1
        survey.kind, survey.after, survey.seen = (_KINDS[following] if following < len(_KINDS) else ""), "", 0
    session.flush()
    return not survey.kind


def _rows(session: Session, connection_id: str, survey: CatalogueSurvey) -> Sequence[tuple[str, Mapping[str, object] | None]]:
    """The next ids with their JSON, or with None where they are no news; only the metadata once enough were read whole."""
    raw = "raw" if survey.seen < _READ_WHOLE else "json_build_object('metadata', raw -> 'metadata')"
    found = text(
        f"select id, case when not is_deleted and (cast(:since as timestamptz) is null or as_of > :since) then {raw} end as raw"  # noqa: S608
        f" from {_TABLES[survey.kind]} where connection_id = :connection and id > :after order by id limit :limit"
    )
    values = {"connection": connection_id, "since": survey.since, "after": survey.after, "limit": _BATCH}
    return [(row.id, row.raw) for row in session.execute(found, values)]


def _fields(kind: str, raws: Iterable[Mapping[str, object]]) -> Found:
    """Paths with their type and samples."""
    found: Found = {}
    for raw in raws:
        for path, value in catalogue.of_stripe(raw, kind):
            if path in catalogue.FIELDS or not _is_listed(path):
                continue
            type, samples = found.setdefault(path, (catalogue.type_of(value), []))
            if type != catalogue.type_of(value):
                found[path] = "text", samples
            is_own = path.startswith(f"{kind}.metadata.")
            if len(samples) < _SAMPLES and (is_own or kind not in _PERSONAL):
                shown = catalogue.sample(value)
                if shown and shown not in samples:
                    samples.append(shown)
    return found


def _is_listed(path: str) -> bool:
    """Whether a place is worth listing: not the second, third and hundredth line of a list, and not longer than an index takes."""
    if len(path.encode(errors="replace")) > _LONGEST_PATH:
        return False
    return ".metadata." in path or not any(key.isdigit() and key != "0" for key in path.split("."))


def _keep(session: Session, connection: Connection, found: Found, now: datetime) -> None:
    if not found:
        return
    table = CatalogueField
    held = session.execute(select(table.path, table.type, table.samples).where(table.connection_id == connection.id))
    known = {row.path: (row.type, list(row.samples)) for row in held}
    room = MOST_PATHS - len(known)
    lines = []
    for path, (type, samples) in found.items():
        if path not in known:
            room -= 1
            if room < 0:
                continue
        before_type, before = known.get(path, (type, []))
        merged = list(dict.fromkeys([*before, *samples]))[:_SAMPLES]
        kept_type = type if type == before_type else "text"
        if known.get(path) != (kept_type, merged):
            place = {"workspace_id": connection.workspace_id, "connection_id": connection.id}
            lines.append({**place, "path": path, "type": kept_type, "samples": merged, "seen_at": now})
    if lines:
        row = insert(table)
        told = {name: row.excluded[name] for name in ("type", "samples", "seen_at")}
        session.execute(row.on_conflict_do_update(index_elements=[table.connection_id, table.path], set_=told), lines)
