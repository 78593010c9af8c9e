"""The shape table: every wish on every shape of subscription, and the calls or the refusal that it comes to."""

import dataclasses
import json
import pathlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_app.stripe_gateway.objects import (
    Coupon,
    Invoice,
    Price,
    Schedule,
    Subscription,
    read_coupon,
    read_invoice,
    read_price,
    read_schedule,
    read_subscription,
)
from jobs import plans
from jobs.plans import AlreadyDone, Plan, Refused, Situation
from tests.contract import checks

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = 86400
NOON = int(NOW.timestamp())
START, END = NOON - 10 * DAY, NOON + 20 * DAY
# Beyond two bills of a monthly plan, and short of a yearly one's.
RESUMES = (NOW + timedelta(days=60)).isoformat()


def price(id: str = "price_1", **changes: Any) -> dict[str, Any]:
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "licensed"} | changes.pop("recurring", {})
    return {
        "id": id, "object": "price", "currency": "usd", "unit_amount": 2900, "product": "prod_1", "recurring": recurring, "active": True,
        **changes,
    }  # fmt: skip


def item(number: int = 1, end: int = END, quantity: int | None = 3, **changes: Any) -> dict[str, Any]:
    line = {"id": f"si_{number}", "price": price(**changes), "current_period_start": START, "current_period_end": end}
    return line if quantity is None else {**line, "quantity": quantity}


def subscription(*items: dict[str, Any], **changes: Any) -> Subscription:
    return read_subscription(
        {
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "livemode": False, "created": START,
            "start_date": START, "currency": "usd", "items": {"object": "list", "data": list(items or (item(),)), "has_more": False},
            "cancel_at_period_end": False, "cancel_at": None, "discounts": [], "metadata": {}, "latest_invoice": "in_1",
            "billing_mode": {"type": "flexible"}, **changes,
        }
    )  # fmt: skip


def schedule(*ends: int, end_behavior: str = "release", **changes: Any) -> Schedule:
    """A schedule whose present phase began with the period, and whose phases end on these days."""
    starts = (START, *ends[:-1])
    phases = [
        {
            "start_date": start,
            "end_date": end,
            "items": [{"price": "price_1", "plan": "price_1", "quantity": 3}],
            "discounts": [],
            **changes,
        }
        for start, end in zip(starts, ends, strict=True)
    ]
    return read_schedule(
        {
            "id": "sub_sched_1", "object": "subscription_schedule", "status": "active", "subscription": "sub_1", "metadata": {},
            "end_behavior": end_behavior, "phases": phases, "current_phase": {"start_date": START, "end_date": ends[0]},
        }
    )  # fmt: skip


def invoice(id: str, subscription: str = "sub_1", *, auto_advance: bool = True) -> Invoice:
    return read_invoice(
        {
            "id": id, "object": "invoice", "currency": "usd", "status": "open", "total": 2900, "amount_paid": 0, "created": START,
            "period_start": START, "period_end": START, "auto_advance": auto_advance, "subscription": subscription,
        }
    )  # fmt: skip


def coupon(**changes: Any) -> Coupon:
    return read_coupon({"id": "SAVE", "object": "coupon", "percent_off": 20.0, "duration": "once", "valid": True, **changes})


BIGGER: Price = read_price(price("price_2", unit_amount=1900))
LOYAL = {"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": "LOYAL"}}
PAUSED = {"behavior": "void", "resumes_at": NOON + 90 * DAY}
YEAR = {"recurring": {"interval": "year"}}
METERED = {"recurring": {"usage_type": "metered"}}

