"""What is done again and again: periodic work as data, kept going by its own rows of the work table."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app import ids
from jobs import queues

# Rows asked for at a time: a first start with thousands of connections takes several turns.
_BATCH = 500
# The row id of work there is one of.
ONCE = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """One kind of work (a key of `queues.KINDS`) and how often it is due: for each connected account, or once for the whole server."""

    kind: str
    every: timedelta
    per: Literal["connection", "server"]


TABLE = (
    # Stripe's list of events against those that came by webhook.
    Periodic(kind="reconcile", every=timedelta(hours=1), per="connection"),
    # The mirror against Stripe's lists and a random sample.
    Periodic(kind="compare", every=timedelta(days=1), per="connection"),
    # Metadata keys and other fields that an account's objects have come to have.
    Periodic(kind="survey_fields", every=timedelta(days=1), per="connection"),
    # When new subscribers first paid, where a variable wants it.
    Periodic(kind="first_purchases", every=timedelta(days=1), per="connection"),
    # Permissions, and Stripe's own portal.
    Periodic(kind="check_connection", every=timedelta(hours=6), per="connection"),
    # What the owner has to be told.
    Periodic(kind="watch", every=timedelta(minutes=5), per="connection"),
    # Old raw events.
    Periodic(kind="retention", every=timedelta(hours=1), per="server"),
)
_EVERY = {periodic.kind: periodic.every for periodic in TABLE}


def following(kind: str, now: datetime) -> datetime | None:
    """When work of this kind that has just ended is due again; None for what is not periodic.

    Its row is what keeps it going: it is put off instead of deleted, so that there is no second clock, and no second row either.
    """
    every = _EVERY.get(kind)
    return None if every is None else now + every


def ask(session: Session, now: datetime) -> int:
    """Ask for whatever periodic work has no row yet; gives how much that was. Safe from several workers at once.

    Starts somewhere within its period, so that the accounts of a server do not all come at once.
    """
    asked = 0
    for periodic in TABLE:
        for row_id, workspace_id in _missing(session, periodic):
            due_at = now + periodic.every * random.random() if periodic.per == "connection" else now  # noqa: S311  jitter is no secret
            asked += _insert(session, periodic.kind, row_id, workspace_id, due_at)
    return asked


def _missing(session: Session, periodic: Periodic) -> list[tuple[str, str | None]]:
    values = {"kind": periodic.kind, "limit": _BATCH, "once": ONCE}
    if periodic.per == "server":
        there = text("select 1 from work where kind = :kind and row_id = :once")
        return [] if session.execute(there, values).first() else [(ONCE, None)]
    # The look-up of accounts is what may be asked without a tenant.
    without = text(
        "select connection_id, workspace_id from account_lookups as home where is_active"
        " and not exists (select 1 from work where kind = :kind and row_id = home.connection_id) limit :limit"
    )
    return [(row.connection_id, row.workspace_id) for row in session.execute(without, values)]


def _insert(session: Session, kind: str, row_id: str, workspace_id: str | None, due_at: datetime) -> int:
    # No bell: the sweep rings when it is due. No second ask either, where another worker was first.
    insert = text(
        "insert into work (id, kind, row_id, workspace_id, queue, due_at) values (:id, :kind, :row_id, :workspace_id, :queue, :due_at)"
        " on conflict (kind, row_id) do nothing returning id"
    )
    values = {"id": ids.new("wrk"), "kind": kind, "row_id": row_id, "workspace_id": workspace_id}
    return len(session.execute(insert, {**values, "queue": queues.KINDS[kind].queue, "due_at": due_at}).all())
