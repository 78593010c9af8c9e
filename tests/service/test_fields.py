"""Fields on real rows: loaded at once for many, surveyed in batches, first purchases asked once, and a first page that stays light."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text

from connect_app import preferences
from connect_app.models import CatalogueField, CatalogueSurvey, FieldMapping, FirstPurchase, FlowSession
from connect_app.money import Money
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from jobs import field_survey, purchases, queues, work
from sandbox.stripe import customers as seeded
from sandbox.stripe import subscriptions, worlds
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import handed_over
from webhooks import catalogue, events, mapping, projections, store


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(staged.account, False), source="dashboard")
    seeded.update(hand, staged.shapes["monthly"][0], {"metadata": {"seats": "12", "v1.plan[x]": "gold", "ключ": "да"}})
    make.read_in(rt)
    return staged


def said(rt: Runtime) -> tuple[list[str], Any]:
    found: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "set_config" not in statement:
            found.append(statement)

    event.listen(rt.engine, "before_cursor_execute", count)
    return found, lambda: event.remove(rt.engine, "before_cursor_execute", count)


def mapped(rt: Runtime, stage: make.Stage, *every: tuple[str, str, str, str | None]) -> None:
    with rt.transaction(stage.workspace_id) as session:
        for name, type, source, fallback in every:
            session.add(
                FieldMapping(
                    id=f"map_{name}",
                    workspace_id=stage.workspace_id,
                    name=name,
                    type=type,
                    source=source,
                    fallback=fallback,
                    created_at=rt.now(),
                    changed_at=rt.now(),
                )
            )


def test_any_number_of_subscribers_is_loaded_in_one_query(rt: Runtime, stage: make.Stage) -> None:
    pairs = list(stage.shapes.values())
    asked = [*pairs, (pairs[0][0], pairs[1][1]), ("cus_unknown", "sub_unknown"), (pairs[0][0], "")]
    statements, stop = said(rt)
    with rt.transaction(stage.workspace_id) as session:
        found = catalogue.load(session, stage.connection_id, asked)
    stop()
    assert len(statements) == 1
    assert [(one.customer_id, one.subscription_id) for one in found] == asked
    assert [one.subscription.id for one in found[: len(pairs)] if one.subscription] == [pair[1] for pair in pairs]
    foreign, unknown, none = found[len(pairs) :]
    assert (foreign.subscription, unknown.subscription, none.subscription) == (None, None, None)
    assert none.customer is not None
    assert (foreign.price, foreign.product, foreign.invoice, foreign.discounts) == (None, None, None, ())


def test_each_seeded_shape_has_its_fields(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        shapes = list(stage.shapes)
        loaded = dict(zip(shapes, catalogue.load(session, stage.connection_id, list(stage.shapes.values())), strict=True))
    found = {shape: catalogue.fields(one, rt.now()) for shape, one in loaded.items()}
    monthly = found["monthly"]
    assert (monthly["mrr"], monthly["billing_frequency"], monthly["plan_name"]) == (Money(2900, "usd"), "monthly", "Pro")
    assert found["yearly"]["billing_frequency"] == "yearly"
    assert "next_invoice_date" not in found["paused"]
    assert found["multi_item"]["plan_name"].count(" + ") == 1  # type: ignore[union-attr]
    assert monthly["customer.metadata.seats"] == "12"
    assert monthly[r"customer.metadata.v1\.plan[x]"] == "gold"
    assert {path.split(".")[0] for path in monthly} >= {"subscription", "customer", "price", "product", "invoice"}
    assert monthly["paid_24m"] > Money(0, "usd")  # type: ignore[operator]


def test_a_discount_of_which_the_subscription_names_only_the_id_has_its_coupon_s_terms(rt: Runtime, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    with rt.transaction(stage.workspace_id) as session:
        kept = session.execute(text("select raw, as_of from subscriptions where id = :id"), {"id": subscription}).one()
        raw = {**kept.raw, "discounts": ["di_1"]}
        coupon = {"id": "half", "object": "coupon", "percent_off": 50, "duration": "forever", "valid": True, "name": "Half", "created": 1}
        discount = {
            "id": "di_1",
            "object": "discount",
            "source": {"type": "coupon", "coupon": "half"},
            "subscription": subscription,
            "start": 1,
        }
        later = kept.as_of + timedelta(seconds=5)
        for kind, one in (("subscription", raw), ("coupon", coupon), ("discount", discount)):
            projections.apply(session, stage.workspace_id, stage.connection_id, [projections.row(kind, one, later)])
        [subject] = catalogue.load(session, stage.connection_id, [(customer, subscription)])
    found = catalogue.fields(subject, rt.now())
    assert (found["discount.coupon.name"], found["discount_active"], found["mrr"]) == ("Half", True, Money(1450, "usd"))


# The survey


def surveyed(rt: Runtime, stage: make.Stage) -> dict[str, tuple[str, list[str]]]:
    with rt.transaction(stage.workspace_id) as session:
        return {row.path: (row.type, row.samples) for row in session.execute(select(CatalogueField)).scalars()}


def look(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "survey_fields", stage.connection_id, stage.workspace_id, due_at=rt.now())
    work.drain(rt, queues.UPKEEP)


def test_every_metadata_key_of_the_account_is_found_after_the_read_in(rt: Runtime, stage: make.Stage) -> None:
    found = surveyed(rt, stage)
    assert found["customer.metadata.seats"] == ("text", ["12"])
    assert found[r"customer.metadata.v1\.plan[x]"] == ("text", ["gold"])
    assert found["customer.metadata.ключ"] == ("text", ["да"])
    assert found["customer.invoice_settings.default_payment_method"][1] == [], "what is personal is not kept a second time"
    assert not any(".data.1." in path for path in found)


def test_the_next_survey_looks_only_at_what_is_new(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from catalogue_fields"))
        session.execute(text("update catalogue_surveys set started_at = started_at + interval '2 hours'"))
        raw = {"id": "cus_new", "object": "customer", "created": 1, "livemode": False, "metadata": {"fresh": "yes"}}
        row = projections.row("customer", raw, rt.now() + timedelta(hours=3))
        projections.apply(session, stage.workspace_id, stage.connection_id, [row])
    look(rt, stage)
    found = surveyed(rt, stage)
    assert "customer.metadata.fresh" in found
    assert "customer.metadata.seats" not in found


def test_a_survey_goes_on_where_it_was(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from catalogue_fields"))
        survey = session.execute(select(CatalogueSurvey)).scalar_one()
        assert survey.kind == "", "the read-in's own came to its end"
        survey.kind, survey.after, survey.since = "product", "", None
    look(rt, stage)
    roots = {path.split(".")[0] for path in surveyed(rt, stage)}
    assert "product" in roots
    assert not roots & {"subscription", "customer"}


def test_endless_keys_end_somewhere(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        for n in range(4):
            metadata = {f"key_{n}_{m}": "x" for m in range(1000)} | {"k" * 3000: "too long for an index"}
            raw = {"id": f"cus_many_{n}", "object": "customer", "created": 1, "livemode": False, "metadata": metadata}
            projections.apply(
                session, stage.workspace_id, stage.connection_id, [projections.row("customer", raw, rt.now() + timedelta(days=1))]
            )
    look(rt, stage)
    assert len(surveyed(rt, stage)) == field_survey.MOST_PATHS


# First purchases


def asked(rt: Runtime, stage: make.Stage) -> dict[str, datetime | None]:
    with rt.transaction(stage.workspace_id) as session:
        return {row.customer: row.paid_at for row in session.execute(select(FirstPurchase)).scalars()}


def forget(rt: Runtime, stage: make.Stage) -> None:
    """As if the read-in had not gone back to where these customers began."""
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update connections set read_in = read_in || '{\"counts\": {}}'"))


def oldest_at_stripe(local: LocalStripe, stage: make.Stage, customer: str) -> datetime:
    paid = [
        invoice["status_transitions"]["paid_at"]
        for invoice in local.world(stage.account, False).all("invoice")
        if invoice["customer"] == customer and invoice["status"] == "paid" and invoice["amount_paid"] > 0
    ]
    return datetime.fromtimestamp(min(paid), UTC)


def test_first_purchases_are_asked_of_stripe_once_each_where_a_variable_wants_them(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    forget(rt, stage)
    everybody = lambda: work.drain(rt, queues.UPKEEP)  # noqa: E731

    def ask() -> int:
        begin = len(local.requests)
        with rt.transaction(stage.workspace_id) as session:
            queues.enqueue(session, "first_purchases", stage.connection_id, stage.workspace_id, due_at=rt.now())
        everybody()
        return len([one for one in local.requests[begin:] if "/invoices" in one["path"]])

    assert (ask(), asked(rt, stage)) == (0, {}), "no variable wants it"
    mapped(rt, stage, ("since", "date", purchases.FIELD, "long ago"))
    people = {customer for customer, _ in stage.shapes.values()}
    assert ask() >= len(people)
    found = asked(rt, stage)
    assert people <= set(found)
    customer = stage.shapes["monthly"][0]
    assert found[customer] == oldest_at_stripe(local, stage, customer)
    assert ask() == 0
    with rt.transaction(stage.workspace_id) as session:
        [subject] = catalogue.load(session, stage.connection_id, [stage.shapes["monthly"]])
    assert catalogue.fields(subject, rt.now())[purchases.FIELD] == found[customer]


def test_a_first_purchase_is_looked_for_to_the_end_of_the_list_and_nothing_for_nothing_counts(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    forget(rt, stage)
    mapped(rt, stage, ("since", "date", purchases.FIELD, None))
    world, customer = local.world(stage.account, False), stage.shapes["monthly"][0]
    paid = [one for one in world.all("invoice", customer=customer) if one["status"] == "paid" and one["amount_paid"]]
    model = min(paid, key=lambda one: one["created"])
    table = world.table("invoice")
    present = dict(table)
    table.clear()  # its lists go by the order in which things were made
    for days in range(130, 0, -1):
        older = worlds.clone(model)
        at = model["created"] - days * 86_400
        older |= {"id": worlds.new_id("invoice"), "created": at, "amount_paid": 0 if days == 130 else 500}
        older["status_transitions"]["paid_at"] = at
        world.put(older)
    table.update(present)
    handed_over(customers.app(rt), stage, "monthly").look()
    work.drain(rt, queues.UPKEEP)
    assert asked(rt, stage) == {customer: datetime.fromtimestamp(model["created"] - 129 * 86_400, UTC)}


def test_what_the_mirror_proves_is_not_asked(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    mapped(rt, stage, ("since", "date", purchases.FIELD, None))
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update customers set created_at = now() - interval '30 days'"))
        queues.enqueue(session, "first_purchases", stage.connection_id, stage.workspace_id, due_at=rt.now())
    begin = len(local.requests)
    work.drain(rt, queues.UPKEEP)
    assert [one for one in local.requests[begin:] if "/invoices" in one["path"]] == []


def test_a_customer_in_the_flow_has_theirs_asked_for_and_a_stripe_that_fails_is_asked_again(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    forget(rt, stage)
    mapped(rt, stage, ("since", "date", purchases.FIELD, "a while ago"))
    handed_over(customers.app(rt), stage, "yearly").look()
    kept = variables(rt)
    assert kept["since"]["fallback"] == "a while ago"
    assert kept["since"]["reason"] == "Stripe has not been asked for it yet"
    local.faults.add({"kind": "500", "times": 1})
    work.drain(rt, queues.UPKEEP)
    assert asked(rt, stage) == {}
    with rt.transaction() as session:
        session.execute(text("update work set due_at = now() where kind = 'first_purchase'"))
    work.drain(rt, queues.UPKEEP)
    customer = stage.shapes["yearly"][0]
    assert asked(rt, stage) == {customer: oldest_at_stripe(local, stage, customer)}


# The first page


def variables(rt: Runtime) -> dict[str, Any]:
    with rt.transaction() as session:
        workspace = session.execute(text("select workspace_id from link_lookups limit 1")).scalar_one()
    with rt.transaction(workspace) as session:
        return dict(session.execute(select(FlowSession.variables).order_by(FlowSession.minted_at.desc()).limit(1)).scalar_one())


def test_the_first_page_takes_four_queries_with_mappings_and_a_hand_off_s_own_properties(rt: Runtime, stage: make.Stage) -> None:
    mapped(
        rt,
        stage,
        ("seats", "integer", "customer.metadata.seats", None),
        ("team", "text", "custom.team.name", "your team"),
        ("worth", "money", "mrr", None),
        ("wrong", "date", "customer.metadata.seats", "soon"),
    )
    browser = handed_over(customers.app(rt), stage, "monthly")
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update sessions set custom = cast(:custom as jsonb)"), {"custom": json.dumps({"team": {"name": "Blue"}})})
    statements, stop = said(rt)
    browser.look()
    stop()
    assert browser.status == 200
    assert len(statements) <= 4, statements
    kept = variables(rt)
    assert (kept["seats"]["value"], kept["seats"]["raw"], kept["seats"]["source"]) == ("12", 12, "customer.metadata.seats")
    assert kept["seats"]["as_of"]
    assert (kept["team"]["value"], kept["team"]["source"]) == ("Blue", "custom.team.name")
    assert (kept["worth"]["value"], kept["worth"]["raw"]) == ("$29.00", {"amount": 2900, "currency": "usd"})
    assert kept["wrong"]["fallback"] == "soon"
    assert kept["wrong"]["reason"] == "“12” is not a date (2030-03-05, or Unix seconds)"
    assert kept["plan_name"]["value"] == "Pro"
    assert kept["customer_id"] == {
        "type": "text",
        "source": "handoff",
        "value": stage.shapes["monthly"][0],
        "raw": stage.shapes["monthly"][0],
    }


def test_news_that_is_kept_and_not_yet_understood_makes_the_first_page_ask_stripe(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    browser = handed_over(customers.app(rt), stage, "monthly")
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    subscriptions.update(hand, stage.shapes["monthly"][1], {"cancel_at_period_end": True})
    with rt.transaction() as session:
        [told] = [
            event for event in hand.world.all("event") if event["data"].get("previous_attributes", {}).get("cancel_at_period_end") is False
        ]
        store.keep(session, [events.envelope(json.dumps(told).encode())], rt.now())
    begin = len(local.requests)
    assert "set to end on" in browser.look().page
    assert len(local.requests) > begin
    assert variables(rt)["renewal_date"]["reason"] == "Stripe has none for this subscription"
    asked = len(local.requests)
    browser.look()
    assert len(local.requests) == asked, "once a session"


def test_with_enrichment_off_everybody_gets_the_control_flow_and_fallbacks_and_is_still_canceled_by_us(
    rt: Runtime, stage: make.Stage
) -> None:
    mapped(rt, stage, ("team", "text", "custom.team", None), ("seats", "integer", "customer.metadata.seats", "some"))
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "enrichment", False, rt.now())
    browser = handed_over(customers.app(rt), stage, "monthly")
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update sessions set custom = cast(:custom as jsonb)"), {"custom": json.dumps({"team": "Blue"})})
    browser.look()
    kept = variables(rt)
    assert (kept["seats"]["fallback"], kept["seats"]["reason"]) == ("some", "Enrichment is switched off")
    assert kept["first_name"]["fallback"] == "there"
    assert kept["team"]["value"] == "Blue"
    with rt.transaction(stage.workspace_id) as session:
        row = session.execute(select(FlowSession)).scalars().one()
    assert (row.is_control, row.control_reason) == (True, "not_enriched")
    browser.press("confirm")
    work.drain(rt, queues.ACTIONS)
    assert "canceled" in browser.look().page


def test_ten_thousand_variables_do_not_keep_a_customer_waiting(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        [subject] = catalogue.load(session, stage.connection_id, [stage.shapes["monthly"]])
    many = [mapping.Mapping(name=f"v{n}", type="text", source="plan_name") for n in range(10_000)]
    before = datetime.now(UTC)
    kept = mapping.keep(mapping.resolve(many, subject, rt.now()), "en")
    assert len(kept) == 10_000
    assert datetime.now(UTC) - before < timedelta(seconds=3)


def test_what_is_read_live_stands_in_for_what_the_mirror_has_from_before(rt: Runtime, stage: make.Stage) -> None:
    pair = stage.shapes["monthly"]
    with rt.transaction(stage.workspace_id) as session:
        [known] = catalogue.load(session, stage.connection_id, [pair])
    assert known.subscription is not None
    raw = json.loads(json.dumps(dict(known.subscription.raw)))
    raw["items"]["data"][0]["price"] |= {"id": "price_live", "unit_amount": 100, "unit_amount_decimal": "100"}
    raw["items"]["data"][0]["price"]["product"] = {"id": "prod_live", "object": "product", "name": "Live"}
    live = catalogue.refreshed(known, subscription=objects.read_subscription(raw), customer=None, as_of=rt.now())
    found = catalogue.fields(live, rt.now())
    assert (found["mrr"], found["plan_name"], found["subscription.plan.id"]) == (Money(100, "usd"), "Live", "price_live")
    assert catalogue.as_of(live, "mrr") == live.as_of["subscription"] > known.as_of["subscription"]