# What the table's columns are called, and what they look like.
SHAPES: dict[str, Situation] = {
    name: Situation(coupon=coupon(), price=BIGGER, **{"subscription": found} if isinstance(found, Subscription) else found)
    for name, found in {
        "monthly": subscription(),
        "yearly": subscription(item(end=NOON + 240 * DAY, **YEAR)),
        "trialing": subscription(status="trialing", trial_start=START, trial_end=END),
        "past_due": {"subscription": subscription(status="past_due"), "open_invoices": (invoice("in_1"),)},
        "unpaid": subscription(status="unpaid"),
        "incomplete": {"subscription": subscription(status="incomplete"), "open_invoices": (invoice("in_1"),)},
        "beside one that owes": {
            "subscription": subscription(),
            "open_invoices": (invoice("in_7", "sub_2"), invoice("in_8", "sub_2", auto_advance=False)),
        },
        "paused": subscription(pause_collection=PAUSED),
        "paused for ever": subscription(pause_collection={"behavior": "keep_as_draft", "resumes_at": None}),
        "paused by stripe": subscription(status="paused"),
        "canceling": subscription(cancel_at_period_end=True, cancel_at=END),
        "canceling by date": subscription(cancel_at=END),
        "canceling later": subscription(cancel_at=END + 90 * DAY),
        "ended": subscription(status="canceled", ended_at=START),
        "several items": subscription(item(), item(2, id="price_9", product="prod_9")),
        "plan and meter": subscription(item(), item(2, id="price_9", quantity=None, **METERED)),
        "metered": subscription(item(quantity=None, **METERED)),
        "tiered": subscription(item(billing_scheme="tiered", unit_amount=None)),
        "last phase": {"subscription": subscription(schedule="sub_sched_1"), "schedule": schedule(END + 90 * DAY)},
        "more phases": {"subscription": subscription(schedule="sub_sched_1"), "schedule": schedule(END, END + 90 * DAY)},
        "long phase": {"subscription": subscription(schedule="sub_sched_1"), "schedule": schedule(END + 40 * DAY, END + 90 * DAY)},
        "ended by schedule": {
            "subscription": subscription(schedule="sub_sched_1", cancel_at=END + 90 * DAY),
            "schedule": schedule(END + 90 * DAY, end_behavior="cancel"),
        },
        "schedule unread": subscription(schedule="sub_sched_1"),
        "pending update": subscription(pending_update={"expires_at": END, "trial_end": None}),
        "by invoice": subscription(collection_method="send_invoice", days_until_due=30),
        "discounted": subscription(discounts=[LOYAL]),
        "discounted, more phases": {
            "subscription": subscription(schedule="sub_sched_1", discounts=[LOYAL]),
            "schedule": schedule(END, END + 90 * DAY, discounts=[{"discount": "di_1", "coupon": None, "promotion_code": None}]),
        },
        "with everything": subscription(
            {
                **item(),
                "tax_rates": [{"id": "txr_1", "object": "tax_rate"}],
                "metadata": {"pool": "eu"},
                "billing_thresholds": {"usage_gte": 5},
            },
            application_fee_percent=10.5,
            automatic_tax={"enabled": True, "liability": {"type": "account", "account": "acct_2"}},
            collection_method="send_invoice",
            days_until_due=14,
            default_payment_method={"id": "pm_9", "object": "payment_method"},
            default_tax_rates=[{"id": "txr_2", "object": "tax_rate"}],
            description="Team plan",
            invoice_settings={"account_tax_ids": ["txi_1"], "footer": "Thanks", "issuer": {"type": "self"}},
            on_behalf_of="acct_3",
            transfer_data={"destination": "acct_2", "amount_percent": None},
        ),
        "phases with everything": {
            "subscription": subscription(schedule="sub_sched_1"),
            "schedule": schedule(
                END,
                END + 90 * DAY,
                automatic_tax={"enabled": True, "liability": {"type": "self"}},
                default_tax_rates=[{"id": "txr_2"}],
                transfer_data={"destination": "acct_2", "amount_percent": 40.0},
                application_fee_percent=5.0,
                invoice_settings={"days_until_due": 30, "account_tax_ids": None, "issuer": {"type": "account", "account": "acct_2"}},
                collection_method="send_invoice",
                default_payment_method="pm_9",
            ),
        },
        "discounted item": subscription({**item(), "discounts": [LOYAL]}),
        "classic": subscription(billing_mode={"type": "classic"}),
        "legacy plan": subscription(item(id="gold", active=False)),
        "other currency": subscription(item(currency="eur"), currency="eur"),
    }.items()
}  # type: ignore[arg-type]

