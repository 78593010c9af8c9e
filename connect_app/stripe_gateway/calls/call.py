"""One change at Stripe as a frozen call: what is kept as JSON, and sent unchanged as often as needed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MARKER = "holdfast_action"


class CannotPlan(ValueError):
    """The subscription, as it was read, gives this change nothing to work on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One write: `method` names an entry of the gateway's table, `target` is the object's id, `params` is JSON.

    A target `$n` is the object that the n-th call of the same plan, counted from 0, has made. Persist it before the first try and send
    it unchanged under its idempotency key; neither `jsonb`'s order of keys nor a deploy changes the bytes on the wire.
    """

    method: str
    target: str
    params: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """What to keep in the action's row."""
        return {"method": self.method, "target": self.target, "params": dict(self.params)}

    @classmethod
    def from_json(cls, kept: Mapping[str, object]) -> "Call":
        """The call that `to_json` wrote. Raises ValueError for anything else."""
        match kept:
            case {"method": str(method), "target": str(target), "params": Mapping() as params} if len(kept) == 3:
                return cls(method=method, target=target, params=params)
        raise ValueError("not a kept call")


def are_same(one: Sequence[Call], other: Sequence[Call]) -> bool:
    """Whether these calls are the same on the wire."""
    return json.dumps([call.to_json() for call in one], sort_keys=True) == json.dumps([call.to_json() for call in other], sort_keys=True)


def mark(action_id: str) -> dict[str, object]:
    """The opaque mark by which a change is recognised as this action's."""
    return {"metadata": {MARKER: action_id}}
