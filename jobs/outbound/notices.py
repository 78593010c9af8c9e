"""What the owners are written about their endpoints."""

from sqlalchemy.orm import Session

from connect_app.models import Endpoint
from connect_app.runtime import Runtime
from jobs import owners

_WHY = {
    "failing": "It has not accepted anything for five days, so Holdfast has stopped sending to it.",
    "gone": "It answered 410 Gone, which asks us to stop for good, so Holdfast has stopped sending to it.",
}


def closed(rt: Runtime, session: Session, endpoint: Endpoint, reason: str) -> None:
    """One letter to each owner, in the transaction that switches the endpoint off."""
    what = "Your webhook endpoint" if endpoint.kind == "webhook" else "Your pass-through URL"
    owners.write(
        rt,
        session,
        endpoint.workspace_id,
        endpoint.mode,
        topic=f"endpoint/{endpoint.id}/{rt.now().isoformat()}",
        subject=f"{what} was switched off",
        lines=[
            f"{what} {endpoint.url} is switched off. {_WHY[reason]}",
            "What was not delivered is kept. When the endpoint is well, switch it on again and press Replay all that failed.",
        ],
        page=f"/settings/outbound/{endpoint.id}",
        sign=f"Holdfast, {endpoint.mode} mode",
    )