UPDATE = ("subscriptions.update",)
RELEASE = "subscription_schedules.release"
EDIT = "subscription_schedules.update"
NEXT = ("subscription_schedules.create", EDIT)
DONE = "done"
# Rows: what is wished for. A string is a refusal's code; a tuple are the calls, in their order.
INTENTS: dict[str, dict[str, Any]] = {
    "discount": {"coupon": "SAVE"},
    "mint": {
        "mint": {
            "id": "hf_1", "name": "12.5 % for you", "percent_off": "12.5", "duration": "repeating", "duration_in_months": 3,
            "redeem_by": (NOW + timedelta(days=1)).isoformat(),
        }
    },
    "mint an amount": {
        "mint": {
            "id": "hf_2", "name": "A welcome back, " * 4, "amounts": {"usd": 500, "eur": 450}, "duration": "once",
            "redeem_by": (NOW + timedelta(days=1)).isoformat(),
        }
    },
    "pause": {"resumes_at": RESUMES},
    "extension": {"resumes_at": RESUMES},
    "trial_extension": {"trial_end": (NOW + timedelta(days=34)).isoformat()},
    "plan_change now": {"price": "price_2", "when": "now", "proration": "create_prorations"},
    "plan_change later": {"price": "price_2", "when": "period_end"},
    "cancel": {"when": "period_end", "feedback": "unused", "comment": "No time."},
    "cancel and void": {"when": "period_end", "open_invoices": "void"},
    "cancel now": {"when": "now", "invoice_now": True, "prorate": True, "feedback": "unused"},
    "undo_cancel": {},
    "resume": {},
    "payment_method": {"payment_method": "pm_2"},
}  # fmt: skip
ENDING = ("subscriptions.cancel", *UPDATE)
TABLE: dict[str, dict[str, str | tuple[str, ...]]] = {
    "discount": {
        "unpaid": "unpaid", "incomplete": "incomplete", "ended": "subscription_ended", "pending update": "pending_update",
        "more phases": (EDIT,), "discounted, more phases": (EDIT,), "phases with everything": (EDIT,), "long phase": (EDIT,),
        "ended by schedule": (EDIT, *UPDATE),
        "schedule unread": "managed_by_schedule",
    },
    "mint": {
        "*": ("coupons.create", *UPDATE), "yearly": "coupon_without_effect", "unpaid": "unpaid", "incomplete": "incomplete",
        "ended": "subscription_ended", "pending update": "pending_update", "more phases": ("coupons.create", EDIT),
        "discounted, more phases": ("coupons.create", EDIT), "phases with everything": ("coupons.create", EDIT),
        "long phase": "schedule_has_phases",
        "ended by schedule": ("coupons.create", EDIT, *UPDATE), "schedule unread": "managed_by_schedule",
    },
    "mint an amount": {
        "*": ("coupons.create", *UPDATE), "unpaid": "unpaid", "incomplete": "incomplete", "ended": "subscription_ended",
        "pending update": "pending_update", "more phases": ("coupons.create", EDIT),
        "discounted, more phases": ("coupons.create", EDIT), "phases with everything": ("coupons.create", EDIT),
        "long phase": ("coupons.create", EDIT),
        "ended by schedule": ("coupons.create", EDIT, *UPDATE), "schedule unread": "managed_by_schedule",
    },
    "pause": {
        "trialing": "on_trial",
        "yearly": "pause_without_effect", "unpaid": "unpaid", "incomplete": "incomplete", "paused": "paused_already",
        "paused for ever": "paused_already", "paused by stripe": "paused_by_stripe", "ended": "subscription_ended",
        "ended by schedule": (EDIT, *UPDATE),
    },
    "trial_extension": {
        "*": "not_trialing", "trialing": UPDATE, "ended": "subscription_ended",
    },
    "plan_change now": {
        "past_due": "past_due", "unpaid": "unpaid", "incomplete": "incomplete", "paused": "paused_already",
        "paused for ever": "paused_already", "paused by stripe": "paused_by_stripe", "ended": "subscription_ended",
        "several items": "several_items", "metered": "metered", "last phase": (RELEASE, *UPDATE), "more phases": "schedule_has_phases",
        "discounted, more phases": "schedule_has_phases", "phases with everything": "schedule_has_phases",
        "long phase": "schedule_has_phases",
        "ended by schedule": (RELEASE, *UPDATE), "schedule unread": "managed_by_schedule",
        "pending update": "pending_update", "other currency": "price_currency",
    },
    "plan_change later": {
        "*": NEXT, "past_due": "past_due", "unpaid": "unpaid", "incomplete": "incomplete", "paused": "paused_already",
        "paused for ever": "paused_already", "paused by stripe": "paused_by_stripe", "ended": "subscription_ended",
        "canceling": (*UPDATE, *NEXT), "canceling by date": (*UPDATE, *NEXT), "canceling later": (*UPDATE, *NEXT),
        "several items": "several_items", "metered": "metered", "last phase": (EDIT,), "more phases": "schedule_has_phases",
        "discounted, more phases": "schedule_has_phases", "phases with everything": "schedule_has_phases",
        "long phase": "schedule_has_phases",
        "ended by schedule": (EDIT,), "schedule unread": "managed_by_schedule",
        "pending update": "pending_update", "legacy plan": "present_price_archived", "other currency": "price_currency",
    },
    "cancel": {
        "incomplete": ENDING, "canceling": DONE, "canceling by date": DONE, "ended": DONE, "last phase": (RELEASE, *UPDATE),
        "more phases": (RELEASE, *UPDATE), "discounted, more phases": (RELEASE, *UPDATE), "phases with everything": (RELEASE, *UPDATE),
        "long phase": (RELEASE, *UPDATE),
        "ended by schedule": (RELEASE, *UPDATE), "schedule unread": "managed_by_schedule",
    },
    "cancel now": {
        "*": ENDING, "past_due": ("subscriptions.cancel", "invoices.update", *UPDATE), "ended": DONE,
        "beside one that owes": ("subscriptions.cancel", "invoices.update", *UPDATE),
        **dict.fromkeys(
            ("last phase", "more phases", "discounted, more phases", "phases with everything", "long phase", "ended by schedule"),
            ("subscription_schedules.cancel", *UPDATE),
        ),
    },
    "undo_cancel": {
        "*": DONE, "canceling": UPDATE, "canceling by date": UPDATE, "canceling later": UPDATE, "ended": "subscription_ended",
        "ended by schedule": (EDIT,),
    },
    "resume": {
        "*": DONE, "paused": UPDATE, "paused for ever": UPDATE, "paused by stripe": ("subscriptions.resume",),
        "ended": "subscription_ended",
    },
    "payment_method": {"ended": "subscription_ended"},
}  # fmt: skip
TABLE["extension"] = TABLE["pause"]
TABLE["cancel and void"] = {
    **TABLE["cancel"],
    "past_due": ("invoices.void", *UPDATE),
    "incomplete": ("invoices.void", *ENDING),
}


