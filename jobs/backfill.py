"""The read-in: after connecting, a page at a time, everything the mirror starts from; it goes on where it was, whatever ended it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from connect_app import connections
from connect_app.models import Connection
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.answers import Page, Read
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import budget, queues, work
from webhooks import projections

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One list to read, page after page."""

    name: str
    page: Callable[[AccountGateway, str | None], "Read[Page[projections.Mirrored]]"]


# Subscriptions of all statuses come last: what they refer to is there by then.
STAGES = (
    _Stage(name="products", page=lambda account, after: account.products(after=after)),  # type: ignore[arg-type,return-value]
    _Stage(name="prices", page=lambda account, after: account.prices(after=after)),  # type: ignore[arg-type,return-value]
    _Stage(name="coupons", page=lambda account, after: account.coupons(after=after)),  # type: ignore[arg-type,return-value]
    _Stage(name="customers", page=lambda account, after: account.customers(after=after)),  # type: ignore[arg-type,return-value]
    _Stage(name="subscriptions", page=lambda account, after: account.subscriptions(after=after)),  # type: ignore[arg-type,return-value]
)
_NAMES = [stage.name for stage in STAGES]


def read_in(rt: Runtime, claim: work.Claim) -> work.End:
    """Read on from the stored cursor of the connection `claim.row_id`; each page and its cursor are committed together."""
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    while True:
        with rt.transaction(claim.tenant) as session:
            connection = connections.by_id(session, claim.row_id)
        if connection is None or connection.state != "connected" or connection.read_in.get("state") == "done":
            return work.Done()
        try:
            if _read_page(rt, claim, connection)["state"] == "done":
                return work.Done()
        except AccessLost as loss:
            return _access_lost(rt, claim, connection, loss)
        except Transient as failure:
            return work.Again(problem=str(failure))
        except Refused as refusal:
            give_up(rt, claim, str(refusal))
            return work.GiveUp(problem=str(refusal))
        if time.monotonic() > until:
            # Asking anew, rather than trying again: this was progress, and progress has no last attempt.
            with rt.transaction(claim.tenant) as session:
                claim.fence(session)
                queues.enqueue(session, "read_in", claim.row_id, claim.tenant, due_at=rt.now())
            return work.Done()


def give_up(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """The owner is shown that the read-in stopped, and why; asking for it again goes on from the same place."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        connection = connections.by_id(session, claim.row_id)
        if connection is not None:
            connections.save_read_in(session, connection.id, {**connection.read_in, "state": "failed", "error": problem[:500]})


def _read_page(rt: Runtime, claim: work.Claim, connection: Connection) -> Json:
    """Read and keep the next page; gives the progress as it was stored."""
    progress = _begun(connection.read_in, rt)
    stage = STAGES[_NAMES.index(progress["stage"])]
    budget.wait(rt, connection.account, connection.mode)
    try:
        read = stage.page(rt.stripe(connection.mode).account(connection.account), progress["cursor"])
    except (Missing, Refused) as refusal:
        # What the cursor stands on was deleted: the list is read from its start, which changes nothing that is there.
        if progress["cursor"] is None or refusal.code != "resource_missing":
            raise
        log.warning("read_in.cursor_gone", connection=connection.id, stage=stage.name)
        return _save(rt, claim, connection, {**progress, "cursor": None, "counts": {**progress["counts"], stage.name: 0}}, None)
    for problem in read.value.unreadable:
        log.warning("read_in.unreadable", connection=connection.id, stage=stage.name, problem=problem)
    return _save(rt, claim, connection, _advanced(progress, read.value, rt), read)


def _save(rt: Runtime, claim: work.Claim, connection: Connection, progress: Json, read: Read[Page[projections.Mirrored]] | None) -> Json:
    with rt.transaction(claim.tenant) as session:
        if read is not None:
            projections.apply_reads(session, connection.workspace_id, connection.id, read.value.items, read.as_of)
        connections.save_read_in(session, connection.id, progress)
        # After the mirror's rows, as everywhere where both are held.
        claim.fence(session)
    return progress


def _begun(stored: Json, rt: Runtime) -> Json:
    started_at = stored.get("started_at") or rt.now().isoformat()
    stage = stored.get("stage") if stored.get("stage") in _NAMES else _NAMES[0]
    return {
        "state": "running",
        "stage": stage,
        "cursor": stored.get("cursor"),
        "counts": stored.get("counts") or {},
        "started_at": started_at,
        "finished_at": None,
        "error": None,
    }


def _advanced(progress: Json, page: Page[projections.Mirrored], rt: Runtime) -> Json:
    stage: str = progress["stage"]
    counts = {**progress["counts"], stage: progress["counts"].get(stage, 0) + len(page.items)}
    if page.has_more and page.last_id is not None:
        return {**progress, "counts": counts, "cursor": page.last_id}
    following = _NAMES.index(stage) + 1
    if following < len(_NAMES):
        return {**progress, "counts": counts, "cursor": None, "stage": _NAMES[following]}
    return {**progress, "counts": counts, "cursor": None, "state": "done", "finished_at": rt.now().isoformat()}


def _access_lost(rt: Runtime, claim: work.Claim, connection: Connection, loss: AccessLost) -> work.End:
    if not loss.is_disconnected:
        return work.Again(problem=str(loss))
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        connections.save_read_in(session, connection.id, {**connection.read_in, "state": "failed", "error": str(loss)[:500]})
        actor = f"stripe:{connection.account}"
        connections.lost(session, claim.tenant, connection.id, at=rt.now(), reason="access_lost", actor=actor)
    return work.Done()
