"""The pages of an offer: each way to take it with its terms and the next charge, and the way out of a link offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import embed_secrets, money, security
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.objects import Subscription
from flow_pages import links, offers, theme
from flow_pages.document import LinkOffer, Offer, PauseOffer
from flow_pages.offers import charges
from flow_pages.offers.charges import Charge
from flow_pages.visits import Visit
from jobs.outbound import pass_through

_QUESTIONS = {"pause": "For how long?", "plan_change": "Which plan?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to take an offer as the page shows it; `name` is '' where there is only this one, and nothing to tell apart."""

    key: str
    name: str
    terms: tuple[tuple[str, str], ...]
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferPage:
    """An offer's page, still to be drawn: Stripe is asked for the next charge first, and no transaction may be open for that."""

    visit: Visit
    made: offers.Made
    frame: Mapping[str, object]
    is_looked_at: bool

    def draw(self, rt: Runtime) -> str:
        """The page, a second later at most."""
        found = charges.next_ones(rt, self.visit, self.made, is_asked=self.is_looked_at)
        shared, ways = told(self.made, self.visit.subscription, found, self.visit.reader, rt.now())
        return drawn(self.made.offer, shared, ways, self.frame)


def drawn(offer: Offer, shared: Sequence[tuple[str, str]], ways: Sequence[Way], frame: Mapping[str, object]) -> str:
    """The page of an offer with these terms; its image may come from its own origin, and nothing else from anywhere."""
    if offer.image and (origin := links.origin_of(offer.image)):
        security.allow_images((origin,))
    return theme.draw("offer.html", offer=offer, shared=shared, ways=ways, question=_QUESTIONS.get(offer.kind, "How?"), **frame)


def told(
    made: offers.Made, subscription: Subscription | None, found: Mapping[str, Charge], locale: str, now: datetime
) -> tuple[tuple[tuple[str, str], ...], tuple[Way, ...]]:
    """(the terms that all ways have, each way with its own). Where there is one way only, all terms are in the first."""
    offer, default = made.offer, str(made.offer.count) if isinstance(made.offer, PauseOffer) else ""
    lists = {option.key: _terms(made, option, subscription, found.get(option.key), locale, now) for option in made.options}
    first, *others = lists.values()
    shared = tuple(term for term in first if all(term in terms for terms in others))
    chosen = default if default in lists else made.options[0].key
    is_only = not others
    return shared, tuple(
        Way(
            key=option.key,
            name="" if is_only else offers.named_way(offer, option, made.known),
            terms=tuple(term for term in lists[option.key] if term not in shared and term[0] != offers.NEW_PLAN),
            is_chosen=option.key == chosen,
        )
        for option in made.options
    )


def way_out(rt: Runtime, session: Session, visit: Visit, offer: LinkOffer, now: datetime) -> str | None:
    """The address that a link offer leads to, with this customer's values in it; None where these would lead anywhere else.

    A signed one says who comes, under the embed secrets of the session's mode: docs/outbound.md.
    """
    row = visit.row
    try:
        url = pass_through.fill(offer.url, pass_through.of_session(row)).replace(" ", "%20")
    except pass_through.Wrong:
        return None
    if url.startswith("mailto:"):
        return url
    if not url.startswith("https://") or links.origin_of(url) is None:
        return None
    if not offer.is_signed:
        return url
    secrets = [secret for mode, secret in embed_secrets.verifying(session, row.workspace_id, now, rt.ring) if mode == row.mode]
    return pass_through.introduced(url, row, secrets, now)


def _terms(
    made: offers.Made, option: offers.Option, subscription: Subscription | None, charge: Charge | None, locale: str, now: datetime
) -> list[tuple[str, str]]:
    terms = offers.terms(made.offer, option, subscription, made.known, locale, now)
    if made.known.open:
        # Whatever is offered, this is asked for first, and no offer makes it less.
        terms = [*terms, ("Still open", " + ".join(money.format(amount, locale) for amount in made.known.open))]
    if charge is None:
        return terms
    # The next charge says the same again of a trial's first one, and of a discount on one bill alone.
    replaced = [offers.FIRST_CHARGE, *([offers.PAYS_ABOUT] if ("For", offers.ONE_BILL) in terms else [])]
    return [term for term in terms if term[0] not in replaced] + [("Next charge", charges.text(charge, locale, now))]
