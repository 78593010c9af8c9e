"""Bugs that a storm is shown to catch, each planted in a copy of the tree."""

from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.stage import Edit
from tests.faults.storm import campaign, ground, verdict

# Without poison, whose tries take their time; few accounts, with much news each, and more of it overtaken.
_HEALTHY = replace(ground.SMALL, accounts=4, seconds=6, poison=0, late=0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """What is planted, which of a verdict's lists it must fill, and the scale at which it does."""

    edit: Edit
    symptom: str
    scale: ground.Scale = _HEALTHY


BUGS = {
    "what came last wins, however old it is": Bug(
        symptom="before_repair",
        edit=Edit(
            file="webhooks/projections/tables.py",
            old='{news} where {name}.as_of < excluded.as_of returning id"',
            new='{news} returning id"',
        ),
    ),
    "what happened in one second is not read again": Bug(
        symptom="before_repair",
        edit=Edit(
            file="webhooks/news.py",
            old="    fresh = {(row.kind, row.id) for row in rows if row.as_of + second > now}\n",
            new="    fresh: set[tuple[str, str]] = set()\n    doubtful = set()\n",
        ),
    ),
    "an event that is there already is kept again": Bug(
        symptom="unsettled",
        scale=replace(_HEALTHY, patience=10),
        edit=Edit(
            file="webhooks/store.py",
            old="  where not exists (select from webhook_events known where known.id = given.id) order by id\n"
            "  on conflict (id) do nothing returning id\n",
            new="  order by id returning id\n",
        ),
    ),
    "events are settled before they are understood": Bug(
        symptom="before_repair",
        edit=Edit(
            file="jobs/stripe_events.py",
            old="        stumbled = 0\n",
            new=(
                '        store.settle(session, [event.id for event in waiting], "done", rt.now())\n'
                "    time.sleep(0.4)\n"
                "    with rt.transaction() as session:\n"
                "        stumbled = 0\n"
            ),
        ),
    ),
    "test and live share a lane": Bug(
        symptom="before_repair",
        edit=Edit(
            file="webhooks/store.py",
            old='    return f"{account}/{Mode.of(livemode)}"\n',
            new='    return f"{account}/{Mode.of(True)}"\n',
        ),
    ),
    "what cannot be understood is tried for ever": Bug(
        symptom="unsettled",
        scale=replace(ground.SMALL, patience=30),
        edit=Edit(file="webhooks/store.py", old="\nATTEMPTS = 5\n", new="\nATTEMPTS = 1_000_000\n"),
    ),
}


def strike(folder: Path, name: str, seed: int) -> tuple[bool, verdict.Verdict]:
    """A storm over a tree with this bug: whether it was caught, and by what."""
    bug = BUGS[name]
    with ground.ground(folder, (bug.edit,)) as place:
        [verdict] = campaign.storms(place, [seed], bug.scale, is_repaired=False)
    # A mirror that had no time to become right proves nothing against the bug.
    is_over = bug.symptom == "unsettled" or not verdict.unsettled
    return is_over and bool(getattr(verdict, bug.symptom)), verdict
