"""What the demo's business offers those who want to leave: a discount, a pause, a smaller plan, each after the reasons it answers."""

from typing import Any

from connect_app import connections
from connect_app.admin import audiences, flows, offers
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from flow_pages.document import USUAL_LIMITS, Offer, PauseOffer, PlanOffer, Prices
from webhooks.audiences import Condition, Verb

_BY = "demo"
# The plan to leave, and the one to go on with.
_LARGE, _SMALL = "Pro", "Starter"


def make(rt: Runtime, workspace_id: str, coupons: list[dict[str, Any]]) -> None:
    """Set the business's offers up as its owner does in the dashboard, and publish them. The account has been read in."""
    with rt.transaction(workspace_id) as session:
        now = rt.now()
        flows.set_offer(session, workspace_id, mode=Mode.TEST, coupon=_coupon(coupons), now=now, by=_BY)
        connection = connections.of_mode(session, workspace_id, Mode.TEST)
        plans = offers.prices(session, connection.id if connection else None, (), _SMALL).others
        # Not everybody's: whoever pays for the small plan already, or for something else, is not moved to it.
        larger = Condition(field="plan_name", type="text", verb=Verb.IS, value=_LARGE)
        audience = audiences.save(session, workspace_id, None, f"On {_LARGE}", larger, now, _BY)
        made: list[tuple[str, Offer, tuple[str, ...]]] = [
            ("A break of one to three months", _pause(), ("unused",)),
            (f"{_SMALL} instead of {_LARGE}", _smaller_plan(plans[0].id, audience), ("unused", "too_complex")),
        ]
        for name, offer, reasons in made:
            offers.add(session, workspace_id, name=name, offer=offer, placement=offers.Placement(reasons=reasons), now=now, by=_BY)
        flows.publish_offers(session, workspace_id, now, _BY)


def _coupon(coupons: list[dict[str, Any]]) -> str:
    """One for the next bill, which fits every plan.

    A coupon for three months would be over before a yearly plan's next bill, and would rightly not be offered there.
    """
    valid = [coupon for coupon in coupons if coupon["valid"] and coupon["percent_off"]]
    return str(next((coupon for coupon in valid if coupon["duration"] == "once"), valid[0])["id"])


def _pause() -> Offer:
    kind = offers.KINDS["pause"]
    return PauseOffer(
        id=kind.key,
        interval="month",
        count=2,
        least=1,
        most=3,
        headline=kind.headline,
        body="Your notebooks stay where they are, and you pay nothing meanwhile. You can come back earlier whenever you like.",
        accept=kind.accept,
        decline=kind.decline,
        limits=USUAL_LIMITS[kind.key],
    )


def _smaller_plan(price: str, audience: str) -> Offer:
    kind = offers.KINDS["plan_change"]
    return PlanOffer(
        id=kind.key,
        prices=Prices(test=(price,)),
        headline=kind.headline,
        body=f"{_SMALL} has your notebooks and the search, without the shared shelves, for much less than {{{{ plan_name }}}}.",
        accept=kind.accept,
        decline=kind.decline,
        audience=audience,
    )
