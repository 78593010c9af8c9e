"""A whole flow: survey, offers, confirm, done, and how its cancels are carried out."""

import json
from typing import Literal

from pydantic import Field, model_validator

from connect_app.models.base import Json
from flow_pages.document.offers import Offer, Whose
from flow_pages.document.parts import NEW, Line, Name, Paragraph, Part

# Stripe's eight values of `cancellation_details.feedback`.
Feedback = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused"
]


class Reason(Part):
    """An answer of the survey; `offers` are for those who give it, in this order: who does not get one may get the next."""

    id: Name
    label: Line
    feedback: Feedback
    offers: tuple[Name, ...] = Field(default=(), max_length=20)


class Survey(Part):
    """The first question. No answer is required, and no comment ever is; None leaves the comment out."""

    title: Line
    body: Paragraph = ""
    reasons: tuple[Reason, ...] = Field(min_length=1, max_length=12)
    comment: Line | None = None


class Confirm(Part):
    title: Line
    body: Paragraph = ""
    button: Line


class Done(Part):
    """What is said above the receipt, once Stripe has shown that it is so."""

    canceled: Line
    saved: Line


class CancelOptions(Part):
    """What a confirmed cancel does: when it ends, which subscriptions, and what becomes of what is owed.

    `invoice_now` (all outstanding charges at once) and `prorate` are for those that end now. `open_invoices`: go on collecting, or void.
    `single`: of several items, the customer may cancel one and keep the rest.
    """

    when: Literal["period_end", "now"] = "period_end"
    scope: Literal["this", "all"] = "this"
    invoice_now: bool = False
    prorate: bool = False
    open_invoices: Literal["keep", "void"] = "keep"
    single: bool = False


class Flow(Part):
    """A whole flow: survey, offers, confirm, done. Without survey and offers it is a plain cancel page.

    `opening` are offers before the survey, `closing` those after the reason's own, whatever the reason. `cancel` and the two `by` take the
    place of the workspace's settings where they are said.
    """

    schema_version: Literal[1] = 1
    survey: Survey | None = None
    offers: tuple[Offer, ...] = Field(default=(), max_length=50)
    opening: tuple[Name, ...] = Field(default=(), max_length=20)
    closing: tuple[Name, ...] = Field(default=(), max_length=20)
    confirm: Confirm
    done: Done
    cancel: CancelOptions | None = None
    offers_by: Whose | None = None
    cancels_by: Whose | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Flow":
        known = [offer.id for offer in self.offers]
        reasons = self.survey.reasons if self.survey else ()
        if len(set(known)) < len(known):
            raise ValueError("two offers have the same id")
        if len({reason.id for reason in reasons}) < len(reasons):
            raise ValueError("two reasons have the same id")
        chains = [("opening", self.opening), ("closing", self.closing), *((f"the reason {one.id}", one.offers) for one in reasons)]
        for name, chain in chains:
            if len(set(chain)) < len(chain):
                raise ValueError(f"{name} names an offer twice")
            if missing := set(chain) - set(known):
                raise ValueError(f"{name} names an offer that is not here: {', '.join(sorted(missing))}")
        return self

    def offer(self, offer_id: str) -> Offer | None:
        return next((offer for offer in self.offers if offer.id == offer_id), None)

    def reason(self, reason_id: str | None) -> Reason | None:
        return next((reason for reason in (self.survey.reasons if self.survey else ()) if reason.id == reason_id), None)

    def chain(self, reason_id: str | None) -> tuple[Offer, ...]:
        """The offers that may follow the survey's answer, in their order, each once."""
        reason = self.reason(reason_id)
        names = dict.fromkeys((*(reason.offers if reason else ()), *self.closing))
        return tuple(offer for name in names if (offer := self.offer(name)) is not None)

    def as_json(self) -> Json:
        """What `flow_versions.document` keeps."""
        kept: Json = self.model_dump(mode="json")
        return kept


def parse(value: Json, *, is_new: bool = False) -> Flow:
    """The flow in a document; raises pydantic's ValidationError naming each place that is wrong.

    One that somebody hands in is `is_new`: what can be read and could never work is wrong in it as well.
    """
    return Flow.model_validate_json(json.dumps(value), context=NEW if is_new else None)
