"""The flows that a workspace begins with."""

from flow_pages.document.flow import Confirm, Done, Flow, Reason, Survey
from flow_pages.document.offers import USUAL_LIMITS, Coupons, DiscountOffer

# What the first offer is called until the workspace has given it an id.
_FIRST = "stay_discount"


def default_flow(*, test_coupon: str | None = None, live_coupon: str | None = None) -> Flow:
    """What a new workspace starts with: a survey, a discount for those who find it too expensive, confirm, done."""
    return Flow(
        survey=Survey(
            title="Before you go, what made you decide to cancel?",
            body="Hi {{ first_name | default: 'there' }}. Your answer helps us to get better. You can skip this.",
            reasons=(
                Reason(id="too_expensive", label="It is too expensive", feedback="too_expensive", offers=(_FIRST,)),
                Reason(id="unused", label="I don’t use it enough", feedback="unused"),
                Reason(id="missing_features", label="It lacks something I need", feedback="missing_features"),
                Reason(id="switched_service", label="I’m moving to another product", feedback="switched_service"),
                Reason(id="too_complex", label="It is too hard to use", feedback="too_complex"),
                Reason(id="low_quality", label="It did not work well for me", feedback="low_quality"),
                Reason(id="other", label="Something else", feedback="other"),
            ),
            comment="Anything you would like to add?",
        ),
        offers=(
            DiscountOffer(
                id=_FIRST,
                coupons=Coupons(test=test_coupon, live=live_coupon),
                headline="Would a lower price help?",
                body="Stay on {{ plan_name | default: 'your plan' }} and pay less. Nothing else changes, and you can still cancel later.",
                accept="Take the discount",
                decline="No thanks, continue to cancel",
                limits=USUAL_LIMITS["discount"],
            ),
        ),
        confirm=Confirm(
            title="Cancel {{ plan_name | default: 'your subscription' }}?",
            body="It will end on {{ renewal_date | default: 'the last day of your billing period' }} instead of renewing.",
            button="Cancel my subscription",
        ),
        done=Done(canceled="Your subscription is canceled", saved="Thank you for staying"),
    )


def control_flow() -> Flow:
    """The flow that needs no data: a plain, honest way to cancel. Always published, never deleted."""
    return Flow(
        confirm=Confirm(title="Cancel your subscription?", body="", button="Cancel my subscription"),
        done=Done(canceled="Your subscription is canceled", saved="Thank you for staying"),
    )
