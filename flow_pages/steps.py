"""The walk through a flow as a pure state machine: which page comes next, given what was answered so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from connect_app.models.base import Json
from flow_pages.document import DiscountOffer, Flow, Survey

# The keys of answers. An offer's is `offer:<its id>`.
SURVEY, SKIP = "survey", "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyStep:
    survey: Survey

    @property
    def name(self) -> str:
        return SURVEY


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferStep:
    offer: DiscountOffer

    @property
    def name(self) -> str:
        return offer_key(self.offer.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmStep:
    """The last page before the choice: every walk ends here."""

    @property
    def name(self) -> str:
        return "confirm"


Step = SurveyStep | OfferStep | ConfirmStep


def offer_key(offer_id: str) -> str:
    """The answer that says an offer was declined."""
    return f"offer:{offer_id}"


def reason_given(answers: Mapping[str, Json]) -> str | None:
    """The id of the reason that was chosen in the survey, if any."""
    reason = answers.get(SURVEY, {}).get("reason")
    return reason if isinstance(reason, str) else None


def path(flow: Flow, answers: Mapping[str, Json], fitting: Collection[str]) -> tuple[Step, ...]:
    """The pages this customer may look at, in order; the last is where they are.

    `fitting` are the ids of offers that can be made to them (flow_pages.offers_shown). *Cancel now* skips the rest of the way.
    """
    steps: list[Step] = []
    if flow.survey is not None:
        steps.append(SurveyStep(survey=flow.survey))
        if SURVEY not in answers and SKIP not in answers:
            return tuple(steps)
    reason = flow.reason(reason_given(answers))
    for offer_id in reason.offers if reason else ():
        offer = flow.offer(offer_id)
        if offer is not None and offer_id in fitting:
            steps.append(OfferStep(offer=offer))
            if offer_key(offer_id) not in answers and SKIP not in answers:
                return tuple(steps)
    return (*steps, ConfirmStep())


def next_step(flow: Flow, answers: Mapping[str, Json], fitting: Collection[str]) -> Step:
    """Where the customer is now."""
    return path(flow, answers, fitting)[-1]


def progress(flow: Flow, answers: Mapping[str, Json], fitting: Collection[str]) -> tuple[int, int]:
    """(which page this is, of how many), as far as can be told before the survey is answered."""
    walked = path(flow, answers, fitting)
    total = len(walked) if isinstance(walked[-1], ConfirmStep) else len(walked) + 1
    return len(walked), total
