"""What Stripe itself has seen of each choice, against what our ledger says became of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.faults.campaign import records
from tests.faults.town import Resident, Town

SETTLED = frozenset(("verified", "manual", "failed"))
# The change of each choice, by the names of the local Stripe's ledger of effects.
WANTED = {
    "cancel": ["cancel_at_period_end"],
    "discount": ["discount"],
    "mint": ["discount"],
    "pause": ["pause"],
    "extension": ["extension"],
    "plan_change": ["undo_cancel", "schedule"],
}


_LISTS = ("twice", "lost", "astray", "stuck", "misreported", "misinformed", "unlike")


@dataclass(slots=True, kw_only=True)
class Findings:
    """Each list is empty where all is well: subscriptions, with what is wrong about them."""

    choices: int = 0
    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Verified, and Stripe has not all of it."""
    astray: list[str] = field(default_factory=list)
    """Stripe has all of it, and we have put it before a person, or called it failed."""
    stuck: list[str] = field(default_factory=list)
    misreported: list[str] = field(default_factory=list)
    """Its facts and its receipt are not each there once."""
    misinformed: list[str] = field(default_factory=list)
    """The business was not told of it, told twice, or in two ways (where it listens)."""
    unlike: list[str] = field(default_factory=list)
    """The mirror shows something else than Stripe has (where that is looked at)."""

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, name) for name in _LISTS)

    def __str__(self) -> str:
        told = [f"{self.choices} choices: {dict(self.states)}{f' {dict(self.codes)}' if self.codes else ''}"]
        for name in _LISTS:
            if found := getattr(self, name):
                told += [f"  {name}: {len(found)}", *(f"    {one}" for one in found[:5])]
        return "\n".join(told)


def judge(place: Town, choices: dict[Resident, str]) -> Findings:
    """Look at these residents, each with the verb that they chose."""
    rows: dict[str, list[Any]] = {}
    for row in place.actions():
        rows.setdefault(row.subscription, []).append(row)
    effects: dict[str, list[str]] = {}
    for effect in place.stripe.control("GET", "effects"):
        if effect["source"] == "api":
            is_led = effect["kind"] == "other" and effect["after"].get("schedule")
            if effect["kind"] != "other" or is_led:
                effects.setdefault(effect["subscription"], []).append("schedule" if is_led else effect["kind"])
    found = Findings(choices=len(choices), misreported=records.misreported(place, choices))
    for resident, verb in choices.items():
        name, seen, wanted = resident.subscription, effects.get(resident.subscription, []), WANTED[verb]
        actions = rows.get(name, [])
        told = f"{name} {verb} {[(row.state, row.code) for row in actions]} Stripe: {seen}"
        found.states.update(row.state for row in actions)
        found.codes.update(row.code or "?" for row in actions if row.state != "verified")
        is_whole = sorted(seen) == sorted(wanted) and (verb != "plan_change" or _is_sold(place, name))
        if any(count > wanted.count(kind) for kind, count in Counter(seen).items()):
            found.twice.append(told)
        if len(actions) != 1 or actions[0].state not in SETTLED:
            found.stuck.append(told)
        elif actions[0].state == "verified" and not is_whole:
            found.lost.append(told)
        elif actions[0].state != "verified" and is_whole:
            found.astray.append(told)
    return found


def _is_sold(place: Town, subscription: str) -> bool:
    """Whether the schedule sells the new price after the period."""
    led = place.stripe.control("GET", f"objects/{subscription}")["schedule"]
    if led is None:
        return False
    phases = place.stripe.control("GET", f"objects/{led}")["phases"]
    return len(phases) == 2 and [item["price"] for item in phases[1]["items"]] == [place.price]
