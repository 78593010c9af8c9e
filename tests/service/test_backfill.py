"""The read-in: whatever ends it, it goes on where it was; and what a check of the connection finds."""

import dataclasses
import re
import time
from collections import Counter
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from connect_app import cli, connections
from connect_app.models import Charge, Connection, Work
from connect_app.runtime import Runtime
from jobs import backfill, queues, work
from jobs.backfill import lanes, leavings, stages
from sandbox.stripe import accounts, catalogue, customers, payments, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import CallerKilled
from tests import customers as customers_of
from tests import make
from webhooks import mirror, projections


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """A workspace whose account has several pages of customers, made over a year, and more than one of prices, made in one second."""
    made = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(made.account, False), source="dashboard")
    local.is_quiet = True
    product = catalogue.create_product(hand, {"name": "Many prices"})
    for place in range(605):
        customers.create(hand, {"name": f"Customer {place}", "email": f"c{place}@mail.example"})
    for place in range(101):
        catalogue.create_price(hand, {"product": product["id"], "currency": "usd", "unit_amount": 100 + place})
    _spread(local, made, "customer", days=300)
    local.is_quiet = False
    return made


def _spread(local: LocalStripe, made: make.Stage, kind: str, days: int) -> None:
    """Give what is there times of creation over so many days, in the order in which it was made."""
    rows = list(local.world(made.account, False).all(kind))
    for place, row in enumerate(rows):
        row["created"] -= int(days * 86400 * (1 - place / len(rows)))


def pages(local: LocalStripe) -> Counter[str]:
    """How often each page of each list was asked for."""
    return Counter(f"{call['path']} {sorted(call['params'].items())}" for call in local.requests if call["path"].startswith("/v1/"))


@pytest.fixture
def hasty(rt: Runtime) -> Runtime:
    """A runtime whose leases are so short that each claim reads one page."""
    return dataclasses.replace(rt, settings=rt.settings.model_copy(update={"holdfast_lease_seconds": 0.001}))


def standing(rt: Runtime, stage: make.Stage) -> Connection:
    with rt.transaction(stage.workspace_id) as session:
        found = connections.by_id(session, stage.connection_id)
    assert found is not None
    return found


def held(rt: Runtime, local: LocalStripe, stage: make.Stage) -> tuple[dict[str, int], dict[str, int]]:
    """What the mirror holds of the lists that are read in, and what the account has."""
    world = local.world(stage.account, False)
    with rt.transaction(stage.workspace_id) as session:
        counts = mirror.counts(session, stage.connection_id)
    names = [stage.name for stage in stages.PLAIN]
    return {name: counts[name] for name in names}, {name: len(list(world.all(name.removesuffix("s")))) for name in names}


def work_id(rt: Runtime, kind: str) -> str | None:
    with rt.transaction() as session:
        return session.execute(select(Work.id).where(Work.kind == kind)).scalar_one_or_none()