def wish(row: str) -> plans.Wish:
    verb = "discount" if row.startswith("mint") else row.split()[0]
    return plans.Wish(action_id="act_1", verb=verb, intent=INTENTS[row], customer="cus_1", subscription="sub_1", mode="test")


def situation(row: str, shape: str) -> Situation:
    found = SHAPES[shape]
    if not row.startswith("mint"):
        return found
    return Situation(subscription=found.subscription, schedule=found.schedule)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row", INTENTS)
def test_a_wish_on_a_shape(row: str, shape: str) -> None:
    expected = TABLE[row].get(shape, TABLE[row].get("*", UPDATE))
    wanted, found = wish(row), situation(row, shape)
    verdict = plans.plan(wanted, found, NOW)
    match verdict:
        case AlreadyDone():
            assert expected == DONE
            assert plans.shows(wanted, found)
        case Refused():
            assert expected == verdict.code, verdict.message
            assert verdict.message.endswith(".")
            assert verdict.is_final == (verdict.code == "subscription_ended")
        case Plan():
            assert expected == tuple(call.method for call in verdict.calls)
            assert not plans.proves(wanted, found, verdict.calls), "what shows already is not written again"


def test_each_call_says_what_was_agreed_on_to_the_letter() -> None:
    """`plan_table.json` has the calls of every cell, read by a person line by line; what it does not name is done already, or refused."""
    agreed = json.loads((pathlib.Path(__file__).parent / "plan_table.json").read_text())
    for row in INTENTS:
        said = {shape: (cell["calls"], cell.get("loses", "")) for cell in agreed[row] for shape in cell["shapes"]}
        for shape in SHAPES:
            verdict = plans.plan(wish(row), situation(row, shape), NOW)
            planned = ([call.to_json() for call in verdict.calls], verdict.loses) if isinstance(verdict, Plan) else None
            assert planned == said.get(shape), (row, shape)


