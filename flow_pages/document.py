"""What a flow consists of: the document that a published version keeps and that a session walks through."""

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from connect_app.models.base import Json
from connect_app.modes import Mode
from flow_pages import wording

# Stripe's eight values of `cancellation_details.feedback`.
Feedback = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused"
]


def _copy(text: str) -> str:
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise ValueError("this holds characters that cannot be shown")
    if problem := wording.problem(text):
        raise ValueError(problem)
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_copy)]
Paragraph = Annotated[str, StringConstraints(max_length=4000, strip_whitespace=True), AfterValidator(_copy)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
CouponId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,200}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Reason(_Part):
    """An answer of the survey; `offers` are shown to those who give it, in this order."""

    id: Name
    label: Line
    feedback: Feedback
    offers: tuple[Name, ...] = Field(default=(), max_length=2)


class Survey(_Part):
    """The first question. No answer is required, and no comment ever is; None leaves the comment out."""

    title: Line
    body: Paragraph = ""
    reasons: tuple[Reason, ...] = Field(min_length=1, max_length=12)
    comment: Line | None = None


class Coupons(_Part):
    """The account's existing coupon in each mode; None: nothing to offer there yet."""

    test: CouponId | None = None
    live: CouponId | None = None

    def of(self, mode: str) -> str | None:
        return self.test if Mode(mode) is Mode.TEST else self.live


class DiscountOffer(_Part):
    """A coupon for staying. Accept and decline have the same weight on the page, whatever they say."""

    id: Name
    kind: Literal["discount"] = "discount"
    coupons: Coupons = Coupons()
    headline: Line
    body: Paragraph = ""
    accept: Line
    decline: Line


class Confirm(_Part):
    title: Line
    body: Paragraph = ""
    button: Line


class Done(_Part):
    """What is said above the receipt, once Stripe has shown that it is so."""

    canceled: Line
    saved: Line


class Flow(_Part):
    """A whole flow: survey, the reasons' offers, confirm, done. Without survey and offers it is a plain cancel page."""

    schema_version: Literal[1] = 1
    survey: Survey | None = None
    offers: tuple[DiscountOffer, ...] = Field(default=(), max_length=20)
    confirm: Confirm
    done: Done

    @model_validator(mode="after")
    def _whole(self) -> "Flow":
        known = [offer.id for offer in self.offers]
        reasons = self.survey.reasons if self.survey else ()
        if len(set(known)) < len(known):
            raise ValueError("two offers have the same id")
        if len({reason.id for reason in reasons}) < len(reasons):
            raise ValueError("two reasons have the same id")
        for reason in reasons:
            if len(set(reason.offers)) < len(reason.offers):
                raise ValueError(f"the reason {reason.id} names an offer twice")
            if missing := set(reason.offers) - set(known):
                raise ValueError(f"the reason {reason.id} names an offer that is not here: {', '.join(sorted(missing))}")
        return self

    def offer(self, offer_id: str) -> DiscountOffer | None:
        return next((offer for offer in self.offers if offer.id == offer_id), None)

    def reason(self, reason_id: str | None) -> Reason | None:
        return next((reason for reason in (self.survey.reasons if self.survey else ()) if reason.id == reason_id), None)

    def with_offer(self, offer: DiscountOffer) -> "Flow":
        """This flow with the offer of that id replaced; ValueError where it has none."""
        if self.offer(offer.id) is None:
            raise ValueError(f"no offer {offer.id}")
        return self.model_copy(update={"offers": tuple(offer if one.id == offer.id else one for one in self.offers)})

    def as_json(self) -> Json:
        """What `flow_versions.document` keeps."""
        kept: Json = self.model_dump(mode="json")
        return kept


def parse(value: Json) -> Flow:
    """The flow in a stored or uploaded document; raises pydantic's ValidationError naming each place that is wrong."""
    return Flow.model_validate_json(json.dumps(value))


DEFAULT_OFFER = "stay_discount"


def default_flow(*, test_coupon: str | None = None, live_coupon: str | None = None) -> Flow:
    """What a new workspace starts with: a survey, a discount for those who find it too expensive, confirm, done."""
    return Flow(
        survey=Survey(
            title="Before you go, what made you decide to cancel?",
            body="Hi {{ first_name | default: 'there' }}. Your answer helps us to get better. You can skip this.",
            reasons=(
                Reason(id="too_expensive", label="It is too expensive", feedback="too_expensive", offers=(DEFAULT_OFFER,)),
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
                id=DEFAULT_OFFER,
                coupons=Coupons(test=test_coupon, live=live_coupon),
                headline="Would a lower price help?",
                body="Stay on {{ plan_name | default: 'your plan' }} and pay less. Nothing else changes, and you can still cancel later.",
                accept="Take the discount",
                decline="No thanks, continue to cancel",
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
