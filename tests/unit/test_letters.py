"""The letter about each change: what was done, from when, what is charged next; and never that something is done which is not."""

from datetime import timedelta
from typing import Any

import pytest

from connect_app.models import Action
from jobs import letters
from tests.unit.test_plans import END, NOW, START, discount, subscription

RESUMES = NOW + timedelta(days=50)
RUNNING = subscription()
PAUSED = {"pause_collection": {"behavior": "void", "resumes_at": int(RESUMES.timestamp())}}
TERMS = [("New plan", "Basic"), ("You pay", "$9.00 per month")]


def letter(verb: str, before: Any, after: Any, **intent: Any) -> letters.Letter:
    action = Action(verb=verb, intent=intent, code=None, state="verified")
    return letters.verified(action, before, after, NOW, "Fernhill", TERMS if verb == "plan_change" else ())


@pytest.mark.parametrize(
    ("verb", "after", "intent", "says"),
    [
        ("discount", subscription(discounts=[discount("di_1", "SAVE")]), {}, ["your discount is in place", "December 12, 2026 ($29.00"]),
        ("pause", subscription(**PAUSED), {}, ["is paused until January 11, 2027", "The next charge is on January 12, 2027"]),
        ("extension", subscription(**PAUSED), {}, ["is free until January 12, 2027: you can go on", "is on January 12, 2027"]),
        ("resume", RUNNING, {}, ["its pause has ended", "The next charge is on December 12, 2026"]),
        (
            "trial_extension",
            subscription(status="trialing", trial_start=START, trial_end=END),
            {},
            ["runs until December 12, 2026", "The next charge is on December 12, 2026"],
        ),
        ("plan_change", RUNNING, {"when": "now"}, ["You are now on Pro", "- You pay: $9.00 per month", "December 12, 2026"]),
        (
            "plan_change",
            subscription(schedule="sub_sched_1"),
            {"when": "period_end"},
            ["changes on December 12, 2026", "Until then you keep what you have", "- New plan: Basic"],
        ),
        ("undo_cancel", RUNNING, {}, ["its cancellation has been taken back", "December 12, 2026"]),
    ],
)
def test_a_letter_says_what_changed_when_and_what_is_charged_next(verb: str, after: Any, intent: Any, says: list[str]) -> None:
    written = letter(verb, RUNNING, after, **intent)
    for words in says:
        assert words in written.text
    assert "{portal}" in written.text, "where the way to the portal is put when it is sent"
    assert len(written.subject) < 80


@pytest.mark.parametrize("verb", ["discount", "pause", "extension", "trial_extension", "plan_change"])
def test_an_offer_that_took_a_cancellation_back_says_so(verb: str) -> None:
    after = subscription(**PAUSED) if verb in ("pause", "extension") else RUNNING
    cleared = "The cancellation that was scheduled has been taken back."
    assert cleared in letter(verb, subscription(cancel_at_period_end=True), after).text
    assert cleared not in letter(verb, RUNNING, after).text


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_a_cancel_now_says_that_an_open_invoice_goes_on_being_asked_for_unless_it_was_voided(status: str) -> None:
    owed, ended = subscription(status=status), subscription(status="canceled", ended_at=int(NOW.timestamp()))
    still = "An invoice that is already open may still be collected."
    assert still in letter("cancel", owed, ended).text
    assert still not in letter("cancel", RUNNING, ended).text
    voiding = Action(verb="cancel", intent={}, call={"requests": [{"method": "invoices.void", "params": {}}]}, state="verified")
    told = letters.verified(voiding, owed, ended, NOW, "Fernhill").text
    assert still not in told
    assert "has been voided" in told


def test_a_plan_of_the_next_period_is_never_told_with_the_price_of_today() -> None:
    assert "$29.00" not in letter("plan_change", RUNNING, subscription(schedule="sub_sched_1"), when="period_end").text