def test_a_read_in_killed_at_every_step_ends_with_everything_and_reads_again_only_what_was_under_way(
    rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    killed = 0
    before = len(local.requests)
    while (read_in := work_id(rt, "read_in")) is not None:
        assert killed < 100
        fault = local.faults.add({"kind": "kill_after", "times": 1, "path": "/v1/*"})
        with pytest.raises(CallerKilled):
            work.perform(hasty, read_in)
        assert fault.hits == 1
        killed += 1
        for _ in range(100):
            time.sleep(0.002)  # until the dead worker's lease is over
            if work.perform(hasty, read_in) is not None:
                break
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    ended = standing(rt, stage).read_in
    assert (ended["state"], ended["error"]) == ("done", None)
    assert ended["finished_at"] >= ended["started_at"]
    # All that is read in vain is what was under way when we were killed: one page for each reader at most.
    asked = pages(local)
    again = sum(asked.values()) - len(asked)
    assert 0 < again <= killed * lanes.WIDTH, (again, killed)
    assert len(local.requests) - before < 100
    assert killed >= 6, "each list is killed at least once"


def test_a_long_list_is_read_by_several_at_once_and_no_object_is_left_between_them(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    local.is_quiet = True
    for place in range(2000):
        customers.create(hand, {"name": f"Customer {place}"})
    _spread(local, stage, "customer", days=90)
    local.is_quiet = False
    work.drain(rt, queues.UPKEEP)
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    counts = standing(rt, stage).read_in["counts"]
    assert {name: count for name, count in counts.items() if count} == {name: count for name, count in real.items() if count}, "twice"
    stretches = {call["params"].get("created", {}).get("lt") for call in local.requests if call["path"] == "/v1/customers"}
    assert len(stretches) > 3


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
    assert standing(rt, stage).read_in == {"state": "waiting"}


def test_a_customer_deleted_under_the_cursor_costs_one_second_of_the_list_and_no_more(
    rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    deleted = ""
    for _ in range(60):
        if (read_in := work_id(rt, "read_in")) is None:
            break
        work.perform(hasty, read_in)
        time.sleep(0.002)
        state = standing(rt, stage).read_in
        if not deleted and state.get("stage") == "customers" and state["lanes"][0]["cursor"]:
            deleted = state["lanes"][0]["cursor"]
            customers.delete(hand, deleted, {})
            hand.world.table("deleted customer").clear()  # as if it had never been
            local.requests.clear()
    mirrored, real = held(rt, local, stage)
    assert standing(rt, stage).read_in["state"] == "done"
    assert deleted
    assert mirrored["customers"] == real["customers"] + 1  # the news of the deletion is the webhook's
    asked = [call["params"] for call in local.requests if call["path"] == "/v1/customers"]
    assert all("created" in params or params.get("starting_after") == deleted for params in asked), "the list was not begun anew"
    assert len(asked) < 12


def test_what_no_list_of_the_read_in_named_is_asked_for_on_its_own_and_nothing_else(rt: Runtime, local: LocalStripe) -> None:
    staged = make.workspace(rt, local)
    make.read_in(rt)
    everyone = [row["id"] for row in local.world(staged.account, False).all("customer")]
    since = standing(rt, staged).connected_at
    with rt.transaction(staged.workspace_id) as session:
        # All the rest was brought by this read-in; one customer only by an earlier one.
        for kind in ("products", "prices", "coupons", "customers", "subscriptions"):
            session.execute(text(f"update {kind} set as_of = :later"), {"later": since + timedelta(seconds=5)})  # noqa: S608  our own tables
        session.execute(text("update customers set as_of = :then where id = :id"), {"then": since - timedelta(days=40), "id": everyone[0]})
        session.execute(text("delete from work"))
        asked = queues.enqueue(session, "read_in", staged.connection_id, staged.workspace_id, due_at=rt.now())
    claim = work.Claim(id=asked, kind="read_in", row_id=staged.connection_id, workspace_id=staged.workspace_id, attempts=1, asks=1, token=0)
    assert leavings.read_again(rt, claim, standing(rt, staged), since) == 1
    with rt.transaction() as session:
        wanted = session.execute(select(Work.row_id).where(Work.kind == "refetch")).scalars().all()
    assert wanted == [f"{staged.connection_id}/customer/{everyone[0]}"]


def charges(rt: Runtime, stage: make.Stage) -> dict[str, Charge]:
    with rt.transaction(stage.workspace_id) as session:
        return {charge.id: charge for charge in session.execute(select(Charge)).scalars()}


def test_what_was_given_back_or_disputed_before_the_connection_is_known_and_no_other_charge_is(rt: Runtime, local: LocalStripe) -> None:
    staged = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(staged.account, False), source="dashboard")
    refunded, disputed, both, old, *rest = list(hand.world.all("charge"))
    assert rest
    for charge, amount in ((refunded, 300), (refunded, 200), (both, 100), (old, 100)):
        payments.refund(hand, {"charge": charge["id"], "amount": amount})
    for charge in (disputed, both):
        payments.dispute(hand, charge["id"])
    [long_ago] = hand.world.all("refund", charge=old["id"])
    long_ago["created"] -= 800 * 86400
    make.read_in(rt)
    found = charges(rt, staged)
    told = {id: (one.amount_refunded, one.dispute_status, one.amount_disputed) for id, one in found.items()}
    assert told == {
        refunded["id"]: (500, None, 0),
        disputed["id"]: (0, "needs_response", disputed["amount"]),
        both["id"]: (100, "needs_response", both["amount"] - 100),
    }
    # Read one by one, each says the same.
    account = rt.stripe("test").account(staged.account)
    for id, one in found.items():
        with rt.transaction(staged.workspace_id) as session:
            read = account.charge(id)
            assert projections.apply_read(session, staged.workspace_id, staged.connection_id, read.value, one.as_of)


def test_a_refund_that_is_read_in_once_more_is_no_news(rt: Runtime, local: LocalStripe) -> None:
    staged = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(staged.account, False), source="dashboard")
    first, second, *_ = list(hand.world.all("charge"))
    for charge in (first, second):
        payments.refund(hand, {"charge": charge["id"], "amount": 100})
    make.read_in(rt)
    before = charges(rt, staged)
    with rt.transaction(staged.workspace_id) as session:
        session.execute(text("update charges set as_of = as_of - interval '1 day'"))
    payments.refund(hand, {"charge": second["id"], "amount": 100})
    command(rt, "--again")
    make.read_in(rt)
    after = charges(rt, staged)
    assert after[first["id"]].as_of == before[first["id"]].as_of - timedelta(days=1)
    assert after[second["id"]].as_of >= before[second["id"]].as_of
    assert after[second["id"]].amount_refunded == 200


def test_a_subscription_whose_discounts_a_list_leaves_as_ids_is_read_on_its_own(rt: Runtime, local: LocalStripe) -> None:
    staged = make.workspace(rt, local)
    world = local.world(staged.account, False)
    subscription, other = (world.get("subscription", staged.shapes[shape][1]) for shape in ("monthly", "yearly"))
    coupon = next(iter(world.all("coupon")))
    hand = Context(local=local, world=world, source="dashboard")
    local.is_quiet = True  # or the news of it would be asked about
    subscriptions.update(hand, other["id"], {"discounts": [{"coupon": coupon["id"]}]})
    subscriptions.update(hand, subscription["id"], {"discounts": [{"coupon": coupon["id"]}]})
    subscription = world.get("subscription", subscription["id"])
    local.is_quiet = False
    # On the item, where no list shows more of it than the id.
    subscription["items"]["data"][0]["discounts"] = [subscription["discounts"].pop()]
    make.read_in(rt)
    with rt.transaction() as session:
        wanted = session.execute(select(Work.row_id).where(Work.kind == "refetch")).scalars().all()
    assert wanted == [f"{staged.connection_id}/subscription/{subscription['id']}"]
    customers_of.drain(rt)
    with rt.transaction(staged.workspace_id) as session:
        [discount] = mirror.discounts_of(session, staged.connection_id, [subscription["id"]])[subscription["id"]]
    assert discount.coupon == coupon["id"]
    assert work_id(rt, "refetch") is None


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


def test_a_refusal_for_being_too_fast_costs_a_moment_and_not_the_turn(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    local.faults.add({"kind": "429", "times": 4, "path": "/v1/customers"})
    began = time.monotonic()
    assert work.perform(rt, read_in) == work.Done()
    assert time.monotonic() - began > 0.1, "nobody asked for a moment"
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    assert standing(rt, stage).read_in["state"] == "done"


def test_an_account_that_goes_on_refusing_is_asked_again_later(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    local.faults.add({"kind": "429", "path": "/v1/products"})
    assert isinstance(work.perform(rt, read_in), work.Again)
    asked = [call for call in local.requests if call["path"] == "/v1/products"]
    assert len(asked) == 5
    assert standing(rt, stage).read_in["state"] == "running"


def test_an_account_that_cuts_us_off_ends_it_and_the_connection(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    with rt.transaction() as session:
        session.execute(text("delete from work where kind = 'check_connection'"))  # which would find out first
    accounts.disconnect(local, stage.account, False)
    work.drain(rt, queues.UPKEEP)
    ended = standing(rt, stage)
    assert (ended.state, ended.disconnect_reason) == ("disconnected", "access_lost")
    assert ended.read_in["state"] == "failed"
    assert work_id(rt, "read_in") is None


def test_giving_up_tells_the_owner_and_asking_again_goes_on(rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    for _ in range(3):
        work.perform(hasty, read_in)
        time.sleep(0.002)
    reached = standing(rt, stage).read_in["stage"]
    local.faults.add({"kind": "500"})
    with rt.transaction() as session:
        session.execute(text("update work set attempts = 1000, due_at = :now"), {"now": rt.now()})
    work.perform(rt, read_in)
    failed = standing(rt, stage).read_in
    assert (failed["state"], failed["stage"], bool(failed["error"])) == ("failed", reached, True)
    local.faults.rules.clear()
    with rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "read_in", stage.connection_id, stage.workspace_id, due_at=rt.now())
    work.drain(rt, queues.UPKEEP)
    mirrored, real = held(rt, local, stage)
    assert mirrored == real
    assert standing(rt, stage).read_in["state"] == "done"


def test_a_check_says_what_may_be_read_and_written(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    make.read_in(rt)
    found = standing(rt, stage)
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


def command(rt: Runtime, *words: str) -> Result:
    """`holdfast backfill …` in this process's environment, on this test's database."""
    environ = {**make.environ(), "DATABASE_URL": rt.settings.database_url, "REDIS_URL": rt.settings.redis_url}
    return CliRunner(env=environ).invoke(cli.main, ["backfill", *words])


def test_a_terminal_is_told_how_far_it_is(rt: Runtime, hasty: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    now = int(rt.now().timestamp())
    for shape, ended in (("monthly", now - 86400), ("yearly", now - 800 * 86400)):
        local.world(stage.account, False).get("subscription", stage.shapes[shape][1]).update(status="canceled", ended_at=ended)
    assert command(rt).output == f"{stage.account} (test): list 1 of 9, account: Starting\n"
    read_in = work_id(rt, "read_in")
    assert read_in is not None
    for _ in range(4):
        work.perform(hasty, read_in)
        time.sleep(0.002)
    assert "list 4 of 9, customers: " in command(rt, "--mode", "test").output
    assert "objects so far" in command(rt, "--workspace", stage.slug).output
    work.drain(rt, queues.UPKEEP)
    done = command(rt, "--watch")
    assert done.exit_code == 0
    assert re.search(r"complete: \d+ objects, 1 cancellations of the last 24 months among them", done.output)


def test_a_terminal_can_ask_for_all_of_it_again(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    work.drain(rt, queues.UPKEEP)
    before = len(local.requests)
    assert command(rt, "--again").exit_code == 0
    assert standing(rt, stage).read_in == {"state": "waiting", "is_full": True}
    work.drain(rt, queues.UPKEEP)
    assert standing(rt, stage).read_in["state"] == "done"
    assert "/v1/subscriptions" in {call["path"] for call in local.requests[before:]}


def test_a_terminal_is_told_what_is_not_there(rt: Runtime, stage: make.Stage) -> None:
    nowhere, liveless = command(rt, "--workspace", "nowhere"), command(rt, "--mode", "live")
    assert (nowhere.exit_code, nowhere.output) == (1, "There is no workspace 'nowhere'.\n")
    assert (liveless.exit_code, liveless.output) == (1, f"{stage.slug} has no Stripe account in live mode.\n")
    with rt.transaction(stage.workspace_id) as session:
        connections.save_read_in(session, stage.connection_id, {"state": "failed", "error": "Stripe said no"})
    stopped = command(rt, "--watch")
    assert stopped.exit_code == 1
    assert "stopped after 0 objects: Stripe said no" in stopped.output
