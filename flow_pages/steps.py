"""The walk through a flow as a pure state machine: which page comes next, given what was answered so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from connect_app.models.base import Json
from flow_pages.document import MOST_SHOWN, Flow, Offer, Survey

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
    offer: Offer

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

    `fitting` are the ids of offers that can be made to them (flow_pages.offers). *Cancel now* skips the rest of the way. No more than
    MOST_SHOWN offers are shown, those counted that were declined before another reason was given; of a chain, those that do not fit are
    passed over.
    """
    steps: list[Step] = []
    room = MOST_SHOWN - sum(offer_key(offer.id) in answers for offer in flow.offers)
    is_surveyed = flow.survey is None
    for offer in offers(flow, answers):
        if offer.id not in flow.opening and not is_surveyed and flow.survey is not None:
            steps.append(SurveyStep(survey=flow.survey))
            is_surveyed = True
        is_declined = offer_key(offer.id) in answers
        if offer.id not in fitting or not (is_declined or room > 0):
            continue
        steps.append(OfferStep(offer=offer))
        if not is_declined and SKIP not in answers:
            return tuple(steps)
        room -= not is_declined
    if not is_surveyed and flow.survey is not None:
        steps.append(SurveyStep(survey=flow.survey))
        if SURVEY not in answers and SKIP not in answers:
            return tuple(steps)
    return (*steps, ConfirmStep())


def offers(flow: Flow, answers: Mapping[str, Json]) -> list[Offer]:
    """The offers that come into question: those before the survey, and once it is answered or skipped those that follow it."""
    opening = [offer for name in flow.opening if (offer := flow.offer(name)) is not None]
    if flow.survey is not None and SURVEY not in answers and SKIP not in answers:
        return opening
    return [*opening, *(offer for offer in flow.chain(reason_given(answers)) if offer not in opening)]


def next_step(flow: Flow, answers: Mapping[str, Json], fitting: Collection[str]) -> Step:
    """Where the customer is now."""
    return path(flow, answers, fitting)[-1]


def progress(flow: Flow, answers: Mapping[str, Json], fitting: Collection[str]) -> tuple[int, int]:
    """(which page this is, of how many), as far as can be told before the survey is answered."""
    walked = path(flow, answers, fitting)
    total = len(walked) if isinstance(walked[-1], ConfirmStep) else len(walked) + 1
    return len(walked), total