def test_each_call_is_one_that_stripe_has_with_parameters_that_it_takes() -> None:
    agreed = json.loads((pathlib.Path(__file__).parent / "plan_table.json").read_text())
    for call in (call for row in agreed.values() for cell in row for call in cell["calls"]):
        check(call)


def check(call: dict[str, Any]) -> None:
    """Hold a call against the SDK's types."""
    folder, verb = call["method"].split(".")
    target = "" if verb == "create" else "/" + call["target"].replace("$", "sub_sched_")
    path = f"/v1/{folder}{target}" + (f"/{verb}" if verb in ("release", "resume", "void") else "")
    if call["method"] == "subscription_schedules.cancel":
        path += "/cancel"
    checks.check_request("DELETE" if call["method"] == "subscriptions.cancel" else "POST", path, call["params"])


@pytest.mark.parametrize("row", [row for row in INTENTS if row not in ("undo_cancel", "resume", "payment_method")])
def test_nothing_is_changed_of_what_renewed_between_the_choice_and_the_change(row: str) -> None:
    promised = wish(row)
    promised = dataclasses.replace(promised, intent={**promised.intent, "renews_at": datetime.fromtimestamp(START, UTC).isoformat()})
    verdict = plans.plan(promised, situation(row, "trialing" if row == "trial_extension" else "monthly"), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code == "renewed_meanwhile"
    assert "in_1" in verdict.message


def test_the_table_has_no_cell_that_nothing_is_in() -> None:
    assert set(TABLE) == set(INTENTS)
    for row in TABLE.values():
        assert set(row) <= {*SHAPES, "*"}
    # One item's cancel has a table of its own, over subscriptions with several: test_item_cancels.py.
    assert {wish(row).verb for row in INTENTS} == set(plans.VERBS) - {"item_cancel"}


def test_what_is_voided_is_not_credited_as_well() -> None:
    asked = {"when": "now", "invoice_now": True, "prorate": True}
    for open_invoices, prorate in (("keep", True), ("void", False)):
        wanted = dataclasses.replace(wish("cancel now"), intent={**asked, "open_invoices": open_invoices})
        verdict = plans.plan(wanted, SHAPES["past_due"], NOW)
        assert isinstance(verdict, Plan)
        [ending] = [call for call in verdict.calls if call.method == "subscriptions.cancel"]
        assert ending.params == {"invoice_now": True, "prorate": prorate}
    nothing_open = plans.plan(dataclasses.replace(wish("cancel now"), intent={**asked, "open_invoices": "void"}), SHAPES["monthly"], NOW)
    assert isinstance(nothing_open, Plan)
    assert nothing_open.calls[0].params["prorate"] is True
