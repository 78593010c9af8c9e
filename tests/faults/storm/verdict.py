"""What is left when the dust has settled: how everything that was sent was answered, and how it ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.faults.storm import oracle, post
from tests.faults.storm.business import Business
from webhooks import store


@dataclass(kw_only=True)
class Poison:
    """What was sent to be put aside, by event id: its form, and which of it the door kept."""

    forms: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Verdict:
    """What is left when the dust has settled. Each list is empty where all is well."""

    seed: int
    events: int
    lost: list[str] = field(default_factory=list)
    wrongly_answered: list[str] = field(default_factory=list)
    wrongly_ended: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    before_repair: list[oracle.Difference] = field(default_factory=list)
    after_repair: list[oracle.Difference] = field(default_factory=list)
    missed: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.wrongly_answered or self.wrongly_ended or self.unsettled or self.before_repair or self.after_repair)

    def __str__(self) -> str:
        again = f"make storm SEED={self.seed} SEEDS=1 EVENTS={self.events}"
        lines = [f"storm of seed {self.seed}; its like again: {again}", f"  {self.numbers}"]
        for name in ("lost", "wrongly_answered", "wrongly_ended", "unsettled", "before_repair", "after_repair"):
            found = getattr(self, name)
            if found:
                lines += [f"  {name}: {len(found)}", *(f"    {one}" for one in found[:10])]
        return "\n".join(lines)

    def judge_answers(self, carrier: post.Post, sent: Iterable[str], poison: Poison) -> None:
        """What is true is taken; of what is broken the door may refuse what it cannot even keep."""
        for id in sent:
            if not carrier.taken[id] or carrier.refused[id]:
                self.wrongly_answered.append(f"{id}: taken {carrier.taken[id]}, refused {carrier.refused[id]}")
        for id, form in poison.forms.items():
            if not carrier.taken[id] + carrier.refused[id]:
                self.wrongly_answered.append(f"poison ({form}) was never answered")
        poison.kept += [id for id in poison.forms if carrier.taken[id]]

    def judge_events(
        self, session: Session, everybody: Sequence[Business], sent: Mapping[str, Business], poison: Poison, strangers: Sequence[Business]
    ) -> None:
        """Every event that was taken is there, once, and ended as it should."""
        rows = session.execute(
            text("select id, state, error, account, livemode from webhook_events where account = any(:accounts)"),
            {"accounts": [one.account for one in everybody]},
        ).all()
        found = {row.id: row for row in rows}
        self.lost += [id for id in [*sent, *poison.kept] if id not in found]
        self.wrongly_ended += [f"nobody sent {id}" for id in found if id not in sent and id not in poison.forms]
        for id, row in found.items():
            right = ("waiting_for_account",) if sent.get(id) in strangers else ("done", "ignored")
            if id in sent and row.state not in right:
                self.wrongly_ended.append(f"{id} is {row.state}: {row.error}")

    def judge_poison(self, session: Session, everybody: Sequence[Business], poison: Poison) -> None:
        """What was kept of it is `failed`, with a reason, and its owner is shown that."""
        shown: dict[str, str | None] = {}
        for one in everybody:
            shown |= {event.id: event.error for event in store.failed(session, one.account, one.livemode)}
        self.wrongly_ended += [f"{id} is failed: {why}" for id, why in shown.items() if id not in poison.kept]
        self.wrongly_ended += [f"poison ({poison.forms[id]}) is not shown" for id in poison.kept if not shown.get(id)]
