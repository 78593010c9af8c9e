"""What of a plan is kept with its action: the calls, unchanged for every try, and what they were planned on."""

from datetime import datetime

from connect_app.models import Action
from connect_app.models.base import Json
from connect_app.stripe_gateway.objects import Subscription
from jobs import plans
from jobs.actions import settlement


def frozen(action: Action, plan: plans.Plan, before: Subscription, generation: int, now: datetime) -> Json:
    """The calls of this generation under their key, as `settlement.kept_calls` reads them; `touched` as below."""
    return {
        "generation": generation,
        "key": f"hf:{action.workspace_id}:{action.id}:{generation}",
        "requests": [call.to_json() for call in plan.calls],
        **({"loses": plan.loses} if plan.loses else {}),
        **({"touched": True} if has_touched(action) else {}),
        "planned_at": now.isoformat(),
        "before": dict(before.raw),
    }


def has_touched(action: Action) -> bool:
    """Whether a call to the subscription itself was among those frozen so far, of whichever generation: it may bear our mark by that."""
    is_among = any(call.method == "subscriptions.update" for call in settlement.kept_calls(action))
    return is_among or bool((action.call or {}).get("touched"))
