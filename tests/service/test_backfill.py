"""The read-in: whatever ends it, it goes on where it was; and what a check of the connection finds."""

import dataclasses
import time

import pytest
from sqlalchemy import select, text

from connect_app import connections
from connect_app.models import Connection, Work
from connect_app.runtime import Runtime
from jobs import backfill, queues, work
from sandbox.stripe import accounts, catalogue, customers
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import CallerKilled
from tests import make
from webhooks import mirror


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """A workspace whose account has more than one page of customers and of prices."""
    made = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(made.account, False), source="dashboard")
    local.is_quiet = True
    product = catalogue.create_product(hand, {"name": "Many prices"})
    for place in range(205):
        customers.create(hand, {"name": f"Customer {place}", "email": f"c{place}@mail.example"})
    for place in range(101):
        catalogue.create_price(hand, {"product": product["id"], "currency": "usd", "unit_amount": 100 + place})
    local.is_quiet = False
    return made


@pytest.fixture
def hasty(rt: Runtime) -> Runtime:
    """A runtime whose leases are so short that each claim reads one page."""
    return dataclasses.replace(rt, settings=rt.settings.model_copy(update={"holdfast_lease_seconds": 0.001}))


def progress(rt: Runtime, stage: make.Stage) -> Connection:
    with rt.transaction(stage.workspace_id) as session:
        found = connections.by_id(session, stage.connection_id)
    assert found is not None
    return found


def held(rt: Runtime, local: LocalStripe, stage: make.Stage) -> tuple[dict[str, int], dict[str, int]]:
    """What the mirror holds of the lists that are read in, and what the account has."""
    world = local.world(stage.account, False)
    with rt.transaction(stage.workspace_id) as session:
        counts = mirror.counts(session, stage.connection_id)
    names = [stage.name for stage in backfill.STAGES]
    return {name: counts[name] for name in names}, {name: len(list(world.all(name.removesuffix("s")))) for name in names}


def work_id(rt: Runtime, kind: str) -> str | None:
    with rt.transaction() as session:
        return session.execute(select(Work.id).where(Work.kind == kind)).scalar_one_or_none()


def test_a_read_in_killed_at_every_page_ends_with_everything_once(
    rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    killed = pages = 0
    while (read_in := work_id(rt, "read_in")) is not None:
        assert pages < 50
        fault = local.faults.add({"kind": "kill_after", "times": 1, "path": "/v1/*"})
        with pytest.raises(CallerKilled):
            work.perform(hasty, read_in)
        assert fault.hits == 1
        killed += 1
        before = len(local.requests)
        for _ in range(100):
            if len(local.requests) > before:
                break
            time.sleep(0.002)  # until the dead worker's lease is over
            work.perform(hasty, read_in)
        pages += 1
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    ended = progress(rt, stage).read_in
    assert (ended["state"], ended["error"], ended["counts"]) == ("done", None, real)
    assert ended["finished_at"] >= ended["started_at"]
    assert killed == pages == 3 + 2 + 3  # products, coupons and subscriptions fill a page each; prices two, customers three


def test_a_page_and_its_cursor_are_kept_together_or_not_at_all(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    claim = work._claim(rt, read_in)
    assert claim is not None
    with rt.transaction() as session:
        session.execute(text("update work set lease_token = lease_token + 1 where kind = 'read_in'"))
    with pytest.raises(work.LeaseLost):
        backfill.read_in(rt, claim)
    mirrored, _ = held(rt, local, stage)
    assert set(mirrored.values()) == {0}
    assert progress(rt, stage).read_in == {"state": "waiting"}


def test_a_customer_deleted_under_the_cursor_starts_their_list_anew(
    rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    has_deleted = False
    for _ in range(30):
        if (read_in := work_id(rt, "read_in")) is None:
            break
        work.perform(hasty, read_in)
        time.sleep(0.002)
        state = progress(rt, stage).read_in
        if not has_deleted and state.get("stage") == "customers" and state["cursor"]:
            customers.delete(hand, state["cursor"], {})
            hand.world.table("deleted customer").clear()  # as if it had never been
            has_deleted = True
    assert has_deleted
    mirrored, real = held(rt, local, stage)
    assert progress(rt, stage).read_in["counts"] == real
    assert mirrored["customers"] == real["customers"] + 1  # the news of the deletion is the webhook's


def test_a_stripe_that_is_down_for_a_while_only_delays_it(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    local.faults.add({"kind": "500", "times": 3})
    local.faults.add({"kind": "429", "times": 3})
    local.faults.add({"kind": "reset", "times": 3})
    for _ in range(10):
        with rt.transaction() as session:
            session.execute(text("update work set due_at = :now"), {"now": rt.now()})
        work.drain(rt, queues.UPKEEP)
    mirrored, real = held(rt, local, stage)
    assert mirrored == real


def test_an_account_that_cuts_us_off_ends_it_and_the_connection(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    accounts.disconnect(local, stage.account, False)
    work.drain(rt, queues.UPKEEP)
    ended = progress(rt, stage)
    assert (ended.state, ended.disconnect_reason) == ("disconnected", "access_lost")
    assert ended.read_in["state"] == "failed"
    assert work_id(rt, "read_in") is None


def test_giving_up_tells_the_owner_and_asking_again_goes_on(rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    for _ in range(3):
        work.perform(hasty, read_in)
        time.sleep(0.002)
    reached = progress(rt, stage).read_in["stage"]
    local.faults.add({"kind": "500"})
    with rt.transaction() as session:
        session.execute(text("update work set attempts = 1000, due_at = :now"), {"now": rt.now()})
    work.perform(rt, read_in)
    failed = progress(rt, stage).read_in
    assert (failed["state"], failed["stage"], bool(failed["error"])) == ("failed", reached, True)
    local.faults.rules.clear()
    with rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "read_in", stage.connection_id, stage.workspace_id, due_at=rt.now())
    work.drain(rt, queues.UPKEEP)
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    assert progress(rt, stage).read_in["state"] == "done"


def test_a_check_says_what_may_be_read_and_written(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    make.read_in(rt)
    found = progress(rt, stage)
    assert (found.can_read, found.can_write, found.portal_cancel_open) == (True, True, True)
    assert found.checked_at is not None
    assert local.effects == []


def test_giving_up_our_access_is_done_once_and_not_after_a_reconnect(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)

    def ask() -> None:
        with rt.transaction(stage.workspace_id) as session:
            queues.enqueue(session, "deauthorize", stage.connection_id, stage.workspace_id, due_at=rt.now())
        work.drain(rt, queues.UPKEEP)

    ask()
    assert (stage.account, False) in local.connections
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="disconnected_here", actor="operator")
    ask()
    assert (stage.account, False) not in local.connections
    ask()
    assert work_id(rt, "deauthorize") is None
