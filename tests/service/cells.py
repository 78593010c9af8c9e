"""What comes of each wish on each shape of subscription at Stripe, where it is done: to the letter, and nothing beside it."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class Cell:
    """What comes of a wish at Stripe: its effects on the subscription by kind, the fields of it that are others afterwards, what else is
    new or changed, by kind of object, and the calls. That, and nothing more."""

    effects: list[str]
    fields: set[str]
    others: set[str]
    calls: list[str]


MARK = "metadata"
ENDING = {"cancel_at", "cancel_at_period_end", "canceled_at", "cancellation_details"}
# Without the boolean where there was none.
TAKEN_BACK = {"canceling": ENDING, "cancel_at": ENDING - {"cancel_at_period_end"}}
LED = ("scheduled", "last_phase")
# Their customers have a bill to pay.
OWING = ("past_due", "unpaid", "pending_update", "send_invoice", "incomplete")
# Nothing is owed, or given back, when they end in mid-period.
FREE = ("free", "metered", "trialing")
BILL = {"invoice new", "invoiceitem new", "customer changed"}
# Where the second in which it happens decides whether these are others than before.
BY_CHANCE = {"plan_change": {"billing_cycle_anchor"}}


def cell(row: str, shape: str) -> Cell:
    """What the table of shapes says of a wish that is not refused."""
    back, calls = TAKEN_BACK.get(shape, set()), ["POST subscriptions"]
    match row:
        case "discount" | "mint":
            coupon, before = ("coupon new", ["POST coupons"]) if row == "mint" else ("coupon changed", [])
            if shape != "scheduled":
                fields = {"discounts", MARK, *back}
                return Cell(effects=["discount"], fields=fields, others={coupon, "discount new"}, calls=[*before, *calls])
            # By the phases, and so from now on what lasts for good, and with the phase of the next bill what is for that one.
            others, calls = {coupon, "subscription_schedule changed"}, [*before, "POST subscription_schedules"]
            if row == "mint":
                return Cell(effects=[], fields=set(), others=others, calls=calls)
            return Cell(effects=["discount"], fields={"discounts"}, others={*others, "discount new"}, calls=calls)
        case "pause" | "extension":
            return Cell(effects=[row], fields={"pause_collection", MARK, *back}, others=set(), calls=calls)
        case "trial_extension":
            fields = {"trial_end", "billing_cycle_anchor", "items", MARK}
            return Cell(effects=["trial_end"], fields=fields, others=set(), calls=calls)
        case "payment_method":
            return Cell(effects=["payment_method"], fields={"default_payment_method", MARK}, others=set(), calls=calls)
        case "undo_cancel":
            return Cell(effects=["undo_cancel"], fields={MARK, *back}, others=set(), calls=calls) if back else NOTHING
        case "resume" if shape == "paused":
            others = {"invoice new", "invoiceitem changed", "customer changed"}
            fields = {"status", "status_details", "latest_invoice"}
            return Cell(effects=["resume"], fields=fields, others=others, calls=["POST subscriptions/resume"])
        case "resume":
            is_paused = shape.startswith("paused")
            return Cell(effects=["resume"], fields={"pause_collection", MARK}, others=set(), calls=calls) if is_paused else NOTHING
        case "plan_change":
            found = Cell(effects=["plan_change"], fields={"items", MARK, *back}, others=set(), calls=calls)
            if shape not in ("yearly", "trialing"):
                found.fields |= {"latest_invoice"}
                found.others |= {"invoice new", "customer changed"}
                found.others |= set() if shape == "send_invoice" else {"charge new", "invoice_payment new"}
            return released(found) if shape in LED else found
        case "plan_change later" if shape in LED:
            return Cell(effects=[], fields=set(), others={"subscription_schedule changed"}, calls=["POST subscription_schedules"])
        case "plan_change later":
            found = Cell(effects=["other"], fields={"schedule"}, others={"subscription_schedule new"}, calls=[])
            found.calls += ["POST subscription_schedules"] * 2
            if back:
                found.effects, found.calls = ["undo_cancel", *found.effects], [*calls, *found.calls]
                found.fields |= {MARK, *back}
            return found
    is_now = "now" in row or shape == "incomplete"
    if shape == "canceled" or (back and not is_now):
        return NOTHING
    return ended(row, shape) if is_now else ends(row, shape)


NOTHING = Cell(effects=[], fields=set(), others=set(), calls=[])


def released(found: Cell) -> Cell:
    """The same after its schedule was let go."""
    found.effects.insert(0, "other")
    found.calls.insert(0, "POST subscription_schedules/release")
    found.fields.add("schedule")
    found.others.add("subscription_schedule changed")
    return found


def voided(found: Cell, shape: str) -> Cell:
    """The same after what is owed was made void: who owes nothing any more is no longer behind with it."""
    found.calls.insert(0, "POST invoices/void")
    found.others.add("invoice changed")
    if shape in ("past_due", "unpaid"):
        found.effects.insert(0, "other")
        found.fields.add("status")
    return found


def ends(row: str, shape: str) -> Cell:
    """A cancel at the end of the period."""
    found = Cell(effects=["cancel_at_period_end"], fields={MARK, *ENDING}, others=set(), calls=["POST subscriptions"])
    if shape in LED:
        return released(found)
    return voided(found, shape) if "void" in row and shape in OWING else found


def ended(row: str, shape: str) -> Cell:
    """A cancel at once, and what is said about it to Stripe afterwards."""
    found = Cell(effects=["cancel", "other"], fields={"status", "ended_at", "cancellation_details", MARK}, others=set(), calls=[])
    found.calls += ["POST subscription_schedules/cancel" if shape in LED else "DELETE subscriptions", "POST subscriptions"]
    found.fields |= {"canceled_at"} if shape not in TAKEN_BACK else set()
    found.fields |= {"pause_collection"} if shape.startswith("paused_") else {"status_details"} if shape == "paused" else set()
    found.fields |= {"pending_update"} if shape == "pending_update" else set()
    found.others |= {"subscription_schedule changed"} if shape in LED else set()
    is_void = "void" in row and shape in OWING
    if "now" in row and shape not in FREE and not is_void:
        found.fields.add("latest_invoice")
        found.others |= BILL if shape not in ("paused_draft", "unpaid") else BILL - {"customer changed"}
        if shape == "paused":
            found.others = found.others - {"invoiceitem new"} | {"invoiceitem changed"}
    if is_void and shape == "incomplete":  # it expires with its first bill
        found.effects, found.fields = ["other", "other"], found.fields - {"canceled_at"}
    if is_void:
        return voided(found, shape)
    # An end stops Stripe from asking for what is open; of what began, that is asked for again.
    if shape in ("past_due", "unpaid", "send_invoice"):
        found.calls.insert(1, "POST invoices")
    found.others |= {"invoice changed"} if shape in ("past_due", "unpaid", "incomplete") else set()
    return found
